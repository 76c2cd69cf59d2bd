"""Training weights and their errors together: the loss with noise against the bits."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Adam

from coinr.fitting.optimizers import OPTIMIZERS
from coinr.inputs.callbacks import gradients
from coinr.optimize.refine.lagrange import Price
from coinr.optimize.refine.noisy_network import LossFunction, Network, negated
from coinr.optimize.refine.noisy_tensor import Channel
from coinr.optimize.refine.schedule import cosine
from coinr.progress import report
from coinr.runtime.denormals import denormals_as_zeros
from coinr.runtime.work_limit import WorkLimit

#: (steps done, loss, bytes), with noise in the place of rounding; means over some steps each.
History = list[tuple[int, float, float]]

# Step of the logarithms of errors.
_ERROR_RATE = 0.02

# How often in a training the inputs of layers are recorded again, and calls of the loss for that.
_UPDATES, _CALLS = 5, 4

#: Steps whose seconds of CPU everything else may take, unless it is thorough: 300 with what is not counted; and the
#: share of the seconds on the clock that is kept for it at most.
OWN_STEPS, OWN_SHARE = 270, 0.3

# Entries of a history, at most.
_ENTRIES = 100

# Steps that are timed.
_TIMED = 101

# Decay of the mean loss, whose relative change is what counts.
_MEMORY = 0.95


@dataclass(frozen=True)
class Plan:
    """Steps, the optimizer and learning rate of weights, a seed of the noise, and whether other work has no limit."""

    steps: int
    optimizer: str
    learning_rate: float
    seed: int
    thorough: bool


@denormals_as_zeros()
def train(network: Network, loss_fn: LossFunction, plan: Plan, price: Price, limit: WorkLimit) -> History:
    """Train in place: relative change of the loss plus price of the bits, with a cosine decay to zero.

    The limit hears what a step takes, and some of its seconds are left when the training is over.
    """
    channels = list(network.channels.values())
    device = channels[0].values.device
    generator = torch.Generator(device).manual_seed(plan.seed)
    descent = _Descent(channels, plan)
    begin, seconds = time.perf_counter(), limit.left()
    mean, step, done, looked = math.nan, 0, 0.0, 0
    cost = _StepCost()
    history: History = []
    noise: dict[str, Tensor] = {}
    while done < 1:
        if done * _UPDATES >= looked:
            with limit.unit():
                network.update_input_stats(loss_fn, _CALLS)
            looked += 1
        if step and not plan.thorough:
            limit.cpu_seconds = OWN_STEPS * cost.median()
        price.judge(network, generator, done, limit)
        cost.begin()
        # the same noise twice, once negative: to first order its gradients cancel in the optimizer's mean
        noise = negated(noise) if step % 2 else network.noise(generator)
        sent, bits = network.sent(noise)
        loss = loss_fn(sent)
        value, size = float(loss.detach()), float(bits.detach())
        mean = value if math.isnan(mean) else _MEMORY * mean + (1 - _MEMORY) * value
        objective = loss / max(mean, torch.finfo(loss.dtype).tiny) + price.of_a_bit * bits.to(loss)
        descent.step(objective, cosine(step, done))
        step += 1
        history.append((step, value, size / 8))
        cost.end()
        report(step, text=f"loss {mean:.3e}, about {size / 8:.0f} bytes")
        done = max(step / plan.steps, _over(time.perf_counter() - begin, seconds, step, plan.thorough))
    if not plan.thorough:
        limit.cpu_seconds = OWN_STEPS * cost.median()
    with limit.unit():
        network.update_input_stats(loss_fn, 4 * _CALLS)
    return _thinned(history)


def _over(passed: float, seconds: float, step: int, thorough: bool) -> float:
    """The share of the time of a training that is over, some of ``seconds`` being kept for what comes after it."""
    kept = OWN_SHARE * seconds if thorough else min(OWN_SHARE * seconds, OWN_STEPS * passed / step)
    return passed / max(seconds - kept, sys.float_info.min) if seconds < math.inf else 0.0


class _StepCost:
    """Seconds of CPU of a step: the median of the first ones, of which the very first take longer."""

    def __init__(self) -> None:
        self._taken: list[float] = []

    def begin(self) -> None:
        """A step begins."""
        self._begin = time.process_time()

    def end(self) -> None:
        """It ends."""
        if len(self._taken) < _TIMED:
            self._taken.append(time.process_time() - self._begin)

    def median(self) -> float:
        """What a step takes."""
        return statistics.median(self._taken)


class _Descent:
    """Moves weights by the optimizer of a plan, and the logarithms of their errors by Adam."""

    def __init__(self, channels: Sequence[Channel], plan: Plan) -> None:
        self._weights = [channel.values for channel in channels]
        self._errors = [channel.log_errors for channel in channels]
        # optimizers of fits take stacks: here of one network, in the same memory, and vectors as such
        self._stacks = [
            weights.detach()[None] if len(channel.layout.shape) > 1 else weights.detach().reshape(1, -1)
            for weights, channel in zip(self._weights, channels, strict=True)
        ]
        self._optimizers = [
            (OPTIMIZERS[plan.optimizer](self._stacks, plan.learning_rate), plan.learning_rate),
            (Adam(self._errors, _ERROR_RATE), _ERROR_RATE),
        ]

    def step(self, objective: Tensor, share: float) -> None:
        """One step, at a share of the learning rates."""
        found = gradients(objective, self._weights + self._errors)
        for moved, gradient in zip(self._stacks + self._errors, found, strict=True):
            assert gradient is not None  # bits depend on all
            moved.grad = gradient.reshape(moved.shape)
        for optimizer, rate in self._optimizers:
            optimizer.param_groups[0]["lr"] = rate * share
            optimizer.step()


def _thinned(history: History) -> History:
    """Means over equal parts."""
    parts = torch.tensor(history, dtype=torch.float64).tensor_split(min(_ENTRIES, len(history)))
    return [(int(part[-1, 0]), float(part[:, 1].mean()), float(part[:, 2].mean())) for part in parts]
