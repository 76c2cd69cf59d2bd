"""How errors of a network's weights change its output, predicted from the weights alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.sensitivity.inference import infer
from coinr.sensitivity.layers import Layer, find_layers
from coinr.sensitivity.probe import Guess, points, run, squared_derivatives

# Points at which derivatives are taken, by the number of inputs; of networks with more weights than the limit, fewer.
# Sounds have a wide range that few samples reach.
_POINTS, _POINTS_OF_LARGE, _LARGE = {1: 512, 2: 128, 3: 128}, 32, 1 << 20

# Smaller changes of the output count as this one, -200 dB.
_LEAST_ERROR = 1e-10

# Least sensitivity of a row, as a share of the mean: estimates are inexact.
_LEAST_WEIGHT = 2.0**-10


@dataclass(frozen=True, eq=False)
class Gain:
    """How the output follows errors of one tensor.

    Attributes
    ----------
    output : float
        Root mean squared error of the output, as a share of its range, for a root mean squared error of 1 in every
        number of the tensor.
    rows : ndarray
        float64 ``[out]``: the share of each row in the squared error, mean 1.
    """

    output: float
    rows: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Gains:
    """The gain of each tensor by name, and what the network was taken for, in words."""

    network: str
    tensors: Mapping[str, Gain]


def predict_gains(tensors: Mapping[str, NDArray[Any]]) -> Gains | None:
    """Return the gains of a network whose tensors are a chain of layers; None where it is none, or shows no signal.

    Where several activations are possible, the largest gain of each row counts.
    """
    layers = find_layers(tensors)
    guesses = infer(layers) if layers else []
    if not layers or not guesses:
        return None
    found = [_squared_gains(layers, guess) for guess in guesses]
    largest = {name: np.max([one[name] for one in found], axis=0) for name in found[0]}
    if not all(np.isfinite(rows).all() for rows in largest.values()):
        return None
    return Gains(_words(layers, guesses), {name: _gain(rows) for name, rows in largest.items()})


def predict_error(
    original: Mapping[str, NDArray[Any]], decoded: Mapping[str, NDArray[Any]]
) -> tuple[float, str] | None:
    """Return the output error in dB of decoded tensors, and what the network was taken for; None as above.

    The chain of layers runs with both at points of its domain, with each activation that is possible; the largest error
    counts. It is -200 where no output changes.
    """
    layers, others = find_layers(original), find_layers(decoded)
    guesses = infer(layers) if layers else []
    if not layers or not others or not guesses:
        return None
    largest = max(_change(layers, others, guess) for guess in guesses)
    return 20 * math.log10(max(largest, _LEAST_ERROR)), _words(layers, guesses)


def _change(layers: Sequence[Layer], others: Sequence[Layer], guess: Guess) -> float:
    x = points(guess.encoding.inputs, _POINTS[guess.encoding.inputs])
    with np.errstate(all="ignore"):
        outputs = run(layers, guess, x).outputs.astype(np.float64)
        change = run(others, guess, x).outputs - outputs
    return float(np.sqrt(np.mean(change**2)) / np.ptp(outputs))


def _words(layers: Sequence[Layer], guesses: Sequence[Guess]) -> str:
    return f"{len(layers)} layers, " + " or ".join(map(str, guesses))


def _gain(squares: NDArray[np.float64]) -> Gain:
    """Return the gain of a tensor, given the squared gain of each row."""
    rows = np.maximum(squares / (squares.mean() or 1.0), _LEAST_WEIGHT)
    return Gain(math.sqrt(float(squares.sum())), rows / rows.mean())


def _squared_gains(layers: Sequence[Layer], guess: Guess) -> dict[str, NDArray[np.float64]]:
    """Return, by name, the squared gain of each row of a tensor; infinite where the output is constant."""
    count = sum(layer.weight.size for layer in layers)
    inputs = guess.encoding.inputs
    x = points(inputs, _POINTS[inputs] if count < _LARGE else _POINTS_OF_LARGE)
    with np.errstate(all="ignore"):
        made = run(layers, guess, x)
        by_weights, by_biases = squared_derivatives(layers, guess, made)
        unit = made.outputs.shape[1] * float(np.ptp(made.outputs)) ** 2
        return {
            name: np.divide(rows, unit)
            for layer, *squares in zip(layers, by_weights, by_biases, strict=True)
            for name, rows in zip(layer.names, squares, strict=False)
        }
