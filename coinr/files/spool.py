"""A temporary file for what is made before its place in a file is known."""

from __future__ import annotations

import contextlib
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
    """A temporary file without a name, made when something is put into it, and gone when it is closed.

    Parameters
    ----------
    beside
        A file in whose folder it is made, where that is possible; by default it is made where temporary files are,
        which may be in memory.
    """

    def __init__(self, beside: str | os.PathLike[str] | None = None) -> None:
        self._beside = beside
        self._stream: BinaryIO | None = None
        self._size = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def put(self, data: bytes) -> SpooledBytes:
        """Write bytes to the file; raise OSError where that cannot be done."""
        self._stream = self._stream or self._open()
        self._stream.write(data)
        self._stream.flush()
        self._size += len(data)
        return SpooledBytes(self._stream, self._size - len(data), len(data))

    def _open(self) -> BinaryIO:
        if self._beside is not None and (not os.path.exists(self._beside) or os.path.isfile(self._beside)):
            folder = os.path.dirname(os.path.realpath(self._beside))
            with contextlib.suppress(OSError):
                return tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed at the end
        return tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end
