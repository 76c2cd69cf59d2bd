"""How much error each tensor may have, from the weights alone.

Equal noise has about the same effect on the output whatever a tensor's own size, so all tensors follow one absolute
error and not one relative error. Measurements on trained networks (``bench/results/rate/sensitivity.csv``) refine this.
First layers, whose inputs are coordinates, and biases are more sensitive for each parameter, and they are small.
Sensitivity falls with depth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from coinr.codec.allocate.rows import row_weights
from coinr.codec.distortion import DistortionLimit, rms
from coinr.codec.elements import FEWEST, by_element, layer_of
from coinr.codec.state_dict import Entry
from coinr.sensitivity.calibration import SensitivityInfo

# Keeps every network of the rate harness's corpus within 0.1 dB: bench/results/rate/default.csv.
TOLERANCE = 0.15

# A matrix whose rows are this many times shorter than its columns is a first layer.
FIRST_LAYER_RATIO = 4

# Tolerances above this allow no more: at 1 a tensor may vanish, and files get no smaller far below.
_LARGEST_TOLERANCE = 1e4

# The error of rows that matter, relative to a typical weight, as a share of the tolerance.
HIDDEN_LAYER = 1 / 12

# Shares of the common noise for tensors that are more sensitive, for each parameter, than hidden matrices.
VECTOR = 1 / 4
FIRST_LAYER = 1 / 6
FIRST_LAYER_VECTOR = 1 / 12

OUTPUT_LAYER = 1 / 2

# A signal of one coordinate (sound) is fitted with first-layer frequencies a hundred times those of pictures.
FIRST_LAYER_1D = 1 / 20
NETWORK_1D = 1 / 12

# Where each element keeps its relative error, that error as a share of the tolerance. It takes about 15 bits an element
# of vectors, which hold few, and is a twentieth of what the weights of the same channel may be off.
ELEMENTWISE = 1 / 256

# Magnitudes below this share of the root mean square say nothing of what a network bears.
_NEGLIGIBLE = 1 / 256

# Growth of the noise from one hidden matrix to the next, and at most, in networks that are fed raw coordinates.
DEPTH_GROWTH = 1.4
MOST_DEPTH_GROWTH = 4.0

# Matrices that hold less than this share of all parameters do not set the common noise.
_LEAST_HIDDEN_SHARE = 0.02

# Smaller matrices may have two values by chance.
_FEWEST_OF_MASK = 16

# A matrix far smaller than the rest (say, one that starts at zero) does not make the rest finer.
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
    sensitivity, requested = sensitivity or SensitivityInfo(), requested or {}
    tolerance = min(tolerance, _LARGEST_TOLERANCE)
    weights_of, elements = row_weights(entries), by_element(entries)
    limits = []
    for row, (entry, rule) in enumerate(zip(entries, rule_errors(entries, sensitivity), strict=True)):
        largest = tolerance * rms(entry.planes)
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
    if entry.planes.size >= FEWEST:
        error = max(error, relative * rms(entry.planes))
    return DistortionLimit(min(largest, error), largest, relative_error=relative)


def rule_errors(entries: list[Entry], sensitivity: SensitivityInfo) -> list[float]:
    """The error of each tensor at a tolerance of 1, in which rows weigh by their sensitivity.

    That of the first hidden matrix is a share of the typical magnitude in the smallest hidden matrix; the others
    follow from it. Where sensitivities are known, they take the place of these rules: errors are set so that every
    parameter contributes equally to the output error, and their geometric mean is the rule's.
    """
    sizes = [rms(entry.planes) for entry in entries]
    hidden = _hidden_matrices(entries, sizes)
    others = [size for entry, size in zip(entries, sizes, strict=True) if not _is_mask(entry)]
    common = HIDDEN_LAYER * _smallest_magnitude(
        [(entries[row].planes.size, _geometric_mean(entries[row])) for row in hidden], others or sizes
    )
    first_layers = {layer_of(entry): _first_layer_share(entry) for entry in entries if _first_layer_share(entry) < 1}
    if FIRST_LAYER_1D in first_layers.values():
        common *= NETWORK_1D
    errors, depth = [], -1
    growth = DEPTH_GROWTH if first_layers else 1.0
    for row, entry in enumerate(entries):
        depth += row in hidden
        errors.append(common * _noise_share(entry, first_layers) * min(growth ** max(depth, 0), MOST_DEPTH_GROWTH))
    return _equalized(entries, errors, sensitivity.means())


def _equalized(entries: list[Entry], errors: list[float], means: Mapping[str, float]) -> list[float]:
    """Make errors inverse to the root of each tensor's sensitivity, where it is known, with the same geometric mean."""
    known = {row: means[entry.name] for row, entry in enumerate(entries) if entry.name in means and errors[row] > 0}
    if not known:
        return errors
    counts = np.array([entries[row].planes.size for row in known])
    logs = np.array([math.log(errors[row]) + math.log(mean) / 2 for row, mean in known.items()])
    level = float(np.average(logs, weights=counts))
    return [math.exp(level - math.log(known[row]) / 2) if row in known else error for row, error in enumerate(errors)]


def _geometric_mean(entry: Entry) -> float:
    """Geometric mean of the magnitudes that are not zero or tiny: large weights do not make a network robust."""
    magnitudes = np.abs(entry.planes)
    floor = rms(entry.planes) * _NEGLIGIBLE
    return float(np.exp(np.log(magnitudes[magnitudes > floor]).mean()))


def _hidden_matrices(entries: list[Entry], sizes: list[float]) -> set[int]:
    """Rows of the hidden matrices that hold a fair share of the parameters; masks have no part in it."""
    weights = {row for row, entry in enumerate(entries) if not _is_mask(entry)}
    total = sum(entries[row].planes.size for row in weights)
    return {
        row
        for row, entry in enumerate(entries)
        if sizes[row]
        and len(entry.layout.shape) > 1
        and _first_layer_share(entry) == 1
        and row in weights
        and entry.planes.size >= _LEAST_HIDDEN_SHARE * total
    }


def _is_mask(entry: Entry) -> bool:
    """Whether a matrix of some size has but two values: they say nothing of what weights bear."""
    if len(entry.layout.shape) < 2 or entry.planes.size < _FEWEST_OF_MASK:
        return False
    low, high = entry.planes.min(), entry.planes.max()
    return bool(((entry.planes == low) | (entry.planes == high)).all())


def _smallest_magnitude(hidden: list[tuple[int, float]], sizes: list[float]) -> float:
    """The smallest of the hidden matrices (count, magnitude); where there are none, the largest of these sizes."""
    if not hidden:
        return max(sizes, default=0.0)
    counts, values = np.array(hidden).T
    mean = float(np.exp(np.average(np.log(values), weights=counts)))
    return max(float(values.min()), _SMALLEST_OF_MEAN * mean)


def _first_layer_share(entry: Entry) -> float:
    """The share of a first layer, a matrix much taller than wide; 1 for other tensors."""
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
