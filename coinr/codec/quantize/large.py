"""The direct coder's encoder for large tensors: block by block, in little memory beside the levels and coded bytes.

The step is found on a sample of runs of rows. The trellis of each block ends in its first state, so blocks do not
depend on each other, which costs a few bits for each. The decoded error is measured on all values.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from coinr.codec.candidates import Candidate
from coinr.codec.coders import DIRECT, DirectParams
from coinr.codec.coders.blocks import Block, TensorMatrix
from coinr.codec.coders.direct import read_blocks
from coinr.codec.coders.levels import (
    LARGEST_VALUE,
    NO_STEPS,
    LevelForm,
    decoded_scale,
    scale_code,
    scale_codes,
    step_factors,
    worth_decoding,
)
from coinr.codec.distortion import Distortion, DistortionLimit
from coinr.codec.effort import BEST, Effort
from coinr.codec.quantize.problem import QuantizationProblem
from coinr.codec.quantize.trellis import high_rate_slope, quantize_to
from coinr.codec.state_dict import Entry
from coinr.codec.tensors import BLOCK
from coinr.codec.wire import Reader
from coinr.engine import native
from coinr.engine.threads import parallel_map
from coinr.progress import steps

# Values of the sample that sets the step, and its longest run.
_SAMPLE, _RUN = 1 << 17, 1 << 12

# The error of the sample, as a share of what is allowed: its deviation from the error of all values is a fifth of that.
_SHARE = 0.995

# Where all values miss the limit by a little, the step becomes finer by that, and by this factor. Most tries.
_FINER, _TRIES = 0.998, 6

# Rows have steps of their own where these save at least so many bits as they take, in matrices of so many rows.
_LEAST_BENEFIT, _FEWEST_ROWS = 1.0, 8

# A row of at least this many values in a block has a cost table of its own.
_LEAST_OF_TABLE = 64

# Most entries of a cost table, and entries beyond the largest magnitude.
_ENTRIES, _MARGIN = 4096, 4

# Levels on which switches of the model are tried. Each column has a sum, so only as many columns are tried.
_LEVELS, _MOST_COLUMNS = 1 << 16, 1 << 12


def is_coded_in_blocks(entry: Entry, limit: DistortionLimit) -> bool:
    """Return whether a tensor is coded block by block: no errors of its elements weigh on each other."""
    return entry.is_large and limit.hessian is None and limit.input_covariance is None and limit.relative_error is None


def candidates(entry: Entry, limit: DistortionLimit, effort: Effort) -> list[Candidate]:
    """Return the tensor by the direct coder within its limit; nothing where readers would accept no step.

    Parameters
    ----------
    entry, limit
        For which :func:`is_coded_in_blocks` holds.
    effort
        Only the states of its trellis count.
    """
    states = next((log for most, log in effort.states if entry.count <= most), effort.fewest_states)
    matrix = TensorMatrix(entry.array, entry.dtype)
    row = _row_steps(matrix, limit)
    problem, sampled = _sample_problem(matrix, limit, row)
    found = quantize_to(problem, sampled, NO_STEPS, replace(BEST, states=(), fewest_states=states))
    step = None if found is None else found.step
    for _ in range(_TRIES):
        if found is None or step is None or entry.peak / step > LARGEST_VALUE / 2 - _MARGIN:
            return []
        search = _Search(matrix, row, step, states, found.form.shape, high_rate_slope(problem, states))
        candidate = _code(entry, search, limit)
        if candidate is None or candidate.satisfies(limit):
            return [] if candidate is None else [candidate]
        distortion = candidate.distortion
        ratio = max(
            min(distortion.error, distortion.weighted_error) / limit.weighted_error, distortion.error / limit.error
        )
        step = problem.storable_step(step * _FINER / max(ratio, 1.0), row, NO_STEPS)
        del candidate
    return []


def _code(entry: Entry, search: _Search, limit: DistortionLimit) -> Candidate | None:
    """Return the candidate of a step, which need not satisfy the limit; None where readers would not accept it."""
    matrix, row = search.matrix, search.row
    k, mean = search.levels(entry)
    form = LevelForm(search.log_states, search.shape, scale_code(mean), mixed=False, row_steps=row.size > 0, rans=True)
    form = _smallest_form(k, row, form)
    coded = form.encode_in_blocks(k, row)
    del k
    payload = coded.finish()
    del coded
    if not worth_decoding(entry.count, len(payload)):
        return None
    params = DirectParams(form, search.step)
    return Candidate(DIRECT.id, params, payload, _distortion(entry, matrix, params, payload, limit))


def _row_steps(matrix: TensorMatrix, limit: DistortionLimit) -> NDArray[np.uint8]:
    """Return step exponents of the rows, or none where they save fewer bits than they take."""
    weights = limit.distortion_weights
    if weights is None or matrix.rows < _FEWEST_ROWS:
        return NO_STEPS
    power = np.zeros(matrix.rows)
    for block in matrix.blocks():
        power[block.rows] += np.square(matrix.read(block)).sum(1)
    rows = np.sqrt(power / matrix.columns)[:, None]
    problem = QuantizationProblem(rows, limit.weighted_error, limit.error, weight=weights[:, None])
    row, _ = problem.exponents()
    benefit = matrix.columns * problem.benefit_ratio(row, NO_STEPS)
    return row if row.size and benefit > _LEAST_BENEFIT else NO_STEPS


def _sample_problem(
    matrix: TensorMatrix, limit: DistortionLimit, row: NDArray[np.uint8]
) -> tuple[QuantizationProblem, NDArray[np.uint8]]:
    """Return the problem of a sample, and the step exponents of its rows."""
    rows, values = matrix.sample(_SAMPLE, _RUN)
    problem = QuantizationProblem(values, _SHARE * limit.weighted_error, _SHARE * limit.error)
    if limit.distortion_weights is not None:
        weight = np.repeat(limit.distortion_weights[rows, None], values.shape[1], 1)
        problem = replace(problem, weight=weight)
    return problem, row[rows] if row.size else NO_STEPS


@dataclass(frozen=True, eq=False)
class _Search:
    """The choice of integers at one step: block by block, in parallel.

    Attributes
    ----------
    row
        Step exponents of rows, or none.
    shape
        Code of the prior's shape.
    slope
        Bits for each squared error of one step.
    """

    matrix: TensorMatrix
    row: NDArray[np.uint8]
    step: float
    log_states: int
    shape: int
    slope: float

    def levels(self, entry: Entry) -> tuple[NDArray[np.int16] | NDArray[np.int32], float]:
        """Return the integers ``[rows, columns]`` and the mean magnitude of their values, in base steps."""
        narrow = entry.peak / self.step < np.iinfo(np.int16).max - _MARGIN
        k = np.empty((self.matrix.rows, self.matrix.columns), np.int16 if narrow else np.int32)
        blocks = list(self.matrix.blocks())
        sums = steps(parallel_map(partial(self._choose, k), blocks), f"blocks of {entry.name}", len(blocks))
        return k, sum(sums) / k.size

    def _choose(self, k: NDArray[np.int16] | NDArray[np.int32], block: Block) -> float:
        """Set the integers of a block; return the sum of their values' magnitudes, in base steps."""
        factors = step_factors(self.row[block.rows], NO_STEPS).astype(np.float64)
        x = self.matrix.read(block) / (self.step * factors)
        bits, table = _level_costs(x, self.log_states, self.shape)
        slope = np.array([self.slope])
        chosen = native.choose_levels(self.log_states, x.reshape(-1), slope, bits, table, closed=True)
        k[block.rows, block.columns] = chosen = chosen.reshape(x.shape)
        return float((np.abs(native.level_values(chosen, self.log_states)) * factors).sum())


