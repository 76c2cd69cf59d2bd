"""Files that are tried and judged, within a number of calls of the caller's metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from coinr.codec.api import decode_state_dict
from coinr.codec.encoder import Encoder
from coinr.progress import report
from coinr.runtime.work_limit import WorkLimit

# Calls of the caller's metric in one search.
CALLS = 20

# Errors are what the search says; the bound on relative errors only keeps a tensor from being worse than absent.
_LOOSEST = 1.0


@dataclass(frozen=True, eq=False)
class Trial:
    """A file at a scale of all errors, what it decodes to and its score."""

    scale: float
    errors: dict[str, float]
    blob: bytes
    decoded: Mapping[str, Tensor]
    score: float


@dataclass(eq=False)
class Trials:
    """Encodes and judges.

    Attributes
    ----------
    shares
        The error of each tensor where the scale of all is 1.
    calls_left
        How often the metric may still be called.
    limit
        What time there is for files and calls.
    tried
        All files that were judged.
    """

    sd: Mapping[str, Any]
    evaluate: Callable[[Mapping[str, Any]], float]
    encoder: Encoder
    base: Mapping[str, Any] | None
    shares: dict[str, float]
    calls_left: int
    limit: WorkLimit
    tried: list[Trial] = field(default_factory=list)

    @property
    def left(self) -> int:
        """How often the metric may still be called, none once the time is over."""
        return 0 if self.limit.out_of_time() else self.calls_left

    def judge(self, state_dict: Mapping[str, Any]) -> float:
        """The score of a state dict; counts."""
        self.calls_left -= 1
        with self.limit.unit("score"):
            score = self.evaluate(state_dict)
        report(CALLS - self.calls_left, text=f"score {score:.6g}")
        return score if not math.isnan(score) else -math.inf

    def errors(self, scale: float) -> dict[str, float]:
        """Of each tensor, at a scale."""
        return {name: scale * share for name, share in self.shares.items()}

    def encode(self, scale: float) -> bytes:
        """The file at a scale."""
        return self.encoder.encode(_LOOSEST, self.errors(scale))

    def score(self, scale: float, blob: bytes) -> Trial:
        """Judge the file of a scale."""
        return self._judged(scale, self.errors(scale), blob)

    def run(self, scale: float) -> Trial:
        """The file at a scale, judged."""
        with self.limit.unit("file"):
            blob = self.encode(scale)
        return self.score(scale, blob)

    def between(self, one: Trial, other: Trial) -> Trial:
        """The file, judged, with half the tensors' errors of either trial, of those in which they differ."""
        scale = math.sqrt(one.scale * other.scale)
        differ = [name for name, error in one.errors.items() if error != other.errors[name]]
        errors = dict(one.errors)
        for name in differ[len(differ) // 2 :]:
            errors[name] = other.errors[name]
        if len(differ) == 1:
            errors[differ[0]] = math.sqrt(one.errors[differ[0]] * other.errors[differ[0]])
        with self.limit.unit("file"):
            blob = self.encoder.encode(_LOOSEST, errors)
        return self._judged(scale, errors, blob)

    def _judged(self, scale: float, errors: dict[str, float], blob: bytes) -> Trial:
        decoded = decode_state_dict(blob, base=self.base, limits=self.encoder.limits)
        trial = Trial(scale, errors, blob, decoded, self.judge(decoded))
        self.tried.append(trial)
        return trial
