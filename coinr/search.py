"""The smallest file for a quality or a size that the caller names."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from coinr.codec import decode_state_dict, encode_state_dict
from coinr.errors import InputError

# Calls of the caller's metric in one search.
_CALLS = 20

# How close to the lowest score a file must come, in units of the score, before the search ends.
_CLOSE = 0.02

# Where the search starts, and the tolerances between which it stays.
_START, _FINEST, _COARSEST = 0.2, 1e-7, 1e4

# Widest factor between two tolerances that are tried one after the other.
_STRIDE = 4.0


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes
    ----------
    blob : bytes
        The file.
    score : float
        The metric of what it decodes to.
    tolerance : float
        The tolerance that made it.
    full_score : float
        The metric of the state dict itself.
    curve : list of dict
        Every file that was tried: ``bytes``, ``score``, ``tolerance``, in order of bytes.
    """

    blob: bytes = field(repr=False)
    score: float
    tolerance: float
    full_score: float
    curve: list[dict[str, float]] = field(repr=False)


def search(
    sd: Mapping[str, Any],
    evaluate: Callable[[Mapping[str, Any]], float],
    *,
    min_score: float | None = None,
    target_bytes: int | None = None,
    **arguments: Any,
) -> SearchResult:
    """The smallest file that keeps a score, or the best one of a size.

    The tolerance alone is searched; what errors of single tensors do is told by ``calibrate``.

    Parameters
    ----------
    sd
        As for :func:`~coinr.encode_state_dict`.
    evaluate
        The caller's metric of a decoded state dict, higher is better; called at most 20 times.
    min_score
        The lowest score that is good enough. The search ends within 0.02 above it.
    target_bytes
        The largest size that is allowed; the file is at most 2 % smaller.
    **arguments
        For :func:`~coinr.encode_state_dict`, without ``tolerance``.

    Raises
    ------
    InputError
        Unless exactly one of ``min_score`` and ``target_bytes`` is given, or where it is out of reach.
    """
    if (min_score is None) == (target_bytes is None):
        raise InputError("give min_score or target_bytes, one of them")
    full = float(evaluate(sd))
    if target_bytes is not None:
        blob, tolerance = to_bytes(lambda t: encode_state_dict(sd, tolerance=t, **arguments), target_bytes)
        score = float(evaluate(decode_state_dict(blob, base=arguments.get("base"))))
        return SearchResult(blob, score, tolerance, full, [_row(blob, score, tolerance)])
    assert min_score is not None
    if not full >= min_score:
        raise InputError(f"min_score {min_score} is above the score of the state dict itself, {full}")
    return _Scores(sd, evaluate, full, min_score, arguments).run()


def to_bytes(encode: Callable[[float], bytes], target: int) -> tuple[bytes, float]:
    """The largest file of at most ``target`` bytes, within 2 % where tolerances allow, and its tolerance.

    Raises
    ------
    InputError
        If the coarsest file is larger.
    """
    low, high = math.log(_FINEST), math.log(_COARSEST)
    best: tuple[bytes, float] | None = None
    tolerance = _START
    for _ in range(40):
        blob = encode(tolerance)
        if len(blob) > target:
            low = math.log(tolerance)
        else:
            high = math.log(tolerance)
            if best is None or len(blob) > len(best[0]):
                best = blob, tolerance
        if (best is not None and len(best[0]) >= 0.985 * target) or high - low < 1e-3:
            break
        tolerance = math.exp((low + high) / 2)
    if best is None:
        raise InputError(f"target_bytes {target} is out of reach: the coarsest file has {len(blob)} bytes")
    return best


def _row(blob: bytes, score: float, tolerance: float) -> dict[str, float]:
    return {"bytes": len(blob), "score": score, "tolerance": tolerance}


class _Scores:
    """A search for the coarsest tolerance whose score is good enough: the loss grows about with its square."""

    def __init__(
        self,
        sd: Mapping[str, Any],
        evaluate: Callable[[Mapping[str, Any]], float],
        full: float,
        wanted: float,
        arguments: dict[str, Any],
    ) -> None:
        self.sd, self.evaluate, self.full, self.wanted, self.arguments = sd, evaluate, full, wanted, arguments
        self.best: tuple[bytes, float, float] | None = None
        self.curve: list[dict[str, float]] = []

    def run(self) -> SearchResult:
        low, high, tolerance = _FINEST, _COARSEST, _START
        for _ in range(_CALLS - 1):
            score = self._try(tolerance)
            if score >= self.wanted:
                low = tolerance
                if score <= self.wanted + _CLOSE:
                    break
            else:
                high = tolerance
            tolerance = self._next(tolerance, score, low, high)
            if high / low < 1.0005:
                break
        if self.best is None:
            blob = encode_state_dict(self.sd, **(self.arguments | {"profile": "lossless"}))
            self.best = blob, self.full, 0.0
        curve = sorted(self.curve, key=lambda row: row["bytes"])
        return SearchResult(self.best[0], self.best[1], self.best[2], self.full, curve)

    def _try(self, tolerance: float) -> float:
        blob = encode_state_dict(self.sd, tolerance=tolerance, **self.arguments)
        score = float(self.evaluate(decode_state_dict(blob, base=self.arguments.get("base"))))
        self.curve.append(_row(blob, score, tolerance))
        if score >= self.wanted and (self.best is None or len(blob) < len(self.best[0])):
            self.best = blob, score, tolerance
        return score

    def _next(self, tolerance: float, score: float, low: float, high: float) -> float:
        """Where the loss would be what may be lost, a little less; between the bounds, halfway where it is not."""
        spare, lost = self.full - self.wanted - _CLOSE / 2, self.full - score
        factor = (
            math.sqrt(spare / lost) if spare > 0 and lost > 0 else (_STRIDE if score >= self.wanted else 1 / _STRIDE)
        )
        guess = tolerance * min(max(factor, 1 / _STRIDE), _STRIDE)
        if low < guess < high:
            return guess
        return math.sqrt(low * high) if low > _FINEST and high < _COARSEST else min(max(guess, _FINEST), _COARSEST)
