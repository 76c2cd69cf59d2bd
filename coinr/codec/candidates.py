"""Candidates to store a tensor, and the choice among them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from coinr.codec.coders import CODERS, EXACT, LOSSLESS, ExactParams, LosslessParams, Params
from coinr.codec.coders.coder import Coder
from coinr.codec.distortion import NO_DISTORTION, Distortion, DistortionLimit, measure
from coinr.codec.effort import EFFORTS
from coinr.codec.elements import rounded
from coinr.codec.options import EncodeOptions
from coinr.codec.state_dict import Entry
from coinr.codec.tensors import to_bytes, to_planes, view_bytes
from coinr.codec.wire import Reader, quick_size
from coinr.engine.threads import limited_threads, parallel_map
from coinr.progress import steps

# Lossless storage is always tried for so few elements: it takes no time, and 1.0 stays 1.0.
_TINY = 16

# From this many elements on, lossless storage is tried only where a quick estimate says that it may be smaller.
_LARGE = 512

# Fewer elements than this in all are encoded in less time than threads take to start, unless every coder is tried.
_ALONE = 1 << 14

# From this many bytes on, Brotli is tried only where its fastest quality comes this close to the exact coder.
_PATIENT_BYTES = 1 << 13
_HOPELESS = 1.05

# Runs of a large tensor from which the size of its lossless storage is estimated, and their elements.
_RUNS, _RUN = 16, 1 << 15

# Lossless storage takes at least this share of quick Brotli of byte planes; 0.86 was measured for bfloat16 weights.
_EXACT_SHARE = 0.85


@dataclass(frozen=True)
class Candidate:
    """One way to store a tensor, with its distortion.

    Attributes
    ----------
    coder
        Id of the coder.
    distortion
        Measured once, by decoding the payload, with the weights of the limit that the candidate was made for.
    alternatives
        Candidates of all coders within the same limit: a file with one coder for all tensors has a shorter table.
    """

    coder: int
    params: Params
    payload: bytes
    distortion: Distortion
    alternatives: tuple[Candidate, ...] = ()

    def satisfies(self, limit: DistortionLimit | None) -> bool:
        """Return whether the distortion is within a limit; without one, whether it is finite."""
        return math.isfinite(self.distortion.error) if limit is None else limit.satisfied_by(self.distortion)


# The lossless candidate of each tensor that is being encoded, unless it is large: rate control encodes the same tensors
# many times.
_LOSSLESS: WeakKeyDictionary[Entry, Candidate] = WeakKeyDictionary()


def make_candidate(
    entry: Entry, coder: Coder, params: Params, payload: bytes, limit: DistortionLimit | None, seed: int = 0
) -> Candidate:
    """Decode a payload, measure its distortion and return the candidate.

    Parameters
    ----------
    limit
        Its weights are those of the distortion. The candidate need not satisfy it.
    seed
        Key of the dictionary; ignored by coders that have none.
    """
    # the parameters as a reader gets them, checked
    read = coder.read(Reader(params.write()))
    decoded = coder.decode(memoryview(payload), read, entry.layout, seed)
    values = entry.planes
    with np.errstate(invalid="ignore", over="ignore"):
        difference = to_planes(decoded, entry.dtype) - values
    return Candidate(coder.id, params, payload, measure(difference, values, limit))


def lossless(entry: Entry) -> Candidate:
    """Return the smaller lossless candidate of the exact coder and Brotli, which wins where data repeat themselves."""
    if entry.is_large:
        return _made_lossless(entry)
    candidate = _LOSSLESS.get(entry)
    if candidate is None:
        candidate = _LOSSLESS[entry] = _made_lossless(entry)
    return candidate


def _exact(entry: Entry) -> Candidate:
    return Candidate(EXACT.id, ExactParams(), EXACT.encode((entry.array, entry.dtype), ExactParams()), NO_DISTORTION)


def _made_lossless(entry: Entry) -> Candidate:
    exact = _exact(entry)
    decodable = EXACT.is_decodable(exact.payload, entry.layout)
    raw = view_bytes(entry.array)
    if decodable and len(raw) > _PATIENT_BYTES and quick_size(raw) > _HOPELESS * len(exact.payload):
        return exact
    payload = LOSSLESS.encode((entry.array, entry.dtype), LosslessParams())
    plain = Candidate(LOSSLESS.id, LosslessParams(), payload, NO_DISTORTION)
    return min(plain, exact, key=cost) if decodable else plain


def faithful(entry: Entry, limit: DistortionLimit | None) -> Candidate:
    """Return the lossless candidate; under a limit on relative errors, with elements rounded as far as that allows."""
    if limit is not None and limit.relative_error:
        few = lossless(rounded(entry, limit.relative_error))
        candidate = make_candidate(entry, CODERS[few.coder], few.params, few.payload, limit)
        if candidate.satisfies(limit):
            return candidate
    return lossless(entry)


def smallest(
    entry: Entry, candidates: list[Candidate], limit: DistortionLimit | None, exact: Candidate | None = None
) -> Candidate:
    """Return the smallest candidate, or that of :func:`faithful` if it is no larger or there are none.

    Parameters
    ----------
    candidates
        Each satisfies the limit.
    exact
        The candidate of :func:`faithful`, if the caller has made it.
    """
    if candidates:
        best = min(candidates, key=cost)
        large = entry.layout.size >= _LARGE and (limit is None or limit.relative_error is None)
        if large and entry.is_large and _sampled_lossless(entry) > cost(best):
            return best
        if large and not entry.is_large and quick_size(to_bytes(entry.array)) > 2 * len(best.payload):
            return best
        return min(exact or faithful(entry, limit), best, key=cost)
    return exact or faithful(entry, limit)


def likely_smallest(entry: Entry, candidates: list[Candidate], limit: DistortionLimit) -> Candidate:
    """Return the smallest candidate; lossless storage only where a quick estimate says that it may be smaller.

    Brotli takes longer for a few numbers than all else.
    """
    if candidates and limit.relative_error is None and not entry.is_large:
        best = min(candidates, key=cost)
        if entry.count <= _TINY and EXACT.is_decodable((exact := _exact(entry)).payload, entry.layout):
            return min(exact, best, key=cost)
        if entry.count > _TINY and _EXACT_SHARE * quick_size(view_bytes(entry.array)) > len(best.payload):
            return best
    return smallest(entry, candidates, limit)


def _sampled_lossless(entry: Entry) -> float:
    """Estimate the bytes of a large tensor's lossless storage from runs spread over it."""
    flat = entry.array.reshape(-1)
    starts = [place * (len(flat) - _RUN) // (_RUNS - 1) for place in range(_RUNS)]
    runs = np.concatenate([flat[start : start + _RUN] for start in starts])
    size = min(len(EXACT.encode((runs, entry.dtype), ExactParams())), quick_size(to_bytes(runs)))
    return size * len(flat) / len(runs)


def needs_loss(entry: Entry, bits: float) -> bool:
    """Return whether so many bits for each real value are fewer than a fast estimate of the lossless size."""
    return bits * entry.count < quick_bits(to_bytes(entry.array), entry.dtype.itemsize)


def quick_bits(data: bytes, width: int) -> float:
    """Return a fast estimate, from below, of the bits that numbers of ``width`` bytes take without loss."""
    planes = np.frombuffer(data, np.uint8).reshape(-1, width).T
    return _EXACT_SHARE * 8 * quick_size(planes.tobytes())


def cost(candidate: Candidate) -> int:
    """Return the encoded size of a candidate in bytes: payload and parameters."""
    return len(candidate.payload) + len(candidate.params.write())


def each_tensor(
    encode: Callable[[Entry, DistortionLimit], Candidate],
    entries: list[Entry],
    limits: list[DistortionLimit],
    settings: EncodeOptions,
) -> list[Candidate]:
    """Encode all tensors in parallel; the result does not depend on the number of threads."""
    pairs = list(zip(entries, limits, strict=True))
    if len(pairs) == 1:
        return [encode(*pairs[0])]  # whose own steps are shown
    quick = not EFFORTS[settings.effort].all_coders and sum(entry.layout.size for entry in entries) < _ALONE
    with limited_threads(1 if quick else None):
        return list(steps(parallel_map(lambda pair: encode(*pair), pairs), "tensors", len(pairs)))
