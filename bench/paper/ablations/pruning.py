"""Sparse networks by training: an L1 penalty, and pruning of weights or of whole neurons with training after it."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bench.harness.signals import Samples
from coinr.runtime.denormals import denormals_as_zeros

State = OrderedDict[str, Tensor]


@denormals_as_zeros()
def fit(
    network: nn.Module,
    start: Mapping[str, Tensor],
    samples: Samples,
    *,
    steps: int,
    batch: int,
    rate: float,
    seed: int,
    l1: float = 0.0,
    masks: Mapping[str, Tensor] | None = None,
) -> State:
    """Return tensors trained from ``start``: random batches, squared error, Adam with cosine decay to zero.

    Parameters
    ----------
    network : nn.Module
        What computes with the tensors; their sizes may be smaller than its own.
    l1 : float
        λ of a penalty λ Σ|w| of all weight matrices, by a proximal step after each step of Adam: w moves towards zero
        by λ times the learning rate, and stays there where it arrives. Decoupled from Adam's scaling, as weight decay
        is in AdamW.
    masks : mapping of str to Tensor, optional
        bool, of the tensors' shapes: weights that may differ from zero.
    """
    generator = torch.Generator().manual_seed(seed + 2)
    held = masks or {}
    state = OrderedDict((name, tensor.detach().clone().requires_grad_()) for name, tensor in start.items())
    optimizer = torch.optim.Adam(list(state.values()), rate)
    for step in range(steps):
        now = rate * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.param_groups[0]["lr"] = now
        chosen = torch.randint(len(samples.inputs), (batch,), generator=generator)
        values = functional_call(network, dict(state), (samples.inputs[chosen],))
        loss = (values - samples.targets[chosen]).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for name, tensor in state.items():
                if l1 and tensor.ndim > 1:
                    tensor.copy_(tensor.sign() * (tensor.abs() - now * l1).clamp(min=0))
                if name in held:
                    tensor.mul_(held[name])
    return OrderedDict((name, tensor.detach()) for name, tensor in state.items())


def matrices(sd: Mapping[str, Tensor]) -> list[str]:
    """Return names of the weight matrices, from the first layer to the last."""
    return [name for name, tensor in sd.items() if tensor.ndim > 1]


def kept_weights(sd: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return masks of hidden matrices without their ``round(share · size)`` smallest weights each."""
    masks = {}
    for name in matrices(sd)[1:-1]:
        magnitudes = sd[name].abs().flatten()
        mask = torch.ones(magnitudes.numel(), dtype=torch.bool)
        mask[magnitudes.argsort(stable=True)[: round(share * magnitudes.numel())]] = False
        masks[name] = mask.reshape(sd[name].shape)
    return masks


def without_neurons(sd: Mapping[str, Tensor], share: float) -> State:
    """Return a narrower network: every layer of neurons without its ``round(share · width)`` weakest.

    A neuron is as strong as the product of the norms of its weights in and out.
    """
    small: State = OrderedDict(sd)
    names = matrices(sd)
    for before, after in zip(names, names[1:], strict=False):
        strength = sd[before].norm(dim=1) * sd[after].norm(dim=0)
        kept = strength.argsort(stable=True)[round(share * len(strength)) :].sort().values
        bias = before.removesuffix("weight") + "bias"
        small[before], small[bias] = small[before][kept], small[bias][kept]
        small[after] = small[after][:, kept]
    return OrderedDict((name, tensor.contiguous()) for name, tensor in small.items())


def apply_masks(sd: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> State:
    """Return the tensors with zeros where a mask is False."""
    return OrderedDict((name, tensor * masks[name] if name in masks else tensor) for name, tensor in sd.items())


def zeros(sd: Mapping[str, Tensor], names: list[str] | None = None) -> float:
    """Return share of weights (biases left out) that are exactly zero."""
    found = [sd[name] for name in names or matrices(sd)]
    return sum(int((tensor == 0).sum()) for tensor in found) / sum(tensor.numel() for tensor in found)


def dead_neurons(sd: Mapping[str, Tensor]) -> float:
    """Return share of neurons that nothing goes into, or nothing comes out of."""
    names = matrices(sd)
    dead = [(sd[before] == 0).all(1) | (sd[after] == 0).all(0) for before, after in zip(names, names[1:], strict=False)]
    return float(torch.cat(dead).double().mean())


def overlap(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> tuple[float, float]:
    """Return share of hidden weights that are zero in both, and what chance alone would give per matrix."""
    both, chance, count = 0.0, 0.0, 0
    for name in matrices(one)[1:-1]:
        a, b = one[name] == 0, other[name] == 0
        both += float((a & b).sum())
        chance += float(a.double().mean() * b.double().mean()) * a.numel()
        count += a.numel()
    return both / count, chance / count
