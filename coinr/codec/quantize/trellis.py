"""From a matrix to integers: step, trellis and model for errors that must not be exceeded.

Where the inputs of a layer are known, each weight compensates for the errors of those before it in its row. This is
error feedback as in Frantar et al., 2022, but every survivor of the trellis search follows its own errors.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from coinr.codec.bracket import Bracket
from coinr.codec.coders.levels import LARGEST_VALUE, SHAPES, LevelForm, decoded_scale, scale_code, step_factors
from coinr.codec.distortion import rms
from coinr.codec.quantize.problem import QuantizationProblem
from coinr.engine import native
from coinr.sensitivity.hessian import MAX_PARAMETERS_THOROUGH

# The slope of the choice of integers, as a share of the high-rate slope. At a relative error of r it is 0.9 (1 − r²),
# within these bounds: near r = 1 a smaller slope with wider steps takes fewer bytes.
_SLOPE, _LEAST_SLOPE = 0.75, 0.3

# Larger relative errors count as this one when steps are derived from them.
_COARSEST = 0.999

# States of the trellis (log2) by the largest number of elements: more states take fewer bytes and more time.
_STATES = ((24, 0), (1 << 17, 8), (1 << 19, 6), (1 << 21, 4))
_FEWEST_STATES = 3

# The same with feedback, where each state holds its errors' effect on the rest of a row, or of the tensor. 64 states
# take 0.2 % more bytes than 256.
_STATES_ALONG_ROWS = ((24, 0), (1 << 13, 8), (1 << 17, 6), (1 << 20, 4))
_STATES_ALONG_ALL = ((24, 0), (MAX_PARAMETERS_THOROUGH, 8))

# Beyond this many elements, integers are coded by rANS: decoding is ten times as fast and costs under 0.3 % in bytes.
_FAST = 1 << 18

# Mean squared error of a trellis quantizer with a step of 1 at high rate, by log2 of its states.
_NOISE = {0: 1 / 12, 2: 0.264, 3: 0.259, 4: 0.254, 5: 0.251, 6: 0.248, 7: 0.246, 8: 0.244}

# Smaller mean magnitudes, in steps, count as this one in the choice of a cost table.
_SMALLEST_MEAN = 0.05

# Most entries of a cost table, entries beyond the largest magnitude, and most passes of the search for the step.
_ENTRIES, _MARGIN = 4096, 4
_PASSES = 8

# In larger matrices, errors of at most this share of the weights converge in three or four passes; more passes do not
# help where errors jump, as with one weight among zeros.
_LARGE, _FINE, _FINE_PASSES = 1 << 15, 1 / 6, 5

# A constraint ratio from _CLOSE to 1 ends the search (0.2 % in bytes); the next step aims at _AIM.
_CLOSE, _AIM = 0.985, 0.9925

# Elements of a large tensor on which the switches of the model are tried.
_SAMPLE = 1 << 15


@dataclass(frozen=True, eq=False)
class Quantized:
    """Integers of a matrix, the exponents, form and base step they are coded with, and the errors they leave."""

    k: NDArray[np.int32]
    row: NDArray[np.uint8]
    column: NDArray[np.uint8]
    form: LevelForm
    step: float
    weighted_error: float
    error: float


def quantize_to(problem: QuantizationProblem, row: NDArray[np.uint8], column: NDArray[np.uint8]) -> Quantized | None:
    """Search for the step whose integers have errors within, and close to, the bounds; None where no step has."""
    log_states = _log_states(problem)
    start = first_step(problem, row, column, log_states)
    fine = problem.matrix.size > _LARGE and problem.limit <= _FINE * rms(problem.matrix)
    steps = Bracket[Quantized](partial(_next_step, problem), start, tries=_FINE_PASSES if fine else _PASSES)
    for step in steps if start is not None else ():
        found = quantize(problem, row, column, step, log_states)
        if found is None:
            break
        ratio = problem.constraint_ratio(found.weighted_error, found.error)
        steps.add(step, ratio, not ratio > 1, found)
        if _CLOSE <= ratio <= 1:
            break
    return None if steps.good is None else steps.good.made


def _log_states(problem: QuantizationProblem) -> int:
    table: tuple[tuple[int, int], ...] = _STATES
    if problem.feedback is not None:
        along_all = len(problem.feedback) != problem.matrix.shape[1]
        table = _STATES_ALONG_ALL if along_all else _STATES_ALONG_ROWS
    return next((states for most, states in table if problem.matrix.size <= most), _FEWEST_STATES)


def first_step(
    problem: QuantizationProblem, row: NDArray[np.uint8], column: NDArray[np.uint8], log_states: int
) -> float | None:
    """Return the base step at which the weighted error, at high rate, is ``problem.error``."""
    step = problem.error / math.sqrt(_NOISE[log_states] * problem.distortion_factor(row, column))
    return problem.storable_step(step, row, column)


def _next_step(problem: QuantizationProblem, steps: Bracket[Quantized]) -> float | None:
    """Return a step between the widest within the bounds and the finest beyond; None where there is none.

    Where only one of them is known, the step follows from the ratio of errors.
    """
    good, bad, found = steps.good, steps.bad, steps.points[-1].made
    if good is not None and bad is not None:
        target = (steps.inside(steps.between(_AIM), 0.0) + math.sqrt(good.at * bad.at)) / 2
    elif found.weighted_error == 0:
        target = found.step * 2
    else:
        weighted, size = problem.weighted_rms(problem.matrix), rms(problem.matrix)
        target = found.step * min(
            _step_for(_AIM * problem.error / weighted) / _step_for(found.weighted_error / weighted),
            _step_for(_AIM * problem.limit / size) / _step_for(found.error / size),
        )
    step = problem.storable_step(target, found.row, found.column)
    low, high = steps.ends()
    return step if step is not None and low < step < high else None


def _step_for(relative: float) -> float:
    """Return √(−log(1 − r²)), to which the step of a relative error r is about proportional."""
    return math.sqrt(-math.log1p(-(min(relative, _COARSEST) ** 2)))


def quantize(
    problem: QuantizationProblem, row: NDArray[np.uint8], column: NDArray[np.uint8], step: float, log_states: int
) -> Quantized | None:
    """Choose integers that minimize weighted squared error + slope · bits; None where they would not fit."""
    factors = step_factors(row, column).astype(np.float64)
    steps = np.broadcast_to(step * factors, problem.matrix.shape)
    x = problem.matrix / steps
    peak = float(np.abs(x).max(initial=0.0))
    if peak > LARGEST_VALUE / 2 - 4:
        return None
    shape = nearest_shape(x)
    # with feedback, targets may move to larger magnitudes than those of their table
    bits, table = _level_costs(x, factors, shape, log_states, None if problem.feedback is None else peak)
    slope = 1 / (2 * math.log(2) * _NOISE[log_states] * _slope_share(problem))
    if problem.feedback is None:
        flat = np.ascontiguousarray(x.reshape(-1))
        k = native.choose_levels(log_states, flat, np.array([slope]), bits, table.reshape(-1)).reshape(x.shape)
    else:
        weight = problem.weights() * np.square(factors) * (slope / problem.distortion_factor(row, column))
        # all elements form one row where an error in one affects all others
        like = (-1, len(problem.feedback))
        matrix, wide, weight = (np.ascontiguousarray(one).reshape(like) for one in (problem.matrix, steps, weight))
        k = native.choose_levels_with_feedback(
            log_states, matrix, wide, weight, problem.feedback, bits, table.reshape(like)
        )
        k = k.reshape(x.shape)
    values = native.level_values(k, log_states)
    difference = values.astype(np.float32) * steps.astype(np.float32) - problem.matrix
    mean = float(np.abs(values * factors).mean())
    form = LevelForm(
        log_states,
        shape,
        scale_code(mean),
        mixed=x.size <= _FAST,
        row_steps=row.size > 0,
        column_steps=column.size > 0,
        rans=x.size > _FAST,
    )
    return Quantized(k, row, column, form, step, problem.weighted_rms(difference), rms(difference))


def _slope_share(problem: QuantizationProblem) -> float:
    """Return the slope of the choice of integers, as a share of the high-rate slope."""
    size = problem.weighted_rms(problem.matrix)
    relative = min(problem.error / size, 1.0) if size else 1.0
    return _SLOPE * min(1.0, max(1.2 * (1 - relative**2), _LEAST_SLOPE / _SLOPE))


def nearest_shape(matrix: NDArray[np.float64]) -> int:
    """Return the code of the generalized normal distribution whose ratio of mean magnitude to deviation is nearest."""
    deviation = rms(matrix)
    ratio = float(np.abs(matrix / deviation).mean()) if deviation else 1.0
    return int(np.abs(_ratios() - ratio).argmin())


@cache
def _ratios() -> NDArray[np.float64]:
    return np.array([math.gamma(2 / b) / math.sqrt(math.gamma(1 / b) * math.gamma(3 / b)) for b in SHAPES])


def _level_costs(
    x: NDArray[np.float64], factors: NDArray[np.float64], shape: int, log_states: int, peak: float | None
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Return bits of the integers by mean magnitude, ``[tables, 2, entries]``, and the table of each element, uint8.

    The expected magnitude of an element is the product of its row's and its column's mean, over the mean of all. Each
    table is filled up to the largest magnitude of its elements, or up to ``peak``; zeros follow.
    """
    magnitude = np.abs(x) * factors
    rows, columns = magnitude.mean(1, keepdims=True), magnitude.mean(0, keepdims=True)
    expected = rows * columns / (magnitude.mean() or 1.0) / factors
    codes = scale_code(np.maximum(expected, _SMALLEST_MEAN))
    used, which = np.unique(codes, return_inverse=True)
    which = which.reshape(x.shape)
    peaks = np.full(len(used), 0.0 if peak is None else peak)
    np.maximum.at(peaks, which, np.abs(x))
    if peak is None and log_states:
        # the two quantizers of a trellis each have every other value
        peaks /= 2
    entries = np.minimum(peaks + _MARGIN, _ENTRIES).astype(int)
    bits = np.zeros((len(used), 2, int(entries.max())))
    for row, code, own in zip(bits, used, entries, strict=True):
        row[:, :own] = native.level_costs(log_states, shape, decoded_scale(int(code)), int(own)).reshape(2, -1)
    return bits, which.astype(np.uint8)


def smallest_form(quantized: Quantized) -> tuple[bytes, LevelForm]:
    """Return the smallest encoding of the integers over the switches of the model, and its form."""
    form, k, row, column = quantized.form, quantized.k, quantized.row, quantized.column
    rows = max(1, min(len(k), _SAMPLE // max(1, k.shape[1])))

    def size(one: LevelForm) -> int:
        # an unusual form takes about a byte more in the tensor table
        odd = one.by_row + one.by_column + (one.shape != form.shape) + (one.mixed != form.mixed)
        return len(one.encode(k[:rows], row[:rows], column)) + odd

    switches = itertools.product((False, True), repeat=2) if min(k.shape) > 1 else ((False, False),)
    best = min((replace(form, by_row=by_row, by_column=by_column) for by_row, by_column in switches), key=size)
    shapes = {max(0, best.shape - 1), best.shape, min(len(SHAPES) - 1, best.shape + 1)}
    best = min((replace(best, shape=shape) for shape in sorted(shapes)), key=size)
    if best.mixed:
        best = min((best, replace(best, mixed=False)), key=size)
    return best.encode(k, row, column), best
