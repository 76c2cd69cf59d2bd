"""How far a fit is, on a terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from torch import Tensor

#: Takes (steps done, mean squared error of the step [K], mean score at the last judgement).
Report = Callable[[int, Tensor, float], None]

#: Seconds between two looks at the error, which wait for a GPU.
_EVERY = 0.2


@contextlib.contextmanager
def bar(progress: bool | None, steps: int, metric: str, unit: str) -> Iterator[Report]:
    """Give a function that shows progress on stderr, or one that does nothing.

    Shown are the score at the last judgement, the error of the last step, steps a second and the time left; by default
    only on a terminal.
    """
    if not (sys.stderr.isatty() if progress is None else progress):
        yield lambda step, errors, score: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("fit"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[quality]}"))
    begin = shown = time.perf_counter()
    first: int | None = None
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=Console(stderr=True)) as display:
        row = display.add_task("fit", total=steps, quality="")

        def report(step: int, errors: Tensor, score: float) -> None:
            nonlocal shown, first
            first = step - 1 if first is None else first
            now = time.perf_counter()
            if now - shown < _EVERY and step < steps:
                return
            shown = now
            rate = (step - first) / max(now - begin, 1e-9)
            quality = (
                f"{metric} {score:.2f} {unit}".rstrip() + f", error {float(errors.mean()):.2e}, {rate:.0f} steps/s"
            )
            display.update(row, completed=step, quality=quality)

        yield report
