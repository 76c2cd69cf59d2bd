"""Dictionaries: kind, number of atoms M and nonzeros s, by files of the ``paper`` profile."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import coinr
from bench.harness.coders import ours_version
from bench.paper.ablations.figures import Panel, draw, lines_of
from bench.paper.ablations.hidden import decoded_residual_db, hidden_names
from bench.paper.context import Context, Point
from coinr.codec import baselines
from coinr.engine import philox

LOG_ATOMS = (10, 12, 14, 16)
FRACTIONS = (0.25, 0.33, 0.41, 0.485)  # of the width: s


def _rows(point: Point) -> Iterator[dict[str, Any]]:
    sd, width = point.entry.state_dict, point.entry.recipe.sizes[1]
    names = hidden_names(sd, width)
    brotli = len(baselines.encode(sd, "uniform16"))

    def residual(blob: bytes) -> dict[str, float]:
        return {"residual_db": decoded_residual_db(sd, coinr.decode_state_dict(blob), names)}

    for kind in philox.KINDS:
        for log in LOG_ATOMS:
            for s in sorted({round(part * width) for part in FRACTIONS}):
                options: dict[str, Any] = {"kind": kind, "M": 1 << log, "s": s}
                encode = partial(coinr.encode_state_dict, sd, profile="paper", **options)
                row = point.bench.measure(
                    "ablation paper", f"{kind} M=2^{log} s={s}", ours_version(), encode, coinr.decode_state_dict,
                    residual,
                )  # fmt: skip
                yield {
                    "network": point.entry.name,
                    **options,
                    "bytes": int(row.bytes),
                    "ratio_to_16_bit_brotli": row.bytes / brotli,
                    "residual_db": row.extra["residual_db"],
                    "loss_db": row.loss_db,
                    "encode_seconds": row.encode_seconds,
                }


def run(context: Context) -> None:
    """Write ``ablation_dictionary``."""
    rows: list[dict[str, Any]] = []
    for picture in context.track(context.pictures, "dictionary, pictures"):
        rows += _rows(context.siren(picture, 3, 64))
    context.write("ablation_dictionary", rows)
    plot(rows, context.out / "ablation_dictionary.png")


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw residual and loss over bytes, for each network."""
    panels = []
    for name in dict.fromkeys(row["network"] for row in rows):
        own = [row for row in rows if row["network"] == name]

        def label(row: Any) -> str:
            return f"M = 2^{row['M'].bit_length() - 1}, {row['kind']}"

        panels += [
            Panel(name, "bytes of the file", "residual of hidden matrices, dB",
                  lines_of(own, label, "bytes", "residual_db"), paired=True),
            Panel(name, "bytes of the file", "loss of PSNR, dB",
                  lines_of(own, label, "bytes", "loss_db"), symlog_y=0.1, level=0.1, paired=True),
        ]  # fmt: skip
    draw(path, "kind and size of the dictionary: paper profile, given s", panels)
