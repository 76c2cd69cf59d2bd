"""The networks of sines of the corpus, whose initial weights are not the package's, and a renderer of given depths."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from coinr.networks import RadianceField
from coinr.networks.encoding import encode


def _uniform(tensor: Tensor, bound: float, generator: torch.Generator) -> None:
    """Fill a tensor with U(±bound)."""
    tensor.data.uniform_(-bound, bound, generator=generator)


def _default(layer: nn.Linear, generator: torch.Generator) -> nn.Linear:
    """Return the usual initial weights, U(±1/√fan_in), drawn from ``generator``."""
    for parameter in (layer.weight, layer.bias):
        _uniform(parameter, 1 / math.sqrt(layer.in_features), generator)
    return layer


class Siren(nn.Module):
    """A SIREN whose first layer has a frequency of its own, or a FINER network (``finer``) of the same layout.

    The layout is that of :class:`coinr.Siren`. FINER (Liu et al. 2024) is sin(omega (|z| + 1) z); its first biases
    start at U(±1).
    """

    def __init__(
        self,
        sizes: tuple[int, int, int, int],
        generator: torch.Generator,
        *,
        first_omega: float = 30.0,
        omega: float = 30.0,
        finer: bool = False,
    ) -> None:
        """``sizes`` are inputs, hidden layers, width and outputs."""
        super().__init__()
        inputs, hidden, width, outputs = sizes
        self.omegas = [first_omega] + [omega] * hidden
        self.finer = finer
        widths = [inputs] + [width] * (hidden + 1) + [outputs]
        self.layers = nn.ModuleList(
            _default(nn.Linear(fan_in, fan_out), generator) for fan_in, fan_out in itertools.pairwise(widths)
        )
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Linear)
            bound = 1 / layer.in_features if i == 0 else math.sqrt(6 / layer.in_features) / omega
            _uniform(layer.weight, bound, generator)
        if finer:
            _uniform(self.layers[0].bias, 1.0, generator)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Return values of the signal at ``x``."""
        *sines, last = self.layers
        for layer, omega in zip(sines, self.omegas, strict=True):
            assert isinstance(layer, nn.Linear)
            if self.finer:
                z = layer(x)
                x = torch.sin(omega * (z.detach().abs() + 1) * z)
            else:
                x = torch.sin(functional.linear(x, layer.weight * omega, layer.bias * omega))
        out: Tensor = last(x)
        return out


#: Networks of sines with names and numbers of other codebases: COIN's, and siren-pytorch's (hidden omega 1).
NAMED: dict[str, dict[str, Any]] = {
    "coin": {"layer": "net.{}.linear", "last": "last_layer.linear", "omega": 30.0},
    "unit": {"layer": "layers.{}", "last": "last_layer", "omega": 1.0},
}


class NamedSiren(nn.Module):
    """A SIREN whose layers have other names. Calls the plain one."""

    def __init__(self, siren: Siren, names: list[str]) -> None:
        super().__init__()
        self._siren = [siren]  # a list hides its parameters
        for name, layer in zip(names, siren.layers, strict=True):
            *path, last = name.split(".")
            parent: nn.Module = self
            for part in path:
                if part not in dict(parent.named_children()):
                    parent.add_module(part, nn.Module())
                parent = getattr(parent, part)
            parent.add_module(last, layer)

    def forward(self, x: Tensor) -> Tensor:
        """Return values of the signal at ``x``."""
        out: Tensor = self._siren[0](x)
        return out


def named_siren(
    sizes: tuple[int, int, int, int], generator: torch.Generator, *, layer: str, last: str, omega: float
) -> NamedSiren:
    """Return a SIREN with first omega 30 and hidden ``omega``; names as :data:`NAMED` gives them."""
    siren = Siren(sizes, generator, omega=omega)
    return NamedSiren(siren, [layer.format(i) for i in range(len(siren.layers) - 1)] + [last])


#: Activations of :class:`Encoded`.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "tanh": torch.tanh,
}


class Encoded(nn.Module):
    """An MLP with the positional encoding of NeRF and any of :data:`ACTIVATIONS`, named as ``nn.Sequential`` names."""

    def __init__(
        self, sizes: tuple[int, int, int, int], activation: str, frequencies: int, generator: torch.Generator
    ) -> None:
        """``sizes`` are inputs, hidden layers, width and outputs."""
        super().__init__()
        inputs, hidden, width, outputs = sizes
        self.activation, self.frequencies = ACTIVATIONS[activation], frequencies
        widths = [inputs * (1 + 2 * frequencies)] + [width] * (hidden + 1) + [outputs]
        fans = list(itertools.pairwise(widths))
        self.net = nn.ModuleDict({str(2 * i): _default(nn.Linear(*fan), generator) for i, fan in enumerate(fans)})

    def forward(self, x: Tensor) -> Tensor:
        """Return values of the signal at ``x``."""
        *hidden, last = self.net.values()
        x = encode(x, self.frequencies, 2.0, math.pi)
        for layer in hidden:
            x = self.activation(layer(x))
        out: Tensor = last(x)
        return out


def render_rays(network: RadianceField, rays: Tensor, depths: Tensor) -> Tensor:
    """Return colors ``[R, 3]`` over white of ``rays`` [R, 6] (origin, direction) at ``depths`` [R, S] along them."""
    origins, directions = rays[:, None, :3], rays[:, None, 3:]
    length = directions.norm(dim=-1)
    color, density = network(origins + directions * depths[..., None], directions[:, 0] / length)
    gaps = torch.cat([depths[:, 1:] - depths[:, :-1], torch.full_like(depths[:, :1], 1e10)], -1) * length
    alpha = 1 - torch.exp(-density * gaps)
    clear = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha[:, :-1] + 1e-10], -1), -1)
    weights = alpha * clear
    out: Tensor = (weights[..., None] * color).sum(1) + (1 - weights.sum(1, keepdim=True))
    return out
