"""A network of one's own in the smallest file that keeps its quality. Run ``python -m examples.weights``."""

from __future__ import annotations

import math

import torch
from torch import nn

import coinr


def main() -> coinr.SearchResult:
    """Train a small network, find its smallest file at 0.1 dB less, and load it from there."""
    torch.manual_seed(0)
    x = torch.linspace(-1, 1, 512)[:, None]
    y = torch.sin(9 * x) * torch.exp(-2 * x * x)
    model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(800):
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()

    @torch.no_grad()
    def decibels(state_dict: dict[str, torch.Tensor]) -> float:
        error = (torch.func.functional_call(model, state_dict, (x,)) - y).square().mean()
        return -10 * math.log10(error)

    weights = model.state_dict()
    found = coinr.search(weights, decibels, min_score=decibels(weights) - 0.1)
    model.load_state_dict(coinr.decode_state_dict(found.blob))
    raw = sum(tensor.nbytes for tensor in weights.values())
    print(f"{raw} bytes at {found.full_score:.2f} dB became {len(found.blob)} at {found.score:.2f} dB")
    return found


if __name__ == "__main__":
    main()
