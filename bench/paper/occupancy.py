"""Occupancy fields (paper, section 4.4): Gauss networks of 3 hidden layers of 128, IoU against bytes, and renders.

All voxels of the tight box in random batches, as in WIRE, but of 8192: at 128³ the 2·10⁵ of WIRE would be 40 steps in
20 passes over Lucy. PSNR and IoU at 0.5 are those of a fixed choice of voxels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.harness import corpus, signals
from bench.harness.results import draw_figure
from bench.harness.training import values_of
from bench.paper import table
from bench.paper.codecs import all_rows, decoded
from bench.paper.context import Context, Line, Point
from coinr.signals.shape.shading import shade, turn

_BATCH, _RATE = 8192, 2e-3

#: What is drawn beside the original, from the files that were measured last.
DRAWN = ("COIN, fp32 + Brotli", "16-bit + Brotli", "CoINR paper, rule", "INRIC 8 bit", "auto, refined")


def run(context: Context) -> None:
    """Measure Lucy and the bunny at 128³, at 256³ too in ``full``; the generated knot without the data folder."""
    rows: list[dict[str, Any]] = []
    for recipe in context.track(context.known_first(["occupancy_rows"], recipes(context)), "shape"):
        rows += context.lines(["occupancy_rows"], recipe, partial(_shape_lines, context))
        context.write("occupancy_rows", rows)
        context.write("occupancy", table.summary(rows))


def recipes(context: Context) -> list[corpus.Recipe]:
    """Return every network."""
    names = ["lucy_128", "bunny_128"] if context.data else ["knot"]
    if context.budget.name == "full" and context.data:
        names += ["lucy_256", "bunny_256"]
    return [_recipe(context, name) for name in names]


def _recipe(context: Context, name: str) -> corpus.Recipe:
    steps = context.budget.epochs * _voxels(context, name).size // _BATCH
    return corpus.Recipe("gauss", (3, 128), "shape", name, steps, _BATCH, _RATE)


def _voxels(context: Context, name: str) -> NDArray[np.bool_]:
    return signals.crop(signals.occupancy(name, context.data))


def _shape_lines(context: Context, point: Point) -> list[Line]:
    """Return the table's lines of a shape's network; its curves and renders are drawn."""
    name = point.entry.recipe.signal
    voxels = _voxels(context, name)
    rows = all_rows(point, context)
    table.draw(context.out / f"occupancy_{name}_psnr.png", f"{name}: Gauss (3, 128)", "PSNR of voxels in dB", rows)
    measured = table.lines(point, rows)
    whole = signals.volume(name, context.data).inputs
    network = point.entry.network()
    shown = {codec: values_of(network, decoded(point, codec), whole).reshape(voxels.shape).numpy() for codec in DRAWN}
    _render(context, name, voxels, shown, measured)
    return measured


def _render(
    context: Context,
    name: str,
    voxels: NDArray[np.bool_],
    shown: Mapping[str, NDArray[np.float32]],
    measured: Sequence[Mapping[str, Any]],
) -> None:
    """Draw the original and decoded shapes side by side, with IoU and size."""
    camera = turn(30, 15)
    lines = {line["codec"]: line for line in measured}
    panels = [("original", voxels.astype(np.float32), "")]
    for codec, values in shown.items():
        line = lines[codec]
        panels.append((codec, values, f"IoU {line['iou']:.4f}, {line['bytes'] / 1000:.1f} kB"))
    path = context.out / f"occupancy_{name}.png"
    with draw_figure(path, 1, len(panels), figsize=(3 * len(panels), 4)) as (figure, axes):
        for axis, (title, values, below) in zip(axes, panels, strict=True):
            axis.imshow(shade(np.ascontiguousarray(values, np.float32), camera), cmap="gray", vmin=0, vmax=255)
            axis.set_title(f"{title}\n{below}", fontsize=8)
            axis.axis("off")
        figure.tight_layout()
