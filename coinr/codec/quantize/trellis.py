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

# Share of the high-rate slope that the choice of integers is charged; where errors come near the weights themselves, a
# smaller one with wider steps takes fewer bytes: 0.9 (1 - r^2) at a relative error of r, within these bounds.
_SLOPE, _LEAST_SLOPE = 0.75, 0.3

# The largest relative error that steps are derived from.
_COARSEST = 0.999

# States of the trellis (log2) by number of elements: more states code better, in proportional time.
_STATES = ((24, 0), (1 << 17, 8), (1 << 19, 6), (1 << 21, 4))
_FEWEST_STATES = 3

# The same with feedback, where a state carries what its errors ask of the rest of a row, or of a whole tensor; 64
# states cost 0.2 % in bytes.
_STATES_ALONG_ROWS = ((24, 0), (1 << 13, 8), (1 << 17, 6), (1 << 20, 4))
_STATES_ALONG_ALL = ((24, 0), (MAX_PARAMETERS_THOROUGH, 8))

# Beyond this many elements, integers are coded by rANS: decoding is ten times as fast and costs under 0.3 % in bytes.
_FAST = 1 << 18

# Squared error of a trellis quantizer with a step of 1 at high rate, by log2 of its states.
_NOISE = {0: 1 / 12, 2: 0.264, 3: 0.259, 4: 0.254, 5: 0.251, 6: 0.248, 7: 0.246, 8: 0.244}

# Elements whose mean magnitude is below this many steps are coded alike.
_SMALLEST_MEAN = 0.05

# Entries of the cost tables at most, entries beyond the largest magnitude, and passes that settle the step.
_ENTRIES, _MARGIN = 4096, 4
_PASSES = 8

# In matrices of more elements, errors of at most this share of the weights settle in three or four; where they jump,
# as of one weight among zeros, more bring nothing.
_LARGE, _FINE, _FINE_PASSES = 1 << 15, 1 / 6, 5

# A code that leaves this share of its error is close enough: 0.2 % in bytes.
_CLOSE, _AIM = 0.985, 0.9925

# Elements on which the switches of a large tensor's model are tried.
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
    """Integers whose errors are allowed and close to it; None where no step gives that."""
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
    """The base step whose errors at high rate are those allowed."""
    step = problem.error / math.sqrt(_NOISE[log_states] * problem.distortion_factor(row, column))
    return problem.storable_step(step, row, column)


def _next_step(problem: QuantizationProblem, steps: Bracket[Quantized]) -> float | None:
    """Return a step between the widest that is good and the finest that is not; None where there is none.

    Where only one of them is known, it follows from how far the error is off.
    """
    good, bad, found = steps.good, steps.bad, steps.points[-1].made
    if good is not None and bad is not None:
        wanted = (steps.inside(steps.between(_AIM), 0.0) + math.sqrt(good.at * bad.at)) / 2
    elif found.weighted_error == 0:
        wanted = found.step * 2
    else:
        weighted, size = problem.weighted_rms(problem.matrix), rms(problem.matrix)
        wanted = found.step * min(
            _step_for(_AIM * problem.error / weighted) / _step_for(found.weighted_error / weighted),
            _step_for(_AIM * problem.limit / size) / _step_for(found.error / size),
        )
    step = problem.storable_step(wanted, found.row, found.column)
    low, high = steps.ends()
    return step if step is not None and low < step < high else None


def _step_for(relative: float) -> float:
    """A step with this relative error, over the weights' size: in proportion to it while it is small, then wider."""
    return math.sqrt(-math.log1p(-(min(relative, _COARSEST) ** 2)))


def quantize(
    problem: QuantizationProblem, row: NDArray[np.uint8], column: NDArray[np.uint8], step: float, log_states: int
) -> Quantized | None:
    """Integers by least weighted error plus bits; None where they would not fit."""
    factors = step_factors(row, column).astype(np.float64)
    steps = np.broadcast_to(step * factors, problem.matrix.shape)
    x = problem.matrix / steps
    peak = float(np.abs(x).max(initial=0.0))
    if peak > LARGEST_VALUE / 2 - 4:
        return None
    shape = nearest_shape(x)
    # feedback moves targets to the tables of others
    bits, table = _costs(x, factors, shape, log_states, None if problem.feedback is None else peak)
    slope = 1 / (2 * math.log(2) * _NOISE[log_states] * _share(problem))
    if problem.feedback is None:
        flat = np.ascontiguousarray(x.reshape(-1))
        k = native.choose_levels(log_states, flat, np.array([slope]), bits, table.reshape(-1)).reshape(x.shape)
    else:
        weight = problem.weights() * np.square(factors) * (slope / problem.distortion_factor(row, column))
        # one row of all elements, where errors in any move all others
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


def _share(problem: QuantizationProblem) -> float:
    """What the choice of integers is charged, as a share of the high-rate slope."""
    size = problem.weighted_rms(problem.matrix)
    relative = min(problem.error / size, 1.0) if size else 1.0
    return _SLOPE * min(1.0, max(1.2 * (1 - relative**2), _LEAST_SLOPE / _SLOPE))


def nearest_shape(matrix: NDArray[np.float64]) -> int:
    """Code of the generalized normal distribution whose ratio of mean magnitude to deviation is nearest."""
    deviation = rms(matrix)
    ratio = float(np.abs(matrix / deviation).mean()) if deviation else 1.0
    return int(np.abs(_ratios() - ratio).argmin())


@cache
def _ratios() -> NDArray[np.float64]:
    return np.array([math.gamma(2 / b) / math.sqrt(math.gamma(1 / b) * math.gamma(3 / b)) for b in SHAPES])


def _costs(
    x: NDArray[np.float64], factors: NDArray[np.float64], shape: int, log_states: int, peak: float | None
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Bits of the integers by mean magnitude ``[tables, 2, entries]``, and the table of each element.

    An element's magnitude is expected to follow from its row's and column's. Each table is filled as far as its own
    elements reach, or as ``peak`` does; zeros follow.
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
        # quantizers that take turns each have every other value
        peaks /= 2
    entries = np.minimum(peaks + _MARGIN, _ENTRIES).astype(int)
    bits = np.zeros((len(used), 2, int(entries.max())))
    for row, code, own in zip(bits, used, entries, strict=True):
        row[:, :own] = native.level_costs(log_states, shape, decoded_scale(int(code)), int(own)).reshape(2, -1)
    return bits, which.astype(np.uint8)


def smallest_form(quantized: Quantized) -> tuple[bytes, LevelForm]:
    """The smallest coding of the integers over the model's switches, and its form."""
    form, k, row, column = quantized.form, quantized.k, quantized.row, quantized.column
    rows = max(1, min(len(k), _SAMPLE // max(1, k.shape[1])))

    def size(one: LevelForm) -> int:
        # a form unlike those of other tensors takes about a byte of the file's table
        odd = one.by_row + one.by_column + (one.shape != form.shape) + (one.mixed != form.mixed)
        return len(one.encode(k[:rows], row[:rows], column)) + odd

    switches = itertools.product((False, True), repeat=2) if min(k.shape) > 1 else ((False, False),)
    best = min((replace(form, by_row=by_row, by_column=by_column) for by_row, by_column in switches), key=size)
    shapes = {max(0, best.shape - 1), best.shape, min(len(SHAPES) - 1, best.shape + 1)}
    best = min((replace(best, shape=shape) for shape in sorted(shapes)), key=size)
    if best.mixed:
        best = min((best, replace(best, mixed=False)), key=size)
    return best.encode(k, row, column), best
