"""Bytes that are read in parts, from memory or from a file."""

from __future__ import annotations

import os
import threading
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
        self._lock = threading.Lock()
        self.size = os.fstat(stream.fileno()).st_size

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop``, or to the end where that comes first."""
        parts: list[bytes] = []
        at, stop = start, min(stop, self.size)
        # a system reads two gigabytes at most at once
        while at < stop and (part := self._part(at, stop)):
            parts.append(part)
            at += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _part(self, start: int, stop: int) -> bytes:
        with self._lock:  # a number of a closed file may be that of another one by now
            if self._stream.closed:
                raise InputError("the file is closed")
            return os.pread(self._stream.fileno(), stop - start, start)

    def close(self) -> None:
        """Close the file; reading it is an InputError from now on."""
        with self._lock:
            self._stream.close()


#: Where the bytes of a file are.
RandomAccess = MemoryBytes | FileBytes
