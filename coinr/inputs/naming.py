"""Patterns of names, and the words of errors about unknown names."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from coinr.errors import FormatError, InputError

# Most names that are listed, and most characters of a name that are shown.
_LISTED, _SHOWN = 12, 60


def list_names(name: str, known: Iterable[str]) -> str:
    """Return a question that suggests the nearest of the known names, and a list of the first of them."""
    names = list(known)
    if not names:
        return "there are none"
    near = get_close_matches(name[:_SHOWN], [other[:_SHOWN] for other in names], 1)
    question = f"did you mean {near[0]!r}? " if near else ""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    listed = ", ".join(repr(other if len(other) <= _SHOWN else other[:_SHOWN] + "…") for other in names[:_LISTED])
    return f"{question}{'the only one is' if len(names) == 1 else 'there are'} {listed}{more}"


def only_name(known: Iterable[str], given: Container[str], none: str, several: str) -> str:
    """Return the one of the known names that is given.

    Raises
    ------
    InputError
        If there is none; ``none`` is its text.
    FormatError
        If there are several; their names follow the text ``several``.
    """
    names = [name for name in known if name in given]
    if not names:
        raise InputError(none)
    if len(names) > 1:
        raise FormatError(f"{several}: {', '.join(names)}")
    return names[0]


def check_patterns(patterns: Any, names: Iterable[str] | None = None) -> None:
    """Raise InputError unless ``lossless`` patterns are strings and, where names are given, each matches one."""
    strings = isinstance(patterns, Collection) and all(isinstance(pattern, str) for pattern in patterns)
    if isinstance(patterns, str) or not strings:
        raise InputError(f"lossless must be a sequence of patterns, not {patterns!r}")
    if names is None:
        return
    known = list(names)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise InputError(f"lossless pattern {pattern!r} matches no tensor; {list_names(pattern, known)}")
