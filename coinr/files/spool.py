"""A temporary file for what is made before its place in a file is known."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

# Bytes that are held at once when they are read again.
_CHUNK = 1 << 20


@dataclass(frozen=True)
class SpooledBytes:
    """Bytes in a temporary file."""

    stream: BinaryIO
    offset: int
    length: int

    def __len__(self) -> int:
        return self.length

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes in order, in parts that fit into memory."""
        for at in range(self.offset, self.offset + self.length, _CHUNK):
            yield os.pread(self.stream.fileno(), min(_CHUNK, self.offset + self.length - at), at)


#: Bytes in memory or in a temporary file.
Payload = bytes | SpooledBytes


class Spool:
    """A temporary file without a name, which is gone when it is closed."""

    def __init__(self) -> None:
        self._stream: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close
        self._size = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def put(self, data: bytes) -> SpooledBytes:
        """Write bytes to the file; raise OSError where that cannot be done."""
        self._stream.write(data)
        self._stream.flush()
        self._size += len(data)
        return SpooledBytes(self._stream, self._size - len(data), len(data))
