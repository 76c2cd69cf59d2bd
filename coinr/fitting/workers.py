"""Threads that training and evaluation run on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

import torch

from coinr.engine.threads import MAX_THREADS, available_threads

_PREPARING = threading.Lock()

_A = TypeVar("_A")
_B = TypeVar("_B")


class Workers:
    """Threads for work on tensors, each single-threaded and flushing denormals; on a GPU the caller's thread.

    Each worker takes whole chunks of samples, and results are added in the order of the chunks. So sums do not depend
    on the number of workers, and the activations of a chunk stay in cache, which takes a third off a step of 16384
    pixels at width 64. The threads of torch would meet at a barrier in every operation instead.

    Parameters
    ----------
    device
        Of the tensors.
    threads
        Number of threads on a CPU; that of torch if None, or less by ``COINR_THREADS``.

    Attributes
    ----------
    count : int
        That number; 0 on a GPU.
    """

    def __init__(self, device: torch.device, threads: int | None) -> None:
        self.count = 0 if device.type != "cpu" else min(threads or _usual_threads(), MAX_THREADS)
        self._pool = ThreadPoolExecutor(self.count, initializer=_prepare_thread) if self.count else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def run(self, function: Callable[[], _B]) -> _B:
        """Call a function in a worker and return its result."""
        return function() if self._pool is None else self._pool.submit(function).result()

    def map(self, function: Callable[[_A], _B], arguments: Iterable[_A]) -> Iterable[_B]:
        """Return the results of a function in the order of its arguments."""
        return map(function, arguments) if self._pool is None else self._pool.map(function, arguments)


def _usual_threads() -> int:
    return min(torch.get_num_threads(), available_threads())


def _prepare_thread() -> None:
    with _PREPARING:
        usual = torch.get_num_threads()
        torch.set_num_threads(1)
        # that call also sets the number that the caller's new threads start with: a new thread sets it back
        restoring = threading.Thread(target=torch.set_num_threads, args=(usual,))
        restoring.start()
        restoring.join()
    torch.set_flush_denormal(True)  # see coinr.runtime.denormals
