"""Sensitivity of a network's output to errors of its weights, measured at sample inputs.

An error E of a weight matrix changes the squared error of the output by Σ |J E|² over samples, to second order, where J
is the derivative of the output (the Gauss-Newton approximation). For each matrix this is kept as a Kronecker product:
(weight of each row) ⊗ (second moments of the layer's inputs), as in K-FAC (Martens and Grosse, 2015).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from coinr.errors import InputError
from coinr.inputs.arguments import describe_value
from coinr.inputs.callbacks import gradients
from coinr.inputs.dense import count_nonfinite, to_tensor
from coinr.inputs.dtypes import check_dtype
from coinr.inputs.naming import list_names
from coinr.inputs.state_dicts import plain_tensors
from coinr.runtime.ambient import callers_settings
from coinr.sensitivity.hessian import HessianFactor
from coinr.sensitivity.sampled_module import SampledModule

#: Samples at which derivatives are taken.
SAMPLES = 1024

# Largest exponent, in base 2, of numbers whose squares can be added up in float64 as they are.
_LARGEST_EXPONENT = 400

# Share of the mean of the diagonal that is added to it: directions that the samples do not show still matter.
_DAMPING = 1e-3

# Least weight of a row, as a share of the mean: a row may matter more once the other weights have changed.
_LEAST_WEIGHT = 2.0**-7


@dataclass(frozen=True, eq=False)
class TensorSensitivity:
    """How errors of one tensor affect the output.

    Attributes
    ----------
    mean : float or None
        The sensitivity: squared error of the output per squared error of a weight, mean over the tensor. None if only
        the layer's inputs are known.
    distortion_weights : ndarray or None
        float64 ``[planes · shape[0]]``: weight of the squared error of each row of ``[planes · shape[0], rest]``,
        mean 1. None if all rows weigh alike.
    input_covariance : ndarray or None
        float64 ``[rest, rest]``: second moments of the layer's inputs, mean of the diagonal 1. None for vectors.
    """

    mean: float | None
    distortion_weights: NDArray[np.float64] | None
    input_covariance: NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class SensitivityInfo:
    """What is known of a network's sensitivity to errors of its weights; false if nothing is.

    Attributes
    ----------
    tensors : mapping of str to TensorSensitivity
        By name, each tensor alone.
    hessian : HessianFactor or None
        Tensors whose errors are known together, or None.
    rows_alike : bool
        Whether rows without weights are known to weigh alike; else they may be estimated.
    """

    tensors: Mapping[str, TensorSensitivity] = field(default_factory=dict)
    hessian: HessianFactor | None = None
    rows_alike: bool = False

    def __bool__(self) -> bool:
        return bool(self.tensors) or self.hessian is not None

    def means(self) -> dict[str, float]:
        """Return the sensitivity of each tensor by name, where it is known."""
        alone = {name: tensor.mean for name, tensor in self.tensors.items() if tensor.mean}
        return alone if self.hessian is None else alone | self.hessian.means


#: What callers may pass: a module with sample inputs (see :class:`~coinr.sensitivity.sampled_module.SampledModule`,
#: which checks them), a callable that returns layers' inputs by name, or what :func:`measure_sensitivity` returned.
Calibration = Annotated[
    tuple[nn.Module, Any] | Callable[[], Mapping[str, Tensor]] | SensitivityInfo,
    "(module, inputs), or a callable that gives layers' inputs by name",
]


def measure_sensitivity(calibrate: Calibration, state_dict: Mapping[str, Any], seed: int = 0) -> SensitivityInfo:
    """Measure the sensitivity of each tensor alone.

    Parameters
    ----------
    calibrate
        ``(module, inputs)``: the module is called in evaluation mode with copies of single samples, ``inputs[i : i +
        1]`` of a tensor or of each of several; its parameters and buffers take the values of the state dict, see
        :class:`~coinr.sensitivity.sampled_module.SampledModule`. Or a callable without arguments that returns the
        inputs ``[N, in]`` of layers by the names of their weights. Or what this function returned: it is returned.
    state_dict
        Names to tensors.
    seed
        Of the choice of samples, and of the random projections of the outputs whose derivatives are taken.

    Returns
    -------
    SensitivityInfo
        Without a ``hessian``, but for one that was passed in.

    Raises
    ------
    InputError
        If the calibration has another form, or does not fit the state dict.
    """
    if callable(calibrate) and not isinstance(calibrate, nn.Module):
        with callers_settings():
            given = calibrate()
        return SensitivityInfo(_from_inputs(given, plain_tensors(state_dict)))
    if isinstance(calibrate, SensitivityInfo):
        return calibrate
    if isinstance(calibrate, tuple) and len(calibrate) == 2 and isinstance(calibrate[0], nn.Module):
        return SensitivityInfo(_from_module(*calibrate, plain_tensors(state_dict), seed))
    raise InputError(
        f"calibrate must be (module, inputs) or a callable that gives layers' inputs by name, not "
        f"{describe_value(calibrate)}"
    )


def _from_inputs(given: Any, state_dict: Mapping[str, Tensor]) -> dict[str, TensorSensitivity]:
    if not isinstance(given, Mapping):
        raise InputError(f"calibrate must return a mapping of names to inputs, not {type(given).__name__}")
    found = {}
    for name, inputs in given.items():
        weight = state_dict.get(name)
        if weight is None:
            raise InputError(
                f"calibrate names {name!r}, which is none of the tensors; {list_names(str(name), state_dict)}"
            )
        rest = math.prod(weight.shape[1:]) if len(weight.shape) > 1 else 0
        values = to_tensor(inputs, f"the input of {name!r}").resolve_conj().resolve_neg().cpu()
        check_dtype(values.dtype, f"the input of {name!r}")
        values = torch.view_as_real(values).movedim(-1, 0).flatten(0, -2) if values.is_complex() else values
        values = values.to(torch.float64)
        if not rest or not values.ndim or values.shape[-1] != rest:
            raise InputError(f"inputs of {name!r} must be finite and [N, {rest}], not {list(values.shape)}")
        if not bool(values.isfinite().all()):
            raise InputError(f"inputs of {name!r} must be finite; they hold {count_nonfinite(values)}")
        flat = values.reshape(-1, rest).numpy()
        flat = flat / _unit(float(np.abs(flat).max(initial=0.0)))
        found[name] = of_input_moments(flat.T @ flat)
    return found


def of_input_moments(moments: NDArray[np.float64]) -> TensorSensitivity:
    """Return the sensitivity of a matrix, given the sum of yᵀy over its inputs y, float64 ``[rest, rest]``."""
    return TensorSensitivity(None, None, _damped(moments))


def _from_module(
    module: nn.Module, inputs: Any, state_dict: Mapping[str, Any], seed: int
) -> dict[str, TensorSensitivity]:
    """Measure squared derivatives of random projections of the output, one for each sample."""
    sampled = SampledModule(module, inputs, state_dict)
    values = {name: value for name, value in sampled.values.items() if value.requires_grad}
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(sampled.count, generator=generator)[:SAMPLES].tolist()
    sums = {name: _GradientMoments(tensor) for name, tensor in values.items()}
    peak = 0.0
    for i in chosen:
        outputs = [part for part in sampled.checked(i, i + 1) if part.requires_grad]
        if not outputs:
            raise InputError("the output of the module of the calibration depends on none of its parameters")
        flat = torch.cat([_real(part).reshape(-1) for part in outputs])
        direction = torch.randn(len(flat), generator=generator, dtype=torch.float32).to(flat)
        taken = gradients(flat @ direction, list(values.values()), "the output of the module of the calibration")
        found = {name: _real(one.detach()) for name, one in zip(sums, taken, strict=True) if one is not None}
        here = max((float(gradient.abs().max()) for gradient in found.values() if gradient.numel()), default=0.0)
        if not math.isfinite(here):
            why = sampled.why(i, i + 1)
            raise InputError(f"the module of the calibration has derivatives at sample {i} that are not finite{why}")
        before, peak = peak, max(peak, here)
        unit = _unit(peak)
        for total in sums.values() if 0 < before < peak else ():
            total.scale(_unit(before) / unit)
        for name, gradient in found.items():
            sums[name].add(gradient.to(torch.float64) / unit)
    return {name: total.sensitivity(len(chosen)) for name, total in sums.items()}


def _unit(peak: float) -> float:
    """Return the unit in which numbers of this magnitude have squares in float64: 1 for all but extreme ones."""
    exponent = math.frexp(peak)[1]
    return 1.0 if abs(exponent) <= _LARGEST_EXPONENT else math.ldexp(1.0, max(min(exponent, 1023), -1021))


def _real(value: Tensor) -> Tensor:
    return torch.view_as_real(value) if value.is_complex() else value


class _GradientMoments:
    """Second moments of a tensor's gradients, summed over samples; each real plane is a matrix."""

    def __init__(self, tensor: Tensor) -> None:
        planes = 2 if tensor.is_complex() else 1
        rows = tensor.shape[0] if tensor.ndim > 1 else 1
        self.shape = (planes, rows, tensor.numel() // rows)
        self.is_matrix = tensor.ndim > 1
        self.rows = torch.zeros(planes * rows, dtype=torch.float64)
        self.inputs = torch.zeros(self.shape[2], self.shape[2], dtype=torch.float64) if self.is_matrix else None

    def add(self, gradient: Tensor) -> None:
        """Add one sample's gradient, real (a complex one as ``[..., 2]``)."""
        planes = gradient.reshape(-1, self.shape[0]).T.reshape(self.shape).double().cpu()
        flat = planes.reshape(-1, self.shape[2])
        self.rows += flat.square().sum(1)
        if self.inputs is not None:
            self.inputs += flat.T @ flat

    def scale(self, factor: float) -> None:
        """Multiply all gradients that were added so far."""
        self.rows *= factor * factor
        if self.inputs is not None:
            self.inputs *= factor * factor

    def sensitivity(self, count: int) -> TensorSensitivity:
        """Return the sensitivity, given the number of samples."""
        total = float(self.rows.sum())
        mean = total / (count * self.shape[0] * self.shape[1] * self.shape[2])
        if self.inputs is None or not total > 0:
            return TensorSensitivity(mean, None, None)
        rows = self.rows.numpy()
        weights = np.maximum(rows / rows.mean(), _LEAST_WEIGHT)
        return TensorSensitivity(mean, weights / weights.mean(), _damped(self.inputs.numpy()))


def _damped(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return second moments with a mean diagonal of 1 and a little added to it; the identity if all are zero."""
    diagonal = np.diag(moments).mean()
    if not diagonal > 0:
        return np.eye(len(moments))
    damped: NDArray[np.float64] = (moments / diagonal + _DAMPING * np.eye(len(moments))) / (1 + _DAMPING)
    return damped
