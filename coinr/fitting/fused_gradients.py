"""Gradients of the errors of networks on batches of their signals, by the extension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from coinr.fitting.gradients import BatchedGradients, Gradients
from coinr.fitting.stack import Stack
from coinr.fitting.workers import Workers
from coinr.networks import Network
from coinr.networks.fused import Fused, fused
from coinr.runtime.denormals import denormals_as_zeros
from coinr.signals.signal import Signal

# Samples, of all networks together, whose inputs and targets are made at once.
_SAMPLES = 1 << 18


class FusedGradients(Gradients):
    """Values, errors and gradients of all networks in one call; threads share groups of samples.

    Parameters
    ----------
    networks, signals, stack
        As for :class:`~coinr.fitting.gradients.Gradients`.
    programs : list of Fused
        Of the networks, see :meth:`programs_of`.
    workers
        Whose number of threads is used.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        signals: Sequence[Signal],
        stack: Stack,
        programs: Sequence[Fused],
        workers: Workers,
    ) -> None:
        super().__init__(networks, signals, stack, mixed=False)
        self._program, self._workers = programs[0].program, workers
        order = [stack.names.index(name) for name in programs[0].names]
        for tensor in stack.tensors:
            tensor.grad = torch.zeros_like(tensor)
        self._gradients = [tensor.grad for tensor in stack.tensors]
        self._weights = [stack.tensors[i].detach().numpy() for i in order]
        self._out = [gradient.numpy() for gradient in (self._gradients[i] for i in order) if gradient is not None]
        self._block: Sequence[Tensor] = ()
        self._first = self._last = 0
        self._samples: list[tuple[list[list[NDArray[Any]]], list[NDArray[Any]]]] = []

    @staticmethod
    def programs_of(networks: Sequence[nn.Module], signals: Sequence[Signal], stack: Stack) -> list[Fused] | None:
        """Return how the extension computes the networks; None if it cannot, or some of their tensors are fixed."""
        found = [fused(network) if isinstance(network, Network) else None for network in networks]
        programs = [one for one in found if one is not None]
        if len(programs) < len(found) or not BatchedGradients.suits(signals):
            return None
        shared = all(one.program is programs[0].program for one in programs)
        return programs if shared and sorted(programs[0].names) == sorted(stack.names) else None

    def load(self, block: Sequence[Tensor]) -> None:
        """Set the samples of the next steps, as :meth:`Gradients.load`."""
        self._block, self._first, self._last = block, 0, 0

    def compute(self, step: int, factor: Tensor) -> Tensor:
        """Set the gradients of a step and return its errors, as :meth:`Gradients.compute`."""
        with denormals_as_zeros():
            errors = self._differentiate(step, float(factor))
        for tensor, gradient in zip(self.stack.tensors, self._gradients, strict=True):
            tensor.grad = gradient
        return torch.tensor(errors, dtype=torch.float32)

    def _differentiate(self, step: int, factor: float) -> list[float]:
        """Set the gradients of a step and return its errors."""
        if not self._first <= step < self._last:
            self._workers.run(lambda: self._prepare(step))
        inputs, targets = self._samples[step - self._first]
        return self._program.squared_error(self._weights, inputs, targets, factor, self._out, self._workers.count)

    def _prepare(self, step: int) -> None:
        """Make inputs and targets of some steps from this one on."""
        each = sum(rows.shape[1] for rows in self._block)
        self._first, self._last = step, min(step + max(1, _SAMPLES // each), len(self._block[0]))
        columns = []
        for signal, rows in zip(self.signals, self._block, strict=True):
            chosen = rows[self._first : self._last]
            if chosen.stride(0) == 0:  # the same samples in every step
                inputs, targets = (t.detach().numpy() for t in signal.batch(chosen[0]))
                columns.append([(inputs, targets)] * len(chosen))
                continue
            inputs, targets = (t.detach().numpy() for t in signal.batch(chosen.reshape(-1)))
            size = chosen.shape[1]
            columns.append([(inputs[k * size :][:size], targets[k * size :][:size]) for k in range(len(chosen))])
        self._samples = [([[x] for x, _ in row], [t for _, t in row]) for row in zip(*columns, strict=True)]
