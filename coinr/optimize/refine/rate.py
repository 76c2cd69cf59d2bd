"""A differentiable estimate of the bits that quantized weights take."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# A row's mean magnitude is drawn to the mean of the matrix as by so many more weights; so is a column's.
_PRIOR = 4.0

# Least expected magnitude, in steps.
_LEAST_MAGNITUDE = 0.05

# Relative to the largest magnitude: added to means, so that zeros divide nothing by zero.
_EPSILON = 1e-12


def expected_magnitudes(values: Tensor) -> Tensor:
    """Return the expected magnitude of each weight of a matrix ``[R, C]``.

    It is the product of its row's mean and its column's mean over the mean of all, with both shrunk towards 1.
    """
    largest = values.detach().abs().max().clamp_min(torch.finfo(values.dtype).tiny)
    magnitudes = values.abs() / largest
    mean = magnitudes.mean() + _EPSILON
    rows, columns = values.shape
    by_row = _shrunk_ratios(magnitudes.mean(1, keepdim=True), mean, columns)
    by_column = _shrunk_ratios(magnitudes.mean(0, keepdim=True), mean, rows)
    return by_row * by_column * mean * largest


def _shrunk_ratios(means: Tensor, mean: Tensor, count: int) -> Tensor:
    """Return ratios of the means of ``count`` weights to that of all, shrunk to 1: fully for means of one weight."""
    return ((means + _EPSILON) / mean).pow((count - 1) / (count - 1 + _PRIOR))


def estimate_bits(values: Tensor, steps: Tensor) -> Tensor:
    """Return the bits of a uniformly quantized matrix: Σ −log₂ P(|X − v| ≤ Δ / 2) with X of a Laplace density.

    The density of each weight has the magnitude that :func:`expected_magnitudes` gives. Files of the ``direct`` coder
    come within a few per cent of it, although the trellis and the contexts are not modeled.

    Parameters
    ----------
    values
        ``[R, C]``: v, with the noise that stands for quantization.
    steps
        Δ, positive, broadcasting to ``[R, C]``.

    Returns
    -------
    Tensor
        0-dim.
    """
    unit = torch.maximum(values.detach().abs().max(), steps.detach().max())
    values, steps = values / unit, steps / unit
    expected = expected_magnitudes(values) + _LEAST_MAGNITUDE * steps
    x, half = values.abs() / expected, steps / expected / 2
    within = torch.minimum(x, half)
    # 1 - exp(-half) cosh(x), written so that nothing cancels
    inside = torch.log(-torch.expm1(-half) - 2 * torch.exp(-half) * torch.sinh(within / 2).square())
    outside = torch.log(torch.sinh(half)) - x
    return -torch.where(x > half, outside, inside).sum() / math.log(2)
