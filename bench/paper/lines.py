"""The statistics of the smallest s: where a curve of losses passes a bound, lines with confidence bands, factors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

#: Losses in dB below this are taken as this, so that they have a logarithm.
LEAST_LOSS = 1e-4


def passing(losses: Mapping[int, float], bound: float) -> tuple[int, int] | None:
    """Return neighbors among measured s between which the loss last falls to the bound; None if it stays above.

    The first is 0 where the smallest s is enough. At all measured s from the second on the loss is at most the bound.
    """
    sizes = sorted(losses)
    above = [s for s in sizes if losses[s] > bound]
    if not sizes or (above and above[-1] == sizes[-1]):
        return None
    last = above[-1] if above else 0
    return last, min(s for s in sizes if s > last)


def crossing(losses: Mapping[int, float], bound: float) -> float | None:
    """Return the s, not rounded, at which the loss in dB falls to the bound; its logarithm is taken as linear.

    None where :func:`passing` finds none; the smallest measured s where that is enough.
    """
    found = passing(losses, bound)
    if found is None or found[0] == 0:
        return None if found is None else float(found[1])
    worse, better = (math.log(max(losses[s], LEAST_LOSS)) for s in found)
    share = (worse - math.log(bound)) / (worse - better)
    return found[0] + share * (found[1] - found[0])


def smallest(losses: dict[int, float], bound: float, measure: Callable[[int], float]) -> int | None:
    """Return the smallest s from which on every measured loss is at most the bound; None if there is none.

    Measures between the neighbors that :func:`passing` finds, and adds to ``losses``, until these are consecutive.
    """
    while (found := passing(losses, bound)) is not None:
        low, high = found
        if high - low == 1:
            return high
        guess = crossing(losses, bound) if low else high / 2
        assert guess is not None
        s = min(max(round(guess), low + 1), high - 1)
        losses[s] = measure(s)
    return None


@dataclass(frozen=True)
class Line:
    """A least-squares line y = slope x + intercept through ``points`` points.

    ``slope_interval`` and ``intercept_interval`` are 95 % confidence intervals under normal errors of equal variance,
    None for fewer than three points; ``r2`` is None where all y are equal.
    """

    slope: float
    intercept: float
    slope_interval: tuple[float, float] | None
    intercept_interval: tuple[float, float] | None
    r2: float | None
    points: int
    _mean: float
    _spread: float
    _error: float

    def band(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return half the width of the 95 % confidence band of the line at ``x``; NaN for fewer than three points."""
        width: NDArray[np.float64] = self._error * np.sqrt(1 / self.points + (x - self._mean) ** 2 / self._spread)
        return width


def line(x: Sequence[float], y: Sequence[float]) -> Line | None:
    """Return the line through points; None unless two x differ."""
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(np.unique(a)) < 2:
        return None
    mean, spread = float(a.mean()), float(((a - a.mean()) ** 2).sum())
    slope = float(((a - mean) * b).sum() / spread)
    intercept = float(b.mean() - slope * mean)
    rest = float(((b - slope * a - intercept) ** 2).sum())
    total = float(((b - b.mean()) ** 2).sum())
    freedom = len(a) - 2
    error = float(stats.t.ppf(0.975, freedom)) * math.sqrt(rest / freedom) if freedom > 0 else math.nan
    half = (error / math.sqrt(spread), error * math.sqrt(1 / len(a) + mean**2 / spread))
    intervals = [(v - h, v + h) if freedom > 0 else None for v, h in zip((slope, intercept), half, strict=True)]
    return Line(
        slope, intercept, intervals[0], intervals[1], 1 - rest / total if total else None, len(a), mean, spread, error
    )


def second_factor(table: NDArray[np.float64]) -> tuple[float, float] | None:
    """Return whether columns matter beside rows: F and p of a two-way analysis of variance without repetition.

    Parameters
    ----------
    table : array
        float64 ``[rows, columns]``; here a width each, a picture each. At least two of both, else None; None also
        where rows and columns explain everything.
    """
    rows, columns = table.shape
    if min(rows, columns) < 2:
        return None
    centred = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    rest = float((centred**2).sum()) / ((rows - 1) * (columns - 1))
    between = rows * float(((table.mean(0) - table.mean()) ** 2).sum()) / (columns - 1)
    if rest <= 1e-12 * float((table**2).mean()):
        return None
    F = between / rest
    return F, float(stats.f.sf(F, columns - 1, (rows - 1) * (columns - 1)))
