"""From a matrix to integers: step, trellis and model for errors that must not be exceeded.

Where the inputs of a layer are known, each weight compensates for the errors of those before it in its row. This is
error feedback as in Frantar et al., 2022, but every survivor of the trellis search follows its own errors.
"""

from __future__ import annotations

import math
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from coinr.codec.bracket import Bracket
from coinr.codec.coders.levels import LARGEST_VALUE, SHAPES, LevelForm, scale_code, step_exponents, step_factors
from coinr.codec.distortion import rms
from coinr.codec.effort import Effort
from coinr.codec.quantize.costs import common_costs, element_costs
from coinr.codec.quantize.forms import Quantized
from coinr.codec.quantize.problem import QuantizationProblem
from coinr.engine import native
from coinr.sensitivity.hessian import MAX_PARAMETERS_THOROUGH

# The slope of the choice of integers, as a share of the high-rate slope. At a relative error of r it is 0.9 (1 − r²),
# within these bounds: near r = 1 a smaller slope with wider steps takes fewer bytes.
_SLOPE, _LEAST_SLOPE = 0.75, 0.3

# Larger relative errors count as this one when steps are derived from them.
_COARSEST = 0.999

# States of the trellis (log2) by the largest number of elements, where an error in one element affects all others.
_STATES_ALONG_ALL = ((24, 0), (MAX_PARAMETERS_THOROUGH, 8))

# Mean squared error of a trellis quantizer with a step of 1 at high rate, by log2 of its states.
_NOISE = {0: 1 / 12, 2: 0.264, 3: 0.259, 4: 0.254, 5: 0.251, 6: 0.248, 7: 0.246, 8: 0.244}

# Most passes of the search for the step.
_PASSES = 8

# In larger matrices, errors of at most this share of the weights converge in three or four passes; more passes do not
# help where errors jump, as with one weight among zeros.
_LARGE, _FINE, _FINE_PASSES = 1 << 15, 1 / 6, 5

# No table of each element: all have the first.
_ONE_TABLE = np.zeros(0, np.uint8)

# The largest share of the error that the first step leaves free.
_MOST_SPARE = 0.15


def quantize_to(
    problem: QuantizationProblem, row: NDArray[np.uint8], column: NDArray[np.uint8], effort: Effort
) -> Quantized | None:
    """Search for the step whose integers have errors within, and close to, the bounds; None where no step has."""
    log_states = _log_states(problem, effort)
    size = problem.matrix.size
    # the relative deviation of the sum of squared errors is about √(1 / size), half of that in the error
    spread = effort.spare / (2 * math.sqrt(size))
    start = first_step(problem, row, column, log_states, 1 - min(spread, _MOST_SPARE))
    fine = size > _LARGE and problem.limit <= _FINE * problem.size
    close = effort.close - 2 * min(spread, _MOST_SPARE)
    steps = Bracket[Quantized](
        partial(_next_step, problem, (1 + close) / 2), start, tries=_FINE_PASSES if fine else _PASSES
    )
    for step in steps if start is not None else ():
        found = quantize(problem, row, column, step, log_states, effort)
        if found is None:
            break
        ratio = problem.constraint_ratio(found.weighted_error, found.error)
        steps.add(step, ratio, not ratio > 1, found)
        if close <= ratio <= 1 or (steps.good is not None and len(steps.points) >= effort.passes):
            break
    return None if steps.good is None else steps.good.made


def _log_states(problem: QuantizationProblem, effort: Effort) -> int:
    table: tuple[tuple[int, int], ...] = effort.states
    if problem.feedback is not None:
        along_all = len(problem.feedback) != problem.matrix.shape[1]
        table = _STATES_ALONG_ALL if along_all else effort.states_along_rows
    return next((states for most, states in table if problem.matrix.size <= most), effort.fewest_states)


def first_step(
    problem: QuantizationProblem, row: NDArray[np.uint8], column: NDArray[np.uint8], log_states: int, share: float = 1.0
) -> float | None:
    """Return the base step at which the weighted error, at high rate, is a share of ``problem.error``."""
    step = share * problem.error / math.sqrt(_NOISE[log_states] * problem.distortion_factor(row, column))
    return problem.storable_step(step, row, column)


def _next_step(problem: QuantizationProblem, aim: float, steps: Bracket[Quantized]) -> float | None:
    """Return a step between the widest within the bounds and the finest beyond; None where there is none.

    It aims at a constraint ratio of ``aim``. Where only one of the two is known, the ratio of errors tells the step.
    """
    good, bad, found = steps.good, steps.bad, steps.points[-1].made
    if good is not None and bad is not None:
        target = (steps.inside(steps.between(aim), 0.0) + math.sqrt(good.at * bad.at)) / 2
    elif found.weighted_error == 0:
        target = found.step * 2
    else:
        weighted, size = problem.weighted_size, problem.size
        target = found.step * min(
            _step_for(aim * problem.error / weighted) / _step_for(found.weighted_error / weighted),
            _step_for(aim * problem.limit / size) / _step_for(found.error / size),
        )
    step = problem.storable_step(target, found.row, found.column)
    low, high = steps.ends()
    return step if step is not None and low < step < high else None


