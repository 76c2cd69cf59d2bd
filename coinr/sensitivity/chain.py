"""A chain of layers with a guess of what it computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.sensitivity.layers import Layer
from coinr.sensitivity.probe import Guess, points, run, squared_derivatives

Array = NDArray[Any]

# Points at which derivatives are taken, by the number of inputs. Sounds have a wide range that few samples reach.
_POINTS = {1: 512, 2: 128, 3: 128}

# Networks with more weights than the first of these have twice the points: their derivatives vary more from point to
# point. Those with more than the second have few, as their time is that of the points.
_SMALL, _LARGE, _POINTS_OF_LARGE = 1 << 12, 1 << 20, 32


def points_of(layers: Sequence[Layer], inputs: int) -> Array:
    """Return the points at which derivatives of a chain are taken, float64 ``[N, inputs]``."""
    size = sum(layer.weight.size for layer in layers)
    count = _POINTS[inputs] * (1 + (size > _SMALL)) if size <= _LARGE else _POINTS_OF_LARGE
    return points(inputs, count)


@dataclass(frozen=True, eq=False)
class Chain:
    """A chain of layers and a guess of what it computes."""

    layers: Sequence[Layer]
    guess: Guess

    def __str__(self) -> str:
        return str(self.guess)

    @property
    def depth(self) -> int:
        """Return the number of layers."""
        return len(self.layers)

    @property
    def size(self) -> int:
        """Return the number of weights."""
        return sum(layer.weight.size for layer in self.layers)

    def replaced(self, tensors: Mapping[str, Array]) -> Chain:
        """Return the chain with the values of other tensors of the same names and shapes."""
        return Chain([layer.replaced(tensors) for layer in self.layers], self.guess)

    def outputs(self) -> Array:
        """Return outputs at points of the domain, float64 ``[N, b]``."""
        with np.errstate(all="ignore"):
            return run(self.layers, self.guess, self._points()).outputs.astype(np.float64)

    def squared_gains(self) -> dict[str, Array]:
        """Return, by name, the squared gain of each row of a tensor; infinite where the output is constant."""
        with np.errstate(all="ignore"):
            made = run(self.layers, self.guess, self._points())
            by_weights, by_biases = squared_derivatives(self.layers, self.guess, made)
            unit = made.outputs.shape[1] * float(np.ptp(made.outputs)) ** 2
            return {
                name: np.divide(rows, unit)
                for layer, *squares in zip(self.layers, by_weights, by_biases, strict=True)
                for name, rows in zip(layer.names, squares, strict=False)
            }

    def _points(self) -> Array:
        return points_of(self.layers, self.guess.encoding.inputs)
