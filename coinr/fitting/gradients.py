"""Gradients of the errors of one or several networks on batches of their signals."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from coinr.errors import InputError
from coinr.fitting.evaluate import chunk_size
from coinr.fitting.stack import Stack
from coinr.fitting.workers import Workers
from coinr.signals.signal import Signal


class Gradients(ABC):
    """Compute gradients of a stack of networks.

    Parameters
    ----------
    networks : sequence of nn.Module
        K networks.
    signals : sequence of Signal
        One for each network, on its device.
    stack : Stack
        The trained tensors of the networks.
    mixed : bool
        Whether to multiply matrices in half precision.
    """

    def __init__(self, networks: Sequence[nn.Module], signals: Sequence[Signal], stack: Stack, mixed: bool) -> None:
        self.networks, self.signals, self.stack, self.mixed = networks, signals, stack, mixed

    def autocast(self) -> torch.autocast:
        """Return the context in which networks are called."""
        return torch.autocast(self.stack.tensors[0].device.type, torch.float16, enabled=self.mixed)

    @abstractmethod
    def load(self, block: Sequence[Tensor]) -> None:
        """Set the samples of the next steps: int64 [steps, batch] for each signal."""

    @abstractmethod
    def compute(self, step: int, factor: Tensor) -> Tensor:
        """Set ``grad`` of the stack's tensors to the gradient of ``factor`` times each network's mean squared error.

        Parameters
        ----------
        step : int
            Index among the loaded steps.
        factor : Tensor
            float32, 0-dim.

        Returns
        -------
        Tensor
            The mean squared errors, float32 [K].
        """


class SeparateGradients(Gradients):
    """Run each network by itself, in chunks of samples.

    For 8 SIRENs of width 64 on a CPU this takes 0.8 of the time of one batched computation (:func:`torch.func.vmap`),
    because the activations of a chunk stay in cache.
    """

    def __init__(
        self, networks: Sequence[nn.Module], signals: Sequence[Signal], stack: Stack, mixed: bool, workers: Workers
    ) -> None:
        super().__init__(networks, signals, stack, mixed)
        self._workers = workers
        self._block: Sequence[Tensor] = ()

    def load(self, block: Sequence[Tensor]) -> None:
        """Set the samples of the next steps, as :meth:`Gradients.load`."""
        self._block = block

    def compute(self, step: int, factor: Tensor) -> Tensor:
        """Set the gradients of a step and return its errors, as :meth:`Gradients.compute`."""

        def differentiate_chunk(unit: tuple[int, Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
            k, chunk = unit
            signal, samples = self.signals[k], self._block[k].shape[1]
            inputs, targets = signal.batch(chunk)
            with self.autocast():
                error = signal.squared_error(self.networks[k], inputs, targets)
            error = error / (samples * signal.out_features)
            return error.detach(), torch.autograd.grad(error * factor, self.stack.parameters[k])

        on_cpu = factor.device.type == "cpu"
        units = [
            (k, chunk)
            for k, (signal, rows) in enumerate(zip(self.signals, self._block, strict=True))
            for chunk in (torch.split(rows[step], chunk_size(signal)) if on_cpu else [rows[step]])
        ]
        parts: list[list[tuple[Tensor, tuple[Tensor, ...]]]] = [[] for _ in self.signals]
        for (k, _), result in zip(units, self._workers.map(differentiate_chunk, units), strict=True):
            parts[k].append(result)
        sums = [[functools.reduce(torch.add, column) for column in zip(*(g for _, g in p), strict=True)] for p in parts]
        for stacked, column in zip(self.stack.tensors, zip(*sums, strict=True), strict=True):
            stacked.grad = torch.stack(column)
        return torch.stack([functools.reduce(torch.add, [error for error, _ in p]) for p in parts])


class BatchedGradients(Gradients):
    """Run all networks as one batched computation, for a GPU: each operation is one launch for all of them."""

    def __init__(self, networks: Sequence[nn.Module], signals: Sequence[Signal], stack: Stack, mixed: bool) -> None:
        super().__init__(networks, signals, stack, mixed)
        if any(type(n) is not type(networks[0]) or _config(n) != _config(networks[0]) for n in networks):
            raise InputError("the networks must be of one kind and configuration")
        fixed = [
            {name: t.detach() for name, t in (*n.named_parameters(), *n.named_buffers()) if name not in stack.names}
            for n in networks
        ]
        self._fixed = {name: torch.stack([tensors[name] for tensors in fixed]) for name in fixed[0]}
        self._samples: list[tuple[Tensor | None, Tensor, Tensor]] = []

    @staticmethod
    def suits(signals: Sequence[Signal]) -> bool:
        """Return whether errors are those of the networks' values alone, without a renderer in between."""
        plain = Signal.predict, Signal.squared_error
        return all((type(s).predict, type(s).squared_error) == plain for s in signals)

    def load(self, block: Sequence[Tensor]) -> None:
        """Set the samples of the next steps, as :meth:`Gradients.load`."""
        sizes = sorted({rows.shape[1] for rows in block})
        self._samples = []
        for size in sizes:
            members = [k for k, rows in enumerate(block) if rows.shape[1] == size]
            pairs = [self.signals[k].batch(block[k].reshape(-1)) for k in members]
            inputs, targets = (
                torch.stack([t.unflatten(0, (-1, size)) for t in column], 1) for column in zip(*pairs, strict=True)
            )
            whole = len(members) == len(block)
            self._samples.append(
                (None if whole else torch.tensor(members, dtype=torch.int64, device=inputs.device), inputs, targets)
            )

    def compute(self, step: int, factor: Tensor) -> Tensor:
        """Set the gradients of a step and return its errors, as :meth:`Gradients.compute`."""
        errors = torch.zeros(len(self.networks), dtype=torch.float32, device=factor.device)
        for members, inputs, targets in self._samples:
            trained = dict(zip(self.stack.names, self.stack.tensors, strict=True))
            state = trained | self._fixed
            if members is not None:
                state = {name: tensor[members] for name, tensor in state.items()}
            with self.autocast():
                values = vmap(self._call)(state, inputs[step])
            error = (values - targets[step]).square().mean((1, 2))
            errors = error if members is None else errors.index_add(0, members, error)
        gradients = torch.autograd.grad((errors * factor).sum(), self.stack.tensors)
        for stacked, gradient in zip(self.stack.tensors, gradients, strict=True):
            stacked.grad = gradient
        return errors.detach()

    def _call(self, state: dict[str, Tensor], inputs: Tensor) -> Tensor:
        out: Tensor = functional_call(self.networks[0], state, (inputs,))
        return out


def _config(network: nn.Module) -> object:
    """Return the configuration of a network of coinr; None for other modules, which are compared by type and shapes."""
    return getattr(network, "config", None)
