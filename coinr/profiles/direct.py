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
from coinr.coders.levels import LARGEST_VALUE, SHAPES, LevelForm, decoded_scale, scale_code
from coinr.profiles.base import Coded, Settings, known_options, rms, smallest
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

# Entries of the cost tables, and passes that settle the step.
_ENTRIES = 4096
_PASSES = 5

# Elements on which the switches of a large tensor's model are tried.
_SAMPLE = 1 << 15


@dataclass(frozen=True)
class Quantised:
    """Integers of a matrix on a step, and the root mean squared error they leave."""

    k: NDArray[np.int32]
    form: LevelForm
    step: float
    error: float


def encode_direct(sources: list[Source], allowed: list[float], settings: Settings) -> list[Coded]:
    """Every tensor by the direct coder, at its allowed error."""
    known_options(settings.options)
    coded = []
    for source, limit in zip(sources, allowed, strict=True):
        found = encode_to(source, limit)
        coded.append(smallest(source, [found] if found else [], limit, settings.seed))
    return coded


def encode_to(source: Source, allowed: float) -> Coded | None:
    """The tensor in about the fewest bytes that keep its root mean squared error at or below ``allowed``.

    None where no step of a normal float32 does, or the error is out of reach of 2**20 steps.
    """
    matrix = source.planes.reshape(matrix_shape(source.layout))
    found = quantise_to(matrix, allowed, source.layout)
    if found is None:
        return None
    payload, form = smallest_form(found.k, found.form)
    return Coded(DIRECT.id, DirectParams(form, found.step), payload)


def quantise_to(matrix: NDArray[np.float64], allowed: float, layout: Layout) -> Quantised | None:
    """Integers whose error, as a tensor of this layout, is at most ``allowed`` and close to it."""
    log_states = next((states for size, states in _STATES if matrix.size <= size), _FEWEST_STATES)
    shape = nearest_shape(matrix)
    step = short_step_or_none(allowed / math.sqrt(_NOISE[log_states]))
    best: Quantised | None = None
    tried: set[float] = set()
    for _ in range(_PASSES):
        if step is None or step in tried:
            break
        tried.add(step)
        found = quantise(matrix, step, log_states, shape, layout)
        if found is None:
            break
        if found.error <= allowed and (best is None or found.step > best.step):
            best = found
        step = _next_step(found, allowed, best)
    return best


def short_step_or_none(step: float) -> float | None:
    """A step that two bytes hold, or None outside the range that decoders accept."""
    rounded = short_step(min(step, FLOAT32_MAX))
    return rounded if FLOAT32_TINY <= rounded < FLOAT32_MAX / (2 * LARGEST_VALUE) else None


def _next_step(found: Quantised, allowed: float, best: Quantised | None) -> float | None:
    """Scaled by how far the error is off; a little less where that is too far already."""
    if found.error == 0:
        return short_step_or_none(found.step * 2)
    scaled = short_step_or_none(found.step * allowed / found.error)
    if scaled is not None and best is not None and scaled <= best.step:
        return None
    return scaled


def nearest_shape(matrix: NDArray[np.float64]) -> int:
    """Code of the generalised normal distribution whose ratio of mean magnitude to deviation is nearest."""
    deviation = math.sqrt(float(np.square(matrix).mean()))
    ratio = float(np.abs(matrix).mean()) / deviation if deviation else 1.0
    return int(np.abs(_ratios() - ratio).argmin())


@cache
def _ratios() -> NDArray[np.float64]:
    return np.array([math.gamma(2 / b) / math.sqrt(math.gamma(1 / b) * math.gamma(3 / b)) for b in SHAPES])


def quantise(matrix: NDArray[np.float64], step: float, log_states: int, shape: int, layout: Layout) -> Quantised | None:
    """Integers by least error plus bits; None where they would not fit."""
    x = matrix / step
    peak = float(np.abs(x).max(initial=0.0))
    if peak > LARGEST_VALUE / 2 - 4:
        return None
    form = LevelForm(log_states, shape, scale_code(float(np.abs(x).mean())), False, False, matrix.size <= _FAST)
    bits = _C.level_costs(log_states, shape, decoded_scale(form.scale), min(int(peak) + 4, _ENTRIES))
    weight = 1 / (2 * math.log(2) * _NOISE[log_states] * _SLOPE)
    flat = np.ascontiguousarray(x.reshape(-1))
    k = _C.choose_levels(log_states, flat, np.array([weight]), bits[None], np.zeros(0, np.uint8)).reshape(x.shape)
    values = _C.level_values(np.ascontiguousarray(k), log_states)
    decoded = dequantise(values, step, layout)
    error = rms(to_planes(decoded).reshape(matrix.shape) - matrix)
    mean = float(np.abs(values).mean())
    return Quantised(k, replace(form, scale=scale_code(mean)), step, error)


def smallest_form(k: NDArray[np.int32], form: LevelForm) -> tuple[bytes, LevelForm]:
    """The smallest coding of the integers over the model's switches, and its form."""
    rows = max(1, min(len(k), _SAMPLE // max(1, k.shape[1])))
    part = k[:rows]
    switches = itertools.product((False, True), repeat=2) if min(k.shape) > 1 else ((False, False),)
    forms = [replace(form, by_row=row, by_column=column) for row, column in switches]
    best = min(forms, key=lambda one: len(one.encode(part)))
    shapes = {max(0, best.shape - 1), best.shape, min(len(SHAPES) - 1, best.shape + 1)}
    best = min((replace(best, shape=shape) for shape in sorted(shapes)), key=lambda one: len(one.encode(part)))
    if best.mixed:
        best = min((best, replace(best, mixed=False)), key=lambda one: len(one.encode(part)))
    return best.encode(k), best
