"""What the encoder of the ``paper`` profile decides by measurement; decoding never looks here.

The paper publishes neither M nor s nor rows against columns nor the quantiser's range. The choices below were
measured by ``bench/paper_choices.py``; the numbers are in ``bench/results/paper_choices.json``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from coinr.tensors import Cut, Layout

# Fits the paper's remark that an index takes 16 bits; fewer atoms need more values, more atoms more time.
ATOMS = 1 << 16

# Widths below this are "tiny" (paper, section 3.3.2): the matrix is flattened into one vector.
TINY = 50

# A matrix whose rows are this many times shorter than its columns is a first layer: coded along the width.
EDGE_RATIO = 4

# A first layer's error weighs about a hundred times a hidden layer's in energy, so its tolerance is a tenth.
EDGE_FACTOR = 0.1

# Longer vectors are chopped into runs: nothing is gained beyond and time grows with the square of n.
LONGEST = 2048
RUN = 256
SHORTEST = 16

# The relative error that the rule for s aims at, and the rule: s / n by n at M = ATOMS, linear in log n between.
RULE_VERSION = 1
RULE_TOLERANCE = 0.0095
RULE = ((16, 0.35), (32, 0.385), (64, 0.39), (128, 0.395), (256, 0.41), (512, 0.43), (1024, 0.465), (2048, 0.5))


@dataclass(frozen=True)
class Plan:
    """How a tensor becomes vectors, and the factor on the tolerance of its profile."""

    cut: Cut
    factor: float


def plan(layout: Layout) -> Plan | None:
    """The plan for a tensor, from its shape alone; None for those that stay at 16 bit (vectors, tiny sizes)."""
    if len(layout.shape) < 2 or layout.size < SHORTEST:
        return None
    rows, columns = layout.shape[0], layout.size // layout.shape[0]
    if columns * EDGE_RATIO < rows:
        return _runs(True, rows, EDGE_FACTOR)
    if rows == columns and columns < TINY:
        return Plan(Cut(False, layout.size), 1.0)
    return _runs(False, columns, 1.0)


def _runs(transposed: bool, n: int, factor: float) -> Plan | None:
    if n < SHORTEST:
        return None
    return Plan(Cut(transposed, n if n <= LONGEST else RUN), factor)


def sparsity(n: int, M: int, tolerance: float | None) -> int:
    """Nonzeros that a vector of dimension n needs for a relative error, by the rule; may exceed what 2s < n allows.

    The residual of a pursuit falls by about the same number of decibels with each atom, and that number grows
    about with log M: the rule's s is scaled by both.
    """
    if tolerance == 0:
        return n
    x = math.log2(min(max(n, RULE[0][0]), RULE[-1][0]))
    points = [(math.log2(size), fraction) for size, fraction in RULE]
    low, high = next((a, b) for a, b in zip(points, points[1:], strict=False) if x <= b[0])
    fraction = low[1] + (high[1] - low[1]) * (x - low[0]) / (high[0] - low[0])
    scale = 1.0 if tolerance is None else math.log(tolerance) / math.log(RULE_TOLERANCE)
    return max(1, math.ceil(fraction * n * scale * math.log(ATOMS) / math.log(max(M, 2))))


def most(n: int) -> int:
    """The largest s that the paper's condition 2s < n allows."""
    return (n - 1) // 2
