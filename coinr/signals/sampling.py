"""Evaluation of a network of torch: its checked values at coordinates, and its score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from coinr.errors import InputError
from coinr.inputs.callbacks import call_module
from coinr.networks.fused import threads
from coinr.networks.precision import single_network
from coinr.progress import show_progress, steps
from coinr.runtime.ambient import independent
from coinr.signals.grid_score import BLOCK, GridScore
from coinr.signals.signal import CHUNK, Signal


def device_of(network: nn.Module) -> torch.device:
    """Return the device of a network's parameters; the CPU if it has none."""
    return next((p.device for p in network.parameters()), torch.device("cpu"))


def values_of(network: nn.Module, outputs: range) -> Callable[[NDArray[np.float32]], NDArray[Any]]:
    """Return a function that evaluates a network, on its device, at coordinates float32 [N, a].

    Its values are floating [N, C], float32 or wider.

    Parameters
    ----------
    network : nn.Module
        Maps float32 [N, a] coordinates to floating [N, C] values.
    outputs : range
        The numbers of values C that make sense.

    Raises
    ------
    InputError
        If the network is on the meta device. By the function returned: if the network takes no such coordinates, or
        gives another shape, or no floating-point tensor.
    """
    device, single = device_of(network), single_network(network)
    if device.type == "meta":
        raise InputError("the parameters of the network are on the meta device, without values")

    @torch.no_grad()
    def values(places: NDArray[np.float32]) -> NDArray[Any]:
        coordinates = torch.from_numpy(places).to(device)
        try:
            out = call_module(single, coordinates)
        except (RuntimeError, TypeError) as error:
            if type(error) not in (RuntimeError, TypeError):  # out of memory
                raise
            raise InputError(f"the network cannot take float32 {list(coordinates.shape)}: {error}") from error
        if not isinstance(out, Tensor) or not out.is_floating_point():
            kind = out.dtype if isinstance(out, Tensor) else type(out).__name__
            raise InputError(f"the network must give a floating-point tensor, got {kind}")
        if out.ndim != 2 or out.shape[0] != len(coordinates) or out.shape[1] not in outputs:
            expected = f"[N, {outputs[0]}]" if len(outputs) == 1 else f"[N, {outputs[0]} .. {outputs[-1]}]"
            raise InputError(f"the network must give {expected} for {list(coordinates.shape)}, got {list(out.shape)}")
        found: NDArray[Any] = out.to(torch.promote_types(out.dtype, torch.float32)).cpu().numpy()
        return found

    return values


@independent
@show_progress("score")
@torch.no_grad()
def score_of(network: nn.Module, signal: Signal) -> float:
    """Return the score of a network on the evaluation split of ``signal``, on the network's device."""
    device, network = device_of(network), single_network(network)
    split = signal.eval_split.to(device)
    on_grid = GridScore.of(network, split)
    chunk = max(1, CHUNK * 2 // split.points) if on_grid is None else BLOCK
    total = torch.zeros((), dtype=torch.float64)
    for start in steps(range(0, split.count, chunk), "score"):
        numbers = torch.arange(start, min(start + chunk, split.count), device=device)
        if on_grid is None:
            inputs, targets = split.batch(numbers)
            total = total + split.partial_score(split.predict(network, inputs), targets).cpu()
        else:
            total = total + on_grid.partial_score(numbers, threads())
    return split.score(total)
