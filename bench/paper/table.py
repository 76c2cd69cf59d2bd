"""From measured files to a table: what each codec needs where, and ours at the same quality."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

from bench.harness.curves import bytes_at, envelope
from bench.harness.measure import Row
from bench.harness.results import draw_figure
from bench.paper.codecs import LOSS
from bench.paper.context import Point

#: Ours, whose bytes at the quality of every other row are set beside it.
OURS = ("auto", "auto, refined")

#: Codecs that stand as they are; of the others the smallest file that keeps the quality is taken.
FIXED = (
    "COIN, fp16",
    "COIN, fp32 + Brotli",
    "16-bit + Brotli",
    "INRIC 8 bit",
    "INRIC 7 bit",
    "CoINR paper, rule",
    "CoINR on COIN's weights",
    "CoINR on INRIC's weights",
    "CoINR, values of 8 bits",
    "fp32, trained as long",
)

#: What costs ours nothing to beat: not a codec.
_BESIDE = ("fp32, trained as long",)


def chosen(rows: Sequence[Row]) -> dict[str, Row]:
    """Return one file a codec: its only one, or the smallest that loses at most 0.1 dB; none of some codecs."""
    by_coder: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_coder[row.coder].append(row)
    found = {}
    for coder, files in by_coder.items():
        good = files if coder in FIXED else [row for row in files if row.loss_db <= LOSS]
        if good:
            found[coder] = min(good, key=lambda row: row.bytes)
    return found


def lines(point: Point, rows: Sequence[Row], scale: Callable[[float], float] | None = None) -> list[dict[str, Any]]:
    """Return a line for each codec on one network; ``scale`` makes bytes bits per pixel or the like."""
    curves = {ours: [row.point for row in rows if row.coder == ours] for ours in OURS}
    table = []
    for coder, row in chosen(rows).items():
        line: dict[str, Any] = {
            "network": point.entry.name,
            "configuration": configuration(point),
            "seed": point.entry.recipe.seed,
            "codec": coder,
            "setting": row.setting,
            "bytes": row.bytes,
            "quality_db": row.quality,
            "loss_db": row.loss_db,
        }
        if scale is not None:
            line["bpp"] = scale(row.bytes)
        if "iou" in row.extra:
            line["iou"] = row.extra["iou"]
        for ours, points in curves.items():
            size = None if coder == ours or coder in _BESIDE else bytes_at(points, max(row.loss_db, _finest(points)))
            line[f"{ours} / this"] = size and size / row.bytes
        table.append(line)
    return table


def _finest(points: Sequence[Any]) -> float:
    """Return the least loss that was measured: of rows that lose less, our file of that loss stands."""
    edge = envelope(points)
    return edge[0].loss if edge else 0.0


def draw(path: Path, title: str, unit: str, rows: Sequence[Row]) -> None:
    """Draw quality over bytes of one network's files: a line through the best of each codec, or a single mark."""
    with draw_figure(path, figsize=(9, 6)) as (figure, axes):
        for k, coder in enumerate(dict.fromkeys(row.coder for row in rows if row.coder not in _BESIDE)):
            edge = envelope([row.point for row in rows if row.coder == coder])
            original = rows[0].quality + rows[0].loss_db
            curve = sorted((point.bytes, original - point.loss) for point in edge)
            axes.plot(
                *zip(*curve, strict=True), marker="os^vD"[k // 10 % 5], color=f"C{k % 10}", markersize=4, label=coder
            )
        axes.set_xscale("log")
        axes.set_xlabel("bytes of the file")
        axes.set_ylabel(unit)
        axes.set_title(title)
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=8)
        figure.tight_layout()


def configuration(point: Point) -> str:
    """Return hidden layers and width, as ``(3, 64)``."""
    return str(point.entry.recipe.sizes)


def summary(table: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return means over networks of one configuration, lines in which ours is larger first.

    ``sd over seeds`` are means over pictures of standard deviations over seeds, where there are several.
    """
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for line in table:
        groups[line["configuration"], line["codec"]].append(line)
    sixteen = {line["network"]: line["bytes"] for line in table if line["codec"] == "16-bit + Brotli"}
    result = []
    for (sizes, codec), found in groups.items():
        line: dict[str, Any] = {"loses": "", "configuration": sizes, "codec": codec, "networks": len(found)}
        for key in ("quality_db", "loss_db", "bytes", "bpp", "iou"):
            values = [one[key] for one in found if key in one]
            if values:
                line[key] = mean(values)
        line["bytes / 16-bit + Brotli"] = line["bytes"] / mean(sixteen[one["network"]] for one in found)
        for ours in OURS:
            ratios = [one[f"{ours} / this"] for one in found if one[f"{ours} / this"]]
            line[f"{ours} / this"] = mean(ratios) if ratios else None
        beaten = [ours for ours in OURS if (line[f"{ours} / this"] or 0) >= 1]
        line["loses"] = " and ".join(beaten)
        result.append(line | _over_seeds(found))
    return sorted(result, key=lambda line: (not line["loses"], line["configuration"], line["bytes"]))


def _over_seeds(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    by_signal: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for line in found:
        by_signal[line["network"].partition("-seed")[0]].append(line)
    if min(map(len, by_signal.values())) < 2:
        return {}
    return {
        f"{key}, sd over seeds": mean(pstdev([one[key] for one in lines]) for lines in by_signal.values())
        for key in ("bytes", "quality_db")
    }
