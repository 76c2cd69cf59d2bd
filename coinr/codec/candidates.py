"""What every profile works with: settings, one way to store a tensor, and the choice between several."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from inspect import signature
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from coinr.codec.coders import CODERS, EXACT, LOSSLESS, UNIFORM, ExactParams, LosslessParams, Params, UniformParams
from coinr.codec.elements import rounded
from coinr.codec.state_dict import Entry
from coinr.codec.tensors import to_bytes, to_planes
from coinr.codec.wire import Reader, quick_size
from coinr.engine.threads import parallel_map
from coinr.errors import InputError
from coinr.progress import steps
from coinr.sensitivity.hessian import TensorHessian

# From this many elements on, lossless storage is tried only where a quick look says that it might win.
_LARGE = 512

# From this many bytes on, Brotli is tried only where its fastest form comes close to the exact coder.
_PATIENT_BYTES = 1 << 13
_HOPELESS = 1.05

# What storage without loss takes at least of a quick look at planes of bytes: 0.86 measured of bfloat16 weights.
_EXACT_SHARE = 0.85


@dataclass(frozen=True, eq=False)
class Allowance:
    """How far a decoded tensor may be off, per real value.

    Attributes
    ----------
    error
        Weighted root mean squared error: see ``distortion_weights``, ``input_covariance`` and ``hessian``.
    limit
        Root mean squared error, plain; at least ``error``.
    distortion_weights
        Weight of the squared error of each row of the tensor as a matrix ``[planes · shape[0], rest]``, mean 1. None
        if all weigh the same.
    input_covariance
        Second moments ``[rest, rest]`` of the layer's inputs, mean of the diagonal 1, positive definite: an error e of
        a row weighs e · input_covariance · eᵀ. None if they are not known.
    hessian
        In place of both, how errors of all elements weigh together, or None.
    relative
        Largest relative error of any element, or None: see :mod:`coinr.codec.elements`.
    """

    error: float
    limit: float
    distortion_weights: NDArray[np.float64] | None = None
    input_covariance: NDArray[np.float64] | None = None
    hessian: TensorHessian | None = None
    relative: float | None = None

    def admits(self, difference: NDArray[np.float64], values: NDArray[np.float64]) -> bool:
        """Whether the difference to a tensor's values, both ``[planes, size]``, is allowed."""
        if self.relative is not None and bool((np.abs(difference) > self.relative * np.abs(values)).any()):
            return False
        error, weighted = rms(difference), weighted_rms(difference, self)
        return min(error, weighted) <= self.error and error <= self.limit


#: What is allowed for each tensor; None leaves it to the profile.
Allowed = Sequence[Allowance | None]


@dataclass(frozen=True)
class Settings:
    """What the caller asked for, beyond the tensors.

    Attributes
    ----------
    tolerance
        Largest ‖ŵ − w‖ / ‖w‖ of any lossy tensor, see :mod:`coinr.codec.allocate.tensors`; None leaves it to the
        profile.
    options
        The profile's own keyword arguments.
    """

    seed: int
    tolerance: float | None
    backend: str | None
    threads: int | None
    options: dict[str, Any]


@dataclass(frozen=True)
class Coded:
    """One way to store a tensor.

    Attributes
    ----------
    rivals
        Other ways that are as good in error: a file whose tensors are all stored alike has a shorter table.
    """

    coder: int
    params: Params
    payload: bytes
    rivals: tuple[Coded, ...] = ()


# What encoding made of a tensor, for as long as that is tried in other ways: a file of a size is tried many times.
_LOSSLESS: WeakKeyDictionary[Entry, Coded] = WeakKeyDictionary()


def rms(values: NDArray[np.float64]) -> float:
    """Root mean square, without overflow or underflow; 0 of nothing."""
    peak = float(np.abs(values).max(initial=0.0))
    return peak * math.sqrt(float(np.square(values / peak).mean())) if 0 < peak < math.inf else peak


def error_of(coded: Coded, entry: Entry, seed: int) -> float:
    """Root mean squared error, per real value, of what the payload decodes to; infinite where that is not finite."""
    error = rms(_difference(coded, entry, seed))
    return error if math.isfinite(error) else math.inf


def admitted(coded: Coded, entry: Entry, allowance: Allowance | None, seed: int) -> bool:
    """Whether what the payload decodes to is finite and, with an allowance, near enough."""
    difference = _difference(coded, entry, seed)
    if not np.isfinite(difference).all():
        return False
    return allowance is None or allowance.admits(difference, entry.planes)


def weighted_rms(difference: NDArray[np.float64], allowance: Allowance) -> float:
    """Root mean square of a difference (any shape, C order) that weighs as the allowance says."""
    weights, covariance = allowance.distortion_weights, allowance.input_covariance
    if allowance.hessian is not None:
        return rms(allowance.hessian.weighted(difference))
    if weights is not None:
        difference = difference.reshape(len(weights), -1) * np.sqrt(weights)[:, None]
    if covariance is not None:
        return rms(difference.reshape(-1, len(covariance)) @ np.linalg.cholesky(covariance))
    return rms(difference)


