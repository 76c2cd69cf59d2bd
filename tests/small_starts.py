"""Starts that nobody had to learn."""

from __future__ import annotations

import torch
from torch import nn

import coinr
from coinr.meta.start_file import make_start
from coinr.starts.start import StartMeta

from .small_signals import siren


def start(
    network: nn.Module | None = None, name: str = "waves", signal: str = "image", steps: int = 2, seed: int = 0
) -> coinr.Start:
    """A start at a network, by default a small SIREN of pictures, with random rates of some first steps."""
    network = siren(2, 3, 8) if network is None else network
    generator = torch.Generator().manual_seed(seed)
    rates = {
        key: 0.01 + 0.01 * torch.rand(steps, *p.shape, generator=generator)
        for key, p in network.named_parameters()
        if p.requires_grad and steps
    }
    return make_start(network, rates, StartMeta(name, "maml" if steps else "joint", signal))


def near(start: coinr.Start, size: float = 0.01) -> nn.Module:
    """The network of a start after a short fit, as it were."""
    network = start.network()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter += size * parameter.abs().mean() * torch.randn(parameter.shape, generator=generator)
    return network
