"""The direct coder's encoder: the ways to code one tensor, each at the errors it is allowed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from coinr.codec.candidates import Allowance, Coded, Settings, admitted, each_tensor, known_options, rms, smallest
from coinr.codec.coders import DIRECT, DirectParams
from coinr.codec.coders.direct import matrix_shape
from coinr.codec.coders.levels import NO_STEPS, worth_decoding
from coinr.codec.quantize.problem import QuantizationProblem
from coinr.codec.quantize.trellis import quantize_to, smallest_form
from coinr.codec.state_dict import Entry

# Rows that differ in weight get steps of their own where there are at least this many.
_FEWEST_ROWS = 8

# Steps of their own for rows and columns are tried beside equal ones where what they save, in multiples of what they
# cost, is between these, or errors are so large that no such estimate holds.
_DOUBTFUL = 0.5, 3.0
_COARSE = 0.25

# The input covariance is used for matrices of at most so many elements: the search holds 40 bytes for each.
FEEDBACK_MOST = 1 << 23

# The root mean squared error as a share of the largest.
_SPARE = 0.5

# How much finer a code is made whose errors, in the tensor's own dtype, are not allowed; and how often.
_FINER, _RETRIES = 0.9, 4


def encode_direct(entries: list[Entry], allowed: list[Allowance], settings: Settings) -> list[Coded]:
    """Every tensor by the direct coder, at its allowed error."""
    known_options(settings.options)
    return each_tensor(
        lambda entry, limit: smallest(entry, encode_to(entry, limit), limit, settings.seed), entries, allowed
    )


def encode_to(entry: Entry, allowance: Allowance) -> list[Coded]:
    """The tensor in about the fewest bytes that keep its errors allowed, in up to three ways.

    Empty where no step of a normal float32 does, or the error is out of reach of 2**20 steps.
    """
    matrix = entry.planes.reshape(matrix_shape(entry.layout))
    coded = []
    for problem, plain in _problems(matrix, allowance):
        for _ in range(_RETRIES):
            found = _solve(problem, plain)
            if found is not None and not worth_decoding(matrix.size, len(found.payload)):
                found = None
            # the dtype may round further
            if found is None or admitted(found, entry, allowance, 0):
                break
            problem = replace(problem, error=problem.error * _FINER, limit=problem.limit * _FINER)
        if found is not None:
            coded.append(found)
    return coded


def _problems(matrix: NDArray[np.float64], allowance: Allowance) -> list[tuple[QuantizationProblem, bool]]:
    """Ways to code: the problem, and whether all steps are equal."""
    if allowance.relative is not None:
        # one step for all: its errors must suit the smallest element
        least = float(np.abs(matrix[matrix != 0]).min(initial=np.inf))
        error = min(allowance.error, _SPARE * allowance.relative * least)
        return [(QuantizationProblem(matrix, error, error), True)]
    problem = QuantizationProblem(matrix, allowance.error, allowance.limit)
    if allowance.hessian is not None:
        weight, feedback = allowance.hessian.pivots.reshape(matrix.shape), allowance.hessian.upper
        problem = replace(problem, weight=weight, feedback=feedback)
    elif allowance.input_covariance is not None and matrix.shape[1] > 1 and matrix.size <= FEEDBACK_MOST:
        problem = problem.with_input_covariance(allowance.input_covariance, allowance.distortion_weights)
    elif allowance.distortion_weights is not None:
        problem = replace(problem, weight=np.repeat(allowance.distortion_weights[:, None], matrix.shape[1], 1))
    if problem.weight is None or (problem.feedback is None and len(matrix) < _FEWEST_ROWS):
        return [(problem, True)]
    benefit = problem.benefit_ratio(*problem.exponents())
    if allowance.error > _COARSE * rms(matrix) or _DOUBTFUL[0] < benefit < _DOUBTFUL[1]:
        return [(problem, True), (problem, False)]
    return [(problem, benefit <= _DOUBTFUL[0])]


def _solve(problem: QuantizationProblem, plain: bool) -> Coded | None:
    row, column = (NO_STEPS, NO_STEPS) if plain else problem.exponents()
    found = quantize_to(problem, row, column)
    if found is None:
        return None
    payload, form = smallest_form(found)
    return Coded(DIRECT.id, DirectParams(form, found.step), payload)
