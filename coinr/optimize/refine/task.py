"""What a refinement aims at: its loss, the metric that files have to meet, and the multiplier that leads to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from coinr.codec.encoder import Encoder
from coinr.errors import InputError
from coinr.inputs.arguments import describe_value
from coinr.inputs.callbacks import Loss
from coinr.inputs.state_dicts import to_state_dict
from coinr.optimize.refine.distill import OUTPUT_ERROR_DB, Distillation, decibels, is_loss
from coinr.optimize.refine.encode import EncodingResult
from coinr.optimize.refine.lagrange import (
    LOSS_INCREASE,
    DistillationController,
    LagrangeMultiplier,
    ScoreController,
    SizeController,
)
from coinr.optimize.refine.noisy_network import LossFunction, NoisyNetwork

# Errors at which every tensor vanishes, and the least level that a size leads to.
_MOST, _LEAST_LEVEL = 1e30, 1e-30

# Calls of a metric that look for the errors to start with, and the largest factor between two of them.
_TRIES, _STRIDE = 5, 8.0

_Metric = Callable[[Mapping[str, Tensor]], float]


@dataclass(frozen=True)
class Goals:
    """What a caller asked for; one of these at most.

    Attributes
    ----------
    loss_increase, target_bytes, output_error_db, min_score
        As for :func:`coinr.refine`.
    """

    loss_increase: float | None
    target_bytes: int | None
    output_error_db: float | None
    min_score: float | None

    def check(self, sd: object, loss_fn: object, evaluate: object) -> None:
        """Refuse goals that are out of range, more than one, or not those of a state dict or a module."""
        given = [name for name, value in vars(self).items() if value is not None]
        if len(given) > 1:
            raise InputError(f"give one of {', '.join(vars(self))}, or none; not {' and '.join(given)}")
        if self.min_score is not None and evaluate is None:
            raise InputError("min_score needs evaluate")
        if self.loss_increase is not None and not 0 < self.loss_increase < math.inf:
            raise InputError(f"loss_increase must be positive and finite, not {self.loss_increase!r}")
        if self.target_bytes is not None and self.target_bytes < 1:
            raise InputError(f"target_bytes must be an integer ≥ 1, not {self.target_bytes!r}")
        if self.output_error_db is not None and not -300 <= self.output_error_db < 0:
            raise InputError(f"output_error_db must be at least -300 and below 0, not {self.output_error_db!r}")
        if isinstance(sd, nn.Module) and not is_loss(loss_fn):
            if self.loss_increase is not None:
                raise InputError("loss_increase is of a loss; of a module and its inputs, give output_error_db")
            return
        if self.output_error_db is not None:
            raise InputError("output_error_db is measured: it needs a module and its inputs in place of a loss")
        if not callable(loss_fn):
            raise InputError(f"loss_fn must be callable, got {describe_value(loss_fn)}")


@dataclass(frozen=True)
class Task:
    """A refinement's aim.

    Attributes
    ----------
    goals : Goals
        What was asked for.
    state_dict : Mapping of str to Any
        What is refined.
    loss_fn : callable
        The loss.
    distillation : Distillation or None
        Of a module.
    metric : callable or None
        What files have to meet, higher is better; None if they need not.
    least : float
        The metric's least value.
    """

    goals: Goals
    state_dict: Mapping[str, Any]
    loss_fn: LossFunction
    distillation: Distillation | None
    metric: _Metric | None
    least: float

    @classmethod
    def of(cls, sd: Any, loss_fn: Any, seed: int, goals: Goals, evaluate: _Metric | None) -> Task:
        """Return the task of a state dict and its loss, or of a module and its inputs."""
        by_score = (evaluate, goals.min_score) if goals.min_score is not None else (None, 0.0)
        if not isinstance(sd, nn.Module) or is_loss(loss_fn):
            return cls(goals, to_state_dict(sd), Loss(loss_fn), None, *by_score)
        distillation = Distillation(sd, loss_fn, seed)
        if goals.min_score is None and goals.target_bytes is None:
            asked = OUTPUT_ERROR_DB if goals.output_error_db is None else goals.output_error_db
            distillation.level = math.pow(10, asked / 10)
            by_score = (distillation.score, -1.0)
        return cls(goals, distillation.state_dict, distillation.loss, distillation, *by_score)

    def multiplier(self, encoder: Encoder, network: NoisyNetwork, generator: torch.Generator) -> LagrangeMultiplier:
        """Return the multiplier, or its controller."""
        count = sum(tensor.values.numel() for tensor in network.trained.values())
        if self.goals.target_bytes is not None:
            bits = 8 * (self.goals.target_bytes - _header_bytes(encoder))
            if self.distillation is not None:
                started = network.scale_errors(bits, generator)
                self.distillation.level = max(self.distillation.squared_error(started), _LEAST_LEVEL)
            return SizeController(bits, count)
        if self.goals.min_score is not None and self.metric is not None:
            full = float(self.metric(network.value()))
            if self.distillation is None:
                return ScoreController(self.metric, full, self.least, count)
            noisy = self._scale_errors(network, full, generator)
            self.distillation.level = max(self.distillation.squared_error(noisy), _LEAST_LEVEL)
            return DistillationController(self.metric, full, self.least, count)
        asked = self.goals.loss_increase
        return LagrangeMultiplier(LOSS_INCREASE if asked is None else asked, count)

    @torch.no_grad()
    def _scale_errors(self, network: NoisyNetwork, full: float, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Scale all errors alike, so that the score loses about what it may lose; return the noisy state dict."""
        assert self.metric is not None
        noise = network.noise(generator)
        for _ in range(_TRIES):
            lost = full - float(self.metric(network.noisy(noise)[0]))
            # losses follow the square of the errors; one that is NaN asks for smaller errors
            ratio = (full - self.least) / lost if lost > 0 else math.inf if lost <= 0 else 0.0
            network.multiply_errors(min(max(math.sqrt(max(ratio, 0.0)), 1 / _STRIDE), _STRIDE))
        return network.noisy(noise)[0]

    def out_of_reach(self, results: Sequence[EncodingResult], full: float, steps: int) -> str:
        """Return what was reached where the metric was not, as a message."""
        files = sum(one.files for one in results)
        best = max(one.best for one in results if one.best is not None) if files else None
        coded = "nothing was coded" if best is None else f"the best of {files} files has {self._shown(best)}"
        name = "output error" if self.goals.min_score is None else "score"
        goal = f"min_score {self.least}" if self.goals.min_score is not None else f"output_error_db {self._shown(-1.0)}"
        return (
            f"{goal} is out of reach: after {steps} steps the {name} before coding is {self._shown(full)}, and {coded} "
            "(more steps, more seconds or another learning rate may help)"
        )

    def _shown(self, value: float) -> str:
        if self.goals.min_score is not None or self.distillation is None:
            return str(value)
        return f"{decibels(-value * self.distillation.level):.6g} dB"


def _header_bytes(encoder: Encoder) -> int:
    """Return the bytes of a file besides its trained tensors: of a file in which these have all vanished."""
    return len(encoder.encode(1.0, dict.fromkeys(encoder.rule(), _MOST)))
