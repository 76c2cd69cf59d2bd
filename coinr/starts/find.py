"""The start that a file of differences needs: given, beside the file, in ``COINR_STARTS``, or of the package."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from coinr.codec.state_dict_file import StateDictFile
from coinr.errors import CoinrError, InputError, ReferenceNetworkError, first_line
from coinr.files.reading import name_in_errors
from coinr.starts.start import DIGITS, KEY, START_FILE, Start, StartMeta, is_name, open_start

#: The key under which the metadata of a file hold name and first digits of the hash of the start that it needs.
NEEDED = "base"

#: The environment variable that lists files and folders of starts.
STARTS = "COINR_STARTS"

_SHIPPED = Path(__file__).parent


def needed_meta(start: Start) -> dict[str, Any]:
    """Return the metadata of a file that needs a start."""
    return {NEEDED: [start.name, start.short_hash]}


def give_start(opened: StateDictFile, file: bytes | str | os.PathLike[str], start: Start | None) -> Start | None:
    """Give an opened file the start that it needs, if it names one or one is given, and return that.

    Parameters
    ----------
    opened
        A file that was opened without a base.
    file
        Its place or its bytes. Of a place, the files in the same folder are searched too.
    start
        The start to take; looked for if None.

    Raises
    ------
    ReferenceNetworkError
        If the start is missing, or the given one is another.
    InputError
        If ``COINR_STARTS`` names a place that does not exist.
    """
    if not opened.is_relative or (start is None and read_needed(opened.meta) is None):
        return None
    with name_in_errors(file):
        found = _find(opened, file) if start is None else start
        if not opened.is_relative_to(found.arrays):
            raise ReferenceNetworkError(f"needs {_needed(opened.meta)}, and the one given is {_say(found)}")
    opened.use_base(found.arrays)
    return found


def _find(opened: StateDictFile, file: bytes | str | os.PathLike[str]) -> Start:
    """Return the start that a file needs.

    Raises
    ------
    ReferenceNetworkError
        If there is none. Starts of the right name with other weights are named, and files that cannot be read.
    """
    needed = read_needed(opened.meta)
    assert needed is not None
    others = []
    for path in _candidates(file):
        try:
            if _name_of(path) != needed[0]:
                continue
            start = open_start(path)
        except (CoinrError, OSError) as error:
            others.append(f"{first_line(error)}" if str(path) in str(error) else f"{path}: {first_line(error)}")
            continue
        if opened.is_relative_to(start.arrays):
            return start
        others.append(f"{path} is {_say(start)}")
    places = f"{'' if isinstance(file, bytes) else 'beside the file, '}in {STARTS} or in the package"
    seen = f" ({'; '.join(others)})" if others else ""
    raise ReferenceNetworkError(f"needs {_needed(opened.meta)}, which is not {places}{seen}: give it as start")


def read_needed(meta: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return name and first digits of the hash of the start that metadata name; None if they name none.

    The key may have another meaning in files of others.
    """
    said = meta.get(NEEDED)
    if not isinstance(said, list) or len(said) != 2 or not all(isinstance(part, str) for part in said):
        return None
    named = is_name(said[0]) and len(said[1]) == DIGITS and set(said[1]) <= set("0123456789abcdef")
    return (said[0], said[1]) if named else None


def _candidates(file: bytes | str | os.PathLike[str]) -> Iterator[Path]:
    """Yield files that may be the start, those beside the file first."""
    if not isinstance(file, bytes):
        yield from _in_folder(Path(file).absolute().parent)
    for place in filter(None, os.environ.get(STARTS, "").split(os.pathsep)):
        path = Path(place)
        if path.is_dir():
            yield from _in_folder(path)
        elif path.exists():
            yield path
        else:
            raise InputError(f"{STARTS}: there is no file or folder {place}")
    yield from _in_folder(_SHIPPED)


def _in_folder(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.name.lower().endswith(START_FILE))


def _name_of(path: Path) -> str:
    """Return the name of the start in a file, from its header alone."""
    with StateDictFile(path, None, None) as opened, name_in_errors(path):
        return StartMeta.read(opened.meta).name


def _needed(meta: Mapping[str, Any]) -> str:
    needed = read_needed(meta)
    return "another start" if needed is None else f"the start {needed[0]!r} ({needed[1]})"


def _say(start: Start) -> str:
    return f"{start.name!r} ({start.short_hash})"


def describe_start(opened: StateDictFile, file: bytes | str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return what a file says of the start that it holds or needs, for reports; None of other files."""
    if isinstance(opened.meta.get(KEY), dict):  # the key may have another meaning in files of others
        try:
            start = open_start(file)
        except CoinrError as error:
            return {"error": first_line(error)}
        said = {"name": start.name, "hash": start.hash, "method": start.method, "signal": start.signal}
        return {**said, "learned_steps": start.steps}
    needed = read_needed(opened.meta) if opened.is_relative else None
    return None if needed is None else {"needs": needed[0], "hash": needed[1]}
