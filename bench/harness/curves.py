"""Envelopes of rate–distortion points, and what is read off them.

A point is (bytes, loss in dB against the network before coding). Between two neighboring points of an envelope the
logarithm of the bytes is taken as linear in the loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from scipy.interpolate import PchipInterpolator  # type: ignore[import-untyped]

#: Losses in dB at which tables compare coders.
LOSSES = (0.05, 0.1, 0.2, 0.5, 1.0)

#: Bounds in dB of the losses for which a ladder of settings is measured.
MEASURED_LOSSES = (0.01, 1.5)


class Point(NamedTuple):
    """A coded network: size of its file, and loss in dB (negative where coding happened to help)."""

    bytes: float
    loss: float


def envelope(points: Iterable[Point]) -> list[Point]:
    """Return the points that no other beats in both numbers, by rising loss and strictly falling bytes."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.loss, p.bytes)):
        if not best or point.bytes < best[-1].bytes:
            best.append(point)
    return best


def bytes_at(points: Iterable[Point], loss: float) -> float | None:
    """Return the bytes that reach ``loss`` or better; None if no point does.

    Beyond the lossiest point its bytes are taken: they reach the loss too.
    """
    edge = envelope(points)
    if not edge or edge[0].loss > loss:
        return None
    for better, worse in zip(edge, edge[1:], strict=False):
        if worse.loss > loss:
            share = (loss - better.loss) / (worse.loss - better.loss)
            return math.exp((1 - share) * math.log(better.bytes) + share * math.log(worse.bytes))
    return edge[-1].bytes


def bd_rate(
    points: Sequence[Point], reference: Sequence[Point], best: float = LOSSES[0], worst: float = LOSSES[-1]
) -> float | None:
    """Return Bjøntegaard rate difference to a reference in percent, negative where ``points`` need fewer bytes.

    The mean difference of the log-bytes over the losses that both envelopes span between ``best`` and ``worst``, each
    envelope interpolated by a piecewise cubic (PCHIP). None where they share no range, or an envelope has only a point.
    """
    edges = [envelope(points), envelope(reference)]
    if min(map(len, edges)) < 2:
        return None
    low = max(best, *(edge[0].loss for edge in edges))
    high = min(worst, *(edge[-1].loss for edge in edges))
    if high <= low:
        return None
    ours, theirs = (
        PchipInterpolator([p.loss for p in edge], [math.log(p.bytes) for p in edge]).integrate(low, high)
        for edge in edges
    )
    return 100 * math.expm1((float(ours) - float(theirs)) / (high - low))


def climb(rungs: int, loss: Callable[[int], float]) -> range:
    """Measure a ladder of settings from the finest (0) to the coarsest where its loss matters.

    ``loss`` measures a rung. Two bisections, for which the loss is taken to rise along the ladder, find where it passes
    the bounds of :data:`MEASURED_LOSSES`; every rung between, and one more at each end, is measured.

    Returns
    -------
        The rungs from the first to the last that matter.
    """
    first, last = (_passing(rungs, loss, bound) for bound in MEASURED_LOSSES)
    measured = range(max(0, first - 1), min(rungs, last + 1))
    for rung in measured:
        loss(rung)
    return measured


def _passing(rungs: int, loss: Callable[[int], float], bound: float) -> int:
    """Return the first rung whose loss exceeds ``bound``; ``rungs`` if none does."""
    low, high = 0, rungs
    while low < high:
        middle = (low + high) // 2
        if loss(middle) > bound:
            high = middle
        else:
            low = middle + 1
    return low