def _step_for(relative: float) -> float:
    """Return √(−log(1 − r²)), to which the step of a relative error r is about proportional."""
    return math.sqrt(-math.log1p(-(min(relative, _COARSEST) ** 2)))


def quantize(
    problem: QuantizationProblem,
    row: NDArray[np.uint8],
    column: NDArray[np.uint8],
    step: float,
    log_states: int,
    effort: Effort,
) -> Quantized | None:
    """Choose integers that minimize weighted squared error + slope · bits; None where they would not fit."""
    factors = step_factors(row, column).astype(np.float64)
    steps = step * factors
    x = problem.matrix / steps
    peak, mean, shape = _statistics(problem, x, factors, step)
    if peak > LARGEST_VALUE / 2 - 4:
        return None
    # with feedback, targets may move to larger magnitudes than those of their table
    if effort.element_costs:
        bits, table = element_costs(x, factors, shape, log_states, None if problem.feedback is None else peak)
    else:
        states = log_states if problem.feedback is None else 0
        bits, table = common_costs(mean, step_exponents(row, column), factors, shape, states, peak)
    slope = high_rate_slope(problem, log_states)
    if problem.feedback is None:
        flat = np.ascontiguousarray(x.reshape(-1))
        which = np.ascontiguousarray(np.broadcast_to(table, x.shape)).reshape(-1) if len(bits) > 1 else _ONE_TABLE
        k = native.choose_levels(log_states, flat, np.array([slope]), bits, which).reshape(x.shape)
    else:
        weight = problem.weights() * np.square(factors) * (slope / problem.distortion_factor(row, column))
        # all elements form one row where an error in one affects all others
        like = (-1, len(problem.feedback))
        wide = np.broadcast_to(steps, x.shape)
        matrix, wide, weight = (np.ascontiguousarray(one).reshape(like) for one in (problem.matrix, wide, weight))
        which = np.ascontiguousarray(np.broadcast_to(table, x.shape)).reshape(like)
        k = native.choose_levels_with_feedback(log_states, matrix, wide, weight, problem.feedback, bits, which)
        k = k.reshape(x.shape)
    values = native.level_values(k, log_states)
    difference = values.astype(np.float32) * steps.astype(np.float32) - problem.matrix
    sizes = np.abs(values) if factors.size == 1 else np.abs(values * factors)
    mean = float(sizes.sum(dtype=np.float64)) / sizes.size
    form = LevelForm(
        log_states,
        shape,
        scale_code(mean),
        mixed=x.size <= effort.mixed_most,
        row_steps=row.size > 0,
        column_steps=column.size > 0,
        rans=x.size > max(effort.mixed_most, effort.adaptive_most),
    )
    error = rms(difference)
    weighted = problem.weighted_rms(difference) if problem.weighs_errors() else error
    return Quantized(k, row, column, form, step, weighted, error)


def _statistics(
    problem: QuantizationProblem, x: NDArray[np.float64], factors: NDArray[np.float64], step: float
) -> tuple[float, float, int]:
    """Return the largest magnitude in steps, the mean magnitude in base steps, and the code of the prior's shape.

    With equal steps these follow from those of the matrix.
    """
    if factors.size == 1:
        peak, mean = problem.magnitudes
        return peak / step, mean / step, _shape(mean / problem.size if problem.size else 1.0)
    magnitude = np.abs(x)
    return float(magnitude.max(initial=0.0)), float((magnitude * factors).mean()), nearest_shape(x)


def high_rate_slope(problem: QuantizationProblem, log_states: int) -> float:
    """Return the bits that a squared error of one step counts for in the choice of integers."""
    return 1 / (2 * math.log(2) * _NOISE[log_states] * _slope_share(problem))


def _slope_share(problem: QuantizationProblem) -> float:
    """Return the slope of the choice of integers, as a share of the high-rate slope."""
    size = problem.weighted_size
    relative = min(problem.error / size, 1.0) if size else 1.0
    return _SLOPE * min(1.0, max(1.2 * (1 - relative**2), _LEAST_SLOPE / _SLOPE))


def nearest_shape(matrix: NDArray[np.float64]) -> int:
    """Return the code of the generalized normal distribution whose ratio of mean magnitude to deviation is nearest."""
    deviation = rms(matrix)
    return _shape(float(np.abs(matrix / deviation).mean()) if deviation else 1.0)


def _shape(ratio: float) -> int:
    return int(np.abs(_ratios() - ratio).argmin())


@cache
def _ratios() -> NDArray[np.float64]:
    return np.array([math.gamma(2 / b) / math.sqrt(math.gamma(1 / b) * math.gamma(3 / b)) for b in SHAPES])
