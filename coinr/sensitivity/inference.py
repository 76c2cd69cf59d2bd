"""What a network computes, inferred from its weights alone.

Weights do not name the activation between them. But a trained network shows a signal with the right one, and noise with
another: run with the right activation, its output varies most, and hardly between points that are near each other. So
the chain of layers is run with each activation in use at a few points of its domain. The covariance of the outputs of
near points, and their range, say which one it is (bench/results/rate/output_error.csv).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from coinr.sensitivity.activations import (
    Activation,
    Encoding,
    FinerSine,
    Gabor,
    Gaussian,
    Rectifier,
    Sine,
    Tanh,
    possible_encodings,
)
from coinr.sensitivity.layers import Array, Layer
from coinr.sensitivity.probe import Guess, groups, points, run, together

# Pairs of near points for a first look at all guesses, and for the best of them: those that are at least this share as
# plausible as the best.
_FEW_PAIRS, _PAIRS, _CLOSE = 24, 64, 0.4

# With at most so many weights one look at many pairs takes less time than two.
_SMALL = 1 << 14

# The distance of the two points of a pair along each axis, by the number of inputs.
_DISTANCES = {1: 2e-4, 2: 3e-2, 3: 3e-2}

# Frequencies of sines in use; 30 is the usual one. Of a sound, those of the first layer.
_OMEGAS = (1.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0)
_OMEGAS_1D = (100.0, 200.0, 300.0, 600.0, 1000.0, 1500.0, 2000.0, 3000.0)
_USUAL = 30.0
_SINE_PRIOR, _FINER_PRIOR = 1.3, 1.15

# Preactivations of sines start at a standard deviation of 1 and grow in training: omega times the least scale of a
# layer's weights is at least the first of these, and omega times their mean scale is at most the second. Networks
# without hidden matrices have the scale of the output layer, which starts elsewhere.
_PREACTIVATION = (1.1, 8.0)
_PREACTIVATION_OF_OUTPUT = (1.1, 12.0)

# Scale of weights (root mean square times √inputs). Below the first, they are a SIREN's; above the second, those of a
# SIREN whose hidden omega is 1, or of He's initialization; between them, PyTorch's own 1/√3 has grown.
_LEAST_PLAIN, _LEAST_UNIT = 0.35, 1.1

_GAUSSIANS = (10.0, 20.0, 30.0)

# Guesses that are at least this share as plausible as the best one are possible, too; the second is of Gaussians.
_POSSIBLE, _POSSIBLE_GAUSSIAN = 0.85, 0.4

# The same for encodings of a ReLU network, which its weights hardly tell apart.
_POSSIBLE_ENCODING = 0.5

# The same for sines of several chains. Preactivations of their hidden layers start at √2 and grow: the power with which
# less than that is less plausible.
_POSSIBLE_SINE, _GROWTH = 0.7, 4

# The outputs of near points have at least this correlation where they are a signal.
_LEAST_CORRELATION = 0.15


def infer(layers: Sequence[Layer]) -> list[Guess]:
    """Return what the chain may compute: usually one guess, more where several fit; none if no signal."""
    guesses = _guesses(layers)
    if len(guesses) == 1:
        return guesses
    if sum(layer.weight.size for layer in layers) > _SMALL:
        rated = _rate(layers, guesses, _FEW_PAIRS)
        least = _CLOSE * max((value for value, _ in rated), default=0.0)
        guesses = [guess for value, guess in rated if value >= least]
    rated = _rate(layers, guesses, _PAIRS)
    if not rated:
        return []
    best, chosen = max(rated, key=lambda pair: pair[0])
    plain = [_same(chosen.encoding, activation) for activation in (Rectifier(), Tanh())]
    if isinstance(chosen.hidden, Rectifier) and chosen.encoding.count:
        encodings = [guess.encoding for value, guess in rated if value >= _POSSIBLE_ENCODING * best]
        return [_same(encoding, guess.hidden) for guess in plain for encoding in encodings]
    share = _POSSIBLE_GAUSSIAN if isinstance(chosen.hidden, Gaussian) else _POSSIBLE
    alike = (type(chosen.hidden), chosen.encoding)
    possible = [g for value, g in rated if value >= share * best and (type(g.hidden), g.encoding) == alike]
    possible.sort(key=lambda guess: guess is not chosen)
    # weights of Gaussians hardly leave their initial scale, so other networks that were hardly trained look alike
    return possible + (plain if isinstance(chosen.hidden, Gaussian) else [])


def infer_sines(variants: Sequence[Sequence[Layer]]) -> list[Guess]:
    """Return the sines that chains may have which differ in their biases alone: those nearly as plausible as the best.

    They are rated by their sum over the variants, of which single ones may show little.
    """
    totals: dict[Guess, float] = {}
    for layers in variants:
        least = min(layer.scale for layer in layers[1:-1] or layers[-1:])
        for value, guess in _rate(layers, _guesses(layers), _PAIRS):
            if type(guess.hidden) is Sine:
                grown = min(guess.hidden.omega * least / math.sqrt(2), 1.0)
                totals[guess] = totals.get(guess, 0.0) + value * grown**_GROWTH
    best = max(totals.values(), default=0.0)
    return [guess for guess, value in totals.items() if value >= _POSSIBLE_SINE * best]


def _rate(layers: Sequence[Layer], guesses: Sequence[Guess], pairs: int) -> list[tuple[float, Guess]]:
    """Return the guesses by which the output is a signal, with their plausibility."""
    rated: list[tuple[float, Guess]] = []
    for group in groups(guesses):
        values = _plausibility(layers, together(group), pairs)
        rated += [(value * guess.prior, guess) for value, guess in zip(values, group, strict=True)]
    return [(value, guess) for value, guess in rated if 0 < value < math.inf]


def _plausibility(layers: Sequence[Layer], guess: Guess, pairs: int) -> list[float]:
    """Return, for each guess of a group, (standard deviation) · (range) · (correlation at near points) of the output.

    It is 0 where the output is noise.
    """
    with np.errstate(all="ignore"):
        outputs = run(layers, guess, _near_points(guess.encoding.inputs, pairs)).outputs.astype(np.float64)
        outputs = outputs.reshape(-1, 2 * pairs, outputs.shape[-1])
        lengths = outputs.max((1, 2)) - outputs.min((1, 2))
        outputs -= outputs.mean(1, keepdims=True)
        variance = np.square(outputs).mean((1, 2))
        halves = outputs.reshape(len(outputs), 2, pairs, -1)
        halves -= halves.mean(2, keepdims=True)
        covariance = (halves[:, 0] * halves[:, 1]).mean((1, 2))
        found = covariance / np.sqrt(variance) * lengths
    # comparisons with NaN are false
    values: list[float] = np.where(covariance > _LEAST_CORRELATION * variance, found, 0.0).tolist()
    return values


@cache
def _near_points(inputs: int, pairs: int) -> Array:
    """Return points of the domain, and after them a point near each, ``[2 · pairs, inputs]``."""
    x = points(inputs, pairs)
    shift = np.where(np.arange(pairs) % 2, 1.0, -1.0)[:, None] * _DISTANCES[inputs]
    return np.concatenate((x, x + shift))


def _guesses(layers: Sequence[Layer]) -> list[Guess]:
    encodings = possible_encodings(layers[0].weight.shape[1])
    if any(np.iscomplexobj(layer.weight) for layer in layers):
        return _wavelets(layers, encodings)
    inner = layers[1:-1] or layers[-1:]
    scales = [max(layer.scale, 1e-30) for layer in inner]
    scale = math.exp(sum(map(math.log, scales)) / len(scales))
    usual = [encoding for encoding in encodings if encoding.is_usual()] or encodings
    found: list[Guess] = []
    for encoding in encodings:
        if scale < _LEAST_PLAIN or len(layers) == 2:
            low, high = _PREACTIVATION if len(layers) > 2 else _PREACTIVATION_OF_OUTPUT
            found += _sines(encoding, low / min(scales), high / scale)
        if scale >= _LEAST_PLAIN and encoding in usual:
            found.append(_same(encoding, Rectifier()))
        if scale >= _LEAST_PLAIN and not encoding.count:
            found += [_same(encoding, Gaussian(one)) for one in _GAUSSIANS]
        if scale >= _LEAST_UNIT:
            found.append(Guess(encoding, Sine(_USUAL), Sine(1.0)))
    return found


def _same(encoding: Encoding, activation: Activation, prior: float = 1.0) -> Guess:
    return Guess(encoding, activation, activation, prior)


def _sines(encoding: Encoding, least: float, most: float) -> list[Guess]:
    """Return sines of the frequencies in use that lie between two."""
    found = []
    for omega in _OMEGAS:
        if not least <= omega <= most:
            continue
        usual = omega == _USUAL
        found.append(_same(encoding, Sine(omega), _SINE_PRIOR if usual else 1.0))
        if usual:
            found.append(_same(encoding, FinerSine(omega), _FINER_PRIOR))
        if encoding.inputs == 1 and usual:
            found += [Guess(encoding, Sine(first), Sine(omega)) for first in _OMEGAS_1D]
    return found


def _wavelets(layers: Sequence[Layer], encodings: Sequence[Encoding]) -> list[Guess]:
    """Return WIRE with the numbers that its state dict holds; nothing where it holds none."""
    numbers = [(layer.numbers.get("omega_0"), layer.numbers.get("scale_0")) for layer in layers[:-1]]
    if any(omega is None or scale is None for omega, scale in numbers) or len(set(numbers[1:])) > 1:
        return []
    (first, hidden) = numbers[0], numbers[min(1, len(numbers) - 1)]
    return [Guess(one, Gabor(*first), Gabor(*hidden)) for one in encodings]  # type: ignore[arg-type]
