"""MAML (Finn et al. 2017): weights from which few steps at learned rates lead to any signal of a kind."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from coinr.fitting.workers import Workers
from coinr.meta.learner import Learner, cosine
from coinr.meta.options import MetaOptions
from coinr.meta.tasks import Samples, Task
from coinr.signals.signal import Signal


def adapt(
    task: Task,
    weights: Mapping[str, Tensor],
    rates: Mapping[str, Tensor],
    batches: Sequence[Samples],
    first_order: bool,
) -> Mapping[str, Tensor]:
    """Return weights after one step of gradient descent for each batch: wₖ₊₁ = wₖ − rₖ · ∂E(wₖ) / ∂wₖ.

    Parameters
    ----------
    task : Task
        Whose error E is minimized.
    weights : mapping of str to Tensor
        w₀, which require gradients.
    rates : mapping of str to Tensor
        r [steps, ...], a rate for each element of the weights in each step.
    batches : sequence of (Tensor, Tensor)
        Samples of each step.
    first_order : bool
        Take the gradients of the steps for constants.
    """
    for step, samples in enumerate(batches):
        error = task.error(weights, samples)
        gradients = torch.autograd.grad(error, tuple(weights.values()), create_graph=not first_order)
        weights = {
            name: weight - rates[name][step] * gradient
            for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
        }
    return weights


def meta_gradients(
    task: Task,
    weights: Mapping[str, Tensor],
    rates: Mapping[str, Tensor],
    batches: Sequence[Samples],
    first_order: bool,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the error on the last batch after steps on the others, and its gradients for all weights, then all rates.

    Arguments are those of :func:`adapt`, with one batch more.
    """
    adapted = adapt(task, weights, rates, batches[:-1], first_order)
    error = task.error(adapted, batches[-1])
    return error.detach(), torch.autograd.grad(error, (*weights.values(), *rates.values()))


def default_rate(signal: Signal) -> float:
    """Return the learning rate of Adam: less for sounds, whose first layer multiplies coordinates by thousands."""
    return 1e-4 if signal.in_features == 1 else 1e-3


class Maml(Learner):
    """MAML with a learned rate for each parameter in each step (Meta-SGD, Li et al. 2017), as INRIC has it.

    Adam moves weights and rates along the mean gradient of the error after the steps; parameters as for
    :class:`~coinr.meta.learner.Learner`.
    """

    def __init__(self, network: nn.Module, signals: Sequence[Signal], options: MetaOptions, workers: Workers) -> None:
        super().__init__(network, signals, options, workers)
        trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
        self.weights = {name: p.detach().clone().requires_grad_() for name, p in trained.items()}
        assert options.inner_rate is not None
        self._steps, self._rate = options.inner_steps, options.learning_rate or default_rate(signals[0])
        self.rates = {
            name: torch.full(
                (self._steps, *p.shape), options.inner_rate, dtype=torch.float32, device=p.device
            ).requires_grad_()
            for name, p in trained.items()
        }
        self._optimizer = torch.optim.Adam([*self.weights.values(), *self.rates.values()], self._rate)

    def step(self, share: float) -> float:
        """Implement :meth:`Learner.step`."""
        tasks = self.next_tasks()
        units = [(task, [task.draw() for _ in range(self._steps + 1)]) for task in tasks]
        results = list(self.workers.map(self._differentiate, units))
        moved = [*self.weights.values(), *self.rates.values()]
        for tensor, column in zip(moved, zip(*(gradients for _, gradients in results), strict=True), strict=True):
            tensor.grad = functools.reduce(torch.add, column) / len(tasks)
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * cosine(share)
        self.workers.run(self._optimizer.step)
        return float(torch.stack([error for error, _ in results]).mean())

    def _differentiate(self, unit: tuple[Task, list[Samples]]) -> tuple[Tensor, tuple[Tensor, ...]]:
        task, batches = unit
        return meta_gradients(task, self.weights, self.rates, batches, self.options.first_order)
