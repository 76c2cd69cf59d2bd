"""How long work may take: a unit of work that was begun is finished, another one needs room for it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Seconds that are left at least to work that must be done.
_LEAST = 0.1


class OutOfTime(Exception):
    """Raised within a unit of work that is given up; never seen by callers of public functions."""


class WorkLimit:
    """Seconds on the clock, and seconds of CPU that units of work may take together.

    Units are of several kinds: files that are coded, scores that are computed. Another one is begun only where there is
    room for one of each kind, as long as the longest yet: the limit is passed by one unit at most.

    Parameters
    ----------
    seconds : float, optional
        From now on; no limit if absent.
    clock, cpu_clock : callable
        Seconds.

    Attributes
    ----------
    cpu_seconds : float
        What all units may take together, infinite at first.
    cpu_spent : float
        What they took so far.
    """

    def __init__(
        self,
        seconds: float | None = None,
        *,
        clock: Callable[[], float] | None = None,
        cpu_clock: Callable[[], float] | None = None,
    ) -> None:
        self._clock = time.perf_counter if clock is None else clock
        self._cpu_clock = time.process_time if cpu_clock is None else cpu_clock
        self._end = math.inf if seconds is None else self._clock() + seconds
        self._longest: dict[str, tuple[float, float]] = {}
        self.cpu_seconds, self.cpu_spent = math.inf, 0.0

    @contextmanager
    def unit(self, kind: str | None = None) -> Iterator[None]:
        """Count what runs in this context as a unit of a kind, or as work that does not come again."""
        begin, cpu_begin = self._clock(), self._cpu_clock()
        try:
            yield
        finally:
            seconds, cpu = self._clock() - begin, self._cpu_clock() - cpu_begin
            self.cpu_spent += cpu
            if kind is not None:
                before = self._longest.get(kind, (0.0, 0.0))
                self._longest[kind] = max(before[0], seconds), max(before[1], cpu)

    def left(self) -> float:
        """Seconds on the clock that are left, infinite without a limit."""
        return self._end - self._clock()

    def seconds(self) -> float | None:
        """What is left for work that must be done, at least a little; None without a limit."""
        left = self.left()
        return None if left == math.inf else max(left, _LEAST)

    def out_of_time(self) -> bool:
        """Whether the clock has no room for another unit."""
        return self.left() <= sum(seconds for seconds, _ in self._longest.values())

    def used_up(self, share: float = 1.0) -> bool:
        """Whether the clock, or a share of the seconds of CPU, has no room for another unit."""
        longest = sum(cpu for _, cpu in self._longest.values())
        return self.out_of_time() or self.cpu_spent + longest > share * self.cpu_seconds

    def part(self, share: float) -> WorkLimit:
        """A limit of its own, of a share of the seconds that are left."""
        left = self.left()
        return WorkLimit(None if left == math.inf else share * left, clock=self._clock, cpu_clock=self._cpu_clock)
