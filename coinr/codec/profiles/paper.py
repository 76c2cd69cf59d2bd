"""The ``paper`` profile: sparse codes in a seeded dictionary, 16-bit values, Brotli (paper, sections 3.2–3.4)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coinr.codec.candidates import Candidate, lossless, make_candidate, needs_loss, quick_bits, smallest
from coinr.codec.coders import DICTIONARY, UNIFORM, DictionaryParams
from coinr.codec.coders.symbols import MAX_BITS
from coinr.codec.distortion import DistortionLimit, DistortionLimits
from coinr.codec.options import EncodeOptions, check_range, read_profile_options
from coinr.codec.profiles import paper_rules
from coinr.codec.quantize import uniform
from coinr.codec.state_dict import Entry
from coinr.codec.tensors import Cut
from coinr.engine.dictionary import Dictionary
from coinr.engine.omp import omp
from coinr.errors import InputError

# Most float64 entries of the supports that are solved at once.
_SOLVE_ENTRIES = 1 << 23

# Tensors whose largest weight is out of this range get no dictionary code: its sums or steps could leave float32.
_SMALLEST, _LARGEST = 1e-30, 1e30


@dataclass(frozen=True)
class PaperOptions:
    """Options of the ``paper`` profile; the defaults are the measured choices of :mod:`.paper_rules`."""

    kind: str
    M: int
    s: int | None
    bits: int
    sorted: bool
    rule: int | str

    @property
    def published(self) -> bool:
        """Return whether tensors are cut and stored as the published text says."""
        return self.rule == paper_rules.PUBLISHED


def encode_paper(entries: list[Entry], limits: DistortionLimits, settings: EncodeOptions) -> list[Candidate]:
    """Encode by the paper's method: sparse codes in a seeded dictionary, 16-bit values, Brotli (sections 3.2–3.4).

    Options: ``kind`` (``"gaussian"``), ``M`` (65536), ``s`` (nonzeros per vector, 2s < n; by default the rule of
    :mod:`coinr.codec.profiles.paper_rules`), ``rule`` (its version, the latest), ``bits`` (16, of every quantized
    value), ``sorted`` (True: atoms stored by ascending index; False: in order of selection).

    The rule ``"published"`` follows the published text (SINR, CVPR 2025): all vectors have the length of the network's
    width, with one s for all layers, and 16 bits for each index and value; nothing but matrices is coded. It has no
    other ``bits``, ``sorted`` or larger ``M``. Tensors that it does not code are stored losslessly.
    """
    options = read_paper_options(settings)
    groups: dict[int, list[tuple[int, _Job]]] = defaultdict(list)
    for row, job in _jobs(entries, limits, options):
        groups[job.cut.n].append((row, job))
    sparse: dict[int, list[Candidate]] = {}
    for n, jobs in groups.items():
        for (row, _), found in zip(jobs, _pursue(n, [job for _, job in jobs], options, settings), strict=True):
            sparse[row] = found
    if options.published:
        return [sparse[row][0] if sparse.get(row) else lossless(entry) for row, entry in enumerate(entries)]
    return [
        smallest(entry, uniform.with_bits(entry, options.bits, limit) + sparse.get(row, []), limit)
        for row, (entry, limit) in enumerate(zip(entries, limits, strict=True))
    ]


def paper_work(entries: list[Entry], limits: DistortionLimits, settings: EncodeOptions) -> int:
    """Return the dictionary entries that decoding generates at least.

    They are those of s where that is known, else of one atom a vector.
    A tensor that may be smaller without loss, or with one uniform step, counts as none.
    """
    options = read_paper_options(settings)
    total = 0
    for _, job in _jobs(entries, limits, options):
        if job.limit is not None and job.limit.relative_error is not None:
            continue
        params = DictionaryParams(job.cut, options.kind, options.M, job.atoms if job.target is None else 1)
        gaps = math.log2(options.M / job.atoms) + 2 if options.sorted else params.index_bits
        # a pursuit to a target error allows a quarter more atoms than expected
        expected = job.atoms if job.target is None else 0.8 * job.atoms
        bits = expected * (options.bits + gaps) / job.cut.n
        if needs_loss(job.entry, bits) and _beats_uniform(job.entry, bits, options):
            total += params.work(job.entry.layout)
    return total


def _beats_uniform(entry: Entry, bits: float, options: PaperOptions) -> bool:
    """Return whether ``bits`` per value are fewer than the uniform coder takes, by a quick estimate."""
    quantized = UNIFORM.quantize(entry.planes, options.bits)
    return quantized is None or bits * entry.count < quick_bits(quantized[0].astype("<i2").tobytes(), 2)


def read_paper_options(settings: EncodeOptions) -> PaperOptions:
    """Return the options of the profile; raise InputError for those out of range."""
    requested = settings.profile_options.get("rule")
    published = isinstance(requested, str) and requested == paper_rules.PUBLISHED
    defaults = {
        "kind": "gaussian",
        "M": paper_rules.ATOMS,
        "s": None,
        "bits": MAX_BITS,
        "sorted": not published,
        "rule": paper_rules.LATEST,
    }
    options = PaperOptions(**read_profile_options(settings, **defaults))
    if not isinstance(options.kind, str) or not isinstance(options.sorted, bool):
        raise InputError(f"kind must be a string and sorted a bool, not {options.kind!r} and {options.sorted!r}")
    Dictionary(options.kind, 1, options.M, settings.seed)
    if published:
        if options.sorted or options.bits != MAX_BITS or options.M > paper_rules.ATOMS:
            raise InputError(
                f"rule 'published' has sorted=False, bits={MAX_BITS} and M ≤ {paper_rules.ATOMS}, "
                f"not {options.sorted!r}, {options.bits!r} and {options.M!r}"
            )
    elif isinstance(options.rule, str):
        raise InputError(f"rule must be an integer in 1 … {paper_rules.LATEST} or 'published', not {options.rule!r}")
    else:
        check_range("rule", options.rule, 1, paper_rules.LATEST)
    check_range("bits", options.bits, 2, MAX_BITS)
    check_range("s", options.s, 1, paper_rules.LONGEST, optional=True)
    return options


def _jobs(entries: list[Entry], limits: DistortionLimits, options: PaperOptions) -> Iterator[tuple[int, _Job]]:
    """Yield the tensors that are pursued, each with its row."""
    for row, entry in enumerate(entries):
        choose = paper_rules.published_cut if options.published else paper_rules.choose_cut
        choice = choose(entry.layout)
        if choice is None or not _SMALLEST < entry.peak < _LARGEST:
            continue
        target = _target(choice, entry, limits[row], options)
        atoms = _atoms_to_pursue(choice, target, options)
        if atoms is not None:
            yield row, _Job(entry, limits[row], choice.cut, target if options.s is None else None, atoms)


@dataclass(frozen=True)
class _Job:
    """A tensor to pursue: its cut, the relative error to reach (None: take all ``atoms``), atoms to pursue."""

    entry: Entry
    limit: DistortionLimit | None
    cut: Cut
    target: float | None
    atoms: int


def _target(
    choice: paper_rules.CutChoice, entry: Entry, limit: DistortionLimit | None, options: PaperOptions
) -> float | None:
    """Return the relative error to reach by choice of s; None where the rule's s is taken as it is."""
    if limit is not None:
        return limit.weighted_error / entry.rms
    return paper_rules.relative_target(paper_rules.RULES[options.rule], choice)


