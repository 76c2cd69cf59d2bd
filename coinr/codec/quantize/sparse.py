"""The ``sparse`` profile: every matrix in a seeded dictionary, by a dense code or a sparse code.

For each tensor the smaller code within its limit is chosen. Dense codes are smaller from about one bit per weight on,
sparse codes below (``bench/results/rate/sparse_vs_direct.csv``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from coinr.codec.candidates import Candidate, cost, make_candidate, needs_loss, smallest
from coinr.codec.coders import SPARSE, SparseParams
from coinr.codec.coders.levels import NO_STEPS, worth_decoding
from coinr.codec.coders.sparse import LARGEST_DENSE
from coinr.codec.distortion import DistortionLimit
from coinr.codec.effort import BEST
from coinr.codec.options import EncodeOptions, check_range, read_profile_options
from coinr.codec.quantize import direct
from coinr.codec.quantize.forms import smallest_form
from coinr.codec.quantize.problem import QuantizationProblem
from coinr.codec.quantize.sparse_rdo import PursuitSearch, water_level
from coinr.codec.quantize.trellis import first_step, quantize, quantize_to
from coinr.codec.state_dict import Entry
from coinr.codec.tensors import Cut
from coinr.errors import InputError
from coinr.sensitivity.hessian import TensorHessian

# Lengths of the runs of a dense code. Short runs mix fewer values, so they keep more of a non-normal distribution.
DENSE_RUNS = (2, 4, 8, 16, 64, 256)

# Lengths of the runs of a sparse code. Below, by the largest number of values: its atoms and the beam of the pursuit.
# Time grows with the product of all three.
SPARSE_RUNS = (64, 128, 256)
_EFFORT = (
    (1 << 12, 1 << 18, 64),
    (1 << 13, 1 << 18, 32),
    (1 << 16, 1 << 18, 16),
    (1 << 18, 1 << 16, 8),
    (1 << 62, 1 << 14, 4),
)

# Bits per value from which a dense code is always smaller (bench/results/rate/sparse_vs_direct.csv): there no sparse
# code is tried.
SPARSE_BITS = 1.3

# No sparse code is smaller than this many times its estimate from the energies of vectors. The dense code may be
# smaller than that, as for constant or diagonal matrices: then no sparse code is tried.
_LEAST_OF_ESTIMATE = 1.05

# Nor is one tried where coded vectors would take this many bits per value in the mean: a dictionary saves at most a
# percent or two there, and a few vectors take as many atoms as all do usually.
_MOST_RATE = 4.0

# Tensors with fewer values, and vectors, go to the direct coder.
SMALLEST = 64

# Most tries of a code whose decoded error exceeds the limit, and the largest factor on the error of the next try.
_RETRIES, _FINER = 6, 0.998

# A value of a dense code takes fewer bits than log2(rms / error) + _MORE_BITS. Up to _SURE_BITS the code always exists.
_MORE_BITS, _SURE_BITS = 2.0, 10.0

# Bits of an atom in the estimate of a sparse code's size. The count of a vector of m atoms adds log2(1 + 5 m) / 2.
_ATOM_BITS = 16.0


@dataclass(frozen=True)
class SparseOptions:
    """Options of the profile; None leaves a choice to measurement.

    Attributes
    ----------
    M, beam
        Atoms of sparse codes, a power of two, and codes that are followed for each vector in their search.
    n
        Runs of dense and sparse codes alike.
    form
        ``"dense"`` or ``"sparse"``.
    """

    M: int | None = None
    beam: int | None = None
    n: int | None = None
    form: str | None = None

    @classmethod
    def read(cls, settings: EncodeOptions) -> SparseOptions:
        """Return the options of the profile; raise InputError for those out of range."""
        options = cls(**read_profile_options(settings, M=None, beam=None, n=None, form=None))
        check_range("M", options.M, 2, 1 << 24, optional=True)
        check_range("n", options.n, 1, 1 << 16, optional=True)
        check_range("beam", options.beam, 1, 256, optional=True)
        if options.M is not None and options.M & (options.M - 1):
            raise InputError(f"M must be a power of two, not {options.M}")
        if options.form not in (None, "dense", "sparse"):
            raise InputError(f"form must be 'dense' or 'sparse', not {options.form!r}")
        return options


def eligible(entry: Entry) -> bool:
    """Return whether the tensor is a matrix of at least ``SMALLEST`` values."""
    return len(entry.layout.shape) > 1 and entry.count >= SMALLEST


def candidates(entry: Entry, limit: DistortionLimit, settings: EncodeOptions) -> list[Candidate]:
    """Return a dense code and a sparse code within the limit, as far as there are any and they may be worth their time.

    None of them where each element has a relative error to keep. Sparse codes do not use the weights of errors.
    """
    options = SparseOptions.read(settings)
    if not eligible(entry) or not limit.weighted_error > 0 or limit.relative_error is not None:
        return []
    dense = None if options.form == "sparse" else _dense(entry, limit, options, settings)
    sparse = None
    if options.form == "sparse" or (options.form is None and not _hopeless(entry, limit, dense, options)):
        sparse = _sparse(entry, limit, options, settings)
    return [candidate for candidate in (dense, sparse) if candidate is not None]


def _hopeless(entry: Entry, limit: DistortionLimit, dense: Candidate | None, options: SparseOptions) -> bool:
    """Return whether a sparse code would take so many bits that the dense one, or no dictionary at all, takes fewer.

    Its pursuits would take minutes.
    """
    most = SPARSE_BITS * entry.count
    bits = most if dense is None else 8 * cost(dense)
    return bits > most or not promising(entry, limit, bits, options)


def promising(entry: Entry, limit: DistortionLimit, bits: float, options: SparseOptions | None = None) -> bool:
    """Return whether a sparse code may take fewer bits than these, as far as the energies of vectors tell."""
    cut = _sparse_cut(entry, limit.weighted_error, options or SparseOptions())
    vectors = cut.apply(entry.planes, entry.layout)
    rates = _water_filled(vectors, limit.weighted_error)
    if rates.size and rates.mean() >= _MOST_RATE:
        return False
    return _LEAST_OF_ESTIMATE * _water_filled_bits(vectors, limit.weighted_error) <= bits


def _dense(entry: Entry, limit: DistortionLimit, options: SparseOptions, settings: EncodeOptions) -> Candidate | None:
    """Return a dense code within the limit, in the cut that seems best."""
    runs = [options.n] if options.n else [n for n in DENSE_RUNS if n <= entry.layout.size]
    cuts = [Cut(transposed, n) for n in runs for transposed in (False, True)]
    tried = [(size, cut) for cut in cuts if (size := _dense_size(entry, limit, cut, settings.seed)) is not None]
    if not tried:
        return None
    # an unusual cut takes about two bytes more in the tensor table
    cut = min(tried, key=lambda pair: pair[0] + 2 * (pair[1] != Cut(False, DENSE_RUNS[0])))[1]
    finer = 1.0
    for _ in range(_RETRIES):
        candidate = _dense_code(entry, limit, finer, cut, settings.seed)
        if candidate is None or candidate.satisfies(limit):
            return candidate
        finer *= _FINER if limit.distortion_weights is not None else _correction(candidate, limit)
    return None


def _correction(candidate: Candidate, limit: DistortionLimit) -> float:
    """Return how much finer a code must be made: padding takes its share of the error, for better or worse."""
    return _FINER * min(1.0, limit.weighted_error / max(candidate.distortion.error, limit.weighted_error))


def coefficients(entry: Entry, params: SparseParams, seed: int) -> NDArray[np.float64]:
    """Return the coefficients w A / n that the integers of a dense code quantize, in the shape of its matrix."""
    atoms = params.dictionary(seed).materialize().astype(np.float64)
    vectors = params.cut.apply(entry.planes, entry.layout)
    values: NDArray[np.float64] = (vectors @ atoms / params.cut.n).reshape(params.matrix_shape(entry.layout))
    return values


def _dense_params(cut: Cut) -> SparseParams:
    return SparseParams(cut, "hadamard", cut.n, cut.n, 1.0)


def _problem(
    entry: Entry, limit: DistortionLimit, finer: float, params: SparseParams, seed: int
) -> QuantizationProblem:
    """Return the problem of the coefficients, whose errors weigh as the tensor's own where the cut keeps rows."""
    scale = finer / math.sqrt(params.cut.n)
    matrix = coefficients(entry, params, seed)
    problem = QuantizationProblem(matrix, limit.weighted_error * scale, limit.error * scale, terms=params.cut.n)
    if params.cut.transposed:
        return problem
    if limit.hessian is not None:
        return _with_tensor_hessian(problem, limit.hessian, params, seed)
    covariance, weights = limit.input_covariance, limit.distortion_weights
    if covariance is not None and matrix.shape[1] == len(covariance) and matrix.size <= direct.FEEDBACK_MOST:
        return problem.with_input_covariance(_transformed_covariance(covariance, params, seed), weights)
    if weights is None or len(matrix) != len(weights):
        return problem
    return replace(problem, weight=np.repeat(weights[:, None], matrix.shape[1], 1))


