"""Gradients of the errors of equal networks on batches of their signals, by the Triton kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from coinr.engine.device_mlp import device_mlp, squared_error
from coinr.fitting.gradients import BatchedGradients
from coinr.fitting.stack import Stack
from coinr.networks.fused import as_made, is_untouched
from coinr.networks.network import Mlp
from coinr.signals.signal import Signal


class DeviceGradients(BatchedGradients):
    """Values, errors and gradients of all networks in one launch, for a GPU.

    Parameters
    ----------
    networks, signals, stack
        As for :class:`~coinr.fitting.gradients.Gradients`.
    mlp
        The kernels' description of the networks, see :meth:`mlp_of`.
    names
        Names of the weights and biases, layer by layer.
    """

    def __init__(
        self, networks: Sequence[Mlp], signals: Sequence[Signal], stack: Stack, mlp: Any, names: Sequence[str]
    ) -> None:
        super().__init__(networks, signals, stack, mixed=False)
        self._mlp, self._encode = mlp, networks[0].encode
        self._order = [stack.tensors[stack.names.index(name)] for name in names]

    @staticmethod
    def of(networks: Sequence[nn.Module], signals: Sequence[Signal], stack: Stack) -> DeviceGradients | None:
        """Return gradients by the kernels; None if they cannot compute these networks, or some tensors are fixed."""
        mlps = [network for network in networks if isinstance(network, Mlp)]
        found = [as_made(network) if is_untouched(network) else None for network in mlps]
        first = found[0] if found else None
        if first is None or len(mlps) < len(networks) or any(one != first for one in found):
            return None
        plain = all(t.dtype == torch.float32 and t.layout == torch.strided for t in stack.tensors)
        if not plain or not BatchedGradients.suits(signals) or sorted(first.names) != sorted(stack.names):
            return None
        layers = first.layers
        # the scale of a Gaussian takes the place of omega
        factors = [layer.scale if layer.activation == "gauss" else layer.omega for layer in layers]
        mlp = device_mlp(
            layers[0].activation, layers[0].fan_in, layers[0].fan_out, len(layers) - 2, layers[-1].fan_out,
            factors[-2], factors[0],
        )  # fmt: skip
        return None if mlp is None else DeviceGradients(mlps, signals, stack, mlp, first.names)

    @torch.no_grad()
    def compute(self, step: int, factor: Tensor) -> Tensor:
        """Set the gradients of a step and return its errors, as :meth:`Gradients.compute`."""
        parameters = torch.cat([tensor.flatten(1) for tensor in self._order], 1)
        errors = torch.zeros(len(parameters), dtype=torch.float32, device=parameters.device)
        gradients = torch.zeros_like(parameters)
        for members, inputs, targets in self._samples:
            rows = slice(None) if members is None else members
            x = self._encode(inputs[step]).contiguous()
            errors[rows], gradients[rows] = squared_error(self._mlp, parameters[rows], x, targets[step].contiguous())
        parts = torch.split(gradients * factor, [tensor[0].numel() for tensor in self._order], 1)
        for tensor, part in zip(self._order, parts, strict=True):
            tensor.grad = part.reshape(tensor.shape)
        return errors
