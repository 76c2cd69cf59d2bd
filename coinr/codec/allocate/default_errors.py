"""Allocation of the error budget among tensors, from the weights alone.

Equal noise has about the same effect on the output, whatever the size of a tensor's values. So one absolute error holds
for all tensors, times a factor for the kind of layer. The factors follow sensitivities measured on trained networks
(``bench/results/rate/sensitivity.csv``): first layers, whose inputs are coordinates, and biases are more sensitive per
parameter, and they are small; sensitivity falls with depth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from coinr.codec.allocate.row_weights import row_weights
from coinr.codec.distortion import DistortionLimit
from coinr.codec.elements import FEWEST, by_element, layer_of
from coinr.codec.state_dict import Entry

if TYPE_CHECKING:
    from coinr.sensitivity.calibration import SensitivityInfo

# The tolerance of errors that are given without one.
TOLERANCE = 0.15

# A matrix with more than this many times as many rows as columns is a first layer; transposed, an output layer.
FIRST_LAYER_RATIO = 4

# Larger tolerances count as this one. At 1 a tensor may become zero; files stop shrinking far below it.
_LARGEST_TOLERANCE = 1e4

# Error of the first hidden matrix, relative to the geometric mean of its magnitudes, as a share of the tolerance.
HIDDEN_LAYER = 1 / 12

# Errors relative to that of hidden matrices, from bench/results/rate/sensitivity.csv: vectors, first layers, vectors of
# first layers, output layers.
VECTOR = 1 / 4
FIRST_LAYER = 1 / 6
FIRST_LAYER_VECTOR = 1 / 12
OUTPUT_LAYER = 1 / 2

# The same for the first layer of a one-dimensional signal (sound), whose frequencies are a hundred times those of
# pictures; and a factor on all errors of such a network.
FIRST_LAYER_1D = 1 / 20
NETWORK_1D = 1 / 12

# Largest relative error of tensors that are bounded element by element, as a share of the tolerance. An element takes
# about 15 bits; its relative error is a twentieth of that of the weights of its channel.
ELEMENTWISE = 1 / 256

# Factor on the error from one hidden matrix to the next, and its largest product, in networks with a first layer as
# above (bench/results/rate/sensitivity.csv).
DEPTH_GROWTH = 1.4
MOST_DEPTH_GROWTH = 4.0

# Matrices with less than this share of all parameters do not set the common error.
_LEAST_HIDDEN_SHARE = 0.02

# A matrix with fewer elements may have two values by chance, so it is never a mask.
_FEWEST_OF_MASK = 16

# Least common magnitude, relative to the mean over hidden matrices: one matrix of tiny values does not set it.
_SMALLEST_OF_MEAN = 1 / 4


def distortion_limits(
    entries: list[Entry],
    tolerance: float,
    sensitivity: SensitivityInfo | None = None,
    requested: Mapping[str, float] | None = None,
) -> list[DistortionLimit]:
    """Return how far each tensor may be off: as :func:`rule_errors` says, and no relative error above ``tolerance``.

    Errors that are ``requested``, by name, take the place of the rule's. Rows weigh by their sensitivity.
    Where elements keep their relative errors (:mod:`coinr.codec.elements`), these are a share of the tolerance and
    follow the error that is requested; that of the whole tensor then counts for small vectors only.
    """
    from coinr.sensitivity.calibration import SensitivityInfo

    sensitivity, requested = SensitivityInfo() if sensitivity is None else sensitivity, requested or {}
    tolerance = min(tolerance, _LARGEST_TOLERANCE)
    weights_of, elements = {} if sensitivity.rows_alike else row_weights(entries), by_element(entries)
    by_rule = elements or any(entry.name not in requested for entry in entries)
    rules = rule_errors(entries, sensitivity) if by_rule else [0.0] * len(entries)
    limits = []
    for row, (entry, rule) in enumerate(zip(entries, rules, strict=True)):
        largest = tolerance * entry.rms
        own = sensitivity.tensors.get(entry.name)
        error = requested.get(entry.name, tolerance * rule)
        if row in elements:
            limits.append(_by_element(entry, largest, error, rule, tolerance))
            continue
        weights = weights_of.get(row) if own is None or own.distortion_weights is None else own.distortion_weights
        covariance = None if own is None else own.input_covariance
        limits.append(DistortionLimit(min(largest, error), largest, weights, covariance))
    return limits


def _by_element(entry: Entry, largest: float, error: float, rule: float, tolerance: float) -> DistortionLimit:
    """Return the limit where elements keep relative errors; ``rule`` is the tensor's error at a tolerance of 1."""
    relative = min(ELEMENTWISE * (error / rule if rule else tolerance), tolerance)
    if entry.count >= FEWEST:
        error = max(error, relative * entry.rms)
    return DistortionLimit(min(largest, error), largest, relative_error=relative)


