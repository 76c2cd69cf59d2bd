"""Training weights together with the errors that quantization may leave in them."""

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
from coinr.optimize.refine.lagrange import LagrangeMultiplier
from coinr.optimize.refine.noisy_network import LossFunction, NoisyNetwork, negated
from coinr.optimize.refine.noisy_tensor import NoisyTensor
from coinr.optimize.refine.schedule import warmup_cosine
from coinr.progress import report
from coinr.runtime.denormals import denormals_as_zeros
from coinr.runtime.work_limit import WorkLimit

#: (steps done, loss, bytes) with noise in the place of quantization; means over some steps each.
History = list[tuple[int, float, float]]

# Learning rate of the logarithms of errors.
_ERROR_RATE = 0.02

# How often in a training layers' inputs are recorded, and from how many calls of the loss; after it, from four times
# as many.
_RECORDINGS, _CALLS = 5, 4

# All other work may take the CPU time of so many steps (300 with what is not counted), unless it is thorough. On the
# clock, this share of the seconds is kept for it at most.
_OTHER_STEPS, _OTHER_SHARE = 270, 0.3

# Entries of a history, at most.
_ENTRIES = 100

# Steps that are timed.
_TIMED = 101

# Decay of the running mean of the loss.
_DECAY = 0.95


@dataclass(frozen=True)
class RefineOptions:
    """How to train.

    Attributes
    ----------
    steps : int
        Of the optimizer.
    optimizer : str
        Of the weights.
    learning_rate : float
        Of the weights.
    seed : int
        Of the noise.
    thorough : bool
        Whether work other than steps has no limit.
    """

    steps: int
    optimizer: str
    learning_rate: float
    seed: int
    thorough: bool


@denormals_as_zeros()
def train(
    network: NoisyNetwork,
    loss_fn: LossFunction,
    options: RefineOptions,
    multiplier: LagrangeMultiplier,
    limit: WorkLimit,
) -> History:
    """Train in place for the least loss / mean loss + per_bit · bits, with learning rates decaying to zero.

    ``limit.cpu_seconds`` is set from the measured time of a step. The training ends so early that the work after it
    keeps its share of the seconds.
    """
    tensors = list(network.trained.values())
    device = tensors[0].values.device
    generator = torch.Generator(device).manual_seed(options.seed)
    optimizer = _JointOptimizer(tensors, options)
    begin, seconds = time.perf_counter(), limit.left()
    mean, step, done, recordings = math.nan, 0, 0.0, 0
    timer = _StepTimer()
    history: History = []
    noise: dict[str, Tensor] = {}
    while done < 1:
        if done * _RECORDINGS >= recordings:
            with limit.unit():
                network.update_input_stats(loss_fn, _CALLS)
            recordings += 1
        if step and not options.thorough:
            limit.cpu_seconds = _OTHER_STEPS * timer.median()
        multiplier.update(network, generator, done, limit)
        timer.begin()
        # each noise is used twice, the second time negated: its gradients cancel to first order in the optimizer's mean
        noise = negated(noise) if step % 2 else network.noise(generator)
        noisy, bits = network.noisy(noise)
        loss = loss_fn(noisy)
        value, size = float(loss.detach()), float(bits.detach())
        mean = value if math.isnan(mean) else _DECAY * mean + (1 - _DECAY) * value
        objective = loss / max(mean, torch.finfo(loss.dtype).tiny) + multiplier.per_bit * bits.to(loss)
        optimizer.step(objective, warmup_cosine(step, done))
        step += 1
        history.append((step, value, size / 8))
        timer.end()
        report(step, text=f"loss {mean:.3e}, about {size / 8:.0f} bytes")
        done = max(step / options.steps, _time_done(time.perf_counter() - begin, seconds, step, options.thorough))
    if not options.thorough:
        limit.cpu_seconds = _OTHER_STEPS * timer.median()
    with limit.unit():
        network.update_input_stats(loss_fn, 4 * _CALLS)
    return _averaged(history)


def _time_done(passed: float, seconds: float, step: int, thorough: bool) -> float:
    """Return the share of the training's time that is over, where ``seconds`` also hold the work after it."""
    kept = _OTHER_SHARE * seconds if thorough else min(_OTHER_SHARE * seconds, _OTHER_STEPS * passed / step)
    return passed / max(seconds - kept, sys.float_info.min) if seconds < math.inf else 0.0


class _StepTimer:
    """Seconds of CPU of a step: the median of the first 101, of which the very first take longer."""

    def __init__(self) -> None:
        self._taken: list[float] = []

    def begin(self) -> None:
        """Begin a step."""
        self._begin = time.process_time()

    def end(self) -> None:
        """End it."""
        if len(self._taken) < _TIMED:
            self._taken.append(time.process_time() - self._begin)

    def median(self) -> float:
        """Return the seconds of a step."""
        return statistics.median(self._taken)


class _JointOptimizer:
    """Move weights by the chosen optimizer, and the logarithms of their errors by Adam."""

    def __init__(self, tensors: Sequence[NoisyTensor], options: RefineOptions) -> None:
        self._weights = [tensor.values for tensor in tensors]
        self._errors = [tensor.log_errors for tensor in tensors]
        # optimizers of fits take stacks of equal networks: here stacks of one that share its memory
        self._stacks = [
            weights.detach()[None] if len(tensor.layout.shape) > 1 else weights.detach().reshape(1, -1)
            for weights, tensor in zip(self._weights, tensors, strict=True)
        ]
        self._optimizers = [
            (OPTIMIZERS[options.optimizer](self._stacks, options.learning_rate), options.learning_rate),
            (Adam(self._errors, _ERROR_RATE), _ERROR_RATE),
        ]

    def step(self, objective: Tensor, factor: float) -> None:
        """Take one step, with ``factor`` times the learning rates."""
        found = gradients(objective, self._weights + self._errors)
        for moved, gradient in zip(self._stacks + self._errors, found, strict=True):
            assert gradient is not None  # bits depend on all
            moved.grad = gradient.reshape(moved.shape)
        for optimizer, rate in self._optimizers:
            optimizer.param_groups[0]["lr"] = rate * factor
            optimizer.step()


def _averaged(history: History) -> History:
    """Return means over equal parts of a history."""
    parts = torch.tensor(history, dtype=torch.float64).tensor_split(min(_ENTRIES, len(history)))
    return [(int(part[-1, 0]), float(part[:, 1].mean()), float(part[:, 2].mean())) for part in parts]
