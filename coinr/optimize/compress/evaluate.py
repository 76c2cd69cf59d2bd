"""The score and the training loss of a state dict, on the signal that its network represents."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from coinr.runtime.ambient import independent, own_settings
from coinr.signals.sampling import device_of
from coinr.signals.signal import CHUNK, Signal


class Evaluator:
    """The score of a state dict on a fixed choice of a signal's samples, from its evaluation split.

    Parameters
    ----------
    network : nn.Module
        That the state dicts are for, on its device; it is not changed.
    signal : Signal
        That it represents.
    points : int, optional
        About the largest number of points at which the network is evaluated; all if absent.

    Attributes
    ----------
    whole : bool
        Whether all samples are used.
    """

    def __init__(self, network: nn.Module, signal: Signal, points: int | None = None) -> None:
        device = device_of(network)
        self._network, self._signal = copy.deepcopy(network), signal.eval_split.to(device)
        count = self._signal.count
        most = count if points is None else max(1, points // self._signal.points)
        self.whole = count <= most
        if self.whole:
            chosen = torch.arange(count)
        else:
            chosen = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:most]
        self._chunks = torch.split(chosen.to(device), max(1, CHUNK // self._signal.points))

    @independent
    @torch.no_grad()
    def __call__(self, state_dict: Mapping[str, Any]) -> float:
        """Return the score."""
        self._network.load_state_dict(state_dict)
        parts = []
        for chunk in self._chunks:
            inputs, targets = self._signal.batch(chunk)
            parts.append(self._signal.partial_score(self._signal.predict(self._network, inputs), targets).cpu())
        return self._signal.score(torch.stack(parts).sum(0))


class BatchLoss(nn.Module):
    """The mean squared error of a state dict on random batches.

    Parameters
    ----------
    network : nn.Module
        That the state dicts are for; it is not changed.
    signal : Signal
        That it represents.
    batch : int
        Samples per call.
    seed : int
        Of the choice of samples.
    """

    def __init__(self, network: nn.Module, signal: Signal, batch: int, seed: int) -> None:
        super().__init__()
        self.network, self._device = network, device_of(network)
        self._signal, self._batch = signal.to(self._device), batch
        self._generator = torch.Generator(self._device).manual_seed(seed)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of the network as it is, 0-dim."""
        return self._signal.squared_error(self.network, inputs, targets) / targets.numel()

    def of_state_dict(self, state_dict: Mapping[str, Tensor]) -> Tensor:
        """Return the loss of a state dict on the next batch, 0-dim."""
        chosen = torch.randint(self._signal.count, (self._batch,), generator=self._generator, device=self._device)
        named = {f"network.{name}": tensor for name, tensor in state_dict.items()}
        # the caller decides whether there are gradients, and denormals
        with own_settings("gradients", "denormals"):
            loss: Tensor = functional_call(self, named, self._signal.batch(chosen))
        return loss
