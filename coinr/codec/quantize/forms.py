"""The form of the entropy coder that takes the fewest bytes for the integers of a matrix."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from coinr.codec.coders.levels import SHAPES, LevelForm, scale_code
from coinr.codec.effort import Effort
from coinr.engine import native

# The distances between levels that are sorted are about exponentially distributed: the code of that shape.
_EXPONENTIAL = SHAPES.index(1.0)

# A row is tried as an ascending one where the first share of its values are no smaller than the one before, where the
# second share differ from it (lossless storage suits repetitive rows), and where all distances are in range.
_ASCENDING, _CHANGING, _LARGEST = 0.75, 0.25, 1 << 18


@dataclass(frozen=True, eq=False)
class Quantized:
    """Integers of a matrix, the exponents, form and base step they are coded with, and the errors they leave."""

    k: NDArray[np.int32]
    row: NDArray[np.uint8]
    column: NDArray[np.uint8]
    form: LevelForm
    step: float
    weighted_error: float
    error: float


def smallest_form(quantized: Quantized, effort: Effort) -> tuple[bytes, LevelForm]:
    """Return the smallest encoding of the integers, and its form."""
    plain = _smallest_plain(quantized, effort)
    ascending = _smallest_ascending(quantized, effort)
    return plain if ascending is None else min(plain, ascending, key=lambda coded: len(coded[0]))


def _smallest_ascending(quantized: Quantized, effort: Effort) -> tuple[bytes, LevelForm] | None:
    """Return the smallest encoding of one row by the distances of its values; None where most do not ascend."""
    form, k = quantized.form, quantized.k
    if len(k) != 1 or form.rans or form.row_steps or form.column_steps or k.size < 2:
        return None
    distances = np.diff(native.level_values(k, form.log_states)[0])
    ascends = np.count_nonzero(distances >= 0) >= _ASCENDING * distances.size
    changes = np.count_nonzero(distances) >= _CHANGING * distances.size
    if not (ascends and changes) or int(np.abs(k).max()) > _LARGEST:
        return None
    mean = float(np.abs(distances).mean()) / (2 if form.log_states else 1)
    best = replace(form, shape=_EXPONENTIAL, scale=scale_code(mean), mixed=False, ascending=True)
    if effort.all_shapes:
        shapes = (replace(best, shape=_EXPONENTIAL + other) for other in (-1, 0, 1))
        best = min(shapes, key=lambda one: len(one.encode(k)))
        others = replace(best, mixed=form.mixed), replace(best, by_row=True)
        best = min((best, *others), key=lambda one: len(one.encode(k)))
    return best.encode(k), best


def _smallest_plain(quantized: Quantized, effort: Effort) -> tuple[bytes, LevelForm]:
    """Return the smallest encoding over the switches of the model, and its form."""
    form, k, row, column = quantized.form, quantized.k, quantized.row, quantized.column
    if not effort.sample:
        best = _expected_form(form, k)
        return best.encode(k, row, column), best
    rows = max(1, min(len(k), effort.sample // max(1, k.shape[1])))
    tried: dict[LevelForm, bytes] = {}

    def size(one: LevelForm) -> int:
        if one not in tried:
            tried[one] = one.encode(k[:rows], row[:rows], column)
        # an unusual form takes about a byte more in the tensor table
        odd = one.by_row + one.by_column + (one.shape != form.shape) + (one.mixed != form.mixed)
        return len(tried[one]) + odd

    best = min(_with_switches(form, k), key=size)
    if effort.all_shapes:
        shapes = {max(0, best.shape - 1), best.shape, min(len(SHAPES) - 1, best.shape + 1)}
        best = min((replace(best, shape=shape) for shape in sorted(shapes)), key=size)
        if best.mixed:
            best = min((best, replace(best, mixed=False)), key=size)
    return tried[best] if rows == len(k) else best.encode(k, row, column), best


def _with_switches(form: LevelForm, k: NDArray[np.int32]) -> Iterable[LevelForm]:
    switches = itertools.product((False, True), repeat=2) if min(k.shape) > 1 else ((False, False),)
    return (replace(form, by_row=by_row, by_column=by_column) for by_row, by_column in switches)


def _expected_form(form: LevelForm, k: NDArray[np.int32]) -> LevelForm:
    """Return the form with those switches on that save more bits by the mean magnitudes than it takes to learn them."""
    if min(k.shape) < 2:
        return form
    magnitude = np.abs(k)
    by_row, by_column = (_saves(magnitude.sum(axis) / k.shape[axis], k.shape[axis]) for axis in (1, 0))
    return replace(form, by_row=by_row, by_column=by_column) if by_row or by_column else form


def _saves(means: NDArray[np.float64], count: int) -> bool:
    """Return whether the means of rows, or columns, of so many elements differ enough to be learned one by one."""
    means = means + 0.5
    saved = count * (math.log2(means.sum() / means.size) - np.log2(means).sum() / means.size)
    return bool(saved > math.log2(count) / 2)
