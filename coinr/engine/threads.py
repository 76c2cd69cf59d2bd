"""The number of threads of native operations: requested, limited, and shared by parallel items."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from threading import Lock
from typing import Any, TypeVar

from coinr.errors import BackendError, InputError

#: The largest number of threads of one operation.
MAX_THREADS = 256

_A = TypeVar("_A")
_B = TypeVar("_B")

# The threads that the running thread may take, if that is limited.
_share: ContextVar[Callable[[], int] | None] = ContextVar("share", default=None)


def available_threads(requested: int | None = None) -> int:
    """Return how many threads an operation may take, 1 … 256.

    That is the requested number, else the environment variable ``COINR_THREADS``, else the number of cores that this
    process may use. Within :func:`limited_threads` and :func:`parallel_map` it is at most the share of the caller.

    Raises
    ------
    BackendError
        If ``COINR_THREADS`` is not a positive integer.
    """
    share = _share.get()
    limits = [limit for limit in (requested, share and share()) if limit is not None] or [_default()]
    return min(*limits, MAX_THREADS)


def check_threads(threads: Any) -> None:
    """Raise InputError unless ``threads`` is a positive integer or None."""
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise InputError(f"threads must be an integer ≥ 1, not {threads!r}")


def _default() -> int:
    value = os.environ.get("COINR_THREADS")
    if not value:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    if not value.isdecimal() or not value.strip("0"):
        raise BackendError(f"COINR_THREADS must be a positive integer ({MAX_THREADS} at most are used), not {value!r}")
    return int(value) if len(value.lstrip("0")) < 4 else MAX_THREADS


@contextmanager
def limited_threads(threads: int | None) -> Iterator[None]:
    """Limit the operations of this thread to ``threads`` threads within the block; None does nothing."""
    if threads is None:
        yield
        return
    limit = available_threads(threads)
    token = _share.set(lambda: limit)
    try:
        yield
    finally:
        _share.reset(token)


def parallel_map(function: Callable[[_A], _B], items: Sequence[_A]) -> Iterator[_B]:
    """Yield ``function(item)`` for every item in order, several of them in parallel.

    All of them together take at most :func:`available_threads`. When fewer items are left than threads, each takes a
    larger share.
    """
    threads = available_threads()
    workers = min(threads, len(items))
    if workers < 2:
        yield from map(function, items)
        return
    from concurrent.futures import ThreadPoolExecutor

    import torch

    shares = _Shares(threads, len(items))
    torch_threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads // workers,))
    try:
        yield from pool.map(partial(shares.run, function), items)
    finally:
        # everything is done, or an error or an interruption must not wait for running items
        pool.shutdown(wait=False, cancel_futures=True)
        # the workers' number would apply to threads that start later
        torch.set_num_threads(torch_threads)


class _Shares:
    """Share threads among the items that are not finished."""

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
