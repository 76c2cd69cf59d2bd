"""The coordinate networks of the corpus, in the state-dict layouts their own repositories use.

Each maps float32 coordinates ``[N, a]`` to float32 values ``[N, b]``.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional


def _uniform(tensor: Tensor, bound: float, generator: torch.Generator) -> None:
    """Fill a real or complex tensor with U(±bound) in every real number."""
    real = torch.view_as_real(tensor.data) if tensor.is_complex() else tensor.data
    real.uniform_(-bound, bound, generator=generator)


def _default(layer: nn.Linear, generator: torch.Generator) -> nn.Linear:
    """The usual initial weights, U(±1/√fan_in), drawn from ``generator``."""
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
        """Values of the signal at ``x``."""
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


class _Gabor(nn.Module):
    """WIRE's ``ComplexGaborLayer``: a real first layer or a complex one, and two frozen numbers."""

    def __init__(self, inputs: int, outputs: int, first: bool, omega: float, scale: float) -> None:
        super().__init__()
        self.omega_0 = nn.Parameter(omega * torch.ones(1), requires_grad=False)
        self.scale_0 = nn.Parameter(scale * torch.ones(1), requires_grad=False)
        self.linear = nn.Linear(inputs, outputs, dtype=torch.float32 if first else torch.complex64)

    def forward(self, x: Tensor) -> Tensor:
        z = self.linear(x)
        if not z.is_complex():
            return torch.polar(torch.exp(-((self.scale_0 * z) ** 2)), self.omega_0 * z)
        # exp(i omega z − |scale z|²) in real arithmetic, which torch vectorises
        u, v = z.real, z.imag
        return torch.polar(torch.exp(-self.omega_0 * v - self.scale_0**2 * (u * u + v * v)), self.omega_0 * u)


class Wire(nn.Module):
    """WIRE (Saragadam et al. 2023): complex Gabor wavelets; the real part of the last, complex layer is the value."""

    def __init__(
        self, sizes: tuple[int, int, int, int], generator: torch.Generator, *, omega: float = 20.0, scale: float = 10.0
    ) -> None:
        """``sizes`` are inputs, hidden layers, complex width and outputs."""
        super().__init__()
        inputs, hidden, width, outputs = sizes
        layers: list[nn.Module] = [_Gabor(inputs, width, True, omega, scale)]
        layers += [_Gabor(width, width, False, omega, scale) for _ in range(hidden)]
        layers += [nn.Linear(width, outputs, dtype=torch.complex64)]
        self.net = nn.Sequential(*layers)
        for module in self.net.modules():
            if isinstance(module, nn.Linear):
                _default(module, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Values of the signal at ``x``."""
        out: Tensor = self.net(x).real
        return out


class _Bell(nn.Module):
    """One layer of a Gauss network; its scale is not in the state dict."""

    def __init__(self, inputs: int, outputs: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        z = functional.linear(x, self.linear.weight * self.scale, self.linear.bias * self.scale)
        return torch.exp(-(z * z))


class Gauss(nn.Module):
    """A Gauss network, exp(−(scale z)²), in the layout of WIRE's repository."""

    def __init__(self, sizes: tuple[int, int, int, int], generator: torch.Generator, *, scale: float = 20.0) -> None:
        """``sizes`` are inputs, hidden layers, width and outputs."""
        super().__init__()
        inputs, hidden, width, outputs = sizes
        widths = [inputs] + [width] * (hidden + 1)
        layers: list[nn.Module] = [_Bell(a, b, scale) for a, b in itertools.pairwise(widths)]
        self.net = nn.Sequential(*layers, nn.Linear(width, outputs))
        for module in self.net.modules():
            if isinstance(module, nn.Linear):
                _default(module, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Values of the signal at ``x``."""
        out: Tensor = self.net(x)
        return out


def encoding(x: Tensor, frequencies: int) -> Tensor:
    """NeRF's positional encoding ``[N, a (1 + 2 frequencies)]``: x, sin(2^i x), cos(2^i x)."""
    parts = [x]
    for i in range(frequencies):
        parts += [torch.sin(x * 2.0**i), torch.cos(x * 2.0**i)]
    return torch.cat(parts, -1)


class Nerf(nn.Module):
    """A ReLU network with positional encoding in the layout of nerf-pytorch, with one skip."""

    frequencies = (10, 4)

    def __init__(self, depth: int, width: int, skip: int, generator: torch.Generator) -> None:
        super().__init__()
        points, views = (3 * (1 + 2 * count) for count in self.frequencies)
        self.skip = skip
        self.pts_linears = nn.ModuleList(
            [nn.Linear(points, width)]
            + [nn.Linear(width + (points if i == skip else 0), width) for i in range(depth - 1)]
        )
        self.views_linears = nn.ModuleList([nn.Linear(views + width, width // 2)])
        self.feature_linear = nn.Linear(width, width)
        self.alpha_linear = nn.Linear(width, 1)
        self.rgb_linear = nn.Linear(width // 2, 3)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                _default(module, generator)

    def forward(self, points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Colour ``[R, S, 3]`` and density ``[R, S]`` at ``points`` [R, S, 3] seen along unit ``directions`` [R, 3]."""
        encoded = encoding(points, self.frequencies[0])
        h = encoded
        for i, layer in enumerate(self.pts_linears):
            h = functional.relu(layer(h))
            if i == self.skip:
                h = torch.cat([encoded, h], -1)
        density = functional.relu(self.alpha_linear(h))[..., 0]
        seen = encoding(directions, self.frequencies[1])[:, None].expand(*points.shape[:2], -1)
        h = functional.relu(self.views_linears[0](torch.cat([self.feature_linear(h), seen], -1)))
        return torch.sigmoid(self.rgb_linear(h)), density


def render_rays(network: Nerf, rays: Tensor, depths: Tensor) -> Tensor:
    """Colours ``[R, 3]`` over white of ``rays`` [R, 6] (origin, direction) at ``depths`` [R, S] along them."""
    origins, directions = rays[:, None, :3], rays[:, None, 3:]
    length = directions.norm(dim=-1)
    colour, density = network(origins + directions * depths[..., None], directions[:, 0] / length)
    gaps = torch.cat([depths[:, 1:] - depths[:, :-1], torch.full_like(depths[:, :1], 1e10)], -1) * length
    alpha = 1 - torch.exp(-density * gaps)
    clear = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha[:, :-1] + 1e-10], -1), -1)
    weights = alpha * clear
    out: Tensor = (weights[..., None] * colour).sum(1) + (1 - weights.sum(1, keepdim=True))
    return out
