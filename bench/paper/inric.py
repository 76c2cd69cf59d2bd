"""INRIC's compression of a trained network as published (Strümpler et al. 2022).

Every tensor gets a symmetric uniform quantizer of b bits whose range is its largest magnitude. AdaRound then chooses,
layer after layer, whether weights round up or down: 1000 iterations, regularization 1e-4, beta from 20 to 2. The
network is retrained through the quantizers (straight-through, Adam at 1e-6, the best tensors kept) and its integers
are arithmetic coded: :mod:`bench.paper.inric_stream`.

As in the authors' code, a layer's inputs while it is rounded are those after the rounding of earlier layers. Biases are
rounded to nearest. Weights enter retraining as AdaRound left them, settled or not. An epoch is one step on the whole
signal; with the budget ``quick`` it is a step on 8192 samples.

Two choices are ours: the quantizer's range, and that a layer is reconstructed before its activation, whose frequency or
scale is counted. The squared error is summed over outputs and averaged over sampled inputs, so that second moments of
the inputs give it.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from bench.harness.measure import Row, source_version
from bench.harness.signals import Samples
from bench.harness.training import values_of
from bench.paper import inric_stream
from bench.paper.context import BUDGETS, Budget, Point
from bench.paper.inric_stream import Levels, check_tensor, decode, top
from coinr.codec.coders import levels
from coinr.engine import _C
from coinr.errors import InputError
from coinr.runtime.denormals import denormals_as_zeros

__all__ = ["BITS", "adaround", "compress", "decode", "layer_calls", "quantize", "rows", "steps_of"]

#: b of the published points.
BITS = (8, 7)

ITERATIONS = 1000
REGULARIZATION = 1e-4
BETAS = (20.0, 2.0)
WARM = 0.2  # share of the iterations before the regularization begins
ROUNDING_RATE = 1e-3
STRETCH = (-0.1, 1.1)  # of the rectified sigmoid (Nagel et al. 2020)

EPOCHS = 300
RETRAIN_RATE = 1e-6

#: Samples of a step of retraining in ``quick``, of AdaRound's layer inputs, and of the choice of the best tensors.
QUICK_BATCH, SAMPLED, EVAL_SAMPLES = 8192, 32768, 65536

_CHUNK = 65536  # samples whose gradients are found at once
_EVALUATE_EVERY = 50  # steps in quick; each step in full

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Call:
    """An affine map that a network made.

    Attributes
    ----------
    weight : str
        The weight's name in the state dict.
    factor : float
        What the network multiplies the weight by, as the frequency of a sine.
    inputs : Tensor
        float32 ``[N, fan_in]``.
    """

    weight: str
    factor: float
    inputs: Tensor


class _AffineMaps(TorchFunctionMode):
    """Record the arguments of every affine map."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function is functional.linear:
            self.calls.append((args[0], args[1]))
        return function(*args, **(kwargs or {}))


