"""Steps of optimizers by the extension, on tensors of the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from coinr.engine.native import OptimizerSteps
from coinr.networks.fused import is_plain

#: Tensors with what an optimizer keeps of their earlier gradients: a mean for Muon, a mean and a mean square for Adam.
#: Each of these holds the entries of all the tensors, one after another.
Part = tuple[Sequence[Tensor], tuple[Tensor, ...]]


class NativeSteps:
    """Take the steps of one group of tensors, whose memory is looked up again only where it has changed."""

    def __init__(self) -> None:
        self._addresses: list[int] = []
        self._steps: OptimizerSteps | None = None
        self._gradient_addresses: list[int] = []
        self._gradients: list[NDArray[Any]] = []

    @staticmethod
    def suits(tensors: Sequence[Tensor]) -> bool:
        """Return whether the extension can move tensors: dense, contiguous, float32 or complex64, on the CPU."""
        return all(
            tensor.dtype in (torch.float32, torch.complex64)
            and is_plain(tensor, tensor.dtype)
            and tensor.is_contiguous()
            for tensor in tensors
        )

    def take(self, parts: Sequence[Part], group: Mapping[str, Any], counts: Sequence[float], threads: int) -> None:
        """Move tensors by their gradients, and update what is kept of these.

        Parameters
        ----------
        parts : sequence of Part
            The tensors, in any number of parts. Those with one kept mean are matrices [K, m, n], and come first.
        group : mapping
            ``lr``, ``betas``, ``eps`` and, if there are matrices, ``momentum``.
        counts : sequence of float
            The number of this step, from 1, for each tensor of Adam.
        threads : int
            At most; the result does not depend on it.
        """
        addresses = [tensor.data_ptr() for tensors, kept in parts for tensor in (*tensors, *kept)]
        if self._steps is None or addresses != self._addresses:
            self._addresses, self._steps = addresses, _steps_of(parts)
        gradients = [tensor.grad for tensors, _ in parts for tensor in tensors if tensor.grad is not None]
        addresses = [gradient.data_ptr() for gradient in gradients]
        if addresses != self._gradient_addresses:
            plain = [gradient.detach().resolve_conj().resolve_neg().contiguous() for gradient in gradients]
            self._gradients = [gradient.numpy() for gradient in plain]
            # a gradient of another layout has to be copied in every step
            same = [gradient.data_ptr() for gradient in plain] == addresses
            self._gradient_addresses = addresses if same else []
        beta1, beta2 = group["betas"]
        momentum = group.get("momentum", 0.0)
        self._steps.take(self._gradients, counts, group["lr"], momentum, beta1, beta2, group["eps"], threads)


def _steps_of(parts: Sequence[Part]) -> OptimizerSteps:
    matrices: list[Any] = []
    others: list[Any] = []
    for tensors, kept in parts:
        values = [_floats(tensor) for tensor in tensors]
        sizes = [len(value) for value in values]
        states = [torch.split(_floats(state), sizes) for state in kept]
        for tensor, *arrays in zip(tensors, values, *states, strict=True):
            if len(kept) == 1:
                matrices.append(tuple(array.view(tensor.shape).numpy() for array in arrays))
            else:
                others.append(tuple(array.numpy() for array in arrays))
    return OptimizerSteps(matrices, others)


def _floats(tensor: Tensor) -> Tensor:
    """Return a view [count] of the memory of a contiguous tensor."""
    real = torch.view_as_real(tensor.detach()) if tensor.is_complex() else tensor.detach()
    return real.view(-1)
