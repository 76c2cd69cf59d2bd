"""How far a refinement is, on a terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from coinr.refinement.training import Report

#: Takes what is done after the training.
Say = Callable[[str], None]

# Seconds between two looks.
_EVERY = 0.2


@contextlib.contextmanager
def bar(progress: bool | None, steps: int) -> Iterator[tuple[Report, Say]]:
    """Give a function that shows loss, bytes and the time left on stderr, and one for what comes after the training.

    By default they show it only on a terminal; elsewhere they do nothing.
    """
    if not (sys.stderr.isatty() if progress is None else progress):
        yield (lambda step, loss, size: None), (lambda text: None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    columns = (
        SpinnerColumn(),
        TextColumn("refine"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
    )
    shown = 0.0
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=Console(stderr=True)) as display:
        row = display.add_task("refine", total=steps, state="")

        def report(step: int, loss: float, size: float) -> None:
            nonlocal shown
            now = time.perf_counter()
            if now - shown >= _EVERY or step == steps:
                shown = now
                display.update(row, completed=step, state=f"loss {loss:.3e}, about {size:.0f} bytes")

        def say(text: str) -> None:
            display.update(row, state=text)

        yield report, say
