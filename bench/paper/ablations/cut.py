"""How a hidden matrix becomes vectors: rows, columns, or runs of the flattened matrix, for wide layers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import coinr
from bench.harness.coders import ours_version
from bench.harness.curves import Point as RatePoint
from bench.harness.curves import bytes_at
from bench.paper.ablations.figures import Panel, draw, lines_of
from bench.paper.ablations.hidden import Hidden, decibels
from bench.paper.context import Context, Point
from coinr.codec.profiles import paper_rules
from coinr.codec.tensors import Cut

ATOMS = 1 << 14
FRACTIONS = (0.25, 0.3, 0.35, 0.4, 0.44, 0.49)  # of n: s
LOSS = 0.1  # dB at which bytes are compared


def cuts(width: int) -> dict[str, Cut]:
    """Return the ways to cut a hidden matrix; flattened ones into runs of 16 rows and more."""
    ways = {"rows": Cut(False, width), "columns": Cut(True, width)}
    runs = [n for n in (1024, 2048) if width < n <= width * width]
    return ways | {f"flattened, n = {n}": Cut(False, n) for n in runs}


def _rows(point: Point, way: str, cut: Cut, atoms: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each s, all of one pursuit; recalled where they were measured before."""
    coder, version = f"ablation cut {way}", ours_version()
    sparsities = sorted({max(1, min(paper_rules.largest_sparsity(cut.n), round(part * cut.n))) for part in FRACTIONS})
    settings = {s: f"M={atoms} s={s}" for s in sparsities}
    rows = {s: row for s, setting in settings.items() if (row := point.bench.known(coder, setting, version))}
    if len(rows) < len(settings):
        hidden = Hidden.of(point, cut)
        dictionary = coinr.Dictionary("gaussian", cut.n, atoms, 0)
        code = hidden.pursue(dictionary, sparsities[-1])
        for s, setting in settings.items():
            blob, size = hidden.file(np.ascontiguousarray(code.indices[:, :s]), dictionary)
            extra = {
                "hidden_bytes": float(size),
                "residual_db": decibels(code.path[:, s], code.path[:, 0]),
                "bits_per_weight": 8 * size / hidden.weights,
            }
            quality = point.entry.evaluate(coinr.decode_state_dict(blob))
            row = point.bench.row(coder, setting, len(blob), quality, (0.0, 0.0), **extra)
            rows[s] = point.bench.keep(row, version)
    for s, row in rows.items():
        yield {
            "network": point.entry.name,
            "cut": way,
            "n": cut.n,
            "M": atoms,
            "s": s,
            "bytes": int(row.bytes),
            **row.extra,
            "loss_db": row.loss_db,
        }


def at_equal(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, by network and cut, bytes of hidden matrices at a residual of -30 dB, and of files at 0.1 dB."""
    table = []
    for network, way in dict.fromkeys((row["network"], row["cut"]) for row in rows):
        own = [row for row in rows if (row["network"], row["cut"]) == (network, way)]
        residual = bytes_at([RatePoint(row["hidden_bytes"], row["residual_db"]) for row in own], -30.0)
        loss = bytes_at([RatePoint(row["bytes"], row["loss_db"]) for row in own], LOSS)
        table.append({"network": network, "cut": way, "hidden_bytes_at_-30_db": residual, "bytes_at_0.1_db": loss})
    return [
        {key: value if not isinstance(value, float) else math.ceil(value) for key, value in row.items()}
        for row in table
    ]


def run(context: Context) -> None:
    """Write ``ablation_cut``."""
    jobs = [(picture, width, way) for width in (64, 128) for picture in context.pictures for way in cuts(width)]
    rows: list[dict[str, Any]] = []
    for picture, width, way in context.track(jobs, "cuts"):
        rows += _rows(context.siren(picture, 3, width), way, cuts(width)[way], ATOMS)
    context.write("ablation_cut", rows, at_equal=at_equal(rows))
    plot(rows, context.out / "ablation_cut.png")


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the residual over bits a weight, and the loss over bytes."""
    panels = []
    for name in dict.fromkeys(row["network"] for row in rows):
        own = [row for row in rows if row["network"] == name]
        panels += [
            Panel(name, "bits per hidden weight", "residual of hidden matrices, dB",
                  lines_of(own, lambda row: row["cut"], "bits_per_weight", "residual_db")),
            Panel(name, "bytes of the file", "loss of PSNR, dB",
                  lines_of(own, lambda row: row["cut"], "bytes", "loss_db"), symlog_y=0.1, level=LOSS),
        ]  # fmt: skip
    draw(path, f"rows, columns, flattened: gaussian, M = {ATOMS}, 16-bit values", panels)
