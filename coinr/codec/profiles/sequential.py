"""Tensors that are coded one after the other, each compensating for the errors of those before it (OBQ, GPTQ)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from coinr.codec.candidates import Candidate, smallest
from coinr.codec.coders import CODERS
from coinr.codec.distortion import DistortionLimit, measure
from coinr.codec.options import EncodeOptions
from coinr.codec.quantize import direct, uniform
from coinr.codec.state_dict import Entry
from coinr.codec.tensors import from_planes, to_planes
from coinr.sensitivity.hessian import HessianFactor

#: Encodes one tensor.
EncodeTensor = Callable[[Entry, DistortionLimit, EncodeOptions], Candidate]


def encode_sequentially(
    hessian: HessianFactor,
    entries: dict[str, Entry],
    limits: dict[str, DistortionLimit],
    settings: EncodeOptions,
    encode_tensor: EncodeTensor,
) -> dict[str, Candidate]:
    """Encode the tensors of a Hessian in its order, each within its limit; return them by name."""
    chosen: dict[str, Candidate] = {}
    errors: dict[str, NDArray[np.float64]] = {}
    for name in hessian.slices:
        entry, limit = entries[name], limits[name]
        moved = _moved(entry, hessian.compensation(name, errors))
        found = encode_tensor(moved, replace(limit, hessian=hessian.of_tensor(name)), settings)
        error = _error(found, entry, settings.seed)
        # the difference holds its compensation for others' errors, too: unweighted, it must keep the limit as a whole
        plain = replace(limit, weighted_error=limit.error, distortion_weights=None, input_covariance=None)
        if not plain.satisfied_by(measure(error.reshape(entry.planes.shape), entry.planes, plain)):
            found = encode_tensor(entry, limit, settings)
            error = _error(found, entry, settings.seed)
        chosen[name], errors[name] = found, error
    return chosen


def _moved(entry: Entry, by: NDArray[np.float64]) -> Entry:
    planes = entry.planes + by.reshape(entry.planes.shape)
    return Entry(entry.name, from_planes(planes, entry.layout), entry.dtype, None)


def encode_directly(entry: Entry, limit: DistortionLimit, settings: EncodeOptions) -> Candidate:
    """Return the tensor by the direct coder, or as a few distinct numbers."""
    found = direct.candidates(entry, limit, settings) + uniform.candidates(entry, limit, settings)
    return smallest(entry, found, limit)


def _error(candidate: Candidate, entry: Entry, seed: int) -> NDArray[np.float64]:
    """Return what a candidate decodes to, less the tensor, flat."""
    decoder = CODERS[candidate.coder]
    decoded = decoder.decode(memoryview(candidate.payload), candidate.params, entry.layout, seed)
    error: NDArray[np.float64] = (to_planes(decoded, entry.dtype) - entry.planes).reshape(-1)
    return error
