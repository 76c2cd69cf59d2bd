"""What the parts of the method are worth, each varied alone: one table and one figure for each part."""

from __future__ import annotations

from bench.paper.ablations import bits, cut, entropy, kinds, learned, solver, training
from bench.paper.context import Context

PARTS = (entropy, solver, kinds, cut, bits, learned, training)


def run(context: Context) -> None:
    """Measure all ablations, one after another."""
    for part in PARTS:
        part.run(context)
