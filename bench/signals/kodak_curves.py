"""Curves of PSNR over bits per pixel: hulls, means over pictures, their table and their plot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.harness.results import draw_figure, read_csv

#: Rates in bits per pixel at which curves are compared.
RATES = (0.1, 0.2, 0.3, 0.45, 0.6)

#: Pixels of a picture.
PIXELS = 512 * 768

#: Mean points over the 24 pictures that others published; ``source`` names their repositories and files.
PUBLISHED = Path(__file__).with_name("kodak_published.csv")

#: The better of the files of ``search`` and ``refine``; not every rate is refined for.
BEST = "search or refine"
_CURVES = {"search": ("search", BEST), "refine": (BEST,)}

#: Those of JPEG, WebP and AVIF in the plot, and points on each drawn curve.
_PLAIN, _POINTS = {"JPEG": "#555555", "WebP": "#8c6d31", "AVIF": "#a55194"}, 60

#: (bits per pixel, PSNR in dB).
Curve = list[tuple[float, float]]


def hull(files: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the files on the upper hull of PSNR over the logarithm of the rate, as far as it rises, by size."""
    best: list[Mapping[str, Any]] = []
    for file in sorted(files, key=lambda file: (file["bpp"], -file["psnr"])):
        if best and file["psnr"] <= best[-1]["psnr"]:
            continue
        while len(best) > 1 and _slope(best[-2], best[-1]) <= _slope(best[-1], file):
            best.pop()
        best.append(file)
    return best


def thin(files: Iterable[Mapping[str, Any]], least: float) -> list[Mapping[str, Any]]:
    """Return the files of a hull without those that gain less than ``least`` dB on the one before; the last stays."""
    kept: list[Mapping[str, Any]] = []
    for file in (listed := list(files)):
        if not kept or file is listed[-1] or file["psnr"] >= kept[-1]["psnr"] + least:
            kept.append(file)
    return kept


def stored(path: Path) -> list[dict[str, Any]]:
    """Return the files of ``kodak.csv`` with their bits per pixel."""
    return [row | {"bpp": 8 * row["bytes"] / PIXELS} for row in read_csv(path)]


def _slope(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    rise: float = other["psnr"] - one["psnr"]
    return rise / math.log(other["bpp"] / one["bpp"])


def at(curve: Curve, rate: float) -> float | None:
    """Return PSNR at a rate, linear in its logarithm; None outside the curve."""
    if not curve or not curve[0][0] <= rate <= curve[-1][0]:
        return None
    rates, scores = zip(*curve, strict=True)
    return float(np.interp(math.log(rate), np.log(rates), scores))


def curves(files: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Curve]]:
    """Return the hull of each coder and picture; ``refine`` has none but with ``search``, see :data:`BEST`.

    A file that was made for a rate stands at that rate, though it is up to 2 % smaller.
    """
    groups: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for file in files:
        placed = {"bpp": file["rate"] or file["bpp"], "psnr": file["psnr"]}
        for curve in _CURVES.get(file["coder"], (file["coder"],)):
            groups.setdefault(curve, {}).setdefault(file["image"], []).append(placed)
    return {
        curve: {image: [(one["bpp"], one["psnr"]) for one in hull(of)] for image, of in group.items()}
        for curve, group in groups.items()
    }


def common_range(of: Mapping[str, Curve]) -> tuple[float, float]:
    """Return the lowest and highest rate at which every picture has a file, or lies between two."""
    return max(curve[0][0] for curve in of.values()), min(curve[-1][0] for curve in of.values())


def mean_at(of: Mapping[str, Curve], rate: float) -> float | None:
    """Return the mean PSNR of all pictures at a rate; None where one of them has none."""
    scores = [at(curve, rate) for curve in of.values()]
    known = [score for score in scores if score is not None]
    return float(np.mean(known)) if len(known) == len(scores) else None


def mean_curve(of: Mapping[str, Curve]) -> Curve:
    """Return the mean curve over the common range."""
    low, high = common_range(of)
    if low > high:
        return []
    # the ends of a geometric sequence may miss the range by rounding
    rates = np.clip(np.geomspace(low, high, _POINTS), low, high)
    return [(float(rate), score) for rate in rates if (score := mean_at(of, float(rate))) is not None]


def published() -> dict[str, Curve]:
    """Return the points of others."""
    found: dict[str, Curve] = {}
    for row in read_csv(PUBLISHED):
        found.setdefault(row["coder"], []).append((row["bpp"], row["psnr"]))
    return found


def table(found: Mapping[str, Mapping[str, Curve]], others: Mapping[str, Curve]) -> str:
    """Return Markdown: mean PSNR at rates, and where a mean curve begins and ends; ``others`` are means already."""
    head = ["coder", *(f"{rate:g} bpp" for rate in RATES), "from, to bpp"]
    lines = [head, ["---"] * len(head)]
    for coder, of in found.items():
        lines.append([coder, *(_cell(mean_at(of, rate)) for rate in RATES), _range(*common_range(of))])
    for coder, curve in others.items():
        cells = [_cell(at(curve, rate)) for rate in RATES]
        lines.append([f"{coder}, published", *cells, _range(curve[0][0], curve[-1][0])])
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _cell(score: float | None) -> str:
    return "–" if score is None else f"{score:.2f}"


def _range(low: float, high: float) -> str:
    return f"{low:.3f}, {high:.3f}"


def with_rate(files: Sequence[Mapping[str, Any]], rate: float) -> list[Mapping[str, Any]]:
    """Return the files of the pictures that have one made for a rate."""
    images = {file["image"] for file in files if file["rate"] == rate}
    return [file for file in files if file["image"] in images]


def plot(path: Path, files: Sequence[Mapping[str, Any]], others: Mapping[str, Curve]) -> None:
    """Draw the mean curves and the points of others up to 1 bit per pixel.

    A second panel shows the pictures with a file of ours at the highest rate, where not all have one.
    """
    parts = [files, some] if 0 < len(some := with_rate(files, RATES[-1])) < len(files) else [files]
    with draw_figure(path, 1, len(parts), figsize=(2 + 5.5 * len(parts), 5.2), squeeze=False) as (figure, axes):
        for axis, part in zip(axes[0], parts, strict=True):
            _draw(axis, curves(part), others if part is files else {})
            count = len({file["image"] for file in part})
            axis.set_title(f"Kodak at full size, mean of {count} pictures")
        figure.tight_layout()


def _draw(axis: Any, found: Mapping[str, Mapping[str, Curve]], others: Mapping[str, Curve]) -> None:
    for coder, of in found.items():
        curve = [point for point in mean_curve(of) if point[0] <= 1]
        if not curve:
            continue
        style: dict[str, Any] = {"linestyle": "--", "color": _PLAIN[coder]} if coder in _PLAIN else {}
        axis.plot(*zip(*curve, strict=True), label=coder, linewidth=1.8, **style)
    for (coder, curve), marker in zip(others.items(), "sD^", strict=False):
        near = [point for point in curve if 0.05 <= point[0] <= 1]
        axis.plot(*zip(*near, strict=True), f"{marker}:", markersize=5, linewidth=1, label=f"{coder}, published")
    axis.set(xlabel="bits per pixel", xscale="log", ylabel="mean PSNR, dB", xlim=(0.07, 1.05))
    ticks = (*RATES, 1.0)
    axis.set_xticks(ticks, [f"{rate:g}" for rate in ticks])
    axis.tick_params(axis="x", which="minor", labelbottom=False)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9)
