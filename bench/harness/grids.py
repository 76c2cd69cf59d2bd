"""Small networks of the corpus that are no plain MLPs: hash grids, and COIN++ with its latents."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

# Levels, features of each, resolution of the coarsest, and the factor from one to the next.
_LEVELS, _FEATURES, _COARSEST, _GROWTH = 8, 2, 8, 1.5

# Factors of the spatial hash of Müller et al. 2022.
_PRIMES = 1, 2654435761


def _corners(x: Tensor, resolution: int, rows: int) -> tuple[Tensor, Tensor]:
    """Return the rows ``[N, 4]`` of a level that points in [-1, 1]² lie between, and their weights."""
    place = (x + 1) / 2 * (resolution - 1)
    corner = place.floor().clamp(0, resolution - 2)
    offset, corner = place - corner, corner.long()
    found, weights = [], []
    for step in itertools.product((0, 1), repeat=2):
        at = corner + torch.tensor(step)
        dense = at[:, 0] * resolution + at[:, 1]
        hashed = (at[:, 0] * _PRIMES[0]) ^ (at[:, 1] * _PRIMES[1])
        found.append(dense if resolution**2 <= rows else hashed % rows)
        shares = torch.where(torch.tensor(step) == 1, offset, 1 - offset)
        weights.append(shares.prod(1))
    return torch.stack(found, 1), torch.stack(weights, 1)


class HashGrid(nn.Module):
    """A picture as a multiresolution hash grid (Müller et al. 2022): rows of tables, then ReLU layers without biases.

    ``layout`` is that of the state dict: ``"table"`` has one table of all levels, as torch-ngp, ``"tables"`` one for
    each level, ``"flat"`` a single vector of all weights, as tiny-cuda-nn: first those of the network.
    """

    def __init__(self, hidden: int, width: int, log_rows: int, layout: str, generator: torch.Generator) -> None:
        super().__init__()
        self.rows = [min(2**log_rows, self._resolution(level) ** 2) for level in range(_LEVELS)]
        self.table_rows = 2**log_rows
        widths = [_LEVELS * _FEATURES] + [width] * hidden + [3]
        self.shapes = [(fan_out, fan_in) for fan_in, fan_out in itertools.pairwise(widths)]
        tables = [1e-1 * (2 * torch.rand(rows, _FEATURES, generator=generator) - 1) for rows in self.rows]
        weights = [
            math.sqrt(6 / fan_in) * (2 * torch.rand(fan_out, fan_in, generator=generator) - 1)
            for fan_out, fan_in in self.shapes
        ]
        self.layout = layout
        if layout == "flat":
            flat = [tensor.flatten() for tensor in (*weights, *tables)]
            self.params = nn.Parameter(torch.cat(flat))
            return
        self.encoder = nn.ParameterDict(
            {"embeddings": torch.cat(tables)}
            if layout == "table"
            else {str(level): table for level, table in enumerate(tables)}
        )
        self.net = nn.ModuleDict({str(k): nn.Linear(*shape[::-1], bias=False) for k, shape in enumerate(self.shapes)})
        for layer, weight in zip(self.net.values(), weights, strict=True):
            layer.weight.data.copy_(weight)

    @staticmethod
    def _resolution(level: int) -> int:
        return int(_COARSEST * _GROWTH**level)

    def _tensors(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return the tables and the weights."""
        if self.layout == "flat":
            sizes = [math.prod(shape) for shape in self.shapes] + [rows * _FEATURES for rows in self.rows]
            parts = self.params.split(sizes)
            weights = [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=False)]
            return [part.reshape(-1, _FEATURES) for part in parts[len(self.shapes) :]], weights
        tables = [*self.encoder.values()]
        if self.layout == "table":
            tables = list(tables[0].split(self.rows))
        return tables, [layer.weight for layer in self.net.values()]

    def forward(self, x: Tensor) -> Tensor:
        """Return values of the signal at ``x``."""
        tables, weights = self._tensors()
        features = []
        for level, table in enumerate(tables):
            rows, shares = _corners(x, self._resolution(level), self.table_rows)
            features.append((table[rows] * shares[..., None]).sum(1))
        y = torch.cat(features, 1)
        for weight in weights[:-1]:
            y = functional.relu(functional.linear(y, weight))
        return functional.linear(y, weights[-1])


class Modulated(nn.Module):
    """A SIREN whose hidden biases are shifted by a map of the latent of each patch (COIN++, Dupont et al. 2022).

    The names are those of its code. Base, map and latents are trained together, without inner steps.
    """

    def __init__(
        self, hidden: int, width: int, latents: tuple[int, int], omega: float, generator: torch.Generator
    ) -> None:
        """``latents`` are their number and length."""
        super().__init__()
        self.omega = omega
        widths = [2] + [width] * hidden + [3]
        layers = [nn.Linear(*fan) for fan in itertools.pairwise(widths)]
        for k, layer in enumerate(layers):
            bound = 1 / layer.in_features if k == 0 else math.sqrt(6 / layer.in_features) / omega
            layer.weight.data.uniform_(-bound, bound, generator=generator)
            layer.bias.data.uniform_(-bound, bound, generator=generator)
        self.net = nn.ModuleList(nn.ModuleDict({"linear": layer}) for layer in layers[:-1])
        self.last_layer = nn.ModuleDict({"linear": layers[-1]})
        shifts = nn.Linear(latents[1], width * hidden)
        bound = 1 / (omega * math.sqrt(latents[1]))
        shifts.weight.data.uniform_(-bound, bound, generator=generator)
        shifts.bias.data.zero_()
        self.modulation_net = nn.ModuleDict({"net": nn.ModuleList([shifts])})
        self.modulations = nn.Parameter(0.1 * torch.randn(*latents, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        """Return values at ``x``: index of a patch, then coordinates in it."""
        shifts = self.modulation_net["net"][0](self.modulations)
        shifts = shifts[x[:, 0].long()].chunk(len(self.net), 1)
        y = x[:, 1:]
        for layer, shift in zip(self.net, shifts, strict=True):
            y = torch.sin(self.omega * (layer["linear"](y) + shift))
        out: Tensor = self.last_layer["linear"](y)
        return out
