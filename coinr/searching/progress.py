"""How far a search is, on a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from coinr.searching.trials import CALLS

#: Takes a metric and gives one whose calls are shown.
Judging = Callable[[Callable[[Mapping[str, Any]], float]], Callable[[Mapping[str, Any]], float]]


@contextlib.contextmanager
def bar(progress: bool | None, told: Callable[[float], str]) -> Iterator[Judging]:
    """Give a function that makes a metric show its calls and scores, as ``told``, on stderr.

    By default only on a terminal; elsewhere metrics stay as they are.
    """
    if not (sys.stderr.isatty() if progress is None else progress):
        yield lambda judge: judge
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("code"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[quality]}"))
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=Console(stderr=True)) as display:
        # at most so many calls: a search often ends sooner
        row = display.add_task("code", total=CALLS, quality="")

        def judging(judge: Callable[[Mapping[str, Any]], float]) -> Callable[[Mapping[str, Any]], float]:
            def judged(state_dict: Mapping[str, Any]) -> float:
                score = float(judge(state_dict))
                display.update(row, advance=1, quality=told(score))
                return score

            return judged

        yield judging
