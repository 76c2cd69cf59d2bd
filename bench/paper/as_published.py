"""The rule ``published`` of profile ``paper`` beside ours: bytes and loss of SIRENs of pictures."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import coinr
from bench.harness.coders import ours_version
from bench.harness.measure import Bench, Row
from bench.paper.codecs import uniform_rows
from bench.paper.context import Context
from bench.paper.images import SIZES
from coinr.codec.profiles import paper_rules


def options_by_rule(width: int) -> dict[str, dict[str, Any]]:
    """Return options of ``paper`` by the name of the row, for networks of a width."""
    published = {"rule": paper_rules.PUBLISHED}
    return {
        "ours, rule 1": {},
        "published, s of rule 1": published,
        "published, first layer lossless": published | {"lossless": ["layers.0.weight"]},
        "published, largest s": published | {"s": paper_rules.largest_sparsity(width)},
    }


def rows(bench: Bench) -> Iterator[Row]:
    """Yield the files of a network: by each rule, and 16-bit uniform with Brotli."""
    sd = bench.entry.state_dict
    for name, options in options_by_rule(bench.entry.recipe.sizes[1]).items():
        encode = partial(coinr.encode_state_dict, sd, profile="paper", **options)
        yield bench.measure(name, str(options), ours_version(), encode, coinr.decode_state_dict)
    yield from (row for row in uniform_rows(bench) if row.coder == "16-bit + Brotli")


def run(context: Context) -> None:
    """Write ``published.csv``: a row for each picture, size and rule."""
    jobs = [(picture, size) for size in SIZES["c1"] for picture in context.pictures]
    lines = []
    for picture, (hidden_layers, width) in context.track(jobs, "network"):
        bench = context.siren(picture, hidden_layers, width).bench
        for row in rows(bench):
            lines.append(
                {
                    "picture": picture,
                    "configuration": f"({hidden_layers}, {width})",
                    "codec": row.coder,
                    "bytes": int(row.bytes),
                    "quality_db": row.quality,
                    "loss_db": row.loss_db,
                }
            )
        context.write("published", lines)
