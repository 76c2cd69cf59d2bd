"""The weighted quantization problem of a matrix, and step exponents that equalize its weighted errors."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from coinr.codec.coders.coder import FLOAT32_MAX, FLOAT32_TINY, short_step
from coinr.codec.coders.levels import LARGEST_VALUE, MOST_EXPONENT, NO_STEPS, step_factors
from coinr.codec.distortion import rms

# Bits that the step exponent of a row or column takes.
_EXPONENT = 2.0


@dataclass(frozen=True, eq=False)
class QuantizationProblem:
    """Quantize ``matrix`` with weighted error at most ``error`` and plain error at most ``limit``.

    Attributes
    ----------
    matrix
        ``[rows, columns]``.
    error, limit
        The largest root mean squared errors: ``error`` with the weights of ``weight``, ``limit`` without.
    weight
        Weight of each element's squared error, ``[rows, columns]``; None for 1.
    feedback
        Upper triangular U with unit diagonal, or None. If it is ``[columns, columns]``, the weighted error is that of
        E U, with E the errors. If it is ``[size, size]``, E has all elements in one row.
    terms
        Number of elements that a decoder adds up for each value of the tensor.
    """

    matrix: NDArray[np.float64]
    error: float
    limit: float
    weight: NDArray[np.float64] | None = None
    feedback: NDArray[np.float64] | None = None
    terms: int = 1

    def storable_step(self, step: float, row: NDArray[np.uint8], column: NDArray[np.uint8]) -> float | None:
        """Return the base step that two bytes hold, at or below ``step``, for step exponents of rows and columns.

        It is no wider than decoders accept; None where it is too fine for them.
        """
        factor = 1 << MOST_EXPONENT if row.size or column.size else 1
        rounded = short_step(min(step, FLOAT32_MAX / (LARGEST_VALUE * self.terms * factor)))
        return rounded if rounded >= FLOAT32_TINY else None

    def with_input_covariance(
        self, covariance: NDArray[np.float64], weights: NDArray[np.float64] | None
    ) -> QuantizationProblem:
        """Return the problem in which an error e of row i weighs weights_i · e · covariance · eᵀ.

        With covariance = U D Uᵀ, an error at column j weighs D_j once the columns before it are coded.
        """
        lower = np.linalg.cholesky(covariance[::-1, ::-1])
        upper = lower[::-1, ::-1]
        roots = np.diag(upper).copy()
        weights = np.ones(len(self.matrix)) if weights is None else weights
        return replace(self, weight=np.outer(weights, np.square(roots)), feedback=upper / roots)

    def exponents(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return step exponents of rows and columns that equalize weighted errors, as far as ``limit`` allows."""
        return self._exponents

    @cached_property
    def _exponents(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        if self.weight is None:
            return NO_STEPS, NO_STEPS
        logs = -np.log2(self.weight)
        row, column = _rounded(logs.mean(1)), _rounded(logs.mean(0) - logs.mean())
        for most in range(MOST_EXPONENT, -1, -1):
            capped = np.minimum(row, most).astype(np.uint8), np.minimum(column, most).astype(np.uint8)
            if self._expected_error(*capped) <= self.limit:
                return capped
        return NO_STEPS, NO_STEPS

    def benefit_ratio(self, row: NDArray[np.uint8], column: NDArray[np.uint8]) -> float:
        """Return the bits that step exponents save at high rate, divided by the bits that they take."""
        halves = sum(float(exponent.mean()) / 2 for exponent in (row, column) if exponent.size)
        saved = halves + math.log2(self.distortion_factor(NO_STEPS, NO_STEPS) / self.distortion_factor(row, column)) / 2
        return self.matrix.size * saved / max(_EXPONENT * (row.size + column.size), 1.0)

    def distortion_factor(self, row: NDArray[np.uint8], column: NDArray[np.uint8]) -> float:
        """Return the mean of weight · factor², with factor the step of an element over the base step."""
        if self.weight is None and not row.size and not column.size:
            return 1.0
        return float((self.weights() * np.square(step_factors(row, column).astype(np.float64))).mean())

    def weights(self) -> NDArray[np.float64]:
        """Return the weight of each element's squared error, ``[rows, columns]``."""
        return np.ones(self.matrix.shape) if self.weight is None else self.weight

    def weighs_errors(self) -> bool:
        """Return whether the weighted error differs from the plain one."""
        return self.weight is not None or self.feedback is not None

    @cached_property
    def size(self) -> float:
        """Return the root mean square of the matrix."""
        return rms(self.matrix)

    @cached_property
    def magnitudes(self) -> tuple[float, float]:
        """Return the largest and the mean magnitude."""
        found = np.abs(self.matrix)
        return float(found.max(initial=0.0)), float(found.sum()) / found.size

    @cached_property
    def weighted_size(self) -> float:
        """Return the weighted root mean square of the matrix."""
        return self.weighted_rms(self.matrix)

    def constraint_ratio(self, weighted_error: float, error: float) -> float:
        """Return max(weighted_error / self.error, error / self.limit): at most 1 for errors within both bounds."""
        return max(weighted_error / self.error, error / self.limit)

    def weighted_rms(self, difference: NDArray[np.float64]) -> float:
        """Return the weighted root mean square of a difference, ``[rows, columns]``."""
        if self.feedback is not None:
            difference = (difference.reshape(-1, len(self.feedback)) @ self.feedback).reshape(difference.shape)
        return rms(difference if self.weight is None else difference * np.sqrt(self.weight))

    def _expected_error(self, row: NDArray[np.uint8], column: NDArray[np.uint8]) -> float:
        """Estimate the plain root mean squared error: that of the steps, but no more than the weights themselves."""
        noise = (
            np.square(step_factors(row, column).astype(np.float64))
            * self.error**2
            / self.distortion_factor(row, column)
        )
        power = np.square(self.matrix)
        rough = power.mean(1, keepdims=True) * power.mean(0, keepdims=True) / (power.mean() or 1.0)
        return 1.02 * math.sqrt(float(np.minimum(noise, rough).mean()))


def _rounded(exponents: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round exponents and shift them to start at 0; one unit doubles the squared error of a step."""
    whole = np.rint(exponents)
    whole -= whole.min()
    return np.minimum(whole, MOST_EXPONENT) if whole.any() else NO_STEPS.astype(np.float64)
