"""Typed errors: every failure that coinr can foresee is a :class:`CoinrError`."""

from __future__ import annotations


class CoinrError(Exception):
    """Base of every error that coinr raises on purpose."""


class InputError(CoinrError, ValueError):
    """An argument has a value that is not allowed; the message names it and what is allowed."""


class StateDictError(InputError):
    """The state dict cannot be coded: nested, wrongly typed, or not finite."""


class BackendError(CoinrError, RuntimeError):
    """The requested backend cannot run here; the message says why."""


class DependencyError(CoinrError, ImportError):
    """An optional library is not installed; the message says how to install it."""


class FormatError(CoinrError, ValueError):
    """The bytes are not a well-formed coinr file."""


class VersionError(FormatError):
    """The file was written by a format version, or uses a flag, that this release does not know."""


class TruncatedError(FormatError):
    """The file ends before its header says it does."""


class ChecksumError(FormatError):
    """Stored and computed checksums differ: the file was damaged."""


class ReferenceNetworkError(CoinrError):
    """The file holds differences to another network, which was not given, or it was not that one."""


class LimitError(CoinrError):
    """Decoding would need more memory or work than the caller's :class:`~coinr.Limits` allow."""


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an error, or the name of its class where there is none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
