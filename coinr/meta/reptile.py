"""Reptile (Nichol et al. 2018): weights close to those that short fits of many signals reach."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from coinr.fitting.optimizers import default_optimizer, make_optimizer
from coinr.fitting.options import TrainOptions
from coinr.fitting.stack import Stack
from coinr.fitting.training import make_gradients
from coinr.fitting.workers import Workers
from coinr.meta.learner import Learner, cosine
from coinr.meta.options import MetaOptions
from coinr.signals.signal import Signal

# The rate of inner steps, as a share of that of a fit, at which weights wander too far for their mean to be good.
_OF_A_FIT = 0.3


class Reptile(Learner):
    """Move the weights toward the mean of those after some steps of a fit, with the optimizer that fits have.

    Parameters are those of :class:`~coinr.meta.learner.Learner`.
    """

    def __init__(self, network: nn.Module, signals: Sequence[Signal], options: MetaOptions, workers: Workers) -> None:
        super().__init__(network, signals, options, workers)
        self._networks = [copy.deepcopy(network) for _ in range(min(options.signals_per_step, len(signals)))]
        self._stack = Stack(self._networks)
        self.weights = {
            name: tensor[0].detach().clone()
            for name, tensor in zip(self._stack.names, self._stack.tensors, strict=True)
        }
        fit = TrainOptions(options.inner_steps, options.batch, options.inner_rate)
        assert options.learning_rate is not None
        self._share = options.learning_rate
        rate = fit.learning_rate_of(network, signals[0].recipe)
        self._rate = rate if options.inner_rate is not None else _OF_A_FIT * rate
        self._optimizer = partial(make_optimizer, default_optimizer(network), network, self._stack.names)

    def step(self, share: float) -> float:
        """Implement :meth:`Learner.step`."""
        tasks, stack = self.next_tasks(), self._stack
        stack.assign([weight.expand(len(tasks), *weight.shape) for weight in self.weights.values()])
        with stack:
            gradients = make_gradients(self._networks, [task.signal for task in tasks], stack, False, self.workers)
            gradients.load(
                [torch.stack([task.draw_indices() for _ in range(self.options.inner_steps)]) for task in tasks]
            )
            optimizer = self._optimizer(stack.tensors, self._rate)
            one = torch.ones((), dtype=torch.float32, device=stack.tensors[0].device)
            for row in range(self.options.inner_steps):
                errors = gradients.compute(row, one)
                self.workers.run(optimizer.step)
        rate = self._share * cosine(share)
        with torch.no_grad():
            for weight, tensor in zip(self.weights.values(), stack.tensors, strict=True):
                weight += rate * (tensor.mean(0) - weight)
        return float(errors.mean())
