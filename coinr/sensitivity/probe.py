"""Runs of a chain of layers with given activations, at points of its domain, in NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.sensitivity.activations import Activation, Encoding
from coinr.sensitivity.layers import Layer

Array = NDArray[Any]


@dataclass(frozen=True)
class Guess:
    """What a chain of layers may compute: ``first`` is the activation of the first layer, ``hidden`` of all others.

    ``prior`` is how much more usual it is than others.
    """

    encoding: Encoding
    first: Activation
    hidden: Activation
    prior: float = 1.0

    def __str__(self) -> str:
        first = "" if self.first == self.hidden else f", {self.first} in the first layer"
        encoded = " of encoded coordinates" if self.encoding.count else ""
        return f"{self.hidden}{first}{encoded}"

    def activation(self, position: int) -> Activation:
        """Return the activation of a layer that is not the last."""
        return self.hidden if position else self.first


def groups(guesses: Iterable[Guess]) -> list[list[Guess]]:
    """Return the guesses in groups that differ in the numbers of their activations alone."""
    found: dict[Any, list[Guess]] = {}
    for guess in guesses:
        found.setdefault((guess.encoding, type(guess.first), type(guess.hidden)), []).append(guess)
    return list(found.values())


def together(group: Sequence[Guess]) -> Guess:
    """Return a group as one guess, whose numbers are float32 ``[G, 1, 1]``: a run of it has G in front."""
    if len(group) == 1:
        return group[0]
    firsts, hiddens = [guess.first for guess in group], [guess.hidden for guess in group]
    return Guess(group[0].encoding, _stacked(firsts), _stacked(hiddens))


def _stacked(activations: Sequence[Activation]) -> Activation:
    numbers = np.array([tuple(vars(one).values()) for one in activations], np.float32)
    kind: Any = type(activations[0])
    stacked: Activation = kind(*numbers.T[..., None, None])
    return stacked


@dataclass(frozen=True, eq=False)
class Run:
    """Outputs ``[…, N, b]`` of a chain, and for each layer its inputs and, but for the last, its affine map."""

    outputs: Array
    inputs: list[Array]
    maps: list[Array]


@cache
def points(inputs: int, count: int) -> Array:
    """Return ``count`` evenly spread points of [-1, 1]^inputs, float64 ``[count, inputs]``.

    The sequence of Roberts (2018): multiples of powers of the root of x^(inputs + 1) = x + 1, modulo 1.
    """
    root = 2.0
    for _ in range(40):
        root = (1 + root) ** (1 / (inputs + 1))
    steps = root ** -np.arange(1.0, inputs + 1)
    spread: Array = (0.5 + np.arange(1, count + 1)[:, None] * steps) % 1 * 2 - 1
    spread.flags.writeable = False
    return spread


@lru_cache(16)
def signs(count: int, outputs: int) -> Array:
    """Return signs ``[count, outputs]``, float32, whose columns are orthogonal (Walsh functions)."""
    bits = np.arange(count)[:, None] & np.arange(1, outputs + 1)
    odd = np.bitwise_count(bits) & 1
    found: Array = (1 - 2 * odd.astype(np.int8)).astype(np.float32)
    found.flags.writeable = False
    return found


def run(layers: Sequence[Layer], guess: Guess, x: Array) -> Run:
    """Run the chain at points ``[N, inputs]``; the output of a complex one is its real part."""
    inputs: list[Array] = [guess.encoding.value(x)]
    maps: list[Array] = []
    for position, layer in enumerate(layers):
        z = inputs[-1] @ layer.weight.T + layer.bias
        if position == len(layers) - 1:
            return Run(z.real, inputs, maps)
        maps.append(z)
        inputs.append(guess.activation(position).value(z))
    raise AssertionError("a chain has a last layer")


def squared_derivatives(layers: Sequence[Layer], guess: Guess, made: Run) -> tuple[list[Array], list[Array]]:
    """Return, for each layer, the squared derivatives of the outputs by weights and by biases.

    They are sums over the outputs and means over the points; by weights, sums over a row: arrays ``[…, out]``, float64.
    The sum over outputs is taken by one projection of random signs at each point.
    """
    count, outputs = made.outputs.shape[-2:]
    derivative = signs(count, outputs)
    by_weights, by_biases = [], []
    for position in range(len(layers) - 1, -1, -1):
        squares = np.square(np.abs(derivative)).astype(np.float64)
        sizes = np.square(np.abs(made.inputs[position])).sum(-1, dtype=np.float64)
        by_weights.append((sizes[..., None, :] @ squares)[..., 0, :] / count)
        by_biases.append(squares.mean(-2))
        if position:
            passed = derivative @ layers[position].weight.conj()
            derivative = guess.activation(position - 1).pulled_back(made.maps[position - 1], passed)
    return by_weights[::-1], by_biases[::-1]
