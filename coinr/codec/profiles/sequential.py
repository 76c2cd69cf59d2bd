"""Tensors of a block one after the other, each making up for the errors of those before it."""

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
from coinr.codec.state_dict import Source
from coinr.codec.tensors import from_planes, to_planes
from coinr.sensitivity.curvature import Block

#: How one tensor is coded.
One = Callable[[Source, Allowance, Settings], Coded]


def encode_block(
    block: Block, sources: dict[str, Source], allowed: dict[str, Allowance], settings: Settings, one: One
) -> dict[str, Coded]:
    """The tensors of a block by name, in its order, at their allowed errors."""
    coded: dict[str, Coded] = {}
    errors: dict[str, NDArray[np.float64]] = {}
    for name in block.slices:
        source, allowance = sources[name], allowed[name]
        moved = _moved(source, block.answer(name, errors))
        found = one(moved, replace(allowance, form=block.form(name)), settings)
        error = _error(found, source, settings.seed)
        each = replace(allowance, error=allowance.limit, harm=None, inputs=None)
        if not each.admits(error.reshape(source.planes.shape), source.planes):
            found = one(source, allowance, settings)
            error = _error(found, source, settings.seed)
        coded[name], errors[name] = found, error
    return coded


def _moved(source: Source, by: NDArray[np.float64]) -> Source:
    planes = torch.from_numpy(source.planes + by.reshape(source.planes.shape))
    return Source(source.name, from_planes(planes, source.layout), None)


def direct_code(source: Source, allowance: Allowance, settings: Settings) -> Coded:
    """By the direct coder, or as a few distinct numbers."""
    options = direct.encode_to(source, allowance) + fewest_bits(source, allowance)
    return smallest(source, options, allowance, settings.seed)


def sparse_code(source: Source, allowance: Allowance, settings: Settings) -> Coded:
    """In a dictionary where it is a matrix, as the ``sparse`` profile says."""
    return sparse.encode_within(source, allowance, settings, sparse.SparseOptions.read(settings))


def _error(coded: Coded, source: Source, seed: int) -> NDArray[np.float64]:
    decoder = CODERS[coded.coder]
    tensor = decoder.decode(memoryview(coded.payload), coded.params, source.layout, seed, torch.device("cpu"))
    error: NDArray[np.float64] = (to_planes(tensor) - source.planes).reshape(-1)
    return error
