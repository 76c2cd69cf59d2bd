"""What is to be coded and by which profile: one task a tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from numbers import Real
from typing import Any

from coinr.calibration import Sensitivity
from coinr.errors import InputError, StateDictError
from coinr.profiles.allocation import TOLERANCE, allowed_errors
from coinr.profiles.auto import encode_auto
from coinr.profiles.base import Allowance, Coded, Settings, lossless
from coinr.profiles.direct import encode_direct
from coinr.profiles.paper import encode_paper
from coinr.profiles.simple import encode_lossless, encode_uniform
from coinr.profiles.sparse import encode_sparse
from coinr.source import Source


@dataclass(frozen=True)
class Profile:
    """How a profile codes tensors at given errors, and the tolerance that it has by default (None: its own rule)."""

    encode: Callable[[list[Source], Any, Settings], list[Coded]]
    tolerance: float | None = None


PROFILES = {
    "auto": Profile(encode_auto, TOLERANCE),
    "direct": Profile(encode_direct, TOLERANCE),
    "sparse": Profile(encode_sparse, TOLERANCE),
    "paper": Profile(encode_paper),
    "uniform": Profile(encode_uniform),
    "lossless": Profile(encode_lossless),
}


@dataclass(frozen=True)
class Task:
    """A tensor to code.

    Attributes
    ----------
    exact
        Whether it must be stored bit-exactly.
    allowance
        How far it may be off otherwise; None leaves that to the profile.
    """

    source: Source
    exact: bool
    allowance: Allowance | None = None


def plan(
    sources: list[Source],
    profile: str,
    settings: Settings,
    exact_names: tuple[str, ...],
    nonfinite: str,
    known: Mapping[str, Sensitivity] | None = None,
    wanted: Mapping[str, float] | None = None,
) -> list[Task]:
    """A task for every source: integers, named exceptions and (where allowed) non-finite tensors must be exact.

    ``wanted`` names root mean squared errors of single tensors, see :func:`~coinr.profiles.allocation.allowed_errors`.

    Raises
    ------
    InputError
        If there is no such profile, or errors are wanted of a tensor that is kept exactly, or without a tolerance.
    StateDictError
        If a tensor is not finite and ``nonfinite`` is ``"error"``.
    """
    if not isinstance(profile, str) or profile not in PROFILES:
        raise InputError(f"profile {profile!r} is not one of {', '.join(PROFILES)}")
    exact = [_must_be_exact(source, profile, exact_names, nonfinite) for source in sources]
    tolerance = PROFILES[profile].tolerance if settings.tolerance is None else settings.tolerance
    lossy = [source for source, kept in zip(sources, exact, strict=True) if not kept]
    _check_wanted(wanted or {}, {source.name for source in lossy})
    if tolerance is None:
        if wanted or known:
            raise InputError(f"errors and calibrate need a tolerance, which profile {profile!r} has not of its own")
        return [Task(source, kept) for source, kept in zip(sources, exact, strict=True)]
    allowed = iter(allowed_errors(lossy, tolerance, known, wanted))
    return [Task(source, kept, None if kept else next(allowed)) for source, kept in zip(sources, exact, strict=True)]


def _check_wanted(wanted: Mapping[str, float], names: set[str]) -> None:
    for name, error in wanted.items():
        if name not in names:
            raise InputError(f"errors names {name!r}, which is no tensor that is stored with loss")
        if isinstance(error, bool) or not isinstance(error, Real) or not 0 <= error < float("inf"):
            raise InputError(f"the error of {name!r} must be a number ≥ 0, not {error!r}")


def _must_be_exact(source: Source, profile: str, exact_names: tuple[str, ...], nonfinite: str) -> bool:
    if not source.lossy or profile == "lossless" or any(fnmatchcase(source.name, pattern) for pattern in exact_names):
        return True
    if source.finite():
        return False
    if nonfinite == "error":
        raise StateDictError(
            f"tensor {source.name!r} holds NaN or Inf; nonfinite='lossless' stores such tensors bit-exactly"
        )
    return True


def encode(tasks: list[Task], profile: str, settings: Settings) -> list[Coded]:
    """The coded form of every task's tensor."""
    lossy = [task for task in tasks if not task.exact]
    results = iter(
        PROFILES[profile].encode([task.source for task in lossy], [task.allowance for task in lossy], settings)
    )
    return [lossless(task.source) if task.exact else next(results) for task in tasks]
