"""A task that makes one file of each of many sources, in processes, and goes on where an earlier run ended."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import coinr
from coinr.errors import InputError, first_line
from coinr.many.folder import OutputFolder
from coinr.many.manifest import Row, as_json, hash_of, size_of
from coinr.many.names import output_names
from coinr.many.pool import Outcome, Pool


class Task(Protocol):
    """Makes one output of one source. It is pickled for other processes."""

    #: Of outputs.
    suffix: str

    def settings(self) -> Mapping[str, Any]:
        """Return all that decides what is made of a source, as JSON holds it."""

    def prepare(self) -> None:
        """Import and load, once in each process, what every source needs."""

    def __call__(self, source: Path, output: Path) -> dict[str, Any]:
        """Write the output of a source, and return what the manifest says of it, with ``"score"``."""


class Result(NamedTuple):
    """What became of a source.

    Attributes
    ----------
    source : str
        Its path.
    file : str
        Its output, relative to the folder.
    ok : bool
        Whether the output is there.
    resumed : bool
        Whether an earlier run made it.
    row : dict
        Its row in the manifest, or in the failures: path, error, kind, seconds.
    error : Exception or None
        What it failed with.
    """

    source: str
    file: str
    ok: bool
    resumed: bool
    row: Row
    error: Exception | None = None


@dataclass(frozen=True)
class RunOptions:
    """How many sources are worked on, apart from what is made of them.

    Parameters
    ----------
    jobs : int, optional
        Processes; one a core by default.
    time_limit : float, optional
        Seconds of one try of a source.
    retries : int
        Further tries where time, memory, disk or a process failed.
    shard : tuple of int, optional
        (i, n): only the i-th of every n sources, from 1.
    resume : bool
        Keep outputs that are what the source and the settings give.
    """

    jobs: int | None = None
    time_limit: float | None = None
    retries: int = 0
    shard: tuple[int, int] | None = None
    resume: bool = True

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise InputError(f"jobs must be at least 1, got {self.jobs}")
        if self.time_limit is not None and not self.time_limit > 0:
            raise InputError(f"time_limit must be above 0 seconds, got {self.time_limit}")
        if self.retries < 0:
            raise InputError(f"retries must be 0 or more, got {self.retries}")
        if self.shard is not None and not 1 <= self.shard[0] <= self.shard[1]:
            raise InputError(f"shard must be (i, n) with i from 1 to n, got {self.shard}")


class Work:
    """A task as processes call it: of a source and an output it returns the rows for the manifest."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def __reduce__(self) -> tuple[Callable[[Task], Work], tuple[Task]]:
        return _prepared, (self.task,)

    def __call__(self, item: tuple[Path, Path]) -> Row:
        """Return the row of an output that the task has written."""
        source, output = item
        source_hash = hash_of(source)
        found = self.task(source, output)
        return {"bytes": size_of(output), **found, "source_hash": source_hash, "hash": hash_of(output)}


def _prepared(task: Task) -> Work:
    task.prepare()
    return Work(task)


def settings_of(task: Task) -> Any:
    """Return what decides the outputs of a task as rows hold it: its settings and the version of coinr."""
    return as_json({"coinr": coinr.__version__, **task.settings()})


def failure_of(source: Path, error: Exception, seconds: float) -> Row:
    """Return a row of the failures."""
    words = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
    return {"path": str(source), "error": words, "kind": type(error).__name__, "seconds": round(seconds, 3)}


def run(task: Task, sources: Sequence[Path], out: Path, options: RunOptions) -> Generator[Result, None, None]:
    """Yield what becomes of each source, as soon as it is known, in no order.

    Closing the generator ends the processes and leaves finished outputs alone.

    Raises
    ------
    InputError
        If sources are given twice, settings are no plain values, or the folder cannot be used.
    BackendError
        If no process can be started.
    """
    named = list(zip(sources, output_names(sources, task.suffix), strict=True))
    if options.shard is not None:
        named = named[options.shard[0] - 1 :: options.shard[1]]
    return _results(task, named, out, options, settings_of(task))


def _results(
    task: Task, named: Sequence[tuple[Path, str]], out: Path, options: RunOptions, settings: Any
) -> Generator[Result, None, None]:
    from coinr.engine.threads import available_threads

    jobs = min(options.jobs or available_threads(), max(1, len(named)))
    pool = Pool(Work(task), jobs, options.time_limit, options.retries)
    names: dict[Path, str] = {}
    with OutputFolder(out, options.shard) as folder, closing(pool):

        def items() -> Iterator[tuple[Path, Path] | Outcome]:
            for number, (source, name) in enumerate(named):
                row = folder.made(name, source, settings) if options.resume else None
                if row is not None:
                    yield Outcome(None, Result(str(source), name, True, True, row), None, 0.0)
                else:
                    names[part := folder.part(number, name)] = name
                    yield source, part

        for outcome in pool.map(items()):
            if outcome.item is None:
                yield outcome.value
            else:
                yield _settle(outcome, names.pop(outcome.item[1]), settings, folder)


def _settle(outcome: Outcome, name: str, settings: Any, folder: OutputFolder) -> Result:
    """Publish an output, or list its failure."""
    (source, part), error = outcome.item, outcome.error
    if error is None:
        row = {"source": str(source), "file": name, "seconds": round(outcome.seconds, 3), **outcome.value}
        row["settings"] = settings
        try:
            folder.publish(part, row)
        except (OSError, InputError) as failed:
            error = failed
        else:
            return Result(str(source), name, True, False, row)
    folder.discard(part)
    failure = failure_of(source, error, outcome.seconds)
    try:
        folder.fail(failure)
    except OSError as full:
        failure["not_listed"] = str(full)
    return Result(str(source), name, False, False, failure, error)