def _transformed_covariance(moments: NDArray[np.float64], params: SparseParams, seed: int) -> NDArray[np.float64]:
    """Return Aᵀ C A / n over runs of n, for the covariance C ``[N, N]`` of values; the trace stays."""
    n = params.cut.n
    atoms = params.dictionary(seed).materialize().astype(np.float64) / math.sqrt(n)
    runs = moments.reshape(len(moments) // n, n, -1, n)
    transformed: NDArray[np.float64] = np.einsum("ik,aibj,jl->akbl", atoms, runs, atoms, optimize=True)
    transformed = transformed.reshape(moments.shape)
    return (transformed + transformed.T) / 2


def _with_tensor_hessian(
    problem: QuantizationProblem, hessian: TensorHessian, params: SparseParams, seed: int
) -> QuantizationProblem:
    """Return the problem with the Hessian of all elements; unchanged where the last run is padded."""
    size = len(hessian.pivots)
    if size % params.cut.n or problem.matrix.size != size:
        return problem
    moments = (hessian.upper * hessian.pivots) @ hessian.upper.T
    whole = replace(problem, matrix=problem.matrix.reshape(1, -1))
    whole = whole.with_input_covariance(_transformed_covariance(moments, params, seed), None)
    assert whole.weight is not None
    return replace(whole, matrix=problem.matrix, weight=whole.weight.reshape(problem.matrix.shape))


def _row_choices(problem: QuantizationProblem) -> list[NDArray[np.uint8]]:
    """Return the step exponents of rows to try: one choice where the search is slow, else up to two."""
    if problem.weight is None:
        return [NO_STEPS]
    own = problem.exponents()[0]
    if problem.feedback is None or len(problem.feedback) == problem.matrix.shape[1]:
        return [NO_STEPS, own]
    return [own if problem.benefit_ratio(own, NO_STEPS) > 1 else NO_STEPS]


def _dense_size(entry: Entry, limit: DistortionLimit, cut: Cut, seed: int) -> int | None:
    """Return the bytes of a scalar quantized code by rows' weights alone: quick, and as good a guide as the trellis."""
    limit = replace(limit, input_covariance=None, hessian=None)
    if cut.n > LARGEST_DENSE or cut.n & (cut.n - 1) or cut.n > entry.layout.size:
        return None
    problem = _problem(entry, limit, 1.0, _dense_params(cut), seed)
    sizes = []
    for row in _row_choices(problem):
        step = first_step(problem, row, NO_STEPS, 0)
        found = None if step is None else quantize(problem, row, NO_STEPS, step, 0, BEST)
        if found is not None:
            sizes.append(len(smallest_form(found, BEST)[0]))
    return min(sizes, default=None)


def _dense_code(entry: Entry, limit: DistortionLimit, finer: float, cut: Cut, seed: int) -> Candidate | None:
    """Return the smaller code over the steps of rows that are tried; it need not satisfy the limit."""
    params = _dense_params(cut)
    problem = _problem(entry, limit, finer, params, seed)
    made = []
    for row in _row_choices(problem):
        found = quantize_to(problem, row, NO_STEPS, BEST)
        if found is not None:
            payload, form = smallest_form(found, BEST)
            if worth_decoding(found.k.size, len(payload)):
                made.append((replace(params, step=found.step, form=form), payload))
    if not made:
        return None
    params, payload = min(made, key=lambda one: len(one[1]) + len(one[0].write()))
    return make_candidate(entry, SPARSE, params, payload, limit, seed)


def _sparse(entry: Entry, limit: DistortionLimit, options: SparseOptions, settings: EncodeOptions) -> Candidate | None:
    """Return a sparse code whose error without weights is within the limit."""
    cut = _sparse_cut(entry, limit.weighted_error, options)
    vectors = cut.apply(entry.planes, entry.layout)
    M, beam = next((M, beam) for size, M, beam in _EFFORT if vectors.size <= size)
    M, beam = options.M or M, options.beam or beam
    aim = limit.weighted_error
    for _ in range(_RETRIES):
        search = PursuitSearch(vectors, aim, M, beam, settings.seed, settings.threads)
        found = search.run()
        if found is None:
            return None
        s = max(1, int(found.codes.counts.max()))
        params = SparseParams(cut, "hadamard", M, s, search.step)
        payload = SPARSE.encode(found.codes, params)
        if not worth_decoding(len(vectors), len(payload)):
            return None
        candidate = make_candidate(entry, SPARSE, params, payload, limit, settings.seed)
        if candidate.distortion.error <= limit.weighted_error and candidate.satisfies(limit):
            return candidate
        aim *= _correction(candidate, limit)
    return None


def _sparse_cut(entry: Entry, allowed: float, options: SparseOptions) -> Cut:
    """Return the cut with the fewest bits by the estimate: its vectors differ most in energy."""
    size = entry.layout.size
    runs = [options.n] if options.n else [n for n in SPARSE_RUNS if n <= size] or [size]
    cuts = [Cut(transposed, min(n, size)) for n in runs for transposed in (False, True)]
    return min(cuts, key=lambda cut: _water_filled_bits(cut.apply(entry.planes, entry.layout), allowed))


def _water_filled_bits(vectors: NDArray[np.float64], allowed: float) -> float:
    """Estimate the bits of vectors from their energies: the rate-distortion function of normal ones, plus counts."""
    B, n = len(vectors), int(vectors.shape[1])
    bits = n * float(_water_filled(vectors, allowed).sum())
    return bits + B * math.log2(1 + 5 * bits / (_ATOM_BITS * B)) / 2


def _water_filled(vectors: NDArray[np.float64], allowed: float) -> NDArray[np.float64]:
    """Return log2(energy / level) / 2, the bits per value of each vector whose energy is above the water level."""
    energy = np.square(vectors).mean(1)
    level = water_level(energy, allowed)
    rates: NDArray[np.float64] = np.log2(energy[energy > level] / level) / 2
    return rates


def encode_sparse(entries: list[Entry], limits: list[DistortionLimit], settings: EncodeOptions) -> list[Candidate]:
    """Encode every matrix in a dictionary, the rest by the direct coder, all within their limits.

    Options: ``form`` (``"dense"``, ``"sparse"``; by default the smaller), ``n`` (length of the vectors), ``M`` (atoms
    of sparse codes), ``beam`` (codes that their search follows).
    """
    return [encode_tensor(entry, limit, settings) for entry, limit in zip(entries, limits, strict=True)]


def sparse_work(entries: list[Entry], limits: list[DistortionLimit], settings: EncodeOptions) -> int:
    """Return the dictionary entries that decoding generates at least: one a value, or n of dense codes."""
    options = SparseOptions.read(settings)
    n = options.n or DENSE_RUNS[0]
    if options.form == "dense" and (n > LARGEST_DENSE or n & (n - 1)):
        return 0
    each = n if options.form == "dense" else 1
    return sum(
        each * entry.count
        for entry, limit in zip(entries, limits, strict=True)
        if eligible(entry) and each <= entry.layout.size and _surely_in_dictionary(entry, limit)
    )


def _surely_in_dictionary(entry: Entry, limit: DistortionLimit) -> bool:
    """Return whether no other coder can be taken, as far as a quick look tells."""
    if limit.relative_error is not None or not limit.weighted_error > 0:
        return False
    bits = math.log2(max(entry.rms / limit.weighted_error, 1.0)) + _MORE_BITS
    return bits < _SURE_BITS and needs_loss(entry, bits)


def encode_tensor(entry: Entry, limit: DistortionLimit, settings: EncodeOptions) -> Candidate:
    """Return the tensor in a dictionary where that keeps it within its limit, else by the direct coder."""
    found = candidates(entry, limit, settings) or direct.candidates(entry, limit, settings)
    return smallest(entry, found, limit)
