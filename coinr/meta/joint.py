"""Layers that several signals share (STRAINER, Vyas et al. 2024), in fits of all of them at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from coinr.fitting.optimizers import default_optimizer, make_optimizer, set_learning_rate
from coinr.fitting.options import TrainOptions
from coinr.fitting.stack import Stack
from coinr.fitting.training import make_gradients
from coinr.fitting.workers import Workers
from coinr.meta.learner import Learner, cosine
from coinr.meta.options import MetaOptions
from coinr.networks import Mlp
from coinr.signals.signal import Signal

#: The last layers of a radiance field.
_LAST_OF_FIELD = ("rgb_linear", "alpha_linear")


class Joint(Learner):
    """Fit one network to each signal, all of whose layers but the last are the same.

    The start has the shared layers, and the mean of the last ones. Parameters are those of
    :class:`~coinr.meta.learner.Learner`.
    """

    def __init__(self, network: nn.Module, signals: Sequence[Signal], options: MetaOptions, workers: Workers) -> None:
        super().__init__(network, signals, options, workers)
        self._stack = Stack([task.network for task in self.tasks])
        self._gradients = make_gradients(
            [task.network for task in self.tasks], [task.signal for task in self.tasks], self._stack, False, workers
        )
        fit = TrainOptions(options.steps, options.batch, options.learning_rate)
        self._rate = fit.learning_rate_of(network, signals[0].recipe)
        self._optimizer = make_optimizer(
            default_optimizer(network), network, self._stack.names, self._stack.tensors, self._rate
        )
        last = own_layers(network)
        self._shared = [
            tensor
            for name, tensor in zip(self._stack.names, self._stack.tensors, strict=True)
            if name.rpartition(".")[0] not in last
        ]
        self._one = torch.ones((), dtype=torch.float32, device=self._stack.tensors[0].device)

    @property
    def weights(self) -> dict[str, Tensor]:  # type: ignore[override]
        """Return the shared layers, and the mean of the last ones."""
        return {
            name: tensor.detach().mean(0) for name, tensor in zip(self._stack.names, self._stack.tensors, strict=True)
        }

    def step(self, share: float) -> float:
        """Implement :meth:`Learner.step`."""
        with self._stack:
            self._gradients.load([task.draw_indices()[None] for task in self.tasks])
            errors = self._gradients.compute(0, self._one)
        for tensor in self._shared:
            assert tensor.grad is not None
            tensor.grad = tensor.grad.mean(0, keepdim=True).expand_as(tensor).contiguous()
        set_learning_rate(self._optimizer, self._rate * cosine(share))
        self.workers.run(self._optimizer.step)
        with torch.no_grad():
            for tensor in self._shared:  # members may differ in the last bits
                tensor.copy_(tensor[:1].expand_as(tensor))
        return float(errors.mean())


def own_layers(network: nn.Module) -> set[str]:
    """Return the names of the layers that each signal has for itself: the last of an MLP, those of a field's values."""
    if isinstance(network, Mlp):
        last = network.hidden_layers + 1
        return {network.family.layer_name(last, last)}
    return {name for name, _ in network.named_modules() if name.rpartition(".")[2] in _LAST_OF_FIELD}
