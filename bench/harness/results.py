"""Result files: CSV, JSON with the machine, Markdown, plots, and measurements that outlast a stopped run."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.harness.machine import machine
from coinr.files.writing import write_atomic


def plain(value: Any) -> Any:
    """Return a number for a table: six significant digits."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
    """Write dicts as CSV; columns in the order in which they first appear."""
    if columns is None:
        columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n", restval="")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "" if value is None else plain(value) for key, value in row.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text.getvalue().encode())


def read_csv(path: Path) -> list[dict[str, Any]]:
    """Return the dicts of a CSV that :func:`write_csv` wrote: numbers as numbers, nothing as None."""
    with path.open(newline="") as file:
        return [{key: _value(text) for key, text in row.items()} for row in csv.DictReader(file)]


def _value(text: str) -> int | float | str | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None


def write_json(path: Path, value: Mapping[str, Any], *, extra: Mapping[str, Any] | None = None) -> None:
    """Write ``value`` as JSON behind the key ``machine``, to which ``extra`` adds keys; of numbers seven digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = shortened({"machine": machine() | (extra or {}), **value})
    write_atomic(path, json.dumps(document, indent=1).encode() + b"\n")


def shortened(value: Any) -> Any:
    """Return JSON's values with numbers that are not whole rounded to seven digits."""
    if isinstance(value, Mapping):
        return {key: shortened(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [shortened(one) for one in value]
    return float(f"{value:.7g}") if isinstance(value, float) else value


@contextlib.contextmanager
def draw_figure(path: Path, *grid: int, dpi: int = 110, **options: Any) -> Iterator[tuple[Any, Any]]:
    """Yield a matplotlib figure and its axes, see ``pyplot.subplots``; the file is written at the end."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(*grid, **options)
    try:
        yield figure, axes
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi)
        write_atomic(path, buffer.getvalue())
    finally:
        plt.close(figure)


class Kept:
    """What was measured, by key, in a file of JSON lines: a run that was stopped goes on where it was.

    A last line that was cut is left out.
    """

    def __init__(self, path: Path) -> None:
        """``path`` need not exist."""
        self._path = path
        self._known: dict[str, Any] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            for line in path.read_text().splitlines():
                try:
                    stored = json.loads(line)
                except json.JSONDecodeError:
                    continue
                self._known[stored["key"]] = stored["value"]

    def __contains__(self, key: str) -> bool:
        """Return whether something is known under ``key``."""
        return key in self._known

    def recall(self, key: str, measure: Callable[[], Any]) -> Any:
        """Return the JSON value under ``key``, measured now unless it was before."""
        if key not in self._known:
            self._known[key] = measure()
            with self._path.open("a") as file:
                file.write("\n" + json.dumps({"key": key, "value": self._known[key]}))
        return self._known[key]
