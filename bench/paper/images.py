"""Experiments c1 and c2 (paper, section 4.3): SIRENs of pictures, wider and deeper, through every codec."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.harness.corpus import Recipe
from bench.harness.curves import Point as RatePoint
from bench.harness.curves import bd_rate
from bench.harness.results import draw_figure
from bench.paper import table
from bench.paper.codecs import CHOSEN, LOSS, RULE, all_rows
from bench.paper.context import Context, Point

#: Hidden layers and widths of each experiment.
SIZES = {"c1": ((2, 32), (3, 64), (3, 128)), "c2": ((3, 64), (5, 64), (7, 64))}

#: What BD-rates are relative to, and what is drawn.
REFERENCE = "16-bit + Brotli"
DRAWN = (
    "COIN, fp32 + Brotli",
    "COIN, fp16",
    REFERENCE,
    RULE,
    "b-bit + Brotli",
    "INRIC 8 bit",
    "nncodec",
    "sparse",
    "auto",
    "auto, refined",
)


def run_c1(context: Context) -> None:
    """Measure widths: (2, 32), (3, 64), (3, 128); more seeds of the first, of all in ``full``."""
    _run(context, "c1")


def run_c2(context: Context) -> None:
    """Measure depths: (3, 64), (5, 64), (7, 64)."""
    _run(context, "c2")


def recipes(context: Context, name: str) -> list[Recipe]:
    """Return every network of ``c1`` or ``c2``."""
    found = []
    for size in SIZES[name]:
        several = name == "c1" and (context.budget.name == "full" or size == SIZES[name][0])
        seeds = range(context.budget.seeds if several else 1)
        found += [context.siren_recipe(picture, *size, seed) for picture in context.pictures for seed in seeds]
    return found


def _run(context: Context, name: str) -> None:
    rows: list[dict[str, Any]] = []
    tables = [f"{name}_rows", "c1_rows", "c2_rows"]  # they share (3, 64)
    for recipe in context.track(context.known_first(tables, recipes(context, name)), "network"):
        rows += context.lines(tables, recipe, partial(picture_lines, context))
        means = table.summary(rows)
        context.write(f"{name}_rows", rows)
        context.write(name, means, bd_rate_percent=bd_rates(means), ratio_to_16_bit=ratios(means))
        title = f"{name}: {len(context.pictures)} pictures, {context.budget.name} budget"
        plot(context.out / f"{name}.png", title, means)


def picture_lines(context: Context, point: Point) -> list[dict[str, Any]]:
    """Return the table's lines of one network of a picture, with bits per pixel."""
    pixels = len(point.entry.eval_samples["targets"])
    return table.lines(point, all_rows(point, context), lambda size: 8 * size / pixels)


def bd_rates(means: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Return BD-rate in percent over the mean points of the configurations, against 16-bit + Brotli.

    Configurations of which a codec has not all networks are left out of its curve.
    """
    whole = {line["configuration"]: line["networks"] for line in means if line["codec"] == REFERENCE}
    curves: dict[str, list[RatePoint]] = {line["codec"]: [] for line in means}
    for line in means:
        if line["networks"] == whole[line["configuration"]]:
            curves[line["codec"]].append(RatePoint(line["bpp"], -line["quality_db"]))
    reference = curves.get(REFERENCE, [])
    return {codec: bd_rate(curve, reference, best=-100.0, worst=0.0) for codec, curve in sorted(curves.items())}


def ratios(means: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return bytes of the paper's method over 16-bit + Brotli at a loss of at most 0.1 dB, by configuration."""
    found: dict[str, float] = {}
    for line in means:
        if line["codec"] in (CHOSEN, RULE) and line["loss_db"] <= LOSS:
            sizes, ratio = line["configuration"], line["bytes / 16-bit + Brotli"]
            found[sizes] = min(ratio, found.get(sizes, ratio))
    return found


def plot(path: Path, title: str, means: Sequence[dict[str, Any]]) -> None:
    """Draw mean PSNR over mean bits per pixel of every codec, and the same from one bit per pixel down."""
    with draw_figure(path, figsize=(9, 6)) as (figure, axes):
        for codec in DRAWN:
            curve = sorted((line["bpp"], line["quality_db"]) for line in means if line["codec"] == codec)
            if curve:
                axes.plot(*zip(*curve, strict=True), marker="o", markersize=4, label=codec)
        axes.set_xscale("log")
        axes.set_xlabel("bits per pixel (mean)")
        axes.set_ylabel("PSNR in dB (mean)")
        axes.set_title(title)
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=8)
        figure.tight_layout()
