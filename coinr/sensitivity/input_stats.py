"""What layers are given while a caller's own metric runs: second moments of the inputs of each weight matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from coinr.inputs.dense import why_not_dense
from coinr.sensitivity.calibration import Sensitivity, of_inputs

# Inputs of one call of a layer that are looked at, evenly spaced.
_LOOKED_AT = 1 << 14

# Weights are recognized up to a factor: 1 - cosine of the angle to the stored values.
_ALIKE = 1e-5

_LINEAR = {torch.nn.functional.linear}
_PRODUCTS = {torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm}
_SUMS = {torch.addmm, Tensor.addmm}


@dataclass(frozen=True, eq=False)
class Seen:
    """A layer that ran: the matrix it multiplied by and the vector it added, up to factors, and its inputs."""

    name: str
    factor: float
    inputs: Tensor
    bias: str | None = None
    bias_factor: float = 0.0

    def derivatives(self, gradient: Tensor, inputs: Tensor) -> dict[str, Tensor]:
        """By name, of outputs ``[N, out]`` with these gradients at inputs ``[N, in]``, sample by sample."""
        found = {self.name: self.factor * gradient[:, :, None] * inputs[:, None, :]}
        return found if self.bias is None else found | {self.bias: self.bias_factor * gradient}


class Watch(TorchFunctionMode):
    """A context that looks on while torch multiplies by the matrices of a state dict.

    A matrix is known by its values, as they are, times a factor (a frequency that a network multiplies in) or
    transposed. What runs in it is not changed; where a metric uses no torch, or other operations, nothing is seen.

    Attributes
    ----------
    rows
        By name, in the order they were first seen, how many inputs a matrix met.
    touched
        Names of matrices, and of vectors that were added by the same operation.
    """

    def __init__(self, state_dict: Mapping[str, Any]) -> None:
        super().__init__()
        self._known: dict[tuple[int, ...], list[tuple[str, Tensor, float]]] = {}
        self._sums: dict[str, Tensor] = {}
        self.rows: dict[str, int] = {}
        self.touched: set[str] = set()
        for name, tensor in state_dict.items():
            if (
                isinstance(tensor, Tensor)
                and tensor.ndim in (1, 2)
                and tensor.dtype.is_floating_point | tensor.is_complex()
            ):
                flat, norm = _direction(tensor)
                if norm:
                    self._known.setdefault(tuple(tensor.shape), []).append((name, flat, norm))

    def sensitivities(self) -> dict[str, Sensitivity]:
        """What was seen, by the names of the matrices; see :mod:`coinr.sensitivity.calibration`."""
        return {name: of_inputs(total.numpy()) for name, total in self._sums.items()}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, then look at its arguments."""
        out = func(*args, **(kwargs or {}))
        seen = self._seen(func, args, kwargs or {})
        if seen is not None:
            rows = seen.inputs.detach().reshape(-1, seen.inputs.shape[-1])
            total = _moments(rows[:: -(-len(rows) // _LOOKED_AT)])
            self._sums[seen.name] = self._sums[seen.name] + total if seen.name in self._sums else total
            self.rows[seen.name] = self.rows.get(seen.name, 0) + len(rows)
            self.touched |= {seen.name} if seen.bias is None else {seen.name, seen.bias}
        return out

    def _seen(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Seen | None:
        """The layer of the state dict that an operation is, if it is one."""
        with torch.no_grad():
            if func in _LINEAR and len(args) > 1:
                return self._layer(args[0], args[1], args[2] if len(args) > 2 else kwargs.get("bias"))
            if func in _PRODUCTS and len(args) > 1:
                return self._product(None, args[0], args[1])
            if func in _SUMS and len(args) > 2 and not kwargs:
                return self._product(args[0], args[1], args[2])
        return None

    def _product(self, added: Any, left: Any, right: Any) -> Seen | None:
        if not (isinstance(left, Tensor) and isinstance(right, Tensor)) or right.ndim != 2:
            return None
        return self._layer(left, right.mT, added)

    def _layer(self, inputs: Any, weight: Any, bias: Any) -> Seen | None:
        if not (isinstance(inputs, Tensor) and isinstance(weight, Tensor)) or weight.ndim != 2 or not inputs.numel():
            return None
        if why_not_dense(inputs) or inputs.shape[-1] != weight.shape[1]:
            return None
        found = self._find(weight)
        if found is None:
            return None
        added = self._find(bias) if isinstance(bias, Tensor) and bias.ndim == 1 else None
        return Seen(*found, inputs) if added is None else Seen(*found, inputs, *added)

    def _find(self, value: Tensor) -> tuple[str, float] | None:
        """The tensor of the state dict that this one is a multiple of, and the factor; None if none."""
        known = self._known.get(tuple(value.shape))
        if not known or why_not_dense(value):
            return None
        flat, norm = _direction(value)
        for name, other, length in known:
            if norm and other.shape == flat.shape:
                cosine = float((other * flat).sum())
                if 1 - abs(cosine) < _ALIKE:
                    return name, norm / length if cosine > 0 else -norm / length
        return None


def _direction(tensor: Tensor) -> tuple[Tensor, float]:
    """The values as a unit vector of float64 numbers, and their norm: 0 where there is no direction."""
    plain = tensor.detach().resolve_conj()
    flat = (torch.view_as_real(plain) if plain.is_complex() else plain).to("cpu", torch.float64).reshape(-1)
    norm = float(flat.norm())
    return (flat / norm, norm) if 0 < norm < float("inf") else (flat, 0.0)


def _moments(rows: Tensor) -> Tensor:
    if rows.is_complex():
        return _moments(rows.real) + _moments(rows.imag)
    wide = rows.to("cpu", torch.float64)
    total = wide.T @ wide
    return total if bool(total.isfinite().all()) else torch.zeros_like(total)
