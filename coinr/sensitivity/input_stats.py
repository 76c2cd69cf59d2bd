"""Second moments of the inputs of each weight matrix, recorded while a caller's own metric runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from coinr.inputs.dense import why_not_dense
from coinr.sensitivity.calibration import TensorSensitivity, of_input_moments
from coinr.sensitivity.identity import TensorIdentifier

# Most inputs of one call of a layer that are used, evenly spaced.
_MOST_INPUTS = 1 << 14

_LINEAR = {torch.nn.functional.linear}
_PRODUCTS = {torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm}
_SUMS = {torch.addmm, Tensor.addmm}


@dataclass(frozen=True, eq=False)
class LayerCall:
    """One call of a layer: ``inputs @ (factor · weight).T + bias_factor · bias``.

    Attributes
    ----------
    name, factor
        Name of the weight matrix in the state dict, and what it was multiplied by.
    inputs
        ``[..., in]``.
    bias, bias_factor
        Name of the vector that was added, and what it was multiplied by; None where none was found.
    """

    name: str
    factor: float
    inputs: Tensor
    bias: str | None = None
    bias_factor: float = 0.0

    def derivatives(self, gradient: Tensor, inputs: Tensor) -> dict[str, Tensor]:
        """Return derivatives by weight and bias, for each sample.

        Parameters
        ----------
        gradient
            Derivatives by the layer's outputs, ``[N, out]``.
        inputs
            Inputs of the same samples, ``[N, in]``.

        Returns
        -------
        dict of str to Tensor
            By name: ``[N, out, in]`` for the weight, ``[N, out]`` for the bias.
        """
        found = {self.name: self.factor * gradient[:, :, None] * inputs[:, None, :]}
        return found if self.bias is None else found | {self.bias: self.bias_factor * gradient}


class InputStatsRecorder(TorchFunctionMode):
    """A context that records the inputs of linear layers whose weights are in a state dict.

    A weight may be used as it is, copied into a module, times a factor (a frequency that a network multiplies in) or
    transposed; :class:`~coinr.sensitivity.identity.TensorIdentifier` says how it is recognized. What runs in the
    context is not changed. Nothing is recorded where a metric uses other operations than ``linear``, ``matmul``, ``mm``
    and ``addmm``, or no torch at all.

    Parameters
    ----------
    state_dict
        Names to tensors, of which matrices and vectors of floating-point or complex numbers count.

    Attributes
    ----------
    input_counts : dict of str to int
        By name, in order of the first call, how many inputs each weight matrix was multiplied by.
    used : set of str
        Names of these matrices, and of the vectors that were added in the same calls.
    by_value : set of str
        Names among them that were recognized by their values alone. Where two entries are multiples of each other,
        these may be mistaken.
    """

    def __init__(self, state_dict: Mapping[str, Any]) -> None:
        super().__init__()
        self._identifier = TensorIdentifier(state_dict)
        self._sums: dict[str, Tensor] = {}
        self.input_counts: dict[str, int] = {}
        self.used: set[str] = set()

    @property
    def by_value(self) -> set[str]:
        """Names that were recognized by values alone."""
        return self._identifier.by_value

    def sensitivities(self) -> dict[str, TensorSensitivity]:
        """Return the input covariance of each weight matrix by name, as sensitivities."""
        return {name: of_input_moments(total.numpy()) for name, total in self._sums.items()}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation; record its inputs if it is a layer of the state dict."""
        out = func(*args, **(kwargs or {}))
        self._identifier.follow(func, args, out)
        call = self._layer_call(func, args, kwargs or {})
        if call is not None:
            rows = call.inputs.detach().reshape(-1, call.inputs.shape[-1])
            total = _moments(rows[:: -(-len(rows) // _MOST_INPUTS)])
            self._sums[call.name] = self._sums[call.name] + total if call.name in self._sums else total
            self.input_counts[call.name] = self.input_counts.get(call.name, 0) + len(rows)
            self.used |= {call.name} if call.bias is None else {call.name, call.bias}
        return out

    def _layer_call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> LayerCall | None:
        """Return the layer of the state dict that an operation is, or None."""
        with torch.no_grad():
            if func in _LINEAR and len(args) > 1:
                return self._layer(args[0], args[1], args[2] if len(args) > 2 else kwargs.get("bias"))
            if func in _PRODUCTS and len(args) > 1:
                return self._product(None, args[0], args[1])
            if func in _SUMS and len(args) > 2 and not kwargs:
                return self._product(args[0], args[1], args[2])
        return None

    def _product(self, added: Any, left: Any, right: Any) -> LayerCall | None:
        if not (isinstance(left, Tensor) and isinstance(right, Tensor)) or right.ndim != 2:
            return None
        return self._layer(left, right.mT, added)

    def _layer(self, inputs: Any, weight: Any, bias: Any) -> LayerCall | None:
        if not (isinstance(inputs, Tensor) and isinstance(weight, Tensor)) or weight.ndim != 2 or not inputs.numel():
            return None
        if why_not_dense(inputs) or inputs.shape[-1] != weight.shape[1]:
            return None
        found = self._identifier.find(weight)
        if found is None:
            return None
        added = self._identifier.find(bias) if isinstance(bias, Tensor) and bias.ndim == 1 else None
        return LayerCall(*found, inputs) if added is None else LayerCall(*found, inputs, *added)


def _moments(rows: Tensor) -> Tensor:
    """Return the sum of yᵀy over rows y, float64 on the CPU; zeros where it is not finite."""
    if rows.is_complex():
        return _moments(rows.real) + _moments(rows.imag)
    wide = rows.to("cpu", torch.float64)
    total = wide.T @ wide
    return total if bool(total.isfinite().all()) else torch.zeros_like(total)
