"""Figure 1 of the paper, with tests of whether weights of trained networks are normally distributed, as it says.

Every weight matrix of networks of widths 64 and 256 is tested as one sample, and its rows, the vectors that are coded,
one by one. The same network before training (uniform weights) is a control.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from bench.harness.networks import Siren
from bench.harness.results import draw_figure
from bench.paper import normality
from bench.paper.context import Context

#: Hidden layers and width; the paper shows layers 2 and 3 of the first, 4 and 5 of the second.
SMALL, LARGE = (3, 64), (4, 256)

Matrices = dict[str, NDArray[np.float64]]


def matrices(tensors: dict[str, Tensor]) -> Matrices:
    """Return the weight matrices, float64 ``[fan_out, fan_in]``."""
    return {name: tensor.detach().double().numpy() for name, tensor in tensors.items() if name.endswith("weight")}


def networks(context: Context) -> list[tuple[str, tuple[int, int]]]:
    """Return pictures and sizes: width 64 of every picture, 256 of the first in ``quick`` and of all in ``full``."""
    large = context.pictures if context.budget.name == "full" else context.pictures[:1]
    return [(name, SMALL) for name in context.pictures] + [(name, LARGE) for name in large]


def initial_matrices(sizes: tuple[int, int]) -> Matrices:
    """Return the matrices that training of a network of these sizes begins with."""
    hidden, width = sizes
    return matrices(Siren((2, hidden, width, 3), torch.Generator().manual_seed(0)).state_dict())


def normality_rows(picture: str, width: int, state: str, found: Matrices) -> Iterator[dict[str, Any]]:
    """Yield a row for each matrix; layers are counted from 1, as in the paper."""
    for layer, (name, matrix) in enumerate(found.items(), 1):
        values = matrix.ravel()
        hidden = matrix.shape == (width, width)
        label = {"picture": picture, "width": width, "state": state, "layer": layer, "tensor": name, "hidden": hidden}
        moments = {"n": values.size, "mean": float(values.mean()), "deviation": float(values.std())}
        vectors = normality.rejection_shares(matrix) if hidden else {}
        yield label | moments | normality.tests(values) | normality.alternatives(values) | vectors


def run(context: Context) -> None:
    """Write ``figure1.csv`` and ``figure1.png``."""
    rows: list[dict[str, Any]] = []
    panels: list[tuple[str, int, str, NDArray[np.float64]]] = []
    shown: set[int] = set()
    for picture, sizes in context.track(networks(context), "network"):
        found = matrices(context.siren(picture, *sizes).entry.state_dict)
        rows += normality_rows(picture, sizes[1], "trained", found)
        if sizes[1] not in shown:
            rows += normality_rows(picture, sizes[1], "initial", initial_matrices(sizes))
        if sizes == LARGE and LARGE[1] in shown or sizes == SMALL and len(panels) >= 4 * SMALL[0]:
            continue
        shown.add(sizes[1])
        panels += [
            (picture, sizes[1], f"layer {layer}", matrix)
            for layer, matrix in enumerate(found.values(), 1)
            if matrix.shape[0] == matrix.shape[1]
        ]
    control = initial_matrices(SMALL)
    panels += [
        ("initial", SMALL[1], f"layer {layer}", matrix)
        for layer, matrix in enumerate(control.values(), 1)
        if matrix.shape[0] == matrix.shape[1]
    ]
    context.write(
        "figure1",
        rows,
        shapiro_wilk_at_most=normality.SHAPIRO_LIMIT,
        simulated_normal_samples=normality.DRAWS,
        summary=summary(rows),
    )
    plot(panels, context.out / "figure1.png")


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return by width and state: hidden layers, how many each test rejects at 5 %, mean shares of rejected rows."""
    table = []
    for width, state in dict.fromkeys((row["width"], row["state"]) for row in rows):
        chosen = [r for r in rows if (r["width"], r["state"], r["hidden"]) == (width, state, True)]
        row: dict[str, Any] = {"width": width, "state": state, "hidden_layers": len(chosen)}
        for name in ("shapiro", "dagostino", "ad", "ks"):
            row[f"layers_rejected_by_{name}"] = sum(r[f"{name}_p"] < normality.LEVEL for r in chosen)
            row[f"rows_rejected_by_{name}"] = float(np.mean([r[f"vectors_{name}"] for r in chosen]))
        row["excess_kurtosis"] = [round(r["excess_kurtosis"], 3) for r in chosen]
        row["best_by_aic"] = [r["best_by_aic"] for r in chosen]
        table.append(row)
    return table


def plot(panels: list[tuple[str, int, str, NDArray[np.float64]]], path: Path) -> None:
    """Draw a histogram of every hidden layer with the normal of its mean and deviation; a network in each row."""
    networks_shown = list(dict.fromkeys((picture, width) for picture, width, _, _ in panels))
    columns = max(sum((p, w) == key for p, w, _, _ in panels) for key in networks_shown)
    rows = len(networks_shown)
    size = (3.6 * columns, 2.7 * rows)
    with draw_figure(path, rows, columns, figsize=size, constrained_layout=True, squeeze=False) as (_, axes):
        for row, key in enumerate(networks_shown):
            own = [panel for panel in panels if panel[:2] == key]
            for column in range(columns):
                if column < len(own):
                    _panel(axes[row, column], *own[column])
                else:
                    axes[row, column].set_axis_off()


def _panel(axes: Any, picture: str, width: int, layer: str, matrix: NDArray[np.float64]) -> None:
    values = matrix.ravel()
    mean, deviation = float(values.mean()), float(values.std())
    axes.hist(values, bins=60, density=True, color="#9ecae1", edgecolor="none")
    x = np.linspace(values.min(), values.max(), 300)
    axes.plot(x, stats.norm.pdf(x, mean, deviation), color="#b30000", linewidth=1.3)
    kurtosis = float(stats.kurtosis(values))
    axes.set_title(f"{picture}, width {width}, {layer}", fontsize=9)
    axes.annotate(
        f"excess kurtosis {kurtosis:+.2f}\nstandard deviation {deviation:.3g}", (0.03, 0.95), xycoords="axes fraction",
        va="top", fontsize=7,
    )  # fmt: skip
    axes.set_ylim(0, 1.3 * axes.get_ylim()[1])
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=5)
    axes.tick_params(labelsize=7)
