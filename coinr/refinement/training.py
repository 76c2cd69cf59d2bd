"""Training weights and their errors together: the loss with noise against the bits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Adam

from coinr.denormals import denormals_as_zeros
from coinr.fitting.optimisers import OPTIMISERS
from coinr.refinement.channel import Channel
from coinr.refinement.network import LossFunction, Network, checked, negated
from coinr.refinement.price import Price
from coinr.refinement.schedule import cosine

#: (steps done, loss, bytes), with noise in the place of rounding; means over some steps each.
History = list[tuple[int, float, float]]

#: Takes (steps done, loss, bytes).
Report = Callable[[int, float, float], None]

# Step of the logarithms of errors.
_ERROR_RATE = 0.02

# How often in a training the inputs of layers are looked at again, and calls of the loss for that.
_LOOKS, _CALLS = 5, 4

# Entries of a history, at most.
_ENTRIES = 100

# Decay of the mean loss, whose relative change is what counts.
_MEMORY = 0.95


@dataclass(frozen=True)
class Plan:
    """Steps, the optimiser and learning rate of weights, a seed of the noise, seconds after which to end, or None."""

    steps: int
    optimiser: str
    learning_rate: float
    seed: int
    seconds: float | None


@denormals_as_zeros()
def train(network: Network, loss_fn: LossFunction, plan: Plan, price: Price, report: Report) -> History:
    """Train in place: relative change of the loss plus price of the bits, with a cosine decay to zero."""
    channels = list(network.channels.values())
    device = channels[0].values.device
    generator = torch.Generator(device).manual_seed(plan.seed)
    descent = _Descent(channels, plan)
    begin, mean, step, done, looked = time.perf_counter(), math.nan, 0, 0.0, 0
    history: History = []
    noise: dict[str, Tensor] = {}
    while done < 1:
        if done * _LOOKS >= looked:
            network.look(loss_fn, _CALLS)
            looked += 1
        price.judge(network, generator, done)
        # the same noise twice, once negative: to first order its gradients cancel in the optimiser's mean
        noise = negated(noise) if step % 2 else network.noise(generator)
        sent, bits = network.sent(noise)
        loss = checked(loss_fn(sent))
        value, size = float(loss.detach()), float(bits.detach())
        mean = value if math.isnan(mean) else _MEMORY * mean + (1 - _MEMORY) * value
        objective = loss / max(mean, torch.finfo(loss.dtype).tiny) + price.of_a_bit * bits.to(loss)
        descent.step(objective, cosine(step, done))
        step += 1
        history.append((step, value, size / 8))
        report(step, mean, size / 8)
        done = max(step / plan.steps, 0.0 if plan.seconds is None else (time.perf_counter() - begin) / plan.seconds)
    network.look(loss_fn, 4 * _CALLS)
    return _thinned(history)


class _Descent:
    """Moves weights by the optimiser of a plan, and the logarithms of their errors by Adam."""

    def __init__(self, channels: Sequence[Channel], plan: Plan) -> None:
        self._weights = [channel.values for channel in channels]
        self._errors = [channel.log_errors for channel in channels]
        # optimisers of fits take stacks: here of one network, in the same memory, and vectors as such
        self._stacks = [
            weights.detach()[None] if len(channel.layout.shape) > 1 else weights.detach().reshape(1, -1)
            for weights, channel in zip(self._weights, channels, strict=True)
        ]
        self._optimisers = [
            (OPTIMISERS[plan.optimiser](self._stacks, plan.learning_rate), plan.learning_rate),
            (Adam(self._errors, _ERROR_RATE), _ERROR_RATE),
        ]

    def step(self, objective: Tensor, share: float) -> None:
        """One step, at a share of the learning rates."""
        gradients = torch.autograd.grad(objective, self._weights + self._errors)
        for moved, gradient in zip(self._stacks + self._errors, gradients, strict=True):
            moved.grad = gradient.reshape(moved.shape)
        for optimiser, rate in self._optimisers:
            optimiser.param_groups[0]["lr"] = rate * share
            optimiser.step()


def _thinned(history: History) -> History:
    """Means over equal parts."""
    parts = torch.tensor(history, dtype=torch.float64).tensor_split(min(_ENTRIES, len(history)))
    return [(int(part[-1, 0]), float(part[:, 1].mean()), float(part[:, 2].mean())) for part in parts]