@torch.no_grad()
def layer_calls(network: nn.Module, tensors: Tensors, inputs: Tensor) -> list[Call]:
    """Return what each linear layer of a network is given, in order.

    Networks of sines call their layers' weights times a frequency and not the layers, so hooks would see nothing.

    Raises
    ------
    InputError
        If the network does not use its linear layers once each, in the order it holds them.
    """
    names = [f"{name}.weight" for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    recorder = _AffineMaps()
    with recorder:
        functional_call(network, dict(tensors), (inputs,))
    if len(recorder.calls) != len(names):
        raise InputError(f"{len(recorder.calls)} affine maps of {len(names)} linear layers")
    calls = []
    for name, (x, used) in zip(names, recorder.calls, strict=True):
        factor = _factor(used, tensors[name])
        if factor is None:
            raise InputError(f"{name} is not used in the order of the layers")
        calls.append(Call(name, factor, x.reshape(-1, x.shape[-1])))
    return calls


def _factor(used: Tensor, weight: Tensor) -> float | None:
    """Return the number whose product with a weight was used; None if there is none."""
    if used.shape != weight.shape:
        return None
    energy = float(weight.square().sum())
    factor = float((used * weight).sum()) / energy if energy else 1.0
    return factor if torch.allclose(used, factor * weight, rtol=1e-4, atol=1e-7) else None


def steps_of(tensors: Tensors, bits: int) -> dict[str, float]:
    """Return the float32 step of every tensor: its largest magnitude is the largest integer; 0 for one of zeros."""
    return {
        name: float(np.float32(float(tensor.abs().max()) / top(bits))) if tensor.numel() else 0.0
        for name, tensor in tensors.items()
    }


def round_to_step(tensor: Tensor, step: float, bits: int) -> Tensor:
    """Return the nearest multiples of a step within b bits."""
    if step == 0:
        return torch.zeros_like(tensor)
    return (tensor / step).round().clamp(-top(bits), top(bits)) * step


def _round_all(tensors: Tensors, steps: Mapping[str, float], bits: int) -> OrderedDict[str, Tensor]:
    return OrderedDict((name, round_to_step(tensor, steps[name], bits)) for name, tensor in tensors.items())


def _share(alpha: Tensor) -> Tensor:
    """Return the rectified sigmoid: the part of a step by which a weight is rounded up, 0 … 1."""
    low, high = STRETCH
    return (torch.sigmoid(alpha) * (high - low) + low).clamp(0, 1)


def _beta(iteration: int) -> float:
    """Return the regularization's exponent after the warm start: half a cosine from 20 to 2."""
    along = max(0.0, iteration / ITERATIONS - WARM) / (1 - WARM)
    return BETAS[1] + (BETAS[0] - BETAS[1]) * (1 + math.cos(math.pi * along)) / 2


def soft_weight(weight: Tensor, step: float, bits: int, exact: Tensor, given: Tensor, factor: float) -> Tensor:
    """Return a layer's weight as AdaRound leaves it: multiples of the step but for elements that have not settled.

    Parameters
    ----------
    weight : Tensor
        float32 ``[fan_out, fan_in]``.
    exact, given : Tensor
        ``[N, fan_in]``: inputs of the layer in the network before quantization, and with its earlier layers rounded.
    factor : float
        On the layer's outputs.
    """
    scaled = (weight / step).clamp(-top(bits), top(bits))
    below = scaled.floor()
    low, high = STRETCH
    alpha = torch.logit((scaled - below - low) / (high - low)).requires_grad_()
    # The error E of the weight changes outputs by E x' - W (x - x'): two moments of the inputs tell its mean square.
    moment = given.T @ given / len(given)
    drift = weight @ ((exact - given).T @ given / len(given))
    optimizer = torch.optim.Adam([alpha], ROUNDING_RATE)
    for iteration in range(ITERATIONS):
        share = _share(alpha)
        error = (below + share).clamp(-top(bits), top(bits)) * step - weight
        loss = factor**2 * ((error @ moment) * error - 2 * error * drift).sum()
        if iteration >= WARM * ITERATIONS:
            loss = loss + REGULARIZATION * (1 - (2 * share - 1).abs() ** _beta(iteration)).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return ((below + _share(alpha.detach())).clamp(-top(bits), top(bits)) * step).detach()


def adaround(network: nn.Module, tensors: Tensors, inputs: Tensor, bits: int) -> OrderedDict[str, Tensor]:
    """Return the tensors with all weights of linear layers as AdaRound leaves them, the others as they were.

    Parameters
    ----------
    network : nn.Module
        Gives the structure.
    inputs : Tensor
        Sampled inputs of the network ``[N, a]``.
    """
    steps = steps_of(tensors, bits)
    exact = layer_calls(network, tensors, inputs)
    found, quantized = OrderedDict(tensors), OrderedDict(tensors)
    for place, call in enumerate(exact):
        if steps[call.weight] == 0:
            continue
        given = layer_calls(network, quantized, inputs)[place].inputs
        found[call.weight] = soft_weight(
            tensors[call.weight], steps[call.weight], bits, call.inputs, given, call.factor
        )
        bias = call.weight.removesuffix("weight") + "bias"
        for name in {call.weight, bias} & tensors.keys():
            quantized[name] = round_to_step(found[name], steps[name], bits)
    return found


def _error(network: nn.Module, tensors: Tensors, samples: tuple[Tensor, Tensor]) -> float:
    """Return mean squared error on samples."""
    return float((values_of(network, tensors, samples[0]) - samples[1]).square().mean())


@denormals_as_zeros()
def _retrain(
    network: nn.Module, tensors: Tensors, steps: Mapping[str, float], bits: int, samples: Samples, full: bool
) -> OrderedDict[str, Tensor]:
    """Return the tensors after retraining through their quantizers, not yet rounded; the best that were met."""
    device = next(iter(tensors.values())).device
    generator = torch.Generator().manual_seed(1)
    count = len(samples.inputs)
    eval_samples = _chosen(samples, torch.randperm(count, generator=generator)[:EVAL_SAMPLES], device)
    whole = (samples.inputs.to(device), samples.targets.to(device)) if full else None
    trained = OrderedDict((name, tensor.clone().requires_grad_()) for name, tensor in tensors.items())
    optimizer = torch.optim.Adam(trained.values(), RETRAIN_RATE)

    def detached() -> OrderedDict[str, Tensor]:
        return OrderedDict((name, tensor.detach().clone()) for name, tensor in trained.items())

    best = detached()
    least = _error(network, _round_all(best, steps, bits), eval_samples)
    for epoch in range(1, EPOCHS + 1):
        batch = whole or _chosen(samples, torch.randint(count, (QUICK_BATCH,), generator=generator), device)
        optimizer.zero_grad(set_to_none=True)
        for inputs, targets in zip(*(torch.split(part, _CHUNK) for part in batch), strict=True):
            through = {
                name: tensor + (round_to_step(tensor.detach(), steps[name], bits) - tensor.detach())
                for name, tensor in trained.items()
            }
            values = functional_call(network, through, (inputs,))
            ((values - targets).square().sum() / batch[1].numel()).backward()
        optimizer.step()
        if full or epoch % _EVALUATE_EVERY == 0:
            now = detached()
            if (error := _error(network, _round_all(now, steps, bits), eval_samples)) < least:
                best, least = now, error
    return best


def _chosen(samples: Samples, chosen: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    return samples.inputs[chosen].to(device), samples.targets[chosen].to(device)


def quantize(network: nn.Module, samples: Samples, bits: int, budget: Budget) -> OrderedDict[str, Levels]:
    """Return every tensor of a trained network after all of INRIC's steps, on its device; deterministic.

    Raises
    ------
    InputError
        If a tensor is complex, an integer or not finite, or the network is not a chain of linear layers.
    """
    tensors = OrderedDict((name, tensor.detach()) for name, tensor in network.state_dict().items())
    for name, tensor in tensors.items():
        check_tensor(name, tensor)
    steps = steps_of(tensors, bits)
    device = next(iter(tensors.values())).device
    sampled = torch.randperm(len(samples.inputs), generator=torch.Generator().manual_seed(0))[:SAMPLED]
    soft = adaround(network, tensors, samples.inputs[sampled].to(device), bits)
    final = _retrain(network, soft, steps, bits, samples, budget.name == "full")
    return OrderedDict((name, _levels(tensor, steps[name], bits)) for name, tensor in final.items())


def _levels(tensor: Tensor, step: float, bits: int) -> Levels:
    q = torch.zeros_like(tensor) if step == 0 else (tensor / step).round().clamp(-top(bits), top(bits))
    return Levels(q.cpu().numpy().astype(np.int32), step)


def compress(network: nn.Module, samples: Samples, bits: int, budget: Budget) -> bytes:
    """Return INRIC's file of a trained network, see :func:`quantize`; :func:`decode` reads it."""
    return inric_stream.encode(quantize(network, samples, bits, budget), bits)


def rows(point: Point, budget: Budget = BUDGETS["quick"]) -> Iterator[Row]:
    """Yield the file at 8 bits, then at 7."""
    version = source_version(*(Path(str(part.__file__)) for part in (inric_stream, levels, _C)), Path(__file__))
    like = point.entry.state_dict
    for bits in BITS:
        encode = partial(_encode, point, bits, budget)
        yield point.bench.measure(f"INRIC {bits} bit", budget.name, version, encode, partial(decode, like=like))


def _encode(point: Point, bits: int, budget: Budget) -> bytes:
    return compress(point.entry.network(), point.samples, bits, budget)
