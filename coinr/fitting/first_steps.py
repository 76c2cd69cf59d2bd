"""Fits that begin at a learned start: its network, and first steps at its learned rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from coinr.errors import InputError
from coinr.networks import Mlp
from coinr.signals.signal import Signal
from coinr.starts.start import Start


def network_at(start: Start, signal: Signal, **chosen: object) -> nn.Module:
    """Return a network with the weights of a start.

    Parameters
    ----------
    start : Start
        Where the fit begins.
    signal : Signal
        To be fitted.
    **chosen
        Arguments that the start decides, which must be None.

    Raises
    ------
    InputError
        If one of them is given, or the start is for other signals.
    """
    if given := [name for name, value in chosen.items() if value is not None]:
        raise InputError(f"the start decides the network; give start or {', '.join(given)}")
    if signal.kind != start.signal:
        raise InputError(f"the start {start.name!r} is for signals of kind {start.signal}, not {signal.kind}")
    network = start.network()
    sizes = signal.in_features, signal.out_features
    if isinstance(network, Mlp) and (network.in_features, network.out_features) != sizes:
        raise InputError(
            f"the start {start.name!r} has {network.in_features} inputs and {network.out_features} outputs, "
            f"the signal has {sizes[0]} and {sizes[1]}"
        )
    return network


class FirstSteps(Optimizer):
    """Gradient descent at the learned rates of a start: each element of a tensor has a rate of its own in each step.

    Parameters
    ----------
    tensors : sequence of Tensor
        Stacks [K, ...] of K networks.
    names : sequence of str
        Their names in the start; those without rates stay as they are.
    start : Start or None
        None has no such steps.

    Attributes
    ----------
    count : int
        Number of steps that there are rates for.
    step_number : int
        The step that is taken next, from 0.
    """

    def __init__(self, tensors: Sequence[Tensor], names: Sequence[str], start: Start | None) -> None:
        super().__init__(list(tensors), {})
        self.count, self.step_number = (0 if start is None else start.steps), 0
        rates = {} if start is None else start.rates
        self._moved = [
            (tensor, rates[name].to(tensor.device))
            for tensor, name in zip(tensors, names, strict=True)
            if name in rates
        ]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step."""
        assert closure is None
        for tensor, rates in self._moved:
            assert tensor.grad is not None
            tensor.sub_(rates[self.step_number] * tensor.grad)
