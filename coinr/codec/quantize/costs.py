"""Tables of the bits that integers take, by which the trellis chooses among them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from coinr.codec.coders.levels import decoded_scale, scale_code, scale_codes
from coinr.engine import native

# Smaller mean magnitudes, in steps, count as this one.
_SMALLEST_MEAN = 0.05

# Most entries of a table, and entries beyond the largest magnitude.
_ENTRIES, _MARGIN = 4096, 4

# The same where a matrix has one table for each step: from there on bits grow slowly.
_COMMON_ENTRIES = 512

# The table of every element where there is one.
_ONE_TABLE: NDArray[np.uint8] = np.zeros((1, 1), np.uint8)

# Costs that are kept: at most so many tables twice, and only of so many entries, 24 MiB in all.
_KEPT, _KEPT_ENTRIES = 1 << 10, 1 << 10


def common_costs(
    mean: float, exponents: NDArray[np.int64], factors: NDArray[np.float64], shape: int, log_states: int, peak: float
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Return bits of the integers by step, ``[tables, 2, entries]``, and the table of each element, uint8.

    The tables of elements broadcast to the matrix.

    Parameters
    ----------
    mean
        Mean magnitude in base steps, which all elements are expected to have.
    exponents, factors
        The sum of each element's step exponents and the factor of its step; both broadcast to the matrix.
    peak
        The largest magnitude in steps.
    """
    count = min(_entries(peak, log_states), _COMMON_ENTRIES)
    if exponents.size == 1:
        scale = scale_code(max(mean / float(factors[0, 0]), _SMALLEST_MEAN))
        return _one_table(log_states, shape, scale, count), _ONE_TABLE
    used, first, which = np.unique(exponents, return_index=True, return_inverse=True)
    codes = scale_codes(np.maximum(mean / factors.reshape(-1)[first], _SMALLEST_MEAN))
    bits = np.stack([_costs(log_states, shape, int(code), count) for code in codes])
    return bits, which.reshape(exponents.shape).astype(np.uint8)


def element_costs(
    x: NDArray[np.float64], factors: NDArray[np.float64], shape: int, log_states: int, peak: float | None
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Return bits of the integers by mean magnitude, ``[tables, 2, entries]``, and the table of each element, uint8.

    The expected magnitude of an element is the product of its row's and its column's mean, over the mean of all. Each
    table is filled up to the largest magnitude of its elements, or up to ``peak``; zeros follow.
    """
    magnitude = np.abs(x) * factors
    rows, columns = magnitude.mean(1, keepdims=True), magnitude.mean(0, keepdims=True)
    expected = rows * columns / (magnitude.mean() or 1.0) / factors
    codes = scale_codes(np.maximum(expected, _SMALLEST_MEAN))
    used, which = np.unique(codes, return_inverse=True)
    which = which.reshape(x.shape)
    peaks = np.full(len(used), 0.0 if peak is None else peak)
    np.maximum.at(peaks, which, np.abs(x))
    entries = [_entries(own, log_states if peak is None else 0) for own in peaks]
    bits = np.zeros((len(used), 2, max(entries)))
    for row, code, own in zip(bits, used, entries, strict=True):
        row[:, :own] = _costs(log_states, shape, int(code), own)
    return bits, which.astype(np.uint8)


def _entries(peak: float, log_states: int) -> int:
    """Return the entries of a table for magnitudes up to a peak; a trellis's quantizers have every other value each."""
    return int(min((peak / 2 if log_states else peak) + _MARGIN, _ENTRIES))


def _costs(log_states: int, shape: int, scale: int, count: int) -> NDArray[np.float64]:
    """Return the bits of the integers 0 … count − 1 at a code of the mean magnitude, ``[2, count]``."""
    if count > _KEPT_ENTRIES:
        return native.level_costs(log_states, shape, decoded_scale(scale), count)
    return _kept_costs(log_states, shape, scale, max(32, 1 << (count - 1).bit_length()))[:, :count]


@lru_cache(_KEPT)
def _one_table(log_states: int, shape: int, scale: int, count: int) -> NDArray[np.float64]:
    return np.ascontiguousarray(_costs(log_states, shape, scale, count))[None]


@lru_cache(_KEPT)
def _kept_costs(log_states: int, shape: int, scale: int, count: int) -> NDArray[np.float64]:
    return native.level_costs(log_states, shape, decoded_scale(scale), count)
