"""The harness's tables: which files were measured, what they say at equal quality, and BD-rates."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.harness.curves import LOSSES, Point, bd_rate, bytes_at, envelope
from bench.harness.measure import COLUMNS, Row
from bench.harness.results import plain, write_csv

BITS_FAMILY = "b-bit + Brotli"
NNCODEC = "nncodec"

#: Ends the name of a profile that was given no option.
DEFAULT = ", default"

#: Files of others; entropy bounds are not files.
OTHERS = (NNCODEC, "fp16", BITS_FAMILY)

#: Loss in dB up to which curves are kept.
VIEW = 1.8

#: Ours that must not lose, whose ratios lead the summary; the others are there to be read.
LEADING = ("auto", "auto fast", "auto best", "search")

Curves = Mapping[str, Sequence[Point]]


def by_coder(rows: Iterable[Row]) -> dict[str, dict[str, list[Point]]]:
    """Return points by network, then by coder."""
    found: dict[str, dict[str, list[Point]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found[row.network][row.coder].append(row.point)
    return {network: dict(coders) for network, coders in found.items()}


def at_default(rows: Sequence[Row], curves: Mapping[str, Curves]) -> list[dict[str, Any]]:
    """Return files of ours made without any option, beside nncodec's bytes at the very loss each has."""
    table = []
    for row in rows:
        if row.coder.endswith(DEFAULT):
            theirs = bytes_at(curves[row.network].get(NNCODEC, []), row.loss_db)
            table.append(
                {
                    "network": row.network,
                    "profile": row.coder.removesuffix(DEFAULT),
                    "bytes": row.bytes,
                    "loss_db": row.loss_db,
                    "nncodec bytes": theirs and round(theirs),
                    "ratio": _ratio(row.bytes, theirs),
                    "encode_seconds": row.encode_seconds,
                    "decode_seconds": row.decode_seconds,
                }
            )
    return table


def is_ours(coder: str) -> bool:
    """Return whether a coder is one of our profiles or our search."""
    return not coder.startswith((*OTHERS, "entropy bound"))


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return ours / theirs if ours and theirs else None


def compare(network: str, curves: Curves, loss: float) -> dict[str, Any]:
    """Return a row of the summary: bytes of all coders that reach a loss, ours over nncodec's and over the best."""
    sizes = {coder: bytes_at(points, loss) for coder, points in curves.items()}
    others = [size for coder in OTHERS if (size := sizes.get(coder))]
    best = min(others, default=None)
    row: dict[str, Any] = {"network": network, "loss_db": loss}
    ours = [coder for coder in curves if is_ours(coder) and not coder.endswith(DEFAULT)]
    ratios = {coder: _ratio(sizes[coder], best) for coder in ours}
    row["loses"] = " ".join(c for c in LEADING if c in curves and (ratios[c] or math.inf) >= 1)
    for coder in ours:
        row[f"{coder} / nncodec"] = _ratio(sizes[coder], sizes.get(NNCODEC))
        row[f"{coder} / best other"] = ratios[coder]
    return row | {
        f"{coder} bytes": size and round(size) for coder, size in sizes.items() if not coder.endswith(DEFAULT)
    }


def _worst(row: Mapping[str, Any]) -> float:
    """Return the largest ratio to the best other of a leading coder, else of any of ours; unreached counts as worst."""
    for coders in (LEADING, None):
        ratios = [
            value if value is not None else math.inf
            for key, value in row.items()
            if key.endswith(" / best other") and (coders is None or key.removesuffix(" / best other") in coders)
        ]
        if ratios:
            return max(ratios) if coders else min(ratios)
    return 0.0


def summary(curves: Mapping[str, Curves]) -> list[dict[str, Any]]:
    """Return all networks at all losses of the tables; rows that lose first, the worst of them leading."""
    rows = [compare(network, coders, loss) for network, coders in curves.items() for loss in LOSSES]
    return sorted(rows, key=lambda row: (not row["loses"], -_worst(row)))


def bd_rates(curves: Mapping[str, Curves], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return BD-rate of every coder against nncodec and the b-bit + Brotli family, and bytes over 16-bit + Brotli.

    16 bits are one file, over which there is no BD-rate: the plain ratio of the coder's bytes at 0.1 dB to it is given,
    and the loss of that file.
    """
    sixteen = {row.network: row for row in rows if row.coder == BITS_FAMILY and row.setting == "b=16"}
    table = []
    for network, coders in curves.items():
        whole = sixteen.get(network)
        for coder, points in coders.items():
            table.append(
                {
                    "network": network,
                    "coder": coder,
                    "bd_rate_percent_vs_nncodec": bd_rate(points, coders.get(NNCODEC, [])),
                    "bd_rate_percent_vs_b_bit_brotli": bd_rate(points, coders.get(BITS_FAMILY, [])),
                    "bytes_at_0.1_db_over_16_bit_brotli": _ratio(bytes_at(points, 0.1), whole.bytes if whole else None),
                    "loss_db_of_16_bit_brotli": whole.loss_db if whole else None,
                }
            )
    return table


def medians(table: Sequence[Mapping[str, Any]], loss: float = 0.1) -> dict[str, float]:
    """Return median over networks of every ratio of the summary at one loss."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in table:
        if row["loss_db"] == loss:
            for key, value in row.items():
                if " / " in key and value is not None:
                    found[key].append(value)
    return {key: plain(median(values)) for key, values in found.items()}


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write ``curves.csv``: of each coder the points that its envelope is drawn from, see :func:`drawn`."""
    kept = {
        (network, coder): drawn(points)
        for network, coders in by_coder(rows).items()
        for coder, points in coders.items()
    }
    write_csv(path, [asdict(row) for row in rows if row.point in kept[row.network, row.coder]], COLUMNS)


def drawn(points: Iterable[Point]) -> set[Point]:
    """Return the points of an envelope below :data:`VIEW`, without those that lie on the line through the others.

    A point lies on it where it is at most 0.005 away, in dB of loss and natural logarithm of the bytes.
    """
    from skimage.measure import approximate_polygon  # with it comes all of SciPy, which takes a second

    edge = envelope(point for point in points if point.loss < VIEW)
    if not edge:
        return set()
    line = np.array([(point.loss, math.log(point.bytes)) for point in edge])
    found = {tuple(corner) for corner in approximate_polygon(line, 5e-3)}
    return {point for point, corner in zip(edge, line, strict=True) if tuple(corner) in found}


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a ``curves.csv``."""
    with path.open(newline="") as file:
        return [
            Row(**{key: float(line[key]) if key in COLUMNS[3:] else line[key] for key in COLUMNS})  # type: ignore[arg-type]
            for line in csv.DictReader(file)
        ]
