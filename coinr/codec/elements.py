"""Tensors whose elements must each keep their relative error, and the fewest digits that do.

A scale, a variance or a frequency multiplies what a whole channel computes: one that is a hundredth of its neighbours
matters as much as they do. So errors of such tensors follow each element and not the tensor. What a tensor is, its
values tell: weights and biases have both signs and one size. Names only say which tensors belong to one layer.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from coinr.codec.state_dict import Entry
from coinr.codec.tensors import from_planes

#: From so many elements on, values tell what a tensor is.
FEWEST = 8

# Magnitudes are of wide range where their last decile is at least so many times their first: of normal weights it is 13
# times as large, of Cauchy's distribution 40 times.
_WIDE = 100.0


def by_element(entries: list[Entry]) -> set[int]:
    """Positions of the tensors whose elements each keep their relative error.

    Vectors of one sign or of wide range, other tensors of both, vectors of fewer than :data:`FEWEST` elements in layers
    without a matrix, and all vectors beside one of these in such a layer.
    """
    with_matrix = {layer_of(entry) for entry in entries if len(entry.layout.shape) > 1}
    alone = [layer_of(entry) not in with_matrix for entry in entries]
    found = {row for row, entry in enumerate(entries) if _holds_scales(entry)}
    layers = {layer_of(entries[row]) for row in found}
    return found | {
        row
        for row, entry in enumerate(entries)
        if alone[row] and (entry.planes.size < FEWEST or layer_of(entry) in layers)
    }


def layer_of(entry: Entry) -> str:
    """The name without its last part: what a layer's weight and bias share."""
    return entry.name.rpartition(".")[0]


def _holds_scales(entry: Entry) -> bool:
    """Whether its values say that a tensor holds scales, as far as there are enough."""
    if entry.layout.size == max(entry.layout.shape, default=1):
        return _one_sign(entry.planes) or _wide(entry.planes)
    return _one_sign(entry.planes) and _wide(entry.planes)


def _one_sign(planes: NDArray[np.float64]) -> bool:
    positive, negative = np.count_nonzero(planes > 0), np.count_nonzero(planes < 0)
    return bool(min(positive, negative) == 0 and max(positive, negative) >= FEWEST)


def _wide(planes: NDArray[np.float64]) -> bool:
    magnitudes = np.abs(planes[planes != 0])
    if magnitudes.size < FEWEST:
        return False
    first, last = np.quantile(magnitudes, (0.1, 0.9))
    return bool(last >= _WIDE * first)


def rounded(entry: Entry, relative: float) -> Entry:
    """The tensor, each element with the fewest leading bits that keep its relative error: the exact coder's zeros.

    Parameters
    ----------
    relative
        Largest relative error of any element, 0 or more; from 1 on all is zero.
    """
    if not relative > 0:
        return entry
    planes = np.zeros_like(entry.planes)
    if relative < 1:
        # one bit before the point, so many after it; rounding leaves half of the last
        digits = max(0, math.ceil(-math.log2(relative)) - 1)
        mantissa, exponent = np.frexp(entry.planes)
        planes = np.ldexp(np.rint(np.ldexp(mantissa, digits + 1)), exponent - digits - 1)
    return replace(entry, tensor=from_planes(torch.from_numpy(planes), entry.layout))
