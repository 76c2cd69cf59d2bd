"""Bytes that are read in parts, from memory or from a file."""

from __future__ import annotations

import os
from typing import BinaryIO

from coinr.errors import InputError


class MemoryBytes:
    """Bytes in memory.

    Raises
    ------
    InputError
        If they are not contiguous, or no bytes.
    """

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise InputError(f"a coinr file is bytes, not {type(data).__name__}")
        if not memoryview(data).c_contiguous:
            raise InputError("the bytes of a coinr file must be contiguous")
        self._data = memoryview(data).cast("B")
        self.size = len(self._data)

    def read(self, start: int, stop: int) -> memoryview:
        """Return the bytes from ``start`` to ``stop``, or to the end where that comes first."""
        return self._data[start:stop]


class FileBytes:
    """The bytes of an open regular file, as long as it is open. Threads may read at once."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.size = os.fstat(stream.fileno()).st_size

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop``, or to the end where that comes first."""
        parts: list[bytes] = []
        at = start
        # a system reads two gigabytes at most at once
        while at < stop and (part := os.pread(self._stream.fileno(), stop - at, at)):
            parts.append(part)
            at += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


#: Where the bytes of a file are.
RandomAccess = MemoryBytes | FileBytes
