"""A function applied to many items in processes, which are ended where an item takes too long."""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from multiprocessing.connection import wait
from typing import Any, NamedTuple

from coinr.engine.threads import available_threads
from coinr.errors import BackendError, InputError, first_line
from coinr.runtime.processes import Process


class TimeLimitError(BackendError, TimeoutError):
    """An item took longer than its limit."""


class Outcome(NamedTuple):
    """What became of an item: its value, or the error that it failed with; and the seconds of its last try."""

    item: Any
    value: Any
    error: Exception | None
    seconds: float


class _Job(NamedTuple):
    item: Any
    tries: int = 0


class _Place:
    """A process of the pool, and the item that it works on."""

    def __init__(self, work: bytes, threads: int) -> None:
        self.process = Process(work, threads)
        self.starting = True
        self.job: _Job | None = None
        self.begin = 0.0

    def give(self, job: _Job) -> None:
        """Send it an item."""
        self.job, self.begin = job, time.monotonic()
        self.process.send(pickle.dumps(job.item))


class Pool:
    """Processes that apply one function to items. They start when they are needed.

    Parameters
    ----------
    work : callable
        Pickled once for each process. Its items and values are pickled, too.
    jobs : int
        Processes.
    time_limit : float, optional
        Seconds of one try of an item, after which its process is ended.
    retries : int
        Further tries of an item that took too long, whose process ended, or which the system failed: see
        :func:`may_pass`.
    threads : int, optional
        Of each process; by default they share the cores.

    Raises
    ------
    InputError
        If ``work`` cannot be pickled.
    """

    def __init__(
        self, work: Callable[[Any], Any], jobs: int, time_limit: float | None, retries: int, threads: int | None = None
    ) -> None:
        try:
            self._work = pickle.dumps(work)
        except Exception as error:  # pickling fails in many ways
            raise InputError(f"an option cannot be sent to another process ({first_line(error)})") from error
        self._jobs, self._limit, self._retries = jobs, time_limit, retries
        self._threads = threads or max(1, available_threads() // jobs)
        self._places: list[_Place] = []

    def map(self, items: Iterable[Any]) -> Generator[Outcome, None, None]:
        """Yield the outcome of every item as soon as it is there. Items are read a few ahead.

        An item that is an outcome already is passed on.

        Raises
        ------
        BackendError
            If a process ends before it took an item.
        """
        source = iter(items)
        waiting: deque[_Job] = deque()
        more = True
        while True:
            while more and len(waiting) < self._jobs:
                item = next(source, None)
                if isinstance(item, Outcome):
                    yield item
                elif item is None:
                    more = False
                else:
                    waiting.append(_Job(item))
            self._give(waiting)
            if not any(place.job for place in self._places) and not waiting:
                return
            for job, value, error, seconds in self._finished():
                if error is not None and may_pass(error) and job.tries < self._retries:
                    waiting.append(_Job(job.item, job.tries + 1))
                else:
                    yield Outcome(job.item, value, error, seconds)

    def _give(self, waiting: deque[_Job]) -> None:
        """Give jobs to free processes, and start as many as there are jobs for."""
        for place in self._places:
            if waiting and place.job is None and not place.starting:
                place.give(waiting.popleft())
        busy = sum(place.job is not None for place in self._places)
        for _ in range(len(self._places), min(self._jobs, busy + len(waiting))):
            self._places.append(_Place(self._work, self._threads))

    def _finished(self) -> Iterator[tuple[_Job, Any, Exception | None, float]]:
        """Wait for the next answers or the next limit, and yield the jobs that are finished."""
        busy = [place for place in self._places if place.job is not None]
        ends = [place.begin + self._limit for place in busy] if self._limit is not None else []
        left = max(0.0, min(ends) - time.monotonic()) if ends else None
        ready = wait([place.process.connection for place in self._places if place.job or place.starting], left)
        now = time.monotonic()
        for place in list(self._places):
            answered = place.process.connection in ready
            if place.starting:
                if answered:
                    place.process.receive()
                    place.starting = False
            elif place.job is not None and answered:
                job, place.job = place.job, None
                yield job, *self._answer(place), now - place.begin
            elif place.job is not None and self._limit is not None and now >= place.begin + self._limit:
                self._end(place)
                error = TimeLimitError(f"took longer than the limit of {self._limit:g} s")
                yield place.job, None, error, now - place.begin

    def _answer(self, place: _Place) -> tuple[Any, Exception | None]:
        """Return the value of a process, or its error; one that has ended leaves the pool."""
        try:
            return place.process.receive(), None
        except Exception as error:
            if not place.process.lives():
                self._end(place)
            return None, error

    def _end(self, place: _Place) -> None:
        place.process.kill()
        self._places.remove(place)

    def close(self) -> None:
        """End all processes at once, also those that work."""
        for place in list(self._places):
            self._end(place)


def may_pass(error: Exception) -> bool:
    """Return whether another try may succeed: memory, disk or a process failed, and not the item or its options."""
    if isinstance(error, FileNotFoundError | IsADirectoryError | PermissionError):
        return False
    return isinstance(error, OSError | MemoryError | BackendError)
