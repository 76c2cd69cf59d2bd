"""CPU time of calls: that of one thread equals wall time on an idle machine, and stays meaningful on a shared one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def cpu_times(run: Callable[[], Any], *, least: int = 1, enough: float = 0.0, most: int = 15) -> list[float]:
    """Return CPU seconds of calls: ``least`` of them, and up to ``most`` until ``enough`` seconds are spent."""
    times: list[float] = []
    while len(times) < least or (sum(times) < enough and len(times) < most):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return times
