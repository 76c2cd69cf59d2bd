"""Symmetries of networks: hidden neurons may change places, and some their signs, without a change of the function.

A network in canonical order has hidden biases that ascend, and that are non-negative where signs are free. Files of it
are smaller: log₂ n! + n bits of each layer of n neurons say nothing of the function.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isinf

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Numbers of a layer's neurons, float64 ``[n]``.
Biases = NDArray[np.float64]


@dataclass(frozen=True)
class Neurons:
    """The neurons of a hidden layer, which may change places.

    Attributes
    ----------
    layer : str
        Name of the module with their weight ``[n, fan_in]`` and bias ``[n]``, which is real.
    readers : tuple of (str, int)
        Names of the modules that read their outputs, each with the first of the n columns of its weight that do.
    parity : int
        Factor of a neuron's output where its weights and bias change sign: -1, or 1; 0 where signs are not free.
    half_period : float
        Change of a bias that changes the sign of the output; infinite where there is none.
    """

    layer: str
    readers: tuple[tuple[str, int], ...]
    parity: int = 0
    half_period: float = inf


@dataclass(frozen=True)
class Canonical:
    """A state dict in canonical order, and where its rows and columns were before.

    Attributes
    ----------
    state_dict : OrderedDict of str to Tensor
        The tensors, in the order of their names before.
    rows : dict of str to Tensor
        By name of a weight or bias, the former places of its rows, int64 ``[n]``.
    columns : dict of str to (Tensor, Tensor)
        By name of a weight, the former places of its columns, int64 ``[m]``, and the factors of the inputs that they
        multiply, 1 or -1.
    """

    state_dict: OrderedDict[str, Tensor]
    rows: dict[str, Tensor] = field(default_factory=dict)
    columns: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


def to_canonical(state_dict: Mapping[str, Tensor], layers: Sequence[Neurons]) -> Canonical:
    """Return the same function in canonical order; layers whose biases are not finite stay as they are.

    Weights change places and signs alone. A bias that is reduced by multiples of a half period is rounded once.

    Parameters
    ----------
    state_dict
        Tensors of a network, on one device; they are not changed.
    layers
        What :meth:`Network.neurons` returns.
    """
    made = Canonical(OrderedDict(state_dict))
    with torch.no_grad():
        for neurons in layers:
            _sort(made, neurons)
    return made


def _sort(made: Canonical, neurons: Neurons) -> None:
    """Bring the neurons of one layer into canonical order, in place."""
    state, weight, bias = made.state_dict, f"{neurons.layer}.weight", f"{neurons.layer}.bias"
    before = state[bias]
    values = before.detach().cpu().double().numpy()
    if not np.isfinite(values).all():
        return
    slack = torch.finfo(before.dtype).eps
    values, row_signs, output_signs = _reduce(values, neurons.parity, neurons.half_period, slack)
    order = np.argsort(values, kind="stable")
    device = before.device
    rows, signs, outputs = (torch.from_numpy(one).to(device) for one in (order, row_signs[order], output_signs[order]))
    state[bias] = torch.from_numpy(values[order]).to(before)
    state[weight] = state[weight].detach()[rows] * signs.to(state[weight].dtype)[:, None]
    made.rows[weight] = made.rows[bias] = rows
    for reader, first in neurons.readers:
        name = f"{reader}.weight"
        whole = state[name].detach().clone()
        read = slice(first, first + len(rows))
        whole[:, read] = whole[:, read][:, rows] * outputs.to(whole.dtype)
        state[name] = whole
        columns = torch.arange(whole.shape[1], device=device)
        factors = torch.ones(whole.shape[1], dtype=torch.float32, device=device)
        columns[read], factors[read] = first + rows, outputs.to(factors)
        made.columns[name] = columns, factors


def _reduce(values: Biases, parity: int, half_period: float, slack: float) -> tuple[Biases, Biases, Biases]:
    """Return biases that are non-negative and at most half of a half period where that is free.

    With them come the factors of each neuron's row and of its output, 1 or -1. A bias that exceeds the bound by a
    relative ``slack`` stays: it may have been rounded.
    """
    halves = np.zeros_like(values)
    if not isinf(half_period):
        far = np.abs(values) > half_period / 2 * (1 + slack)
        halves[far] = np.rint(values[far] / half_period)
        values = values - halves * half_period
    signs = np.where(values < 0, -1.0, 1.0) if parity else np.ones_like(values)
    outputs = np.where(halves % 2 == 1, -1.0, 1.0)
    return values * signs, signs, outputs * signs if parity < 0 else outputs
