"""What a fit is asked to do."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coinr.errors import InputError
from coinr.fitting.optimizers import OPTIMIZERS


@dataclass(frozen=True)
class Plan:
    """The checked arguments of :func:`coinr.fit` that say how to train; what is None is chosen by the network.

    Raises
    ------
    InputError
        If one of them is out of range.
    """

    steps: int
    batch: int
    learning_rate: float | None
    seed: int
    optimizer: str | None
    precision: str | None
    threads: int | None
    time_budget: float | None
    target: float | None
    checkpoint: str | os.PathLike[str] | None
    checkpoint_every: float

    def __post_init__(self) -> None:
        counts = {"steps": self.steps, "batch": self.batch, "threads": 1 if self.threads is None else self.threads}
        for name, count in counts.items():
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise InputError(f"{name} must be an integer >= 1, got {count!r}")
        if self.learning_rate is not None and not 0 < self.learning_rate < 1e30:
            raise InputError(f"learning_rate must be positive and below 1e30, got {self.learning_rate!r}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**64:
            raise InputError(f"seed must be an integer in 0 .. 2^64 - 1, got {self.seed!r}")
        if self.optimizer is not None and self.optimizer not in OPTIMIZERS:
            raise InputError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}")
        if self.precision not in (None, "mixed"):
            raise InputError(f"precision must be None or 'mixed', got {self.precision!r}")
        if self.time_budget is not None and not self.time_budget > 0:
            raise InputError(f"time_budget must be positive, got {self.time_budget!r}")
        if self.target is not None and not math.isfinite(self.target):
            raise InputError(f"target must be finite, got {self.target!r}")
        if not self.checkpoint_every >= 0:
            raise InputError(f"checkpoint_every must be at least 0, got {self.checkpoint_every!r}")
        if self.checkpoint is not None and not Path(self.checkpoint).absolute().parent.is_dir():
            raise InputError(f"checkpoint: there is no folder {Path(self.checkpoint).parent}")

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must have in common with a fit that goes on from it: all but when to end, and threads."""
        names = ("batch", "learning_rate", "seed", "optimizer", "precision")
        return {name: getattr(self, name) for name in names}
