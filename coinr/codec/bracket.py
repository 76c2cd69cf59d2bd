"""A search along one knob: where it was tried, between which points the target lies, and where to try next."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from coinr.runtime.work_limit import WorkLimit

Made = TypeVar("Made")


@dataclass(frozen=True)
class Point(Generic[Made]):
    """A position that was tried, the value measured there, whether it is good, and what was made."""

    at: float
    value: float
    good: bool
    made: Made

    def reach(self, target: float, slope: float, stride: float = math.inf) -> float:
        """Return where a line of this slope through the point has the target value, at most a stride away."""
        return self.at + min(max((target - self.value) / slope, -stride), stride)


class Bracket(Generic[Made]):
    """Positions along a knob to try one after the other, until good ones and bad ones are alike.

    Good positions lie below bad ones, except for noise. A position is often the logarithm of what is turned. The caller
    adds a point for each position that it gets, and may leave the loop at any time::

        for at in bracket:
            made = make(at)
            bracket.add(at, measure(made), fits(made), made)

    Parameters
    ----------
    propose : callable
        Return the next position, given this bracket with all points so far; None ends the search.
    start : float, optional
        The first position; proposed like the others if absent, from points that were added before.
    tries : int
        Points at most.
    low, high : float
        Bounds of the positions.
    alike : float
        The search ends where a good and a bad position, or one of them and a bound, are less than this apart; not for
        that reason if absent.
    limit : WorkLimit, optional
        Where it is used up, the search ends with a good point. Without one only the clock counts, and one more position
        is tried.
    caution : float
        How far beyond its proposal that last position lies.

    Attributes
    ----------
    points : list of Point
        All that were added, in order.
    good, bad : Point or None
        The good point that lies highest and the bad one that lies lowest.
    out_of_time : bool
        Whether the last position was tried because time was over.
    """

    def __init__(
        self,
        propose: Callable[[Bracket[Made]], float | None],
        start: float | None = None,
        *,
        tries: int,
        low: float = -math.inf,
        high: float = math.inf,
        alike: float = -math.inf,
        limit: WorkLimit | None = None,
        caution: float = 0.0,
    ) -> None:
        self._propose, self._start, self._tries = propose, start, tries
        self._low, self._high, self._alike = low, high, alike
        self._limit, self._caution = limit or WorkLimit(), caution
        self.points: list[Point[Made]] = []
        self.good: Point[Made] | None = None
        self.bad: Point[Made] | None = None
        self.out_of_time = False

    def __iter__(self) -> Iterator[float]:
        at = self._following() if self._start is None else self._start
        while at is not None and len(self.points) < self._tries:
            if self.points and (self._limit.out_of_time() if self.good is None else self._limit.used_up()):
                if self.good is None:
                    self.out_of_time = True
                    yield at + self._caution
                return
            yield at
            at = self._following()

    def add(self, at: float, value: float, good: bool, made: Made) -> None:
        """Add what was found at a position."""
        point = Point(at, value, good, made)
        self.points.append(point)
        if good and (self.good is None or at > self.good.at):
            self.good = point
        elif not good and (self.bad is None or at < self.bad.at):
            self.bad = point

    def ends(self) -> tuple[float, float]:
        """Return the positions between which the target lies: of the good and the bad point, or the bounds."""
        return self._low if self.good is None else self.good.at, self._high if self.bad is None else self.bad.at

    def narrow(self) -> bool:
        """Return whether the ends are alike, or a bound was reached that the target lies beyond."""
        low, high = self.ends()
        return high - low < self._alike or low >= self._high or high <= self._low

    def _following(self) -> float | None:
        return None if self.narrow() else self._propose(self)

    def middle(self) -> float:
        """Return the position halfway between the ends."""
        return sum(self.ends()) / 2

    def inside(self, at: float, edge: float) -> float:
        """Return the position, moved between the ends; a share ``edge`` of what two points leave open is kept out."""
        low, high = self.ends()
        out = 0.0 if self.good is None or self.bad is None else edge * (high - low)
        return min(max(at, low + out), high - out)

    def between(self, target: float) -> float:
        """Return where the line through the good and the bad point has the target value.

        That is halfway where their values are not finite or in the wrong order.
        """
        assert self.good is not None
        assert self.bad is not None
        low, high = self.good.value, self.bad.value
        share = (target - low) / (high - low) if -math.inf < low < high < math.inf else 0.5
        return self.good.at + share * (self.bad.at - self.good.at)


def slope(one: Point[Made], other: Point[Made] | None, usual: float, least: float, most: float) -> float:
    """Return the slope of the line through two points, within bounds.

    It is the usual one where there is one point, or both are at one position.
    """
    if other is None or one.at == other.at:
        return usual
    return min(max((one.value - other.value) / (one.at - other.at), least), most)
