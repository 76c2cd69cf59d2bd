"""How far a decoded tensor is off, and how far it may be off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from coinr.sensitivity.hessian import TensorHessian

# The sum of squares of at most so many values is one dot product, on one thread. It is used within these bounds.
_SMALL, _SAFE = 1 << 12, 1e-200


@dataclass(frozen=True)
class Distortion:
    """How far a decoded tensor is off; infinite where it is not finite.

    Attributes
    ----------
    error
        Root mean squared error per real value.
    weighted_error
        The same, where errors weigh as a :class:`DistortionLimit` says.
    relative_error
        Largest relative error of any element; 0 where the limit does not ask for it.
    """

    error: float
    weighted_error: float
    relative_error: float = 0.0


#: Of a tensor that is stored bit-exactly.
NO_DISTORTION = Distortion(0.0, 0.0)


@dataclass(frozen=True, eq=False)
class DistortionLimit:
    """How far a decoded tensor may be off.

    Attributes
    ----------
    weighted_error
        Largest root mean squared error per real value, weighted by ``distortion_weights``, ``input_covariance`` or
        ``hessian``.
    error
        Largest root mean squared error without weights; at least ``weighted_error``.
    distortion_weights
        Weight of the squared error of each row of the tensor as a matrix ``[planes · shape[0], rest]``, mean 1. None
        if all weigh the same.
    input_covariance
        Second moments ``[rest, rest]`` of the layer's inputs, mean of the diagonal 1, positive definite: an error e of
        a row weighs e · input_covariance · eᵀ. None if they are not known.
    hessian
        In place of both, how errors of all elements weigh together, or None.
    relative_error
        Largest relative error of any element, or None: see :mod:`coinr.codec.elements`.
    """

    weighted_error: float
    error: float
    distortion_weights: NDArray[np.float64] | None = None
    input_covariance: NDArray[np.float64] | None = None
    hessian: TensorHessian | None = None
    relative_error: float | None = None

    def weighs_errors(self) -> bool:
        """Return whether some errors weigh more than others."""
        given = (self.distortion_weights, self.input_covariance, self.hessian)
        return any(one is not None for one in given)

    def satisfied_by(self, distortion: Distortion) -> bool:
        """Return whether a distortion, measured with these weights, is within the limit."""
        return (
            min(distortion.error, distortion.weighted_error) <= self.weighted_error
            and distortion.error <= self.error
            and (self.relative_error is None or distortion.relative_error <= self.relative_error)
        )


#: The limits of tensors; None leaves one to the profile.
DistortionLimits = Sequence[DistortionLimit | None]


def measure(
    difference: NDArray[np.float64], values: NDArray[np.float64], limit: DistortionLimit | None = None
) -> Distortion:
    """Return the distortion of a tensor with the weights of a limit; without a limit nothing is weighted.

    Parameters
    ----------
    difference, values
        What was decoded less the values, and the values: ``[planes, size]``.
    """
    if not np.isfinite(difference).all():
        return Distortion(math.inf, math.inf, math.inf)
    error = rms(difference)
    if limit is None:
        return Distortion(error, error)
    if limit.relative_error is None and not limit.weighs_errors():
        return Distortion(error, error)
    relative = 0.0 if limit.relative_error is None else _relative_error(difference, values)
    return Distortion(error, weighted_rms(difference, limit), relative)


def weighted_rms(difference: NDArray[np.float64], limit: DistortionLimit) -> float:
    """Return the root mean square of a difference (any shape, C order) with the weights of a limit."""
    weights, covariance = limit.distortion_weights, limit.input_covariance
    if limit.hessian is not None:
        return rms(limit.hessian.weighted(difference))
    if weights is not None:
        difference = difference.reshape(len(weights), -1) * np.sqrt(weights)[:, None]
    if covariance is not None:
        return rms(difference.reshape(-1, len(covariance)) @ np.linalg.cholesky(covariance))
    return rms(difference)


def rms(values: NDArray[np.float64]) -> float:
    """Return the root mean square, without overflow or underflow; 0 of nothing."""
    if 0 < values.size <= _SMALL:
        flat = values.reshape(-1)
        power = float(flat @ flat)
        if _SAFE < power < 1 / _SAFE:
            return math.sqrt(power / flat.size)
    peak = float(np.abs(values).max(initial=0.0))
    return peak * math.sqrt(float(np.square(values / peak).mean())) if 0 < peak < math.inf else peak


def _relative_error(difference: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    ratios = np.zeros_like(difference)
    with np.errstate(divide="ignore", over="ignore"):
        np.divide(np.abs(difference), np.abs(values), out=ratios, where=difference != 0)
    return float(ratios.max(initial=0.0))
