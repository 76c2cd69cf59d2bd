"""Where a command writes: default names, and checks before any work is done."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from coinr.errors import InputError

_Command = TypeVar("_Command", bound=Callable[..., Any])


def output_option(what: str, default: str, *, folder: bool = False) -> Callable[[_Command], _Command]:
    """Return ``-o``: the place to write ``what`` to, by default named as ``default`` says; a folder for several."""
    where = f"{what} to write" + (", or a folder for several" if folder else "")
    return click.option("-o", "--output", type=click.Path(path_type=Path), help=f"{where}.  [default: {default}]")


def with_new_suffix(source: Path, suffix: str) -> Path:
    """Return the path beside the source that has its name with another suffix."""
    place = source if source.name not in ("", "..") else source.resolve()
    stem = place.name if place.is_dir() else place.stem
    return place.with_name(stem + suffix)


def output_beside(source: Path, suffix: str) -> Path:
    """Return the name of the source with another suffix, for an output that was not named.

    Raises
    ------
    InputError
        If there is such a file already: only an output that is named is written over.
    """
    path = with_new_suffix(source, suffix)
    if os.path.lexists(path):
        raise InputError(f"{path}: exists already; to write over it, or elsewhere, name the output with -o")
    return path


def check_output(path: Path, suffixes: Sequence[str], *inputs: Path | None) -> None:
    """Refuse, before any work is done, a path that could not be written, or should not be.

    Raises
    ------
    InputError
        If the suffix is not one of ``suffixes``, the path is a directory or one of the inputs of the command, or its
        folder does not exist.
    OSError
        If it cannot be written.
    """
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{path}: the output must end in {' '.join(suffixes)}")
    if os.path.isdir(path):  # Path.is_dir raises of names that are too long
        raise InputError(f"{path}: is a directory")
    check_distinct(path, *inputs)
    check_place(path)


def check_output_folder(path: Path) -> None:
    """Refuse, before any work is done, a folder that could not be made or holds something already.

    Raises
    ------
    InputError
        If the path is a file or a folder that is not empty, or its own folder does not exist.
    OSError
        If it cannot be written.
    """
    if os.path.isdir(path):
        if any(path.iterdir()):
            raise InputError(f"{path}: the folder is not empty")
    elif os.path.exists(path):
        raise InputError(f"{path}: is a file")
    else:
        check_place(path)


def check_distinct(path: Path, *inputs: Path | None) -> None:
    """Refuse an output that is one of the inputs; errors as of :func:`check_output`."""
    for other in inputs:
        if other is not None and os.path.realpath(path) == os.path.realpath(other):
            raise InputError(f"{path}: is an input of this command too; name another output")


def echo_written(path: Path) -> None:
    """Print the name, which the caller did not choose, and the size of the file that was written."""
    from coinr.progress import finish

    finish()
    click.echo(f"{path}: {path.stat().st_size} bytes")


def check_place(path: Path) -> None:
    """Refuse a path that cannot be written; errors as of :func:`check_output`."""
    from coinr.files.writing import check_writable

    if not os.path.isdir(path.parent):
        raise InputError(f"{path}: the folder {path.parent} does not exist")
    check_writable(path)
