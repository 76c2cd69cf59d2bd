"""Lines of JSON on what was made of what: whether an output is still what its source and the settings give."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from coinr.errors import InputError

Row = dict[str, Any]


def hash_of(path: Path) -> str:
    """Return the BLAKE2b hash, 32 hexadecimal digits, of a file, or of the names and contents of a folder."""
    found = hashlib.blake2b(digest_size=16)
    for file in [path] if not path.is_dir() else sorted(one for one in path.rglob("*") if one.is_file()):
        if file is not path:
            name, size = os.fsencode(file.relative_to(path)), file.stat().st_size
            found.update(b"%d %d " % (len(name), size) + name)
        with file.open("rb") as stream:
            while data := stream.read(1 << 20):
                found.update(data)
    return found.hexdigest()


def hash_bytes(data: bytes) -> str:
    """Return the hash of a file that holds these bytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    files = [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def rows_in(lines: Iterable[bytes]) -> Iterator[Row]:
    """Yield the rows of a manifest. A line that a killed run or a full disk left half-written is none."""
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "file" in row:
            yield row


def line_of(row: Mapping[str, Any]) -> bytes:
    """Return a row as a line of a manifest."""
    return json.dumps(row).encode() + b"\n"


def as_json(settings: Mapping[str, Any]) -> Any:
    """Return settings as they are read back from JSON, to be compared with those of a row.

    Raises
    ------
    InputError
        If JSON cannot hold one, such as a function.
    """
    try:
        return json.loads(json.dumps(settings))
    except TypeError as error:
        raise InputError(f"options of many files must be plain values, which a manifest can hold: {error}") from error


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Append a row in one write; where that fails, the file is as before.

    Raises
    ------
    OSError
        If it cannot be written, as on a full disk.
    """
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        size = os.fstat(handle).st_size
        line = line_of(row)
        if size and os.pread(handle, 1, size - 1) != b"\n":
            line = b"\n" + line
        try:
            if os.write(handle, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(handle, size)
            raise
    finally:
        os.close(handle)
