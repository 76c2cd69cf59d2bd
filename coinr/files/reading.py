"""Reading of files: paths are checked, and files whose first bytes show another type are refused."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from coinr.errors import CoinrError, InputError

#: The first bytes of coinr files (``FORMAT.md``).
MAGIC = b"\x8fCNR"

#: The words of errors about a file that was cut off.
TRUNCATED = "damaged: the file is truncated"

#: First bytes of files that are often found in place of another one, and what they are.
_STRANGERS = {
    b"version https://git-lfs.github.com/spec/": "a Git LFS pointer, not the file itself: get it with 'git lfs pull'",
    b"version https://hawser.github.com/spec/": "a Git LFS pointer, not the file itself: get it with 'git lfs pull'",
    b"/annex/objects/": "a git-annex pointer, not the file itself: get it with 'git annex get'",
}

#: Tags within the first bytes of text files that are often found in place of another one, and what they are.
_TAGS = {
    b"<!doctype html": "a web page, as servers send in place of a file that they do not have or give",
    b"<html": "a web page, as servers send in place of a file that they do not have or give",
    b"<svg": "an SVG picture, which coinr does not read",
    b"<?xml": "an XML document, as servers send in place of a file that they do not have or give",
}

#: Bytes that :func:`describe_other_file` looks at.
HEAD_BYTES = 1024


def check_path(path: str | os.PathLike[str]) -> Path:
    """Return ``path`` as a Path.

    Raises
    ------
    InputError
        If it is no path, or no file can have that path.
    """
    try:
        checked = Path(path)
        if b"\0" in os.fsencode(checked):
            raise InputError(f"a path cannot hold a null character, as {str(path)!r} does")
    except (TypeError, UnicodeEncodeError) as error:
        raise InputError(f"a path is a str or os.PathLike that the file system can name, not {path!r:.200}") from error
    return checked


def describe_other_file(head: bytes) -> str | None:
    """Return words on what a file that begins with ``head`` is, if it is a known other type or empty; else None."""
    if not head:
        return "the file is empty"
    for begin, words in _STRANGERS.items():
        if head.startswith(begin):
            return f"this is {words}"
    text = head[:HEAD_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<"):
        for tag, words in _TAGS.items():
            if tag in text:
                return f"this is {words}"
    return None


def check_head(path: str | os.PathLike[str]) -> bytes:
    """Return the first bytes of a file that will be opened again, at most ``HEAD_BYTES``.

    Raises
    ------
    InputError
        If :func:`describe_other_file` knows them, or it is a pipe or a device.
    OSError
        If the file cannot be read.
    """
    file = check_path(path)
    if file.exists() and not file.is_file() and not file.is_dir():
        raise InputError(f"{path}: only regular files are read, not pipes and devices")
    with file.open("rb") as stream:
        return check_content(path, stream.read(HEAD_BYTES), InputError)


def read_bytes(path: str | os.PathLike[str], error: type[CoinrError] = InputError) -> bytes:
    """Return the content of a file.

    Raises
    ------
    CoinrError
        ``error``, if :func:`describe_other_file` knows its first bytes.
    InputError
        If ``path`` is no path.
    OSError
        If the file cannot be read.
    """
    return check_content(path, check_path(path).read_bytes(), error)


def check_content(path: str | os.PathLike[str], data: bytes, error: type[CoinrError]) -> bytes:
    """Return the content, or first bytes, of a file; raise ``error`` if :func:`describe_other_file` knows them."""
    if fault := describe_other_file(data[:HEAD_BYTES]):
        raise error(f"{path}: {fault}")
    return data


@contextlib.contextmanager
def name_in_errors(path: bytes | str | os.PathLike[str]) -> Iterator[None]:
    """Put the name of the file before the message of a CoinrError that does not begin with it; bytes have no name."""
    try:
        yield
    except CoinrError as error:
        if isinstance(path, bytes) or str(error).startswith(f"{path}: "):
            raise
        raise type(error)(f"{path}: {error}") from error
