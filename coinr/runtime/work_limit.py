"""Limits of time: a unit of work is begun only if there is time for it, and then finished."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# The least number of seconds that work which must be done gets.
_LEAST = 0.1


class OutOfTime(Exception):
    """A unit of work is given up; callers of public functions never see this."""


class WorkLimit:
    """Seconds on the clock, and seconds of CPU that units of work may take together.

    Units are of several kinds, such as encoding a file and evaluating a score. A unit is begun only if there is time
    for one of each kind, as long as the longest so far. So the limit is exceeded by one unit at most.

    Parameters
    ----------
    seconds : float, optional
        From now on; no limit if absent.
    clock, cpu_clock : callable
        Seconds.

    Attributes
    ----------
    cpu_seconds : float
        What all units may take together; infinite at first.
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
        """Count what runs within as a unit of a kind; None for work that does not come again."""
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
        """Return the seconds on the clock that are left; infinite without a limit."""
        return self._end - self._clock()

    def seconds(self) -> float | None:
        """Return the seconds left for work that must be done, at least a little; None without a limit."""
        left = self.left()
        return None if left == math.inf else max(left, _LEAST)

    def out_of_time(self) -> bool:
        """Return whether the clock leaves no time for another unit."""
        return self.left() <= sum(seconds for seconds, _ in self._longest.values())

    def used_up(self, share: float = 1.0) -> bool:
        """Return whether the clock, or a share of the seconds of CPU, leaves no time for another unit."""
        longest = sum(cpu for _, cpu in self._longest.values())
        return self.out_of_time() or self.cpu_spent + longest > share * self.cpu_seconds

    def part(self, share: float) -> WorkLimit:
        """Return a new limit, of a share of the seconds that are left."""
        left = self.left()
        return WorkLimit(None if left == math.inf else share * left, clock=self._clock, cpu_clock=self._cpu_clock)
