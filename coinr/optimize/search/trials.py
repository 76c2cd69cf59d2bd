"""Files that are encoded and evaluated, within a number of calls of the caller's metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from coinr.codec.api import decode_state_dict
from coinr.codec.encoder import Encoder
from coinr.inputs.state_dicts import StateDict
from coinr.progress import report
from coinr.runtime.work_limit import WorkLimit

# Calls of the caller's metric in one search.
CALLS = 20

# The search sets the errors; the bound on relative errors only keeps a tensor from being worse than absent.
_LOOSEST = 1.0


@dataclass(frozen=True, eq=False)
class Trial:
    """A file, what it decodes to and its score.

    Attributes
    ----------
    scale
        What the budget was multiplied by.
    errors
        By name, the limit of each tensor's root mean squared error.
    """

    scale: float
    errors: dict[str, float]
    blob: bytes
    decoded: Mapping[str, Tensor]
    score: float


@dataclass(eq=False)
class Trials:
    """Encode files and evaluate them.

    Attributes
    ----------
    sd
        Names to tensors.
    metric
        The caller's metric of a state dict, higher is better.
    encoder
        Of this state dict.
    base
        The reference network, or None.
    budget
        By name, the root mean squared error of each tensor at a scale of 1.
    calls_left
        How often the metric may still be called.
    limit
        The time that may be spent on files and calls.
    tried
        All files that were evaluated.
    """

    sd: Mapping[str, Any]
    metric: Callable[[Mapping[str, Any]], float]
    encoder: Encoder
    base: StateDict | None
    budget: dict[str, float]
    calls_left: int
    limit: WorkLimit
    tried: list[Trial] = field(default_factory=list)

    @property
    def left(self) -> int:
        """How often the metric may still be called: 0 once the time is over."""
        return 0 if self.limit.out_of_time() else self.calls_left

    def evaluate(self, state_dict: Mapping[str, Any]) -> float:
        """Return the score of a state dict, -inf in place of NaN; takes one of the calls that are left."""
        self.calls_left -= 1
        with self.limit.unit("score"):
            score = self.metric(state_dict)
        report(CALLS - self.calls_left, text=f"score {score:.6g}")
        return score if not math.isnan(score) else -math.inf

    def errors(self, scale: float) -> dict[str, float]:
        """Return the error of each tensor at a scale."""
        return {name: scale * error for name, error in self.budget.items()}

    def encode(self, scale: float) -> bytes:
        """Encode the file at a scale."""
        return self.encoder.encode(_LOOSEST, self.errors(scale))

    def evaluate_file(self, scale: float, blob: bytes) -> Trial:
        """Evaluate the file that was encoded at a scale."""
        return self._evaluate_file(scale, self.errors(scale), blob)

    def run(self, scale: float) -> Trial:
        """Encode the file at a scale and evaluate it."""
        with self.limit.unit("file"):
            blob = self.encode(scale)
        return self.evaluate_file(scale, blob)

    def run_between(self, one: Trial, other: Trial) -> Trial:
        """Encode and evaluate a file between two others.

        Of the tensors whose errors differ, one half has those of ``one``, the other half those of ``other``. A single
        one has the geometric mean.
        """
        scale = math.sqrt(one.scale * other.scale)
        differ = [name for name, error in one.errors.items() if error != other.errors[name]]
        errors = dict(one.errors)
        for name in differ[len(differ) // 2 :]:
            errors[name] = other.errors[name]
        if len(differ) == 1:
            errors[differ[0]] = math.sqrt(one.errors[differ[0]] * other.errors[differ[0]])
        with self.limit.unit("file"):
            blob = self.encoder.encode(_LOOSEST, errors)
        return self._evaluate_file(scale, errors, blob)

    def _evaluate_file(self, scale: float, errors: dict[str, float], blob: bytes) -> Trial:
        decoded = decode_state_dict(blob, base=self.base, limits=self.encoder.limits)
        trial = Trial(scale, errors, blob, decoded, self.evaluate(decoded))
        self.tried.append(trial)
        return trial
