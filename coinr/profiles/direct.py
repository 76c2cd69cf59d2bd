"""The direct coder's encoder: step, trellis and model of one tensor for an error it must not exceed."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from coinr import _C
from coinr.coders import DIRECT, DirectParams
from coinr.coders.base import FLOAT32_MAX, FLOAT32_TINY, short_step
from coinr.coders.direct import dequantise, matrix_shape
from coinr.coders.levels import (
    LARGEST_VALUE,
    MOST_EXPONENT,
    NO_STEPS,
    SHAPES,
    LevelForm,
    decoded_scale,
    scale_code,
    step_factors,
)
from coinr.profiles.base import Allowance, Coded, Settings, known_options, rms, smallest, weighted_rms
from coinr.source import Source
from coinr.tensors import Layout, to_planes

# Share of the rate-distortion slope that the choice of integers is charged; bench/rate/README.md has the measurement.
_SLOPE = 0.75

# States of the trellis (log2) by number of elements: more states code better, in proportional time.
_STATES = ((24, 0), (1 << 17, 8), (1 << 19, 6), (1 << 21, 4))
_FEWEST_STATES = 3

# From this many elements on, contexts are not mixed: decoding is three times as fast and costs under 0.2 % in bytes.
_FAST = 1 << 18

# Squared error of a trellis quantiser with a step of 1 at high rate, by log2 of its states.
_NOISE = {0: 1 / 12, 2: 0.27, 3: 0.262, 4: 0.258, 5: 0.254, 6: 0.251, 7: 0.249, 8: 0.247}

# Rows that differ in harm get steps of their own where there are at least this many.
_FEWEST_ROWS = 8

# Rows whose mean magnitude is below this many steps are coded alike.
_SMALLEST_MEAN = 0.05

# Entries of the cost tables, and passes that settle the step.
_ENTRIES = 4096
_PASSES = 5

# Elements on which the switches of a large tensor's model are tried.
_SAMPLE = 1 << 15


@dataclass(frozen=True)
class Quantised:
    """Integers of a matrix, the form and base step that they are coded with, and the errors they leave.

    Attributes
    ----------
    harm
        Root of the mean squared error weighted by the harm of rows.
    error
        Root mean squared error.
    """

    k: NDArray[np.int32]
    row: NDArray[np.uint8]
    form: LevelForm
    step: float
    harm: float
    error: float


def encode_direct(sources: list[Source], allowed: list[Allowance], settings: Settings) -> list[Coded]:
    """Every tensor by the direct coder, at its allowed error."""
    known_options(settings.options)
    coded = []
    for source, allowance in zip(sources, allowed, strict=True):
        coded.append(smallest(source, encode_to(source, allowance), allowance, settings.seed))
    return coded


def encode_to(source: Source, allowance: Allowance) -> list[Coded]:
    """The tensor in about the fewest bytes that keep its errors allowed, in up to two ways.

    Empty where no step of a normal float32 does, or the error is out of reach of 2**20 steps.
    """
    matrix = source.planes.reshape(matrix_shape(source.layout))
    found = [quantise_to(matrix, row, allowance, source.layout) for row in row_choices(matrix, allowance)]
    coded = []
    for quantised in found:
        if quantised is not None:
            payload, form = smallest_form(quantised)
            coded.append(Coded(DIRECT.id, DirectParams(form, quantised.step), payload))
    return coded


def row_choices(matrix: NDArray[np.float64], allowance: Allowance) -> list[NDArray[np.uint8]]:
    """Step exponents of rows to try: none, and where rows differ in harm those that level it."""
    if allowance.harm is None or len(matrix) < _FEWEST_ROWS:
        return [NO_STEPS]
    wanted = -np.log2(allowance.harm)  # half octaves of a step are octaves of a squared error
    exponent = np.clip(np.rint(wanted - wanted.min()), 0, MOST_EXPONENT).astype(np.uint8)
    most = _affordable(matrix, exponent, allowance)
    return [NO_STEPS, np.minimum(exponent, most)] if most else [NO_STEPS]


def _affordable(matrix: NDArray[np.float64], exponent: NDArray[np.uint8], allowance: Allowance) -> int:
    """The largest exponent with which the rows' errors stay, in sum, below the tensor's limit."""
    assert allowance.harm is not None
    power = np.square(matrix).mean(1)
    for most in range(int(exponent.max()), 0, -1):
        noise = 2.0 ** np.minimum(exponent, most)
        base = allowance.error**2 / float((allowance.harm * noise).mean())
        if float(np.minimum(noise * base, power).mean()) <= (0.98 * allowance.limit) ** 2:
            return most
    return 0


def quantise_to(
    matrix: NDArray[np.float64], row: NDArray[np.uint8], allowance: Allowance, layout: Layout
) -> Quantised | None:
    """Integers whose errors, as a tensor of this layout, are allowed and close to it."""
    log_states = next((states for size, states in _STATES if matrix.size <= size), _FEWEST_STATES)
    step = first_step(row, allowance, log_states)
    best: Quantised | None = None
    tried: set[float] = set()
    for _ in range(_PASSES):
        if step is None or step in tried:
            break
        tried.add(step)
        found = quantise(matrix, row, step, log_states, allowance.harm, layout)
        if found is None:
            break
        if allowance.admits(found.error, found.harm) and (best is None or found.step > best.step):
            best = found
        step = _next_step(found, allowance, best)
    return best


def first_step(row: NDArray[np.uint8], allowance: Allowance, log_states: int) -> float | None:
    """The base step whose errors at high rate are those allowed."""
    factors = step_factors(row, NO_STEPS)[:, 0]
    levelled = 1.0 if allowance.harm is None else float((np.square(factors) * allowance.harm).mean())
    return short_step_or_none(allowance.error / math.sqrt(_NOISE[log_states] * levelled))


def short_step_or_none(step: float) -> float | None:
    """A step that two bytes hold, or None outside the range that decoders accept."""
    rounded = short_step(min(step, FLOAT32_MAX))
    return rounded if FLOAT32_TINY <= rounded < FLOAT32_MAX / (2 * LARGEST_VALUE) / (1 << MOST_EXPONENT) else None


def _next_step(found: Quantised, allowance: Allowance, best: Quantised | None) -> float | None:
    """Scaled by how far the error is off; None where that is no wider than what is good already."""
    if found.harm == 0:
        return short_step_or_none(found.step * 2)
    off = min(allowance.error / found.harm, allowance.limit / found.error)
    scaled = short_step_or_none(found.step * off)
    return None if scaled is None or (best is not None and scaled <= best.step) else scaled


def nearest_shape(matrix: NDArray[np.float64]) -> int:
    """Code of the generalised normal distribution whose ratio of mean magnitude to deviation is nearest."""
    deviation = rms(matrix)
    ratio = float(np.abs(matrix / deviation).mean()) if deviation else 1.0
    return int(np.abs(_ratios() - ratio).argmin())


@cache
def _ratios() -> NDArray[np.float64]:
    return np.array([math.gamma(2 / b) / math.sqrt(math.gamma(1 / b) * math.gamma(3 / b)) for b in SHAPES])


def quantise(
    matrix: NDArray[np.float64],
    row: NDArray[np.uint8],
    step: float,
    log_states: int,
    harm: NDArray[np.float64] | None,
    layout: Layout,
) -> Quantised | None:
    """Integers by least error plus bits; None where they would not fit."""
    factors = step_factors(row, NO_STEPS)
    x = matrix / (np.float64(step) * factors)
    peak = float(np.abs(x).max(initial=0.0))
    if peak > LARGEST_VALUE / 2 - 4:
        return None
    shape = nearest_shape(x)
    bits, table = _costs(x, shape, log_states, int(peak) + 4)
    weight = 1 / (2 * math.log(2) * _NOISE[log_states] * _SLOPE)
    k = _C.choose_levels(log_states, np.ascontiguousarray(x.reshape(-1)), np.array([weight]), bits, table)
    k = k.reshape(x.shape)
    values = _C.level_values(k, log_states)
    decoded = to_planes(dequantise(values, np.float32(step) * factors, layout)).reshape(matrix.shape)
    difference = decoded - matrix
    mean = float(np.abs(values * factors).mean())
    form = LevelForm(log_states, shape, scale_code(mean), mixed=matrix.size <= _FAST, row_steps=row.size > 0)
    return Quantised(k, row, form, step, weighted_rms(difference, harm), rms(difference))


def _costs(
    x: NDArray[np.float64], shape: int, log_states: int, peak: int
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Bits of the integers by mean magnitude ``[tables, 2, entries]``, and the table of each element ``[size]``."""
    means = np.abs(x).mean(1)
    codes = np.array([scale_code(max(float(mean), _SMALLEST_MEAN)) for mean in means])
    used, which = np.unique(codes, return_inverse=True)
    entries = min(peak, _ENTRIES)
    bits = np.stack([_C.level_costs(log_states, shape, decoded_scale(int(code)), entries) for code in used])
    return bits, np.repeat(which.astype(np.uint8), x.shape[1])


def smallest_form(quantised: Quantised) -> tuple[bytes, LevelForm]:
    """The smallest coding of the integers over the model's switches, and its form."""
    form, k, row = quantised.form, quantised.k, quantised.row
    rows = max(1, min(len(k), _SAMPLE // max(1, k.shape[1])))

    def size(one: LevelForm) -> int:
        return len(one.encode(k[:rows], row[:rows]))

    switches = itertools.product((False, True), repeat=2) if min(k.shape) > 1 else ((False, False),)
    best = min((replace(form, by_row=by_row, by_column=by_column) for by_row, by_column in switches), key=size)
    shapes = {max(0, best.shape - 1), best.shape, min(len(SHAPES) - 1, best.shape + 1)}
    best = min((replace(best, shape=shape) for shape in sorted(shapes)), key=size)
    if best.mixed:
        best = min((best, replace(best, mixed=False)), key=size)
    return best.encode(k, row), best
