"""The fits of one compression, and the time that each may take."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from coinr.errors import InputError
from coinr.fitting import Fit, fit
from coinr.fitting.new_networks import new_network
from coinr.fitting.optimizers import default_optimizer
from coinr.fitting.options import TrainOptions
from coinr.optimize.compress.architecture import Architecture
from coinr.runtime.work_limit import WorkLimit
from coinr.signals.signal import Signal
from coinr.starts.start import Start

# Arguments of ``coinr.fit`` that the caller of ``compress`` may set.
_ALLOWED = (
    "batch",
    "learning_rate",
    "optimizer",
    "precision",
    "device",
    "threads",
    "checkpoint",
    "checkpoint_every",
)


class TrainingRuns:
    """Fit networks of several sizes to one signal.

    Parameters
    ----------
    signal : Signal
        To be fitted.
    network : str, optional
        Kind of the networks.
    seed : int
        Of each fit.
    steps : int, optional
        Of a fit, unless it is a short or longer one; by default those of the recipe.
    time_budget : float, optional
        Seconds for all fits and all that follows them.
    fitting : mapping
        Other arguments of :func:`coinr.fit`; ``checkpoint`` is a prefix of the files' names.

    Attributes
    ----------
    steps, batch : int
        Of a fit.
    steps_given : bool
        Whether the caller set ``steps``.
    limit : WorkLimit
        Of the time.

    Raises
    ------
    InputError
        If another argument is in ``fitting``, or a number is out of range.
    """

    def __init__(
        self,
        signal: Signal,
        network: str | None,
        seed: int,
        steps: int | None,
        time_budget: float | None,
        fitting: Mapping[str, Any],
    ) -> None:
        if unknown := [name for name in fitting if name not in _ALLOWED]:
            raise InputError(f"fitting may hold {', '.join(_ALLOWED)}, not {', '.join(unknown)}")
        recipe, batch = signal.recipe, fitting.get("batch")
        options = TrainOptions(
            steps=recipe.budget_steps if steps is None else steps,
            batch=recipe.batch if batch is None else batch,
            seed=seed,
            time_budget=time_budget,
        )
        self._signal, self._network, self._seed = signal, network, seed
        self._fitting = dict(fitting)
        self.steps_given = steps is not None
        self.steps, self.batch = options.steps, options.batch
        self._optimizer: str | None = fitting.get("optimizer")
        self.limit = WorkLimit(time_budget)

    def optimizer(self, network: nn.Module) -> str:
        """Return the name of the optimizer for a network."""
        return self._optimizer or default_optimizer(network)

    def untrained(self, choice: Architecture) -> nn.Module:
        """Return the network of an architecture with the weights that a fit begins with."""
        return new_network(
            self._signal, self._network, width=choice.width, hidden_layers=choice.hidden_layers, seed=self._seed
        )

    def fit(self, choice: Architecture, *, share: float, steps: int, target: float | None) -> Fit:
        """Fit a network in a share of the remaining time, and end early once the score ``target`` is reached."""
        options = self._options(f"{choice.hidden_layers}x{choice.width}", share, steps)
        return fit(
            self._signal,
            self._network,
            width=choice.width,
            hidden_layers=choice.hidden_layers,
            target=target,
            **options,
        )

    def fit_from(self, start: Start, *, share: float, steps: int) -> Fit:
        """Fit the network of a start in a share of the remaining time."""
        return fit(self._signal, start=start, **self._options(start.short_hash, share, steps))

    def _options(self, name: str, share: float, steps: int) -> dict[str, Any]:
        """Return arguments of a fit; ``name`` tells its checkpoint from those of other networks."""
        left, options = self.limit.seconds(), dict(self._fitting)
        if "checkpoint" in options:
            prefix = Path(options["checkpoint"])
            other = "" if steps == self.steps else f"-{steps}"
            options["checkpoint"] = prefix.with_name(f"{prefix.name}.{name}{other}")
        time_budget = None if left is None else share * left
        return {**options, "seed": self._seed, "steps": steps, "time_budget": time_budget}
