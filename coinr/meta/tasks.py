"""Signals to learn from: batches of their samples, and errors of networks on these with any weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from coinr.fitting.samples import Sampler
from coinr.signals.signal import Signal

#: Samples of a step: inputs and targets.
Samples = tuple[Tensor, Tensor]


class Task(nn.Module):
    """A signal to learn from, with a copy of the network: several tasks may be computed at once.

    Parameters
    ----------
    network : nn.Module
        Whose weights are replaced in every call of :meth:`error`.
    signal : Signal
        On the device of the network.
    batch : int
        Samples of a step.
    seed : int
        Of the order of the samples.
    """

    def __init__(self, network: nn.Module, signal: Signal, batch: int, seed: int) -> None:
        super().__init__()
        self.network, self.signal = network, signal
        device = next(network.parameters()).device
        self._rows = _rows(Sampler(signal.count, signal.eval_split.count, batch, seed, device, 1))

    def draw_indices(self) -> Tensor:
        """Return the samples of the next step, int64 [batch]."""
        return next(self._rows)

    def draw(self) -> Samples:
        """Return inputs and targets of the next step."""
        return self.signal.batch(self.draw_indices())

    def error(self, weights: Mapping[str, Tensor], samples: Samples) -> Tensor:
        """Return the mean squared error (0-dim) of the network with other weights, by their names, on some samples."""
        named = {f"network.{name}": tensor for name, tensor in weights.items()}
        error: Tensor = functional_call(self, named, samples)
        return error

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean squared error (0-dim) of the network."""
        return self.signal.squared_error(self.network, inputs, targets) / (len(inputs) * self.signal.out_features)


def _rows(sampler: Sampler) -> Iterator[Tensor]:
    while True:
        yield from sampler.draw()


def choose(count: int, each: int, seed: int) -> Iterator[Sequence[int]]:
    """Yield ``each`` different ones of ``count`` numbers, without end.

    All are taken in random order before one is taken again.
    """
    generator = torch.Generator().manual_seed(seed)
    queue: list[int] = []
    while True:
        if len(queue) < each:
            order = torch.randperm(count, generator=generator).tolist()
            queue += [*(k for k in order if k not in queue), *(k for k in order if k in queue)]
        yield queue[:each]
        queue = queue[each:]
