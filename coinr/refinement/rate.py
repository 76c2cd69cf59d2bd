"""Bits of coded weights, differentiable by the weights and by the steps they are quantised with."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Rows and columns are expected to be as large as they are, drawn to the mean of all as by so many more weights.
_PRIOR = 4.0

# Magnitudes are expected to be at least this many steps.
_SMALLEST = 0.05


def expected_magnitudes(values: Tensor) -> Tensor:
    """Mean magnitude of each weight of a matrix ``[R, C]`` by its row and column, the weight itself apart."""
    magnitudes = values.abs()
    mean = magnitudes.mean()
    rows, columns = values.shape
    by_row = (magnitudes.mean(1, keepdim=True) * (columns - 1) + _PRIOR * mean) / (columns - 1 + _PRIOR)
    by_column = (magnitudes.mean(0, keepdim=True) * (rows - 1) + _PRIOR * mean) / (rows - 1 + _PRIOR)
    return by_row * by_column / (mean + torch.finfo(values.dtype).tiny)


def bits(values: Tensor, steps: Tensor) -> Tensor:
    """Bits of a matrix quantised uniformly: of the bin around each value, where magnitudes follow a Laplace density.

    Parameters
    ----------
    values
        ``[R, C]``, with the noise of their quantisation.
    steps
        Positive, broadcasting to it.

    Returns
    -------
    Tensor
        0-dim. Real files of the direct coder, whose trellis and contexts are not modelled, are within a few per cent.
    """
    expected = expected_magnitudes(values) + _SMALLEST * steps
    x, half = values.abs() / expected, steps / expected / 2
    within = torch.minimum(x, half)
    # 1 - exp(-half) cosh(x), without what cancels
    inside = torch.log(-torch.expm1(-half) - 2 * torch.exp(-half) * torch.sinh(within / 2).square())
    outside = torch.log(torch.sinh(half)) - x
    return -torch.where(x > half, outside, inside).sum() / math.log(2)
