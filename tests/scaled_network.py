"""A small SIREN whose layers use their weights in three ways, with a metric of its outputs."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Scaled(torch.nn.Module):
    """A small SIREN that multiplies its weights by a frequency, as one layer transposed."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.first, self.second, self.last = (torch.nn.Linear(a, b) for a, b in ((2, 12), (12, 12), (12, 2)))

    def forward(self, x):
        y = torch.sin(torch.nn.functional.linear(x, self.first.weight * 8, self.first.bias * 8))
        y = torch.sin(torch.addmm(self.second.bias, y, self.second.weight.T))
        return self.last(y)


def metric(net, inputs, target):
    def score(state):
        with torch.no_grad():
            out = torch.cat([torch.func.functional_call(net, dict(state), (part,)) for part in inputs.split(300)])
        return -10 * float(np.log10(np.mean(np.square(out.numpy() - target)) + 1e-9))

    return score


def scaled_network() -> tuple[Scaled, Tensor, Callable[[Mapping[str, Any]], float]]:
    """Return the network, 700 inputs, and the metric: PSNR against its own noisy outputs."""
    net, inputs = Scaled(), torch.rand(700, 2) * 2 - 1
    target = net(inputs).detach().numpy() + 0.01 * np.random.default_rng(0).standard_normal((700, 2))
    return net, inputs, metric(net, inputs, target)
