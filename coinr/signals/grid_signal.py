"""Signals whose samples are the points of a regular grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from coinr.engine.native import Grid
from coinr.signals.signal import Signal


def grid_coordinates(numbers: Tensor, size: Sequence[int]) -> Tensor:
    """Return float32 [N, a], the coordinates of the points ``numbers`` (int64 [N]) of a grid, counted in C order.

    Point i of n along an axis lies at (2i + 1)/n - 1.
    """
    along = []
    for n in reversed(size):
        above = torch.div(numbers, n, rounding_mode="floor")
        along.append((2 * (numbers - above * n) + 1).to(torch.float64) / n - 1)
        numbers = above
    return torch.stack(along[::-1], dim=-1).to(torch.float32)


def is_method(method: Callable[..., object], function: Callable[..., object]) -> bool:
    """Return whether an object's method is a function of a class, and not one that a subclass or the object has."""
    return getattr(method, "__func__", None) is function


class GridSignal(Signal):
    """A signal of stored values at the points of a regular grid that fills [-1, 1] along each axis.

    Attributes
    ----------
    grid_size : tuple of int
        Points along each axis.
    """

    grid_size: tuple[int, ...]
    # [count, out], in C order: float32, or uint8, which stands for value / 127.5 - 1
    _values: Tensor

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return coordinates ``[N, a]`` and targets ``[N, out]``, float32, of the points ``indices`` in C order."""
        values = self._values[indices]
        targets = values.to(torch.float32) / 127.5 - 1 if values.dtype == torch.uint8 else values
        return grid_coordinates(indices, self.grid_size), targets

    def grid(self) -> Grid | None:
        """Return the samples for the extension, which computes what :meth:`batch` returns; None if it cannot.

        It cannot if the values are not on the CPU, or a subclass has another :meth:`batch`.
        """
        if not is_method(self.batch, GridSignal.batch) or self._values.device.type != "cpu":
            return None
        return Grid(self.grid_size, self._values.numpy())

    def score_rule(self) -> tuple[str, float] | None:
        """Return what the extension sums up in place of :meth:`partial_score`; None if it cannot.

        The name of a rule of ``csrc/sampling/score.hpp``, and the full scale of levels. Where a subclass has another
        :meth:`partial_score`, the extension cannot.
        """
        return None
