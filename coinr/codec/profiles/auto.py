"""The ``auto`` profile: each tensor by the coder that needs fewest bytes within its limit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from coinr.codec.candidates import Candidate, cost, each_tensor, faithful, likely_smallest, smallest
from coinr.codec.coders import DIRECT
from coinr.codec.distortion import DistortionLimit
from coinr.codec.effort import EFFORTS
from coinr.codec.options import EncodeOptions
from coinr.codec.quantize import direct, sparse, uniform
from coinr.codec.state_dict import Entry
from coinr.codec.tensors import to_planes

# Larger tensors are tried in a dictionary only below this many bits a weight. Above, the dense form is within 1 % of
# the direct coder and takes ten times as long (bench/results/rate/sparse_vs_direct.csv). The same holds for all tensors
# whose input covariance is known: sparse codes do not use it.
_DENSE_MOST = 1 << 15
_BITS_WITH_INPUTS = 0.75

# The uniform coder is smaller for repetitive weights; for larger tensors it is not tried.
_UNIFORM_MOST = 1 << 18

# Elements that are looked at to tell repetitive weights: at most half of their values differ.
_SAMPLE = 1 << 10


def encode_auto(entries: list[Entry], limits: list[DistortionLimit], settings: EncodeOptions) -> list[Candidate]:
    """Encode each tensor by the coder with fewest bytes, within its limit."""
    return each_tensor(lambda entry, limit: encode_tensor(entry, limit, settings), entries, limits, settings)


def encode_tensor(entry: Entry, limit: DistortionLimit, settings: EncodeOptions) -> Candidate:
    """Return the tensor in the fewest bytes within its limit, and what the other coders make of it."""
    effort = EFFORTS[settings.effort]
    found = direct.all_candidates(entry, limit, settings)
    if entry.is_large:
        return smallest(entry, found, limit)
    repetitive = not effort.all_coders and _repetitive(entry)
    if entry.count <= _UNIFORM_MOST and (effort.all_coders or repetitive):
        found += uniform.candidates(entry, limit, settings)
    if not effort.all_coders:
        if effort.dictionaries and found and _may_win(entry, limit, 8 * min(map(cost, found))):
            found += sparse.candidates(entry, limit, settings)
        return (smallest if repetitive else likely_smallest)(entry, found, limit)
    exact = faithful(entry, limit)
    if _worth_trying(entry, limit, 8 * min(map(cost, found or [exact]))):
        found += sparse.candidates(entry, limit, settings)
    found.sort(key=_cost_in_table)
    return replace(smallest(entry, found[:1], limit, exact), alternatives=(*found, exact))


def _worth_trying(entry: Entry, limit: DistortionLimit, least: int) -> bool:
    """Return whether every dictionary is to be tried: it may take fewer than the ``least`` bits of all else."""
    if limit.input_covariance is None and entry.count <= _DENSE_MOST:
        return limit.relative_error is None and limit.weighted_error > 0
    return _may_win(entry, limit, least)


def _may_win(entry: Entry, limit: DistortionLimit, least: int) -> bool:
    """Return whether a dictionary may take fewer than the ``least`` bits of all else, as far as a quick bound tells."""
    size = entry.count
    if limit.relative_error is not None or not limit.weighted_error > 0:
        return False
    if limit.input_covariance is not None:
        return least < _BITS_WITH_INPUTS * size
    return least < sparse.SPARSE_BITS * size and sparse.eligible(entry) and sparse.promising(entry, limit, least)


def _repetitive(entry: Entry) -> bool:
    """Return whether weights repeat, as after quantization or pruning: few values differ in a sample of them."""
    flat = entry.array.reshape(-1)
    values = entry.planes if len(flat) <= _SAMPLE else to_planes(flat[:: len(flat) // _SAMPLE], entry.dtype)
    ordered = np.sort(values, axis=None)
    return bool(2 * (1 + np.count_nonzero(ordered[1:] != ordered[:-1])) <= ordered.size)


def _cost_in_table(candidate: Candidate) -> int:
    """Return the encoded size in bytes, plus one byte of table if the coder is not ``direct``."""
    return cost(candidate) + (candidate.coder != DIRECT.id)
