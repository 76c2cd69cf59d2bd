"""Paths and open binary files alike."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Protocol, TypeVar, runtime_checkable

from coinr.errors import CoinrError, InputError, first_line
from coinr.files.random_access import FileBytes
from coinr.files.reading import HEAD_BYTES, check_content, check_path, read_bytes
from coinr.files.writing import write_atomic

_R = TypeVar("_R")


@runtime_checkable
class BinaryReader(Protocol):
    """What can be read, such as an ``io.BytesIO`` or a file that is open in mode ``"rb"``."""

    def read(self, size: int = -1, /) -> Any:
        """Return at most ``size`` bytes; all that is left if negative."""


@runtime_checkable
class BinaryWriter(Protocol):
    """What can be written to, such as an ``io.BytesIO`` or a file that is open in mode ``"wb"``."""

    def write(self, data: Any, /) -> Any:
        """Write bytes and return how many were taken, or None."""


_WORDS = "a path or an open binary file"

#: A path or an open file, to read from.
Source = Annotated[str | os.PathLike[str] | BinaryReader, _WORDS]

#: A path or an open file, to write to.
Target = Annotated[str | os.PathLike[str] | BinaryWriter, _WORDS]


def name_of(file: Source | Target) -> str:
    """Return the name of a file for messages."""
    name = file if isinstance(file, str | os.PathLike) else getattr(file, "name", None)
    return str(name) if isinstance(name, str | os.PathLike) else "the open file"


def read_source(file: Source, error: type[CoinrError]) -> bytes:
    """Return the content of a file; of an open one, what is left from its position on.

    Raises
    ------
    CoinrError
        ``error``, if the content is of a known other type.
    InputError
        If it is no path, is closed, or is open for text.
    OSError
        If it cannot be read.
    """
    if isinstance(file, str | os.PathLike):
        return read_bytes(file, error)
    data = _call(file, file.read)
    if not isinstance(data, bytes | bytearray | memoryview):
        raise InputError(f"{name_of(file)}: reading gives {type(data).__name__}, not bytes; open it in binary mode")
    return check_content(name_of(file), bytes(data), error)


@contextlib.contextmanager
def open_source(file: bytes | Source, error: type[CoinrError]) -> Iterator[bytes | FileBytes]:
    """Open a file to read its bytes in parts, if it is a regular file at a path; read all of another.

    Bytes are the content itself.

    Raises
    ------
    CoinrError, OSError
        As :func:`read_source`.
    """
    if isinstance(file, bytes):
        yield file
        return
    if not isinstance(file, str | os.PathLike) or not check_path(file).is_file():
        yield read_source(file, error)
        return
    with check_path(file).open("rb") as stream:
        content = FileBytes(stream)
        check_content(file, content.read(0, HEAD_BYTES), error)
        yield content


def write_target(file: Target, parts: Iterable[bytes]) -> None:
    """Write the parts of a file to a path, atomically, or to an open file from its position on.

    An open file is not flushed or closed.

    Where an open file fails, it may hold a part of the bytes.

    Raises
    ------
    InputError
        If it is no path, is closed, or is open for text.
    OSError
        If it cannot be written.
    """
    if isinstance(file, str | os.PathLike):
        write_atomic(file, lambda stream: stream.writelines(parts))
        return
    if isinstance(file, io.TextIOBase):
        raise InputError(f"{name_of(file)}: is open for text; open it in binary mode")
    for part in parts:
        _write(file, part)


def _write(file: BinaryWriter, data: bytes) -> None:
    left = memoryview(data)
    while left:
        # files without a buffer may take a part only
        written = _call(file, file.write, left)
        if written == 0 or (written is None and isinstance(file, io.RawIOBase)):
            raise BlockingIOError(f"{name_of(file)}: cannot take bytes now")
        # a writer that returns nothing has taken all
        left = left[len(left) if written is None else written :]


def _call(file: Source | Target, method: Callable[..., _R], *arguments: Any) -> _R:
    """Call a method of an open file; what its mode or state does not allow is an InputError."""
    try:
        return method(*arguments)
    except OSError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"{name_of(file)}: {first_line(error)}") from error
