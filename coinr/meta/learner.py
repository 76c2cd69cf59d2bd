"""What all methods of learning a start share."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from coinr.fitting.workers import Workers
from coinr.meta.options import MetaOptions
from coinr.meta.tasks import Task, choose
from coinr.signals.signal import Signal


class Learner(ABC):
    """A start that is being learned.

    Parameters
    ----------
    network : nn.Module
        With the first weights.
    signals : sequence of Signal
        To learn from, on the device of the network.
    options : MetaOptions
        How to learn.
    workers : Workers
        Threads to run on.

    Attributes
    ----------
    weights : dict of str to Tensor
        The trained weights of the start, by name.
    rates : dict of str to Tensor
        The learned rates [steps, ...] of its first steps; empty without.
    tasks : list of Task
        One for each signal.
    """

    weights: dict[str, Tensor]

    def __init__(self, network: nn.Module, signals: Sequence[Signal], options: MetaOptions, workers: Workers) -> None:
        self.network, self.options, self.workers = network, options, workers
        self.rates: dict[str, Tensor] = {}
        self.tasks = [
            Task(copy.deepcopy(network), signal, options.batch, (options.seed + k) % 2**64)
            for k, signal in enumerate(signals)
        ]
        self._chosen = choose(len(signals), min(options.signals_per_step, len(signals)), options.seed)

    @abstractmethod
    def step(self, share: float) -> float:
        """Take one step where a ``share`` in [0, 1) of all steps is done, and return the mean squared error in it."""

    def next_tasks(self) -> list[Task]:
        """Return the tasks of the next step."""
        return [self.tasks[k] for k in next(self._chosen)]


def cosine(share: float) -> float:
    """Return the factor on a rate where a share of all steps is done."""
    return (1 + math.cos(math.pi * share)) / 2
