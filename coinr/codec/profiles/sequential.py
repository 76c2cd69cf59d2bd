"""Tensors that are coded one after the other, each compensating for the errors of those before it (OBQ, GPTQ)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from coinr.codec.candidates import Allowance, Coded, Settings, smallest
from coinr.codec.coders import CODERS
from coinr.codec.profiles.simple import fewest_bits
from coinr.codec.quantize import direct, sparse
from coinr.codec.state_dict import Entry
from coinr.codec.tensors import from_planes, to_planes
from coinr.sensitivity.hessian import HessianFactor

#: How one tensor is coded.
One = Callable[[Entry, Allowance, Settings], Coded]


def encode_sequentially(
    hessian: HessianFactor, entries: dict[str, Entry], allowed: dict[str, Allowance], settings: Settings, one: One
) -> dict[str, Coded]:
    """Encode the tensors of a Hessian in its order, each within its limit."""
    coded: dict[str, Coded] = {}
    errors: dict[str, NDArray[np.float64]] = {}
    for name in hessian.slices:
        entry, allowance = entries[name], allowed[name]
        moved = _moved(entry, hessian.compensation(name, errors))
        found = one(moved, replace(allowance, hessian=hessian.of_tensor(name)), settings)
        error = _error(found, entry, settings.seed)
        each = replace(allowance, error=allowance.limit, distortion_weights=None, input_covariance=None)
        if not each.admits(error.reshape(entry.planes.shape), entry.planes):
            found = one(entry, allowance, settings)
            error = _error(found, entry, settings.seed)
        coded[name], errors[name] = found, error
    return coded


def _moved(entry: Entry, by: NDArray[np.float64]) -> Entry:
    planes = torch.from_numpy(entry.planes + by.reshape(entry.planes.shape))
    return Entry(entry.name, from_planes(planes, entry.layout), None)


def direct_code(entry: Entry, allowance: Allowance, settings: Settings) -> Coded:
    """By the direct coder, or as a few distinct numbers."""
    options = direct.encode_to(entry, allowance) + fewest_bits(entry, allowance)
    return smallest(entry, options, allowance, settings.seed)


def sparse_code(entry: Entry, allowance: Allowance, settings: Settings) -> Coded:
    """In a dictionary where it is a matrix, as the ``sparse`` profile says."""
    return sparse.encode_within(entry, allowance, settings, sparse.SparseOptions.read(settings))


def _error(coded: Coded, entry: Entry, seed: int) -> NDArray[np.float64]:
    decoder = CODERS[coded.coder]
    tensor = decoder.decode(memoryview(coded.payload), coded.params, entry.layout, seed, torch.device("cpu"))
    error: NDArray[np.float64] = (to_planes(tensor) - entry.planes).reshape(-1)
    return error
