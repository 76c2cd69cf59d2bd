"""The ablations' figures: panels of lines, all of one look."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.harness.results import draw_figure

Row = Mapping[str, Any]
_STROKES = ("-", "--", ":", "-.")
_MARKERS = "osd^vP*X<>"


@dataclass(frozen=True)
class Panel:
    """Lines over one pair of axes: of each label, its points.

    Where ``paired``, labels are "this, that": a color for each this, a stroke and a marker for each that.
    """

    title: str
    x: str
    y: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    log_x: bool = False
    log_y: bool = False
    symlog_y: float | None = None
    level: float | None = None
    dashed: frozenset[str] = field(default_factory=frozenset)
    paired: bool = False

    def style(self, label: str) -> tuple[str, str, str]:
        """Return color, stroke and marker of a label."""
        first, second = list(self.lines).index(label), 0
        if self.paired:
            pairs = [one.partition(", ")[::2] for one in self.lines]
            this, that = label.partition(", ")[::2]
            first = list(dict.fromkeys(pair[0] for pair in pairs)).index(this)
            second = list(dict.fromkeys(pair[1] for pair in pairs)).index(that)
        stroke = "--" if label in self.dashed else _STROKES[second % len(_STROKES)]
        return f"C{first % 10}", stroke, _MARKERS[(second if self.paired else first) % len(_MARKERS)]


def lines_of(rows: Iterable[Row], label: Callable[[Row], str], x: str, y: str) -> dict[str, list[tuple[float, float]]]:
    """Return points (x, y) of the rows by label, by rising x."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        if row.get(x) is not None and row.get(y) is not None:
            found[label(row)].append((float(row[x]), float(row[y])))
    return {key: sorted(points) for key, points in found.items()}


def draw(path: Path, title: str, panels: Sequence[Panel], columns: int = 2) -> None:
    """Write the panels as one picture, each with its legend beside the lines."""
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    size = (7.2 * columns, 4.6 * rows)
    with draw_figure(path, rows, columns, figsize=size, squeeze=False, layout="constrained") as (figure, grid):
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        for axes, panel in zip(grid.flat, panels, strict=False):
            for label, points in panel.lines.items():
                color, stroke, marker = panel.style(label)
                axes.plot(*zip(*points, strict=True), stroke, color=color, marker=marker, ms=4.5, lw=1.4, label=label)
            if panel.log_x:
                axes.set_xscale("log")
            if panel.log_y:
                axes.set_yscale("log")
            if panel.symlog_y is not None:
                axes.set_yscale("symlog", linthresh=panel.symlog_y)
            if panel.level is not None:
                axes.axhline(panel.level, color="#777777", lw=0.8, ls=":")
            axes.set(title=panel.title, xlabel=panel.x, ylabel=panel.y)
            axes.grid(True, which="both", alpha=0.2)
            axes.legend(fontsize=7.5, framealpha=0.7)
        figure.suptitle(title)