def _difference(coded: Coded, entry: Entry, seed: int) -> NDArray[np.float64]:
    decoder = CODERS[coded.coder]
    # as readers have them, who check them
    params = decoder.read(Reader(coded.params.write()))
    tensor = decoder.decode(memoryview(coded.payload), params, entry.layout, seed, torch.device("cpu"))
    with np.errstate(invalid="ignore", over="ignore"):
        difference: NDArray[np.float64] = to_planes(tensor) - entry.planes
    return difference


def lossless(entry: Entry) -> Coded:
    """The tensor bit-exactly: by the exact coder, or by Brotli where the data repeat themselves; made once."""
    coded = _LOSSLESS.get(entry)
    if coded is None:
        coded = _LOSSLESS[entry] = _made_lossless(entry)
    return coded


def _made_lossless(entry: Entry) -> Coded:
    exact = Coded(EXACT.id, ExactParams(), EXACT.encode(entry.tensor, ExactParams()))
    admitted = EXACT.admits(exact.payload, entry.layout)
    raw = to_bytes(entry.tensor)
    if admitted and len(raw) > _PATIENT_BYTES and quick_size(raw) > _HOPELESS * len(exact.payload):
        return exact
    plain = Coded(LOSSLESS.id, LosslessParams(), LOSSLESS.encode(entry.tensor, LosslessParams()))
    return min(plain, exact, key=cost) if admitted else plain


def uniform(entry: Entry, bits: int) -> list[Coded]:
    """The tensor with one step; empty where no normal float32 step can hold its values."""
    params = UniformParams(bits)
    quantized = UNIFORM.quantize(entry.planes, bits)
    return [] if quantized is None else [Coded(UNIFORM.id, params, UNIFORM.encode(quantized, params))]


def faithful(entry: Entry, allowance: Allowance | None, seed: int) -> Coded:
    """The tensor bit-exactly; where only each element's relative error counts, as far as that needs it."""
    if allowance is not None and allowance.relative:
        coded = lossless(rounded(entry, allowance.relative))
        if admitted(coded, entry, allowance, seed):
            return coded
    return lossless(entry)


def smallest(entry: Entry, options: list[Coded], allowance: Allowance | None, seed: int) -> Coded:
    """The smallest option that is near enough (without an allowance: any finite one).

    The faithful one if it is no larger or none else qualifies.
    """
    for coded in sorted(options, key=cost):
        if admitted(coded, entry, allowance, seed):
            hopeless = entry.layout.size >= _LARGE and quick_size(to_bytes(entry.tensor)) > 2 * len(coded.payload)
            exact = allowance is None or allowance.relative is None
            return coded if hopeless and exact else min(faithful(entry, allowance, seed), coded, key=cost)
    return faithful(entry, allowance, seed)


def needs_loss(entry: Entry, bits: float) -> bool:
    """Whether so many bits for each real value are fewer than the tensor takes without loss, at a quick look."""
    return bits * entry.planes.size < quick_bits(to_bytes(entry.tensor), entry.tensor.element_size())


def quick_bits(data: bytes, width: int) -> float:
    """Bits that numbers of ``width`` bytes take at least without loss, at a quick look."""
    planes = np.frombuffer(data, np.uint8).reshape(-1, width).T
    return _EXACT_SHARE * 8 * quick_size(planes.tobytes())


def cost(coded: Coded) -> int:
    """Bytes in the file: payload and parameters."""
    return len(coded.payload) + len(coded.params.write())


def each_tensor(
    encode: Callable[[Entry, Allowance], Coded], entries: list[Entry], allowed: list[Allowance]
) -> list[Coded]:
    """Every tensor through ``encode``, several at the same time; the results do not depend on how many."""
    pairs = list(zip(entries, allowed, strict=True))
    return list(steps(parallel_map(lambda pair: encode(*pair), pairs), "tensors", len(pairs)))


def known_options(options: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    """The options over their defaults; InputError for a name that the profile does not know."""
    unknown = sorted(set(options) - set(defaults))
    if unknown:
        allowed = ", ".join(defaults) or "none"
        near = get_close_matches(unknown[0], [*defaults, *(name for name in _arguments() if name != unknown[0])], 1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(f"unknown option {unknown[0]!r}; {meant}this profile has: {allowed}")
    return {**defaults, **options}


def _arguments() -> list[str]:
    """Names of the arguments of encode_state_dict, whatever the profile."""
    from coinr.codec.api import encode_state_dict

    return [name for name, one in signature(encode_state_dict).parameters.items() if one.kind is one.KEYWORD_ONLY]


def check_range(name: str, value: Any, low: int, high: int, *, optional: bool = False) -> None:
    """InputError unless the value is an integer in the range, or None where optional."""
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"{name} must be an integer in {low} … {high}, not {value!r}")
