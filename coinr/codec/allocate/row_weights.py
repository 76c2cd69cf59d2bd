"""Weights of the squared errors of a matrix's rows, estimated from the weights of the network alone.

An error in row i of a layer reaches the output through column i of the next layer. Where that column is small, as for
a neuron that training has all but switched off, the row may be coarse. So sensitivities g are passed back from the last
layer to the first through squared weights W of the next layer: g_i = Σ_k W[k, i]² g'_k.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from coinr.codec.state_dict import Entry
from coinr.codec.tensors import BLOCK, to_planes

# Estimates are inexact, so differences are reduced: sensitivities are taken to this power.
TRUST = 0.9

# Rows that differ by less than this in bits are not worth steps of their own.
_LEAST_GAIN = 0.01

# A matrix with more rows or columns is no layer of neurons: nothing follows from it, nor for it.
_MOST_NEURONS = 1 << 18

# Without consecutive numbers in their names, two layers follow each other where the sizes of rows and the
# sensitivities estimated for them are as correlated as chance allows once in a hundred times.
_SIGNIFICANT = 2.6


def row_weights(entries: list[Entry]) -> dict[int, NDArray[np.float64]]:
    """Return, by position of the entry, the ``distortion_weights`` of a distortion limit, where they are known."""
    matrices = [row for row, entry in enumerate(entries) if len(entry.layout.shape) > 1]
    found: dict[int, NDArray[np.float64]] = {}
    later: NDArray[np.float64] | None = None
    for position in range(len(matrices) - 2, -1, -1):
        row, after = matrices[position], matrices[position + 1]
        if not (_is_layer(entries[row]) and _is_layer(entries[after])):
            later = None
            continue
        passed = _passed_back(entries[after], later)
        later = passed if _follows(entries[row], entries[after], passed) else None
        if later is not None:
            weights = later**TRUST
            weights = np.tile(weights / weights.mean(), entries[row].layout.planes)
            if -np.log2(weights).mean() / 2 > _LEAST_GAIN:
                found[row] = weights
    return found


def _is_layer(entry: Entry) -> bool:
    rows = entry.layout.shape[0]
    return max(rows, entry.layout.size // max(rows, 1)) <= _MOST_NEURONS


def _passed_back(entry: Entry, later: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return the sensitivity to an error in each input of a layer, given that of its outputs (None: all alike)."""
    sums = [
        power.sum(0) if later is None else (power * later[rows, None]).sum(0) for rows, power in _power_blocks(entry)
    ]
    passed = np.sum(sums, 0)
    floor = float(passed.max()) * 2.0**-31
    floored: NDArray[np.float64] = np.maximum(passed, floor if floor > 0 else 1.0)
    return floored


def _power_blocks(entry: Entry) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield the squared magnitudes of the weights of a slice of rows, float64 ``[rows, rest]``, until all are done."""
    rows = entry.layout.shape[0]
    some = max(1, BLOCK * rows // max(entry.layout.size, 1)) if entry.is_large else max(rows, 1)
    for first in range(0, rows, some):
        part = slice(first, min(first + some, rows))
        planes = to_planes(entry.array[part], entry.dtype) / (entry.peak or 1.0)
        yield part, np.square(planes).sum(0).reshape(part.stop - first, -1)


def _follows(entry: Entry, after: Entry, passed: NDArray[np.float64]) -> bool:
    """Return whether one layer follows the other: by size, and by their names or a significant correlation."""
    if entry.layout.shape[0] != len(passed):
        return False
    if _consecutive(entry.name, after.name):
        return True
    own = np.concatenate([power.mean(1) for _, power in _power_blocks(entry)])
    if len(own) < 2 or not own.min() > 0 or np.ptp(passed) == 0 or np.ptp(own) == 0:
        return False
    correlation = np.corrcoef(np.log(own), np.log(passed))[0, 1]
    return bool(abs(correlation) > _SIGNIFICANT / np.sqrt(len(own)))


def _consecutive(name: str, after: str) -> bool:
    """Return whether names agree up to a number that grows, as ``net.3.linear.weight`` and ``net.4.weight``."""
    first, second = re.split(r"(\d+)", name), re.split(r"(\d+)", after)
    for k, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return k % 2 == 1 and int(b) > int(a)
    return False
