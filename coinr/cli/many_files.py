"""Commands on many files: where each is written, and reports that go on where one file fails."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from coinr.cli.messages import describe_error, in_options
from coinr.cli.options import echo_json
from coinr.cli.outputs import check_place, with_new_suffix
from coinr.errors import CoinrError, InputError
from coinr.progress import finish, steps

if TYPE_CHECKING:
    from concurrent.futures import Future

_A = TypeVar("_A")

# Larger files are read by one process at a time, which uses all threads: several would need memory for each.
_LARGE = 1 << 24


def choose_outputs(sources: Sequence[Path], folder: Path | None, suffix: str) -> list[Path]:
    """Return an output for each source: its name with another suffix, in a folder or beside it. Nothing is written.

    Raises
    ------
    InputError
        If two sources would be written to one file, a file exists already, or the folder cannot be made.
    OSError
        If a folder cannot be written to.
    """
    if folder is not None and os.path.lexists(folder) and not folder.is_dir():
        raise InputError(f"{folder}: is a file; several files are written into a folder")
    if folder is not None and not folder.exists():
        check_place(folder)
    made: dict[str, Path] = {}
    outputs = []
    for source in sources:
        output = with_new_suffix(source, suffix)
        output = output if folder is None else folder / output.name
        if os.path.lexists(output):
            raise InputError(f"{output}: exists already, and an output that is not named is never written over")
        if (other := made.setdefault(os.path.realpath(output), source)) is not source:
            raise InputError(f"{output}: {other} and {source} would both be written there")
        outputs.append(output)
    for parent in {output.parent for output in outputs}:
        if parent.exists():
            check_place(parent / "x")
    return outputs


@contextlib.contextmanager
def made_folder(folder: Path | None) -> Iterator[None]:
    """Make a folder that does not exist; remove it at the end if it is empty."""
    made = folder if folder is not None and not folder.exists() else None
    if made is not None:
        made.mkdir()
    try:
        yield
    finally:
        if made is not None:
            with contextlib.suppress(OSError):
                made.rmdir()


def processes_for(sources: Sequence[Path], threads: int | None) -> int:
    """Return how many processes to share files among: one where a file is large."""
    from coinr.engine.threads import available_threads

    small = all(source.stat().st_size <= _LARGE for source in sources)
    return available_threads(threads) if small else 1


def map_now(function: Callable[[_A], dict[str, Any]], items: Iterable[_A]) -> Iterator[Future[dict[str, Any]]]:
    """Yield a finished future of a function for each item."""
    from coinr.runtime.processes import call_now

    return (call_now(function, item) for item in items)


def report_one(row: dict[str, Any], as_json: bool) -> None:
    """Print the report of one file: its line, or the rest as JSON."""
    line = row.pop("line")
    if as_json:
        echo_json(row)
    else:
        finish()
        click.echo(line)


def report_each(label: str, sources: Sequence[Path], reports: Iterable[Future[dict[str, Any]]], as_json: bool) -> None:
    """Print the report of each source when it is finished, or a JSON list of all at the end.

    Sources whose future failed are reported on stderr, and the others go on. Then the command ends with 1.

    Parameters
    ----------
    reports
        For each source: what JSON holds of it, and under ``"line"`` what is printed.
    """
    rows, failures = [], 0
    for source, future in zip(sources, steps(reports, label, len(sources)), strict=True):
        try:
            row = {"source": str(source), "ok": True, **future.result()}
        except (CoinrError, OSError, MemoryError) as error:
            words = " ".join(in_options(describe_error(error), click.get_current_context().command).split())
            named = words if words.startswith(f"{source}: ") else f"{source}: {words}"
            click.echo(f"coinr: error: {named}", err=True)
            row = {"source": str(source), "ok": False, "error": type(error).__name__, "message": words}
            failures += 1
        else:
            line = row.pop("line")
            if not as_json:
                click.echo(line)
        rows.append(row)
    finish()
    if as_json:
        echo_json(rows)
    if failures:
        click.echo(f"coinr: error: {failures} of {len(sources)} files failed", err=True)
        click.get_current_context().exit(1)