def _atoms_to_pursue(choice: paper_rules.CutChoice, target: float | None, options: PaperOptions) -> int | None:
    """Return the number of atoms to pursue for a tensor; None where 2s < n and s ≤ M do not allow enough."""
    most = min(paper_rules.largest_sparsity(choice.cut.n), options.M)
    if options.s is not None:
        return options.s if options.s <= most else None
    expected = paper_rules.sparsity(paper_rules.RULES[options.rule], choice.cut.n, options.M, target)
    if target is None:
        return min(most, expected)
    return min(most, expected + expected // 4 + 2) if expected <= most else None


def _pursue(n: int, jobs: list[_Job], options: PaperOptions, settings: EncodeOptions) -> list[list[Candidate]]:
    """Pursue the vectors of all tensors that share a dictionary at once; return a candidate, or none, for each."""
    dictionary = Dictionary(options.kind, n, options.M, settings.seed)
    vectors = [job.cut.apply(job.entry.planes, job.entry.layout) for job in jobs]
    most = max(job.atoms for job in jobs)
    stack = np.concatenate(vectors)
    code = omp(stack.astype(np.float32), dictionary, most, backend=settings.backend, threads=settings.threads)
    results, start = [], 0
    for job, own in zip(jobs, vectors, strict=True):
        rows = slice(start, start + len(own))
        start += len(own)
        s = job.atoms if job.target is None else _smallest_sparsity(code.path[rows], job.atoms, job.target)
        results.append(_candidates(job, own, code.indices[rows, :s], dictionary, options) if s else [])
    return results


def _smallest_sparsity(path: NDArray[np.float32], limit: int, target: float) -> int | None:
    """Return the smallest s ≤ limit whose residual, with room for quantization, is below the target; else None."""
    energy = path.astype(np.float64).sum(0)
    good = np.flatnonzero(energy[: limit + 1] <= (0.99 * target) ** 2 * energy[0])
    return max(1, int(good[0])) if good.size else None


def _candidates(
    job: _Job,
    vectors: NDArray[np.float64],
    indices: NDArray[np.int32],
    dictionary: Dictionary,
    options: PaperOptions,
) -> list[Candidate]:
    """Return the code on a support, if it is within the limit."""
    params = DictionaryParams(job.cut, options.kind, options.M, indices.shape[1], 0, options.bits, options.sorted)
    values = solve(vectors, np.ascontiguousarray(indices), dictionary)
    quantized = DICTIONARY.quantize(indices, values, params)
    if quantized is None:
        return []
    payload = DICTIONARY.encode(quantized, params)
    candidate = make_candidate(job.entry, DICTIONARY, params, payload, job.limit, dictionary.seed)
    return [candidate] if candidate.satisfies(job.limit) else []


def solve(vectors: NDArray[np.float64], indices: NDArray[np.int32], dictionary: Dictionary) -> NDArray[np.float64]:
    """Return argmin ‖y − A x‖² on given supports, float64 ``[B, s]``, for vectors ``[B, n]``; 0 at index −1."""
    B, s = indices.shape
    values = np.zeros((B, s))
    step = max(1, _SOLVE_ENTRIES // (s * dictionary.n))
    for start in range(0, B, step):
        part = indices[start : start + step]
        atoms = dictionary.atoms(np.maximum(part, 0).reshape(-1)).T.reshape(*part.shape, dictionary.n)
        support = (atoms * (part >= 0)[..., None]).astype(np.float64)
        gram = support @ support.transpose(0, 2, 1)
        gram[:, range(s), range(s)] += np.where(part >= 0, 0.0, 1.0)
        values[start : start + step] = np.linalg.solve(gram, (support @ vectors[start : start + step, :, None]))[..., 0]
    return values
