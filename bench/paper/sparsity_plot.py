"""The figure of the smallest s: losses against s / n above, s against n with its line and the package's rule below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness.results import draw_figure
from bench.paper.lines import line
from coinr.codec.profiles import paper_rules

_SHOWN = (0.003, 20.0)  # dB
_MARKERS = {"standard": "o", "flattened": "s"}
_OTHERS = ("#b30000", "#238b45", "#6a3d9a", "#b15928")


def plot(
    curves: Sequence[dict[str, Any]], table: Sequence[dict[str, Any]], pictures: Sequence[str], path: Path
) -> None:
    """Draw rows of ``sparsity.csv`` and ``sparsity_smallest.csv``, a column of panels for each M."""
    sizes = sorted({row["M"] for row in table})
    style = {"figsize": (5.2 * len(sizes), 13), "constrained_layout": True, "squeeze": False, "sharey": "row"}
    with draw_figure(path, 3, len(sizes), **style) as (_, axes):
        for column, M in enumerate(sizes):
            power = M.bit_length() - 1
            _losses(axes[0, column], [row for row in curves if row["M"] == M], pictures, column == 0)
            axes[0, column].set_title(f"M = $2^{{{power}}}$")
            for place, mode in ((1, "standard"), (2, "flattened")):
                chosen = [row for row in table if row["M"] == M and row["mode"] == mode]
                _sizes(axes[place, column], chosen, pictures, mode, column == 0)
        axes[0, 0].set_ylabel("loss against the network before coding, dB")
        axes[1, 0].set_ylabel("smallest s within 0.1 dB, rows")
        axes[2, 0].set_ylabel("smallest s within 0.1 dB, flattened")


def _losses(axes: Any, curves: Sequence[dict[str, Any]], pictures: Sequence[str], first: bool) -> None:
    """Draw loss over s / n of every network, colored by width; signals that are no picture of the budget in black."""
    import matplotlib.pyplot as plt

    widths = sorted({row["width"] for row in curves})
    colors = dict(zip(widths, plt.get_cmap("viridis")(np.linspace(0, 0.92, len(widths))), strict=True))
    seen = set()
    for key in dict.fromkeys((row["signal"], row["width"], row["mode"]) for row in curves):
        signal, width, mode = key
        rows = [row for row in curves if (row["signal"], row["width"], row["mode"]) == key]
        ours = signal in pictures
        label = f"width {width}" if ours else signal
        color = colors[width] if ours else _OTHERS[_other(curves, pictures, signal)]
        axes.plot(
            [row["s"] / row["n"] for row in rows],
            [max(row["loss_db"], 1e-4) for row in rows],
            linestyle="-" if mode == "standard" else "--",
            color=color,
            marker=".",
            linewidth=1.2,
            markersize=4,
            label=None if label in seen else label,
        )
        seen.add(label)
    axes.axhline(0.1, color="#555555", linewidth=0.8)
    axes.axvline(0.5, color="#555555", linewidth=0.8, linestyle=":")
    axes.set_yscale("log")
    axes.set_ylim(*_SHOWN)
    axes.set_xlabel("s / n (solid: rows, dashed: flattened; dotted: 2s = n)")
    axes.grid(True, alpha=0.25)
    if first:
        axes.legend(fontsize=8, frameon=False, loc="lower left")


def _other(rows: Sequence[dict[str, Any]], pictures: Sequence[str], signal: str) -> int:
    """Return the place of a signal among those that are no picture of the budget."""
    others = [name for name in dict.fromkeys(row["signal"] for row in rows) if name not in pictures]
    return others.index(signal) % len(_OTHERS)


def _sizes(axes: Any, table: Sequence[dict[str, Any]], pictures: Sequence[str], mode: str, first: bool) -> None:
    """Draw the needed s over n, the pictures' line with its 95 % band, the rule and the limit 2s < n."""
    if not table:
        axes.set_axis_off()
        return
    n = np.linspace(min(row["n"] for row in table), max(row["n"] for row in table), 100)
    found = [row for row in table if row["s_needed"]]
    for signal in dict.fromkeys(row["signal"] for row in found):
        rows = [row for row in found if row["signal"] == signal]
        style: dict[str, Any] = {}
        if signal not in pictures:
            style = {"color": _OTHERS[_other(table, pictures, signal)], "zorder": 4}
        label = signal if signal not in pictures or len(pictures) <= 4 else None
        axes.plot(
            [r["n"] for r in rows], [r["s_needed"] for r in rows], linestyle="none", marker=_MARKERS[mode],
            markersize=5, label=label, **style,
        )  # fmt: skip
    chosen = [row for row in found if row["signal"] in pictures]
    fitted = line([row["n"] for row in chosen], [row["s_needed"] for row in chosen])
    if fitted:
        center, half = fitted.slope * n + fitted.intercept, fitted.band(n)
        axes.plot(n, center, color="#08519c", linewidth=1.2, label="least squares, with 95 % band")
        axes.fill_between(n, center - half, center + half, color="#6baed6", alpha=0.3, linewidth=0)
        axes.annotate(
            f"s = {fitted.slope:.3f} n {fitted.intercept:+.1f}", (0.97, 0.05), xycoords="axes fraction", ha="right"
        )
    M = table[0]["M"]
    rule = [paper_rules.sparsity(paper_rules.RULES[paper_rules.LATEST], round(size), M, None) for size in n]
    axes.plot(n, rule, color="#e34a33", linewidth=1.2, linestyle="--", label="rule of the package")
    axes.plot(n, n / 2, color="#555555", linewidth=0.8, linestyle=":", label="2s = n")
    axes.set_xlabel("n, the width" if mode == "standard" else "n, the width squared")
    axes.grid(True, alpha=0.25)
    if first:
        axes.legend(fontsize=8, frameon=False, loc="upper left")
