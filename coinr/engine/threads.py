"""How many threads native operations take: what is asked for, what is allowed, and each one's share of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from threading import Lock
from typing import Any, TypeVar

import torch

from coinr.errors import BackendError, InputError

#: The most threads that one operation takes.
MOST = 256

_A = TypeVar("_A")
_B = TypeVar("_B")

# What the running thread may take, where that is less than all.
_share: ContextVar[Callable[[], int] | None] = ContextVar("share", default=None)


def available_threads(requested: int | None = None) -> int:
    """Return the threads that an operation may take here, 1 … 256.

    They are those that are requested, else what the environment variable ``COINR_THREADS`` says, else the cores that
    this process may use; and within :func:`limited_threads` and :func:`side_by_side` no more than the share there.

    Raises
    ------
    BackendError
        If ``COINR_THREADS`` is no positive integer.
    """
    share = _share.get()
    limits = [limit for limit in (requested, share and share()) if limit is not None] or [_default()]
    return min(*limits, MOST)


def check_threads(threads: Any) -> None:
    """InputError unless this is a number of threads to ask for, or None."""
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise InputError(f"threads must be an integer ≥ 1, not {threads!r}")


def _default() -> int:
    value = os.environ.get("COINR_THREADS")
    if not value:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    if not value.isdecimal() or not value.strip("0"):
        raise BackendError(f"COINR_THREADS must be a positive integer ({MOST} at most are used), not {value!r}")
    return int(value) if len(value.lstrip("0")) < 4 else MOST


@contextmanager
def limited_threads(threads: int | None) -> Iterator[None]:
    """Within, operations of this thread take at most so many threads; None leaves everything as it is."""
    if threads is None:
        yield
        return
    most = available_threads(threads)
    token = _share.set(lambda: most)
    try:
        yield
    finally:
        _share.reset(token)


def side_by_side(function: Callable[[_A], _B], items: Sequence[_A]) -> Iterator[_B]:
    """Yield the function of every item, in their order, several at the same time.

    They and the operations in them take at most :func:`available_threads` in all. As soon as fewer items are left than
    threads, each takes a larger share.
    """
    threads = available_threads()
    workers = min(threads, len(items))
    if workers < 2:
        yield from map(function, items)
        return
    shares = _Shares(threads, len(items))
    torch_threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads // workers,))
    try:
        yield from pool.map(partial(shares.run, function), items)
    finally:
        # all is done, or an error or an interruption does not wait for what is still worked on
        pool.shutdown(wait=False, cancel_futures=True)
        # threads that start later would have the workers' number
        torch.set_num_threads(torch_threads)


class _Shares:
    """Threads that are shared by the items that are not done."""

    def __init__(self, threads: int, items: int) -> None:
        self._threads, self._left, self._lock = threads, items, Lock()

    def __call__(self) -> int:
        return self._threads // min(self._threads, self._left)

    def run(self, function: Callable[[_A], _B], item: _A) -> _B:
        token = _share.set(self)
        try:
            return function(item)
        finally:
            _share.reset(token)
            with self._lock:
                self._left -= 1
