"""Training the corpus's networks, and evaluating tensors on what they should show."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bench.harness.networks import render_rays
from bench.harness.signals import FAR, NEAR, Samples
from coinr.networks import RadianceField
from coinr.runtime.denormals import denormals_as_zeros

DEPTHS = 48  # samples along a ray

_CHUNK = 8192  # points that pass through a network at once: activations stay in cache


@denormals_as_zeros()
def train(network: nn.Module, samples: Samples, *, steps: int, batch: int, learning_rate: float, seed: int) -> None:
    """Minimize the squared error of ``network`` in place: random batches, Adam, cosine decay to zero."""
    generator = torch.Generator().manual_seed(seed + 1)
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, learning_rate)
    count = len(samples.inputs)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
        chosen = torch.randint(count, (batch,), generator=generator)
        inputs, targets = samples.inputs[chosen], samples.targets[chosen]
        if isinstance(network, RadianceField):
            jitter = torch.rand(batch, DEPTHS, generator=generator)
            values = render_rays(network, inputs, _depths(batch) + (jitter - 0.5) * (FAR - NEAR) / DEPTHS)
        else:
            values = network(inputs)
        loss = (values - targets).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _depths(rays: int) -> Tensor:
    """Return the middles of ``DEPTHS`` equal parts of a ray, ``[rays, DEPTHS]``."""
    return (NEAR + (torch.arange(DEPTHS) + 0.5) * (FAR - NEAR) / DEPTHS).expand(rays, -1)


@torch.no_grad()
@denormals_as_zeros()
def values_of(network: nn.Module, state_dict: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """Return what ``network`` shows at ``inputs`` with the tensors of ``state_dict``, ``[N, b]``."""

    def part(chunk: Tensor) -> Tensor:
        arguments = (chunk,)
        if isinstance(network, RadianceField):
            return _render(network, state_dict, chunk)
        out: Tensor = functional_call(network, dict(state_dict), arguments)
        return out

    size = _CHUNK // DEPTHS if isinstance(network, RadianceField) else _CHUNK
    return torch.cat([part(chunk) for chunk in torch.split(inputs, size)])


def _render(network: RadianceField, state_dict: Mapping[str, Tensor], rays: Tensor) -> Tensor:
    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, rays: Tensor) -> Tensor:
            return render_rays(self.network, rays, _depths(len(rays)))

    out: Tensor = functional_call(Holder(), {f"network.{k}": v for k, v in state_dict.items()}, (rays,))
    return out


def scores(kind: str, values: Tensor, targets: Tensor) -> dict[str, float]:
    """Return quality of shown ``values``; the first number is the one that losses are measured in.

    ``psnr`` of a picture or scene clipped to its range and not rounded, ``snr`` of a sound, ``psnr`` and ``iou`` at 0.5
    of an occupancy field; in dB but for the last.
    """
    values, targets = values.double(), targets.double()
    if kind in ("sound", "clip"):
        return {"snr": 10 * math.log10(float(targets.square().sum() / (values - targets).square().sum()))}
    low, peak = (-1.0, 2.0) if kind in ("photo", "picture", "crop", "patches") else (0.0, 1.0)
    error = float((values.clamp(low, low + peak) - targets).square().mean())
    result = {"psnr": 10 * math.log10(peak**2 / error)}
    if kind in ("shape", "volume"):
        inside, inside_targets = values > 0.5, targets > 0.5
        result["iou"] = float((inside & inside_targets).sum() / (inside | inside_targets).sum().clamp(min=1))
    return result
