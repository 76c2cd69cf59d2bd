"""What layers are given while a caller's own metric runs: second moments of the inputs of each weight matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Inputs of one call of a layer that are looked at, evenly spaced.
_LOOKED_AT = 1 << 14

# Weights are recognised up to a factor: 1 - cosine of the angle to the stored matrix.
_ALIKE = 1e-5

_LINEAR = {torch.nn.functional.linear}
_PRODUCTS = {torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm}
_SUMS = {torch.addmm, Tensor.addmm}


class Watch(TorchFunctionMode):
    """A context that looks on while torch multiplies by the matrices of a state dict.

    A matrix is known by its values, as they are, times a factor (a frequency that a network multiplies in) or
    transposed. What runs in it is not changed; where a metric uses no torch, or other operations, nothing is seen.
    """

    def __init__(self, state_dict: Mapping[str, Any]) -> None:
        super().__init__()
        self._known: dict[tuple[int, int], list[tuple[str, Tensor]]] = {}
        self._sums: dict[str, Tensor] = {}
        for name, tensor in state_dict.items():
            if isinstance(tensor, Tensor) and tensor.ndim == 2 and (tensor.is_floating_point() or tensor.is_complex()):
                flat = _direction(tensor)
                if flat is not None:
                    self._known.setdefault((tensor.shape[0], tensor.shape[1]), []).append((name, flat))

    def moments(self) -> dict[str, NDArray[np.float64]]:
        """Sums of yᵀy over the inputs y seen, ``[in, in]``, by the names of the matrices that they meet."""
        return {name: total.numpy() for name, total in self._sums.items()}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, then look at its arguments."""
        out = func(*args, **(kwargs or {}))
        if func in _LINEAR and len(args) > 1:
            self._look(args[0], args[1])
        elif func in _PRODUCTS and len(args) > 1:
            self._look_at_product(args[0], args[1])
        elif func in _SUMS and len(args) > 2:
            self._look_at_product(args[1], args[2])
        return out

    def _look_at_product(self, left: Any, right: Any) -> None:
        if isinstance(left, Tensor) and isinstance(right, Tensor) and left.ndim and right.ndim:
            if right.ndim == 2:
                self._look(left, right.mT)
            if left.ndim == 2:
                self._look(right.mT if right.ndim > 1 else right, left)

    def _look(self, inputs: Any, weight: Any) -> None:
        if not (isinstance(inputs, Tensor) and isinstance(weight, Tensor)) or weight.ndim != 2 or not inputs.numel():
            return
        if torch._C._functorch.is_functorch_wrapped_tensor(inputs) or inputs.shape[-1] != weight.shape[1]:
            return
        with torch.no_grad():
            name = self._find(weight)
            if name is not None:
                rows = inputs.detach().reshape(-1, inputs.shape[-1])
                total = _moments(rows[:: -(-len(rows) // _LOOKED_AT)])
                self._sums[name] = self._sums[name] + total if name in self._sums else total

    def _find(self, weight: Tensor) -> str | None:
        """Which matrix of the state dict this is; None if none."""
        known = self._known.get((weight.shape[0], weight.shape[1]))
        if not known or torch._C._functorch.is_functorch_wrapped_tensor(weight):
            return None
        flat = _direction(weight.detach())
        if flat is None:
            return None
        for name, other in known:
            if other.dtype == flat.dtype and 1 - float((other * flat).sum().abs()) < _ALIKE:
                return name
        return None


def _direction(tensor: Tensor) -> Tensor | None:
    """The values as a unit vector of float64 numbers; None where there is none."""
    real = torch.view_as_real(tensor.detach().resolve_conj()) if tensor.is_complex() else tensor.detach()
    flat = real.to("cpu", torch.float64).reshape(-1)
    norm = float(flat.norm())
    return flat / norm if 0 < norm < float("inf") else None


def _moments(rows: Tensor) -> Tensor:
    if rows.is_complex():
        return _moments(rows.real) + _moments(rows.imag)
    wide = rows.to("cpu", torch.float64)
    total = wide.T @ wide
    return total if bool(total.isfinite().all()) else torch.zeros_like(total)