def _level_costs(x: NDArray[np.float64], log_states: int, shape: int) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Return bits of the integers, ``[tables, 2, entries]``, and the table of each element; none for the first table.

    Long rows have tables by their mean magnitudes. A block of short rows has one.
    """
    magnitude = np.abs(x)
    entries = 1 << math.ceil(math.log2(min(float(magnitude.max()) / 2 + _MARGIN, _ENTRIES)))
    if len(x) == 1 or x.shape[1] < _LEAST_OF_TABLE:
        return _cost_table(log_states, shape, scale_code(float(magnitude.mean())), entries)[None], np.zeros(0, np.uint8)
    used, which = np.unique(scale_codes(magnitude.mean(1)), return_inverse=True)
    bits = np.stack([_cost_table(log_states, shape, int(code), entries) for code in used])
    return bits, np.repeat(which.astype(np.uint8), x.shape[1])


@lru_cache(maxsize=256)
def _cost_table(log_states: int, shape: int, code: int, entries: int) -> NDArray[np.float64]:
    return native.level_costs(log_states, shape, decoded_scale(code), entries)


def _smallest_form(k: NDArray[np.int16] | NDArray[np.int32], row: NDArray[np.uint8], form: LevelForm) -> LevelForm:
    """Return the form with the switches that make the rows in the middle smallest."""
    if min(k.shape) == 1 or k.shape[1] > _LEVELS:
        return form
    count = min(len(k), max(1, _LEVELS // k.shape[1]))
    some = slice((len(k) - count) // 2, (len(k) - count) // 2 + count)
    part = k[some].copy()
    by_column = (False, True) if k.shape[1] <= _MOST_COLUMNS else (False,)
    forms = [replace(form, by_row=one, by_column=other) for one, other in itertools.product((False, True), by_column)]
    return min(forms, key=lambda one: len(one.encode_in_blocks(part, row[some]).finish()))


def _distortion(
    entry: Entry, matrix: TensorMatrix, params: DirectParams, payload: bytes, limit: DistortionLimit
) -> Distortion:
    """Measure the distortion by decoding, with the parameters as a reader gets them."""
    read = DIRECT.read(Reader(params.write()))
    reader = read.form.reader(memoryview(payload), matrix.rows, matrix.columns)
    weights = limit.distortion_weights
    plain = weighted = 0.0
    for block, difference in _differences(read_blocks(reader, read, matrix), matrix, entry):
        squares = np.square(difference / (entry.rms or 1.0))
        plain += float(squares.sum())
        weighted += float(squares.sum() if weights is None else (squares.sum(1) * weights[block.rows]).sum())
    error, weighted_error = (entry.rms * math.sqrt(one / entry.count) for one in (plain, weighted))
    if not math.isfinite(error):
        return Distortion(math.inf, math.inf)
    return Distortion(error, weighted_error)


def _differences(
    decoded: Iterator[tuple[Block, NDArray[np.float32]]], matrix: TensorMatrix, entry: Entry
) -> Iterator[tuple[Block, NDArray[np.float64]]]:
    """Yield decoded values, rounded to the dtype, less those of the tensor."""
    blocks = entry.count // BLOCK + 1
    for block, values in steps(decoded, f"decoded blocks of {entry.name}", blocks):
        with np.errstate(invalid="ignore", over="ignore"):
            yield block, matrix.rounded(values) - matrix.read(block)
