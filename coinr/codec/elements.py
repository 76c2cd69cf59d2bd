"""Tensors whose errors are bounded element by element, and how they are rounded.

A scale, a variance or a frequency multiplies the output of a whole channel, so a small one matters as much as a large
one. The relative error of each element of such a tensor is bounded, not that of the tensor. They are found by their
values: weights and most biases have both signs and one order of magnitude. Names say which tensors share a layer, and
which is a bias: sorted by size they have one sign.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from coinr.codec.state_dict import Entry
from coinr.codec.tensors import from_planes, sample

#: Tensors with fewer elements are not classified by their values.
FEWEST = 8

# A tensor has a wide range where the ninth decile of its magnitudes is at least this many times the first. The ratio is
# 13 for a normal distribution and 40 for Cauchy's.
_WIDE = 100.0


def by_element(entries: list[Entry]) -> set[int]:
    """Return the positions of the tensors whose errors are bounded element by element.

    These are vectors of one sign or of wide range, and other tensors of one sign and of wide range. In layers without a
    matrix they are also vectors of fewer than :data:`FEWEST` elements, and all vectors beside one of the former. The
    bias of a matrix is none of them: it is added to the output, so its errors count as they are.
    """
    with_matrix = {layer_of(entry) for entry in entries if len(entry.layout.shape) > 1}
    alone = [layer_of(entry) not in with_matrix for entry in entries]
    rows = {(layer_of(entry), entry.layout.shape[0]) for entry in entries if len(entry.layout.shape) > 1}
    found = {row for row, entry in enumerate(entries) if not _is_bias(entry, rows) and _holds_scales(entry)}
    layers = {layer_of(entries[row]) for row in found}
    return found | {
        row for row, entry in enumerate(entries) if alone[row] and (entry.count < FEWEST or layer_of(entry) in layers)
    }


def layer_of(entry: Entry) -> str:
    """Return the name without its last part, which the weight and the bias of a layer share."""
    return entry.name.rpartition(".")[0]


def _is_bias(entry: Entry, rows: set[tuple[str, int]]) -> bool:
    """Return whether a vector is called the bias of a matrix with as many rows; ``rows`` are those of each layer."""
    called = entry.name.rpartition(".")[2] == "bias" and len(entry.layout.shape) == 1
    return called and (layer_of(entry), entry.layout.size) in rows


def _holds_scales(entry: Entry) -> bool:
    """Return whether the values of a tensor look like scales; False for too few values.

    A large vector has one value for too many channels: it counts as a matrix.
    """
    if entry.layout.size == max(entry.layout.shape, default=1) and not entry.is_large:
        return _one_sign(entry) or _wide(entry.planes)
    return _one_sign(entry) and _wide(sample(entry.array, entry.dtype) if entry.is_large else entry.planes)


def _one_sign(entry: Entry) -> bool:
    low, high = entry.extremes
    return not low < 0 < high and min(entry.signs) == 0 and max(entry.signs) >= FEWEST


def _wide(values: NDArray[np.float64]) -> bool:
    magnitudes = np.abs(values[values != 0])
    if magnitudes.size < FEWEST:
        return False
    # as np.quantile, which takes ten times as long for few values
    ordered = np.sort(magnitudes)
    first, last = np.interp((0.1 * (ordered.size - 1), 0.9 * (ordered.size - 1)), np.arange(ordered.size), ordered)
    return bool(last >= _WIDE * first)


def rounded(entry: Entry, relative: float) -> Entry:
    """Round each element to the fewest leading bits within a relative error; the exact coder stores the zeros cheaply.

    Parameters
    ----------
    relative
        Largest relative error of any element, 0 or more; from 1 on every element becomes zero.
    """
    if not relative > 0:
        return entry
    planes = np.zeros_like(entry.planes)
    if relative < 1:
        # One bit before the point and ``digits`` after it: rounding errs by half of the last.
        digits = max(0, math.ceil(-math.log2(relative)) - 1)
        mantissa, exponent = np.frexp(entry.planes)
        planes = np.ldexp(np.rint(np.ldexp(mantissa, digits + 1)), exponent - digits - 1)
    return replace(entry, array=from_planes(planes, entry.layout))
