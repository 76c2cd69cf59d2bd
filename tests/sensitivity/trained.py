"""Small networks that are trained on a smooth picture in a fraction of a second."""

from collections import OrderedDict
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

import coinr


def coordinates(count: int = 500) -> Tensor:
    """Return points of the domain, ``[count, 2]``."""
    return 2 * torch.rand(count, 2, generator=torch.Generator().manual_seed(1)) - 1


def picture(points: Tensor) -> Tensor:
    """Return three smooth values of each point, ``[N, 3]``."""
    y, x = points.T
    return torch.stack((torch.sin(6 * x + 3 * y), torch.cos(5 * y * x), torch.tanh(3 * x - 2 * y)), 1) * 0.8


@cache
def trained(kind: str, rate: float = 3e-3, **options: Any) -> nn.Module:
    """Return a network of two hidden layers of 24 that shows the picture."""
    network = coinr.build_network(
        kind,
        {"in_features": 2, "out_features": 3, "width": 24, "hidden_layers": 2, **options},
        torch.Generator().manual_seed(0),
    )
    optimizer = torch.optim.Adam(network.parameters(), rate)
    batches = coordinates(250 * 300).split(300)
    for points in batches:
        loss = (network(points) - picture(points)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


def tensors(network: nn.Module) -> OrderedDict[str, Any]:
    """Return the state dict as arrays."""
    return OrderedDict((name, tensor.numpy().copy()) for name, tensor in network.state_dict().items())
