"""Draw the times of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.speed.gpu.shapes import KINDS


def draw(data: dict[str, Any], path: Path) -> str:
    """Return milliseconds per shape, ours and torch's, on log axes."""
    try:
        import matplotlib
    except ImportError:
        return "matplotlib is not at hand"
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [step["result"] for name, step in data["steps"].items() if name.startswith("time (") and "result" in step]
    names = [key for key in (*KINDS, "torch_omp") if any(key in row for row in rows)]
    figure, axes = pyplot.subplots(figsize=(9, 4.5))
    for name in names:
        axes.plot(range(len(rows)), [row[name]["ms"] for row in rows], marker="o", label=name)
    labels = [f"{row['n']},{row['M']}\n{row['B']},{row['s']}" for row in rows]
    axes.set_xticks(range(len(rows)), labels, fontsize=7)
    axes.set_yscale("log")
    axes.set_ylabel("ms per pursuit")
    axes.set_xlabel("n, M / B, s")
    axes.set_title(data["machine"]["device"])
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    return path.name