def rule_errors(entries: list[Entry], sensitivity: SensitivityInfo, depth_growth: float = DEPTH_GROWTH) -> list[float]:
    """Return the error of each tensor at a tolerance of 1, in which rows weigh by their sensitivity.

    The error of the first hidden matrix is ``HIDDEN_LAYER`` times the least geometric mean of magnitudes among hidden
    matrices; the others follow by the factors above. Where sensitivities are known, they replace these rules:
    every parameter contributes equally to the output error, and the geometric mean of errors is the rule's.
    """
    sizes = [entry.rms for entry in entries]
    hidden = _hidden_matrices(entries, sizes)
    others = [size for entry, size in zip(entries, sizes, strict=True) if not is_mask(entry)]
    common = HIDDEN_LAYER * _smallest_magnitude(
        [(entries[row].count, entries[row].geometric_mean) for row in hidden], others or sizes
    )
    first_layers = {layer_of(entry): _first_layer_share(entry) for entry in entries if _first_layer_share(entry) < 1}
    if FIRST_LAYER_1D in first_layers.values():
        common *= NETWORK_1D
    errors, depth = [], -1
    growth = depth_growth if first_layers else 1.0
    for row, entry in enumerate(entries):
        depth += row in hidden
        errors.append(common * _noise_share(entry, first_layers) * min(growth ** max(depth, 0), MOST_DEPTH_GROWTH))
    return equalized(entries, errors, sensitivity.means())


def equalized(entries: list[Entry], errors: list[float], means: Mapping[str, float]) -> list[float]:
    """Make errors inverse to the root of each tensor's sensitivity, where it is known, with the same geometric mean."""
    known = {row: means[entry.name] for row, entry in enumerate(entries) if entry.name in means and errors[row] > 0}
    if not known:
        return errors
    counts = np.array([entries[row].count for row in known])
    logs = np.array([math.log(errors[row]) + math.log(mean) / 2 for row, mean in known.items()])
    level = float(np.average(logs, weights=counts))
    return [math.exp(level - math.log(known[row]) / 2) if row in known else error for row, error in enumerate(errors)]


def _hidden_matrices(entries: list[Entry], sizes: list[float]) -> set[int]:
    """Return the positions of hidden matrices that hold a fair share of the parameters; masks are left out."""
    weights = {row for row, entry in enumerate(entries) if not is_mask(entry)}
    total = sum(entries[row].count for row in weights)
    return {
        row
        for row, entry in enumerate(entries)
        if sizes[row]
        and len(entry.layout.shape) > 1
        and _first_layer_share(entry) == 1
        and row in weights
        and entry.count >= _LEAST_HIDDEN_SHARE * total
    }


def is_mask(entry: Entry) -> bool:
    """Return whether a matrix has only two values, as a mask has."""
    return len(entry.layout.shape) > 1 and entry.count >= _FEWEST_OF_MASK and entry.has_two_values()


def _smallest_magnitude(hidden: list[tuple[int, float]], sizes: list[float]) -> float:
    """Return the least magnitude of hidden matrices (count, magnitude); without any, the largest of the sizes."""
    if not hidden:
        return max(sizes, default=0.0)
    counts, values = np.array(hidden).T
    mean = float(np.exp(np.average(np.log(values), weights=counts)))
    return max(float(values.min()), _SMALLEST_OF_MEAN * mean)


def _first_layer_share(entry: Entry) -> float:
    """Return the factor of a first layer, a matrix much taller than wide; 1 for other tensors."""
    shape = entry.layout.shape
    if len(shape) < 2:
        return 1.0
    columns = entry.layout.size // shape[0]
    if columns * FIRST_LAYER_RATIO >= shape[0]:
        return 1.0
    return FIRST_LAYER_1D if columns == 1 else FIRST_LAYER


def _noise_share(entry: Entry, first_layers: dict[str, float]) -> float:
    shape = entry.layout.shape
    if len(shape) > 1:
        is_output = shape[0] * FIRST_LAYER_RATIO < entry.layout.size // shape[0]
        return OUTPUT_LAYER if is_output else _first_layer_share(entry)
    layer = layer_of(entry)
    return first_layers[layer] / FIRST_LAYER * FIRST_LAYER_VECTOR if layer in first_layers else VECTOR
