"""Profiles by name: which coder each tensor gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from coinr.errors import InputError, StateDictError
from coinr.profiles.allocation import TOLERANCE, allowed_or_none
from coinr.profiles.auto import encode_auto
from coinr.profiles.base import Coded, Settings, lossless
from coinr.profiles.direct import encode_direct
from coinr.profiles.paper import encode_paper
from coinr.profiles.simple import encode_lossless, encode_uniform
from coinr.profiles.sparse import encode_sparse
from coinr.source import Source

__all__ = ["PROFILES", "Coded", "Settings", "encode_sources"]


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


def encode_sources(
    sources: list[Source], profile: str, settings: Settings, exact_names: tuple[str, ...], nonfinite: str
) -> list[Coded]:
    """Coded form of every source: integers, named exceptions and (where allowed) non-finite tensors lossless."""
    if not isinstance(profile, str) or profile not in PROFILES:
        raise InputError(f"profile {profile!r} is not one of {', '.join(PROFILES)}")
    coded: dict[int, Coded] = {}
    open_rows = []
    for row, source in enumerate(sources):
        exact = not source.lossy or any(fnmatchcase(source.name, pattern) for pattern in exact_names)
        if not exact and not source.finite():
            if nonfinite == "error" and profile != "lossless":
                raise StateDictError(
                    f"tensor {source.name!r} holds NaN or Inf; nonfinite='lossless' stores such tensors bit-exactly"
                )
            exact = True
        if exact:
            coded[row] = lossless(source)
        else:
            open_rows.append(row)
    lossy = [sources[row] for row in open_rows]
    chosen = PROFILES[profile]
    tolerance = chosen.tolerance if settings.tolerance is None else settings.tolerance
    results = chosen.encode(lossy, allowed_or_none(lossy, tolerance), settings)
    coded |= zip(open_rows, results, strict=True)
    return [coded[row] for row in range(len(sources))]
