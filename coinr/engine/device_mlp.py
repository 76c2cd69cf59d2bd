"""Networks by the Triton kernels, on a CUDA device or in Triton's interpreter: errors and gradients of many at once."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch

# What the kernels call a network with this activation.
_KINDS = {"sine": "siren", "finer": "finer", "gauss": "gauss", "relu": "relu"}


def device_mlp(
    activation: str, inputs: int, width: int, hidden_layers: int, outputs: int, omega: float, first_omega: float
) -> Any | None:
    """Return the kernels' description of networks, for :func:`squared_error`.

    None if the kernels cannot run here, do not have the activation, or take no networks so wide.
    """
    kernels: Any = import_module("coinr.kernels")
    if activation not in _KINDS or not kernels.available()[0] or max(inputs, width, outputs) > kernels.MOST_WIDTH:
        return None
    return kernels.Mlp(_KINDS[activation], inputs, width, hidden_layers, outputs, omega, first_omega)


def squared_error(
    mlp: Any, parameters: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean squared errors, float32 ``[K]``, and gradients, float32 ``[K, P]``, of K networks.

    Parameters
    ----------
    mlp
        From :func:`device_mlp`.
    parameters
        float32 ``[K, P]``: weights and biases of each layer in turn.
    inputs, targets
        float32 ``[K, N, inputs]`` and ``[K, N, outputs]``.
    """
    errors, gradients = import_module("coinr.kernels").mlp_squared_error(mlp, parameters, inputs, targets)
    return errors, gradients
