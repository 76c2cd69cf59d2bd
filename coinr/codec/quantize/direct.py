"""The direct coder's encoder: candidates for one tensor, each within its limit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from coinr.codec.candidates import Candidate, each_tensor, likely_smallest, make_candidate, smallest
from coinr.codec.coders import DIRECT, DirectParams
from coinr.codec.coders.direct import matrix_shape
from coinr.codec.coders.levels import NO_STEPS, worth_decoding
from coinr.codec.distortion import Distortion, DistortionLimit, rms
from coinr.codec.effort import EFFORTS, Effort
from coinr.codec.options import DEFAULT_EFFORT, EncodeOptions
from coinr.codec.quantize import large
from coinr.codec.quantize.forms import smallest_form
from coinr.codec.quantize.problem import QuantizationProblem
from coinr.codec.quantize.trellis import quantize_to
from coinr.codec.state_dict import Entry

# Rows that differ in weight get steps of their own in matrices of at least this many rows.
_FEWEST_ROWS = 8

# Own steps of rows and columns are tried beside equal steps where the benefit ratio is between these bounds, or where
# the relative error is above _COARSE, so that the ratio is no good estimate.
_DOUBTFUL = 0.5, 3.0
_COARSE = 0.25

# The input covariance is used for matrices of at most this many elements: the search holds 40 bytes for each.
FEEDBACK_MOST = 1 << 23

# The root mean squared error at first, as a share of the largest error that is allowed.
_SPARE = 0.5

# Dtypes that hold every decoded float32 value, so that the quantizer's errors are those of the decoded tensor.
_NOT_ROUNDED = frozenset({"float32", "float64", "complex64", "complex128"})

# Rounding to the tensor's dtype may exceed the limit: the factor on the error of the next try, and the most tries.
_FINER, _RETRIES = 0.9, 4


def encode_direct(entries: list[Entry], limits: list[DistortionLimit], settings: EncodeOptions) -> list[Candidate]:
    """Encode every tensor by the direct coder, within its limit."""
    choose = smallest if EFFORTS[settings.effort].all_coders else likely_smallest
    return each_tensor(
        lambda entry, limit: choose(entry, all_candidates(entry, limit, settings), limit), entries, limits, settings
    )


def all_candidates(entry: Entry, limit: DistortionLimit, settings: EncodeOptions) -> list[Candidate]:
    """Return the candidates of the effort, and at the best one those of the default, which are at times smaller."""
    found = candidates(entry, limit, settings)
    if settings.effort == "best" and not entry.is_large:
        found += candidates(entry, limit, replace(settings, effort=DEFAULT_EFFORT))
    return found


def candidates(entry: Entry, limit: DistortionLimit, settings: EncodeOptions) -> list[Candidate]:
    """Return the tensor in about the fewest bytes within the limit: with equal steps, steps by row and column, or both.

    Nothing where no step of a normal float32 does, or the error is out of reach of 2**20 steps.
    """
    if large.is_coded_in_blocks(entry, limit):
        return large.candidates(entry, limit, EFFORTS[settings.effort])
    found = []
    effort = EFFORTS[settings.effort]
    for problem, plain in _problems(entry.planes.reshape(matrix_shape(entry.layout)), limit, effort):
        for _ in range(_RETRIES):
            candidate = _solve(entry, limit, problem, plain, effort)
            if candidate is None:
                break
            if candidate.satisfies(limit):
                found.append(candidate)
                break
            # the dtype rounds further
            problem = replace(problem, error=problem.error * _FINER, limit=problem.limit * _FINER)
    return found


def _problems(
    matrix: NDArray[np.float64], limit: DistortionLimit, effort: Effort
) -> list[tuple[QuantizationProblem, bool]]:
    """Return the problems to solve, each with whether all steps are equal."""
    if limit.relative_error is not None:
        # one step for all elements: the smallest of them sets the error
        least = float(np.abs(matrix[matrix != 0]).min(initial=np.inf))
        error = min(limit.weighted_error, _SPARE * limit.relative_error * least)
        return [(QuantizationProblem(matrix, error, error), True)]
    problem = QuantizationProblem(matrix, limit.weighted_error, limit.error)
    if limit.hessian is not None:
        problem = replace(problem, weight=limit.hessian.pivots.reshape(matrix.shape), feedback=limit.hessian.upper)
    elif limit.input_covariance is not None and matrix.shape[1] > 1 and matrix.size <= FEEDBACK_MOST:
        problem = problem.with_input_covariance(limit.input_covariance, limit.distortion_weights)
    elif limit.distortion_weights is not None:
        problem = replace(problem, weight=np.repeat(limit.distortion_weights[:, None], matrix.shape[1], 1))
    if problem.weight is None or (problem.feedback is None and len(matrix) < _FEWEST_ROWS):
        return [(problem, True)]
    benefit = problem.benefit_ratio(*problem.exponents())
    if effort.all_steps and (limit.weighted_error > _COARSE * rms(matrix) or _DOUBTFUL[0] < benefit < _DOUBTFUL[1]):
        return [(problem, True), (problem, False)]
    return [(problem, benefit <= 1)]


def _solve(
    entry: Entry, limit: DistortionLimit, problem: QuantizationProblem, plain: bool, effort: Effort
) -> Candidate | None:
    """Return the candidate of a problem, which need not satisfy the limit; None where readers would accept none."""
    row, column = (NO_STEPS, NO_STEPS) if plain else problem.exponents()
    found = quantize_to(problem, row, column, effort)
    if found is None:
        return None
    payload, form = smallest_form(found, effort)
    if not worth_decoding(found.k.size, len(payload)):
        return None
    params = DirectParams(form, found.step)
    if not effort.decodes and entry.dtype.name in _NOT_ROUNDED and _weighs_as(problem, limit):
        return Candidate(DIRECT.id, params, payload, Distortion(found.error, found.weighted_error))
    return make_candidate(entry, DIRECT, params, payload, limit)


def _weighs_as(problem: QuantizationProblem, limit: DistortionLimit) -> bool:
    """Return whether the errors of a problem are those of the limit."""
    others = (limit.input_covariance, limit.hessian, limit.relative_error, problem.feedback)
    return all(one is None for one in others)
