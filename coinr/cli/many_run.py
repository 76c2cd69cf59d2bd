"""Commands on many sources that write into a folder: their options, and what they print."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coinr.cli.many_files import processes_for
from coinr.cli.messages import describe_error, in_options
from coinr.cli.options import COINR_FILE, echo_json, option_group
from coinr.errors import CoinrError
from coinr.progress import finish, steps

if TYPE_CHECKING:
    from coinr.many.run import Result, RunOptions, Task


class _Shard(click.ParamType[tuple[int, int]]):
    """I/N, with I from 1 to N."""

    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        number, slash, count = value.partition("/")
        if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            self.fail(f"{value!r} is not I/N with I from 1 to N", param, ctx)
        return int(number), int(count)


#: Options of runs on many sources; :func:`run_options` reads them.
many_options = option_group(
    click.option("--jobs", type=click.IntRange(1, 256), help="Into a folder: processes.  [default: one a core]"),
    click.option(
        "--time-limit",
        type=click.FloatRange(0, min_open=True),
        metavar="SECONDS",
        help="Into a folder: end a try of one source by then; it has failed.  [default: none]",
    ),
    click.option(
        "--retries",
        type=click.IntRange(0, 100),
        help="Into a folder: further tries of a source where time, memory, disk or a process failed.  [default: 0]",
    ),
    click.option(
        "--shard",
        type=_Shard(),
        metavar="I/N",
        help="Into a folder: only the I-th of every N sources, from 1; for job arrays.  [default: all]",
    ),
    click.option(
        "--resume/--no-resume",
        default=None,
        help="Into a folder: keep outputs that are what source and settings give.  [default: keep them]",
    ),
)

_NAMES = ("jobs", "time_limit", "retries", "shard", "resume")


def pop_many(options: dict[str, Any]) -> dict[str, Any]:
    """Take the values of :func:`many_options` that were given out of those of a command."""
    values = {name: options.pop(name) for name in _NAMES}
    return {name: value for name, value in values.items() if value is not None}


def is_many(sources: Sequence[Path], output: Path | None, many: dict[str, Any]) -> bool:
    """Return whether a command writes into a folder: of several sources, or where one exists or an option says so.

    Raises
    ------
    click.UsageError
        If an option of such runs is given, and no folder.
    """
    if many and output is None:
        raise click.UsageError(f"--{next(iter(many)).replace('_', '-')} needs a folder to write into: -o FOLDER")
    if output is None:
        return False
    exists = output.suffix != COINR_FILE and os.path.isdir(output)  # Path.is_dir raises of names that are too long
    return len(sources) > 1 or bool(many) or exists


def run_options(many: dict[str, Any], sources: Sequence[Path], threads: int | None) -> RunOptions:
    """Return the options of a run; without ``--jobs`` there is one process where a file is large."""
    from coinr.many.run import RunOptions

    return RunOptions(**{"jobs": processes_for(sources, threads), **many})


def run_into(task: Task, sources: Sequence[Path], output: Path, options: RunOptions, as_json: bool) -> None:
    """Run a task on sources, all or a shard of them, and report as :func:`report_results`."""
    from coinr.many.folder import shard_part
    from coinr.many.run import run

    first, every = options.shard or (1, 1)
    total = len(sources[first - 1 :: every])
    report_results(run(task, sources, output, options), total, output, shard_part(options.shard), as_json)


def run_on_ray(
    task: Task, sources: Sequence[Path], output: Path, many: dict[str, Any], address: str, as_json: bool
) -> None:
    """Run a task on sources on a Ray cluster, and report as :func:`report_results`."""
    from coinr.many.ray import run
    from coinr.many.run import RunOptions

    if "shard" in many:
        raise click.UsageError("--ray shares the sources among machines itself: give no --shard")
    results = run(task, sources, str(output), RunOptions(**many), address, 0.0)
    report_results(results, len(sources), output, "", as_json)


def report_results(results: Generator[Result, None, None], total: int, output: Path, part: str, as_json: bool) -> None:
    """Print each result as it comes, or a JSON list of all at the end; exit with 1 if one failed.

    ``part`` is that of the names of the folder's own files, of a shard.

    Failures are reported on stderr. An interruption ends the run, and what was done is printed.
    """
    rows, done, kept, failed = [], 0, 0, 0
    with closing(results):
        try:
            for result in steps(results, "files", total):
                done, kept, failed = done + result.ok, kept + result.resumed, failed + (not result.ok)
                rows.append(_print(result, output, as_json))
        except KeyboardInterrupt:
            results.close()
            finish()
            click.echo(f"coinr: {done} of {total} files are done; the same command goes on with the others", err=True)
            raise
    finish()
    if as_json:
        echo_json(sorted(rows, key=lambda row: row["source"]))
    elif kept:
        click.echo(f"{kept} of {total} files were there already")
    if failed:
        click.echo(f"coinr: error: {failed} of {total} files failed: see {output / f'failures{part}.jsonl'}", err=True)
        click.get_current_context().exit(1)


def _print(result: Result, output: Path, as_json: bool) -> dict[str, Any]:
    """Print a result, and return it for JSON."""
    if result.error is not None:
        error = result.error
        known = isinstance(error, CoinrError | OSError | MemoryError)
        words = describe_error(error) if known else f"{type(error).__name__}: {error}"  # type: ignore[arg-type]
        words = " ".join(in_options(words, click.get_current_context().command).split())
        named = words if words.startswith(f"{result.source}: ") else f"{result.source}: {words}"
        click.echo(f"coinr: error: {named}", err=True)
        return {"source": result.source, "ok": False, "error": type(error).__name__, "message": words}
    row = result.row
    if not as_json and not result.resumed:
        score = "" if row.get("score") is None else f", {row['metric']} {row['score']:.4g}"
        click.echo(f"{output / result.file}: {row['bytes']} bytes{score}, {row['seconds']:.1f} s")
    return {**row, "source": result.source, "ok": True, "file": str(output / result.file), "resumed": result.resumed}
