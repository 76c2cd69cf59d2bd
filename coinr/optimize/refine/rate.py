"""Bits of coded weights, differentiable by the weights and by the steps they are quantized with."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Rows and columns are expected to be as large as they are, drawn to the mean of all as by so many more weights.
_PRIOR = 4.0

# Magnitudes are expected to be at least this many steps.
_SMALLEST = 0.05

# Magnitudes below this share of the largest are as good as zero.
_ZERO = 1e-12


def expected_magnitudes(values: Tensor) -> Tensor:
    """Mean magnitude of each weight of a matrix ``[R, C]``, by its row and column."""
    largest = values.detach().abs().max().clamp_min(torch.finfo(values.dtype).tiny)
    magnitudes = values.abs() / largest
    mean = magnitudes.mean() + _ZERO
    rows, columns = values.shape
    by_row = _ratios(magnitudes.mean(1, keepdim=True), mean, columns)
    by_column = _ratios(magnitudes.mean(0, keepdim=True), mean, rows)
    return by_row * by_column * mean * largest


def _ratios(means: Tensor, mean: Tensor, count: int) -> Tensor:
    """Means of ``count`` weights over that of all; 1 of single ones, which say nothing but of themselves."""
    return ((means + _ZERO) / mean).pow((count - 1) / (count - 1 + _PRIOR))


def bits(values: Tensor, steps: Tensor) -> Tensor:
    """Bits of a matrix quantized uniformly: of the bin around each value, where magnitudes follow a Laplace density.

    Parameters
    ----------
    values
        ``[R, C]``, with the noise of their quantization.
    steps
        Positive, broadcasting to it.

    Returns
    -------
    Tensor
        0-dim. Real files of the direct coder, whose trellis and contexts are not modelled, are within a few per cent.
    """
    unit = torch.maximum(values.detach().abs().max(), steps.detach().max())
    values, steps = values / unit, steps / unit
    expected = expected_magnitudes(values) + _SMALLEST * steps
    x, half = values.abs() / expected, steps / expected / 2
    within = torch.minimum(x, half)
    # 1 - exp(-half) cosh(x), without what cancels
    inside = torch.log(-torch.expm1(-half) - 2 * torch.exp(-half) * torch.sinh(within / 2).square())
    outside = torch.log(torch.sinh(half)) - x
    return -torch.where(x > half, outside, inside).sum() / math.log(2)
