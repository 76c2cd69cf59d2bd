"""Training weights and their errors together: the loss with noise against the bits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from coinr.denormals import denormals_as_zeros
from coinr.refinement.network import LossFunction, Network, checked
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
    """Steps of Adam, the learning rate of weights, a seed of the noise, and seconds after which to end, or None."""

    steps: int
    learning_rate: float
    seed: int
    seconds: float | None


@denormals_as_zeros()
def train(network: Network, loss_fn: LossFunction, plan: Plan, price: Price, report: Report) -> History:
    """Train in place: relative change of the loss plus price of the bits, by Adam with a cosine decay to zero."""
    channels = list(network.channels.values())
    device = channels[0].values.device
    generator = torch.Generator(device).manual_seed(plan.seed)
    groups = [
        {"params": [channel.values for channel in channels], "lr": plan.learning_rate},
        {"params": [channel.log_errors for channel in channels], "lr": _ERROR_RATE},
    ]
    rates = [plan.learning_rate, _ERROR_RATE]
    optimiser = torch.optim.Adam(groups)
    begin, mean, step, done, looked = time.perf_counter(), math.nan, 0, 0.0, 0
    history: History = []
    noise: dict[str, Tensor] = {}
    while done < 1:
        if done * _LOOKS >= looked:
            network.look(loss_fn, _CALLS)
            looked += 1
        price.judge(network, generator, done)
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * cosine(step, done)
        # the same noise twice, once negative: to first order its gradients cancel in the optimiser's mean
        noise = {name: -one for name, one in noise.items()} if step % 2 else network.noise(generator)
        sent, bits = network.sent(noise)
        loss = checked(loss_fn(sent))
        value, size = float(loss.detach()), float(bits.detach())
        mean = value if math.isnan(mean) else _MEMORY * mean + (1 - _MEMORY) * value
        optimiser.zero_grad(set_to_none=True)
        objective = loss / max(mean, torch.finfo(loss.dtype).tiny) + price.of_a_bit * bits.to(loss)
        objective.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        step += 1
        history.append((step, value, size / 8))
        report(step, mean, size / 8)
        done = max(step / plan.steps, 0.0 if plan.seconds is None else (time.perf_counter() - begin) / plan.seconds)
    network.look(loss_fn, 4 * _CALLS)
    return _thinned(history)


def _thinned(history: History) -> History:
    """Means over equal parts."""
    parts = torch.tensor(history, dtype=torch.float64).tensor_split(min(_ENTRIES, len(history)))
    return [(int(part[-1, 0]), float(part[:, 1].mean()), float(part[:, 2].mean())) for part in parts]
