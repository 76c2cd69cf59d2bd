"""Options of a training, checked when they are made."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from coinr.errors import InputError
from coinr.fitting.optimizers import OPTIMIZERS, default_learning_rate, default_optimizer
from coinr.signals.signal import Recipe
from coinr.starts.start import Start


@dataclass(frozen=True)
class TrainOptions:
    """How to train: the arguments of :func:`coinr.fit` of these names.

    ``steps`` and ``batch`` have no default here, as it depends on the signal.

    Raises
    ------
    InputError
        If one of them is out of range.
    """

    steps: int
    batch: int
    learning_rate: float | None = None
    seed: int = 0
    optimizer: str | None = None
    precision: str | None = None
    threads: int | None = None
    time_budget: float | None = None
    target: float | None = None
    checkpoint: str | os.PathLike[str] | None = None
    checkpoint_every: float = 30.0
    start: Start | None = None

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

    @property
    def mixed(self) -> bool:
        """Whether networks run in half precision."""
        return self.precision == "mixed"

    def optimizer_of(self, network: nn.Module) -> str:
        """Return the name of the optimizer, by default :func:`~coinr.fitting.optimizers.default_optimizer`."""
        return default_optimizer(network) if self.optimizer is None else self.optimizer

    def learning_rate_of(self, network: nn.Module, recipe: Recipe) -> float:
        """Return the first learning rate, by default :func:`~coinr.fitting.optimizers.default_learning_rate`."""
        if self.learning_rate is not None:
            return self.learning_rate
        return default_learning_rate(recipe, network, self.optimizer_of(network), self.steps)

    def identity(self, network: nn.Module) -> dict[str, Any]:
        """Return the options that determine the course of a fit, which a checkpoint must share to be resumed.

        The options of its end (steps, time budget, target) and the number of threads are not among them.
        """
        options = {name: getattr(self, name) for name in ("batch", "learning_rate", "seed", "precision")}
        if self.start is not None:
            options["start"] = hashlib.sha256(self.start.blob).hexdigest()
        return options | {"optimizer": self.optimizer_of(network)}
