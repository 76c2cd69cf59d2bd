"""Errors of tensors that keep the network's output at a distance from the original's, predicted from the weights.

The distance is a root mean square over the network's domain, as a share of the output's range, in dB. Where the tensors
tell the structure (:mod:`coinr.sensitivity.gains`), every parameter contributes equally to it: for gains g_t of
tensors with n_t of n parameters, errors are e_t = level · √(n_t / n) / g_t. That takes fewest bits, as each bit a
parameter halves its error. Elsewhere the errors follow :func:`~coinr.codec.allocate.default_errors.rule_errors`, at a
tolerance that is careful rather than cheap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.codec.allocate.default_errors import equalized, is_mask, rule_errors
from coinr.codec.options import OUTPUT_ERROR_DB
from coinr.codec.state_dict import Entry
from coinr.codec.tensors import widen
from coinr.inputs.state_dicts import check_same_network
from coinr.sensitivity.calibration import SensitivityInfo, TensorSensitivity
from coinr.sensitivity.gains import Gains, predict_error, predict_gains
from coinr.sensitivity.probe import Guess

# Largest relative error of a tensor: predictions hold for small errors.
_LARGEST_RELATIVE_ERROR = 0.15

# Rows that differ by less than this in bits a weight are not worth steps of their own: the search for them takes longer
# than all the rest.
_LEAST_GAIN = 0.1

# Bits that the step exponent of a row takes.
_EXPONENT_BITS = 2.0

# Tolerance at the default level where the structure is not known, without growth by depth: careful rather than cheap.
# The columns "unknown" of bench/results/rate/output_error.csv have what it leads to.
UNKNOWN_TOLERANCE = 0.1

# Tolerance of tensors beside the layers, such as the frequency of an activation: they are few, and matter much.
BESIDE_TOLERANCE = 0.01


@dataclass(frozen=True, eq=False)
class ErrorPlan:
    """Errors for a level, as :func:`~coinr.codec.allocate.default_errors.distortion_limits` takes them.

    Attributes
    ----------
    tolerance
        Bound on the relative error of each tensor; None for that of the profile.
    errors
        Root mean squared errors by name, in place of the rule by kinds of layers.
    sensitivity
        Weights of rows.
    basis
        What the prediction rests on, in words.
    """

    tolerance: float | None
    basis: str
    errors: Mapping[str, float] = field(default_factory=dict)
    sensitivity: SensitivityInfo = field(default_factory=SensitivityInfo)


#: What a prediction rests on where the structure is not recognized.
UNKNOWN_BASIS = "structure not recognized: errors by kinds of layers"


def predict_output_error(original: Sequence[Entry], decode: Callable[[], Sequence[Entry]]) -> dict[str, Any]:
    """Return ``db``, the output error that decoded entries have by the weights alone, and ``basis``, in words.

    The first is None where the structure is not recognized, and -200 where no output changes. Large tensors are not
    decoded: they are no layers of a network that can be recognized.
    """
    found = None
    if not any(entry.is_large for entry in original):
        decoded = decode()
        given, held = ({entry.name: entry.layout.shape for entry in entries} for entries in (original, decoded))
        check_same_network(given, held, "the file")
        arrays = _arrays(original)
        found = predict_error(arrays, {entry.name: _array(entry) for entry in decoded if entry.name in arrays})
    db, basis = found or (None, UNKNOWN_BASIS)
    return {"db": db, "basis": basis}


def _arrays(entries: Sequence[Entry]) -> dict[str, NDArray[Any]]:
    """Return the values of entries that may be layers, by name."""
    return {entry.name: _array(entry) for entry in entries if entry.allows_loss and not is_mask(entry)}


def find_gains(stored: Sequence[Entry], known: Guess | None = None) -> Gains | None:
    """Return the gains of a network, given its entries; None where the structure is not recognized.

    What the layers compute is inferred unless it is ``known``.
    """
    return None if any(entry.is_large for entry in stored) else predict_gains(_arrays(stored), known)


def plan_errors(
    lossy: Sequence[Entry], gains: Gains | None, sensitivity: SensitivityInfo, output_error_db: float
) -> ErrorPlan:
    """Return errors of the ``lossy`` entries that keep the output at a level, given the :func:`find_gains` result.

    Where sensitivities are measured, they say how errors are shared, and the prediction says how large they are.
    """
    scale = 10 ** ((output_error_db - OUTPUT_ERROR_DB) / 20)
    entries = list(lossy)
    errors = [0.0] * len(entries)
    if gains is None or any(entry.name not in gains.tensors for entry in entries):
        tolerance = (UNKNOWN_TOLERANCE if gains is None else BESIDE_TOLERANCE) * scale
        errors = [tolerance * error for error in rule_errors(entries, SensitivityInfo(), depth_growth=1.0)]
    if gains is None:
        shared = equalized(entries, errors, sensitivity.means())
        return ErrorPlan(UNKNOWN_TOLERANCE * scale, UNKNOWN_BASIS, _named(entries, shared), sensitivity)
    count = sum(entry.count for entry in entries if entry.name in gains.tensors)
    level = 10 ** (output_error_db / 20)
    rows = {}
    for position, entry in enumerate(entries):
        gain = gains.tensors.get(entry.name)
        if gain is None:
            continue
        largest = _LARGEST_RELATIVE_ERROR * entry.rms
        error = level * math.sqrt(entry.count / count) / gain.output if gain.output > 0 else largest
        errors[position] = min(error, largest)
        if len(entry.layout.shape) > 1 and _saves(gain.rows, entry.count):
            rows[entry.name] = TensorSensitivity(None, np.tile(gain.rows, entry.layout.planes), None)
    shared = equalized(entries, errors, sensitivity.means())
    weights = sensitivity or SensitivityInfo(rows, rows_alike=True)
    return ErrorPlan(_LARGEST_RELATIVE_ERROR, gains.network, _named(entries, shared), weights)


def _saves(rows: NDArray[np.float64], count: int) -> bool:
    """Return whether steps of rows that weigh so save enough bits for each of ``count`` weights, and in all."""
    gain = -np.log2(rows).sum() / rows.size / 2
    return bool(gain > _LEAST_GAIN and count * gain > _EXPONENT_BITS * rows.size)


def _named(entries: Sequence[Entry], errors: Sequence[float]) -> dict[str, float]:
    return {entry.name: error for entry, error in zip(entries, errors, strict=True)}


def _array(entry: Entry) -> NDArray[Any]:
    """Return the values of an entry in its shape; without a copy where NumPy has the dtype."""
    return entry.array if entry.dtype.is_native else widen(entry.array, entry.dtype)
