"""Progress of long work on stderr: a bar on a terminal, lines of a log elsewhere, and nothing of short work.

Long functions open :func:`show_progress`; what runs within them, in the same thread, calls :func:`report`.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

_T = TypeVar("_T")

#: What is known of the work, or a function that returns it when it is shown.
Text = str | Callable[[], str]

#: Seconds of work of which nothing is shown.
SILENT = 2.0

# Seconds between two looks, and between two lines of a log at most: each comes after twice the time of the one before.
_EVERY, _RAREST = 0.2, 600.0


@dataclass(eq=False)
class _Task:
    """The reported state of some work: its name, steps done and in all, and text."""

    title: str
    done: int = 0
    total: int | None = None
    text: Text = ""
    first: tuple[int, float] | None = None  # steps done, and when, at the first report
    end: float | None = None  # when it ends, however many steps are done

    def shown_text(self) -> str:
        """Return the text as it is now."""
        return self.text if isinstance(self.text, str) else self.text()

    def line(self, now: float, elapsed: float) -> str:
        """Return all that is known as one line of a log."""
        parts = [f"{self.done}/{self.total}" if self.total else "", self.shown_text(), f"{elapsed:.0f} s elapsed"]
        left = self.left(now)
        return f"{self.title}: " + ", ".join(filter(None, parts)) + ("" if left is None else f", {left:.0f} s left")

    def left(self, now: float) -> float | None:
        """Estimate the seconds that are left, from the steps so far or the time limit; None if nothing is known."""
        if self.total is None or self.first is None or not self.first[0] < self.done < self.total:
            return None
        left = (self.total - self.done) * (now - self.first[1]) / (self.done - self.first[0])
        return left if self.end is None else max(min(left, self.end - now), 0.0)


class Display:
    """What is shown of work and of the work within it, the innermost of which counts.

    Parameters
    ----------
    title : str
        Of the work.
    always : bool
        Show even short work.
    terminal : bool
        Draw a bar in place of lines.
    clock : callable
        Seconds.
    """

    def __init__(
        self, title: str, *, always: bool, terminal: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._always, self._clock = always, clock
        self._begin = clock()
        self.tasks = [_Task(title)]
        self._next = SILENT
        self._lines = 0
        self._bar: Any = _Bar(not always) if terminal else None
        self._stop = threading.Event()
        self._ticking = threading.Thread(target=self._tick_on, name="coinr progress", daemon=True)

    def __enter__(self) -> Display:
        self._ticking.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.finish(failed=kind is not None)

    def finish(self, failed: bool) -> None:
        """Stop. The last state is shown first, where the work is shown at all."""
        if not self._stop.is_set():
            self._stop.set()
            self._ticking.join()
            self.close(failed)

    @contextlib.contextmanager
    def within(self, title: str) -> Iterator[None]:
        """Show the work of this context in place of the work around it."""
        task = _Task(title)
        self.tasks.append(task)
        try:
            yield
        finally:
            self.tasks.remove(task)

    def update(self, done: int | None, total: int | None, text: Text | None, seconds: float | None = None) -> None:
        """Implement :func:`report`."""
        task = self.tasks[-1]
        if seconds is not None:
            task.end = self._clock() + seconds
        if total is not None:
            task.total = total
        if text is not None:
            task.text = text
        if done is not None:
            task.done = done
            task.first = task.first or (done, self._clock())

    def tick(self) -> None:
        """Draw the bar, or print a line if one is due."""
        now = self._clock()
        elapsed, task = now - self._begin, self.tasks[-1]
        if self._bar is not None:
            if self._always or elapsed >= SILENT:
                self._bar.draw(task, task.left(now))
        elif elapsed >= self._next:
            self._next += min(self._next, _RAREST)
            self._print(task.line(now, elapsed))

    def close(self, failed: bool) -> None:
        """Show the last state of work that was shown before, or that is always shown."""
        task, now = self.tasks[-1], self._clock()
        if self._bar is not None:
            if self._always and not failed:
                self._bar.draw(task, task.left(now))
            self._bar.close()
        elif not failed and (self._always or self._lines):
            self._print(task.line(now, now - self._begin))

    def _tick_on(self) -> None:
        while not self._stop.wait(_EVERY):
            try:
                self.tick()
            except (OSError, ValueError):  # whoever read stderr is gone
                return

    def _print(self, line: str) -> None:
        self._lines += 1
        with contextlib.suppress(OSError, ValueError):  # as above
            print(line, file=sys.stderr, flush=True)


class _Bar:
    """A bar on the terminal, from the first time that it is drawn on, which may vanish at the end."""

    def __init__(self, vanishes: bool) -> None:
        self._progress: Any = None
        self._vanishes = vanishes

    def draw(self, task: _Task, seconds: float | None) -> None:
        """Show a task and the seconds that are left of it."""
        if self._progress is None:
            self._start()
        left = "" if seconds is None else f"{seconds:.0f} s left"
        self._progress.tasks[0].total = task.total  # an update takes None for no change
        self._progress.update(self._row, description=task.title, completed=task.done, text=task.shown_text(), left=left)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._progress is not None:
            self._progress.stop()

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )
        # what the work itself prints on a stdout that goes elsewhere stays there
        mixed = sys.stdout is not None and sys.stdout.isatty()
        self._progress = Progress(
            *columns, console=Console(stderr=True), transient=self._vanishes, redirect_stdout=mixed
        )
        self._row = self._progress.add_task("", total=None, text="", left="")
        self._progress.start()


# The display of the work around; None where there is none, False where that work is not shown.
_current: ContextVar[Display | Literal[False] | None] = ContextVar("progress", default=None)


@contextlib.contextmanager
def show_progress(title: str, progress: bool | None = None) -> Iterator[None]:
    """Show how far the work in this context is.

    Work within other work that is shown shares its bar or log.

    Parameters
    ----------
    title : str
        Of the work.
    progress : bool, optional
        True shows it however short it is, False never. By default it is shown from two seconds on, unless the work
        around it is not.
    """
    around = _current.get()
    if progress is not False and isinstance(around, Display):
        with around.within(title):
            yield
        return
    if progress is False or (progress is None and around is False) or sys.stderr is None:
        display: Display | None = None
    else:
        display = Display(title, always=bool(progress), terminal=sys.stderr.isatty())
    token = _current.set(display or False)
    try:
        with display or contextlib.nullcontext():
            yield
    finally:
        _current.reset(token)


def report(
    done: int | None = None, *, total: int | None = None, text: Text | None = None, seconds: float | None = None
) -> None:
    """Report the progress of the innermost work that is shown in this thread. What is not given stays as it was.

    Parameters
    ----------
    done, total : int, optional
        Steps.
    text : str or callable, optional
        What is known: a score, a size. A callable is called by another thread, only when its text is shown.
    seconds : float, optional
        From now on, after which the work ends, however many steps are done.
    """
    display = _current.get()
    if isinstance(display, Display):
        display.update(done, total, text, seconds)


def finish() -> None:
    """Show nothing more of the work in this thread, as its results are printed now."""
    display = _current.get()
    if isinstance(display, Display):
        display.finish(failed=False)


def steps(work: Iterable[_T], label: str, total: int | None = None) -> Iterator[_T]:
    """Iterate, and report each item that is done, unless the work around counts steps of its own.

    ``total`` is that of work without a length.
    """
    display = _current.get()
    if not isinstance(display, Display) or display.tasks[-1].total is not None:
        yield from work
        return
    with display.within(display.tasks[-1].title):
        report(0, total=len(work) if isinstance(work, Sized) else total, text=label)
        for k, item in enumerate(work, 1):
            yield item
            report(k)
