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

#: Points at which derivatives are taken, by the number of inputs. Sounds have a wide range that few samples reach.
POINTS = {1: 512, 2: 128, 3: 128}

# Points of networks with more weights than the limit.
_POINTS_OF_LARGE, _LARGE = 32, 1 << 20


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
        inputs = self.guess.encoding.inputs
        with np.errstate(all="ignore"):
            return run(self.layers, self.guess, points(inputs, POINTS[inputs])).outputs.astype(np.float64)

    def squared_gains(self) -> dict[str, Array]:
        """Return, by name, the squared gain of each row of a tensor; infinite where the output is constant."""
        inputs = self.guess.encoding.inputs
        x = points(inputs, POINTS[inputs] if self.size < _LARGE else _POINTS_OF_LARGE)
        with np.errstate(all="ignore"):
            made = run(self.layers, self.guess, x)
            by_weights, by_biases = squared_derivatives(self.layers, self.guess, made)
            unit = made.outputs.shape[1] * float(np.ptp(made.outputs)) ** 2
            return {
                name: np.divide(rows, unit)
                for layer, *squares in zip(self.layers, by_weights, by_biases, strict=True)
                for name, rows in zip(layer.names, squares, strict=False)
            }
