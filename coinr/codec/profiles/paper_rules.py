"""Measured choices of the ``paper`` profile's encoder; decoding does not depend on them.

The paper does not publish M, s, whether rows or columns are coded, or the range of the quantizer. The choices below
were measured by ``bench/paper/choices.py``; the numbers are in ``bench/results/paper_choices.json``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from coinr.codec.allocate.default_errors import FIRST_LAYER_RATIO
from coinr.codec.tensors import Cut, Layout

# The paper says that an index takes 16 bits. Fewer atoms need more values; more atoms need more time.
ATOMS = 1 << 16

# Widths below this are "tiny" (paper, section 3.3.2): the matrix is flattened into one vector.
TINY = 50

# Factor on the tolerance of first layers: the energy of their error weighs 27 to 48 times that of the first hidden
# layer.
FIRST_LAYER_FACTOR = 0.1

# Vectors longer than LONGEST are chopped into runs of RUN: 2s < n would not allow enough atoms, and time grows with n².
LONGEST = 2048
RUN = 256
SHORTEST = 16


@dataclass(frozen=True)
class Rule:
    """How s follows from n.

    Attributes
    ----------
    tolerance
        The relative error that the rule aims at in hidden layers, at M = ATOMS; 2s < n ends it short at n = 2048.
    fractions
        Pairs (n, s / n), linear in log n between.
    """

    tolerance: float
    fractions: tuple[tuple[int, float], ...]


# The name of the rule that cuts and stores as the paper's published text says.
PUBLISHED = "published"

# Rules by version. A better rule is added under the next one; none is changed, so that files can be made again.
RULES: dict[int | str, Rule] = {
    1: Rule(
        0.008,
        ((16, 0.42), (32, 0.4), (64, 0.405), (128, 0.412), (256, 0.424), (512, 0.446), (1024, 0.476), (2048, 0.5)),
    )
}
LATEST = 1

# The paper says that s follows from the width, and not how.
RULES[PUBLISHED] = RULES[1]


@dataclass(frozen=True)
class CutChoice:
    """How a tensor becomes vectors, and the factor on the tolerance of its profile."""

    cut: Cut
    factor: float


def choose_cut(layout: Layout) -> CutChoice | None:
    """Choose the cut of a tensor from its shape; None for vectors and tiny tensors, which get 16-bit values."""
    if len(layout.shape) < 2 or layout.size < SHORTEST:
        return None
    rows, columns = layout.shape[0], layout.size // layout.shape[0]
    if columns * FIRST_LAYER_RATIO < rows:
        return _runs(True, rows, FIRST_LAYER_FACTOR)
    if rows == columns and columns < TINY:
        return CutChoice(Cut(False, layout.size), 1.0)
    return _runs(False, columns, 1.0)


def published_cut(layout: Layout) -> CutChoice | None:
    """Return the cut that the published text gives: all vectors have the length of a matrix's longer side, the width.

    So a first layer is cut into columns, and hidden and last layers are cut into rows. None for tensors that are not
    coded: biases and other vectors, and those whose longer side allows no s with 2s < n, or is above LONGEST.
    """
    if len(layout.shape) < 2 or not layout.size:
        return None
    rows, columns = layout.shape[0], layout.size // layout.shape[0]
    n = max(rows, columns)
    return CutChoice(Cut(rows > columns, n), 1.0) if largest_sparsity(n) and n <= LONGEST else None


def _runs(transposed: bool, n: int, factor: float) -> CutChoice | None:
    if n < SHORTEST:
        return None
    return CutChoice(Cut(transposed, n if n <= LONGEST else RUN), factor)


def sparsity(rule: Rule, n: int, M: int, tolerance: float | None) -> int:
    """Return the nonzeros that a vector of dimension n needs for a relative error; they may exceed 2s < n.

    With each atom the residual falls by about the same number of decibels, which grows about with log M. So s is
    fraction(n) · n · log(tolerance) / log(tolerance of the rule) · log(ATOMS) / log(M).
    """
    if tolerance == 0:
        return n
    sizes, fractions = zip(*rule.fractions, strict=True)
    fraction = float(np.interp(math.log2(n), np.log2(sizes), fractions))
    scale = 1.0 if tolerance is None else math.log(tolerance) / math.log(rule.tolerance)
    return max(1, math.ceil(fraction * n * scale * math.log(ATOMS) / math.log(max(M, 2))))


def relative_target(rule: Rule, choice: CutChoice) -> float | None:
    """Return the relative error that a tensor's s must reach; None where it is the rule's own, as with its s."""
    return None if choice.factor == 1 else rule.tolerance * choice.factor


def largest_sparsity(n: int) -> int:
    """Return the largest s that the paper's condition 2s < n allows."""
    return (n - 1) // 2
