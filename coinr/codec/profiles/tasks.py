"""The table of profiles, and the tasks of an encoding: one for each tensor."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from numbers import Real
from typing import Any

from coinr.codec.allocate.default_errors import TOLERANCE, distortion_limits
from coinr.codec.candidates import Candidate, lossless
from coinr.codec.coders.coder import FLOAT32_MAX, FLOAT32_TINY
from coinr.codec.coders.symbols import MAX_BITS
from coinr.codec.distortion import DistortionLimit, DistortionLimits
from coinr.codec.options import EncodeOptions, read_profile_options
from coinr.codec.profiles.auto import encode_auto
from coinr.codec.profiles.paper import encode_paper, paper_work, read_paper_options
from coinr.codec.profiles.sequential import encode_directly, encode_sequentially
from coinr.codec.profiles.simple import encode_lossless, encode_uniform, read_bits
from coinr.codec.quantize.direct import encode_direct
from coinr.codec.quantize.sparse import SparseOptions, encode_sparse, sparse_work
from coinr.codec.quantize.sparse import encode_tensor as encode_in_dictionary
from coinr.codec.state_dict import Entry
from coinr.errors import InputError, StateDictError
from coinr.inputs.naming import list_names
from coinr.sensitivity.calibration import SensitivityInfo
from coinr.sensitivity.hessian import HessianFactor


@dataclass(frozen=True)
class Profile:
    """How a profile codes tensors at given errors.

    Attributes
    ----------
    read_options
        Reads and checks the options that only this profile has.
    tolerance
        What it has by default; None for a rule of its own.
    efforts
        Whether it has several efforts.
    least_work
        Lower bound of the dictionary entries that decoding generates, known before coding; None for 0.
    """

    encode: Callable[[list[Entry], Any, EncodeOptions], list[Candidate]]
    read_options: Callable[[EncodeOptions], Any] = read_profile_options
    tolerance: float | None = None
    efforts: bool = False
    least_work: Callable[[list[Entry], Any, EncodeOptions], int] | None = None


PROFILES = {
    "auto": Profile(encode_auto, tolerance=TOLERANCE, efforts=True),
    "direct": Profile(encode_direct, tolerance=TOLERANCE, efforts=True),
    "sparse": Profile(encode_sparse, SparseOptions.read, TOLERANCE, least_work=sparse_work),
    "paper": Profile(encode_paper, read_paper_options, least_work=paper_work),
    "uniform": Profile(encode_uniform, read_bits),
    "lossless": Profile(encode_lossless),
}


def check_options(options: EncodeOptions) -> None:
    """Check the options of an encoding as far as that is possible without a state dict.

    Raises
    ------
    InputError
        If one is out of range, or the profile does not know it.
    BackendError
        If the backend cannot run here.
    """
    options.check()
    if options.profile not in PROFILES:
        raise InputError(f"profile {options.profile!r} is not one of {', '.join(PROFILES)}")
    profile = PROFILES[options.profile]
    if options.effort == "fast" and not profile.efforts:
        allowed = ", ".join(name for name, one in PROFILES.items() if one.efforts)
        raise InputError(f"effort 'fast' is for the profiles {allowed}, not for {options.profile!r}")
    profile.read_options(options)
    keeps_output(options)
    if options.canonical:
        _check_canonical(options)


def _check_canonical(options: EncodeOptions) -> None:
    """Raise InputError if other options refer to the order of neurons, or the profile has no use for another."""
    if not uses_calibration(options.profile):
        raise InputError(f"canonical is for auto, direct and sparse, not for profile {options.profile!r}")
    if options.base is not None:
        raise InputError("canonical cannot be combined with base: the reference network has an order of its own")
    if callable(options.calibrate):
        raise InputError(
            "canonical cannot be combined with a callable calibrate, whose inputs are in the former order; give "
            "(module, inputs)"
        )


def uses_calibration(profile: str) -> bool:
    """Return whether a profile's quantizers use what is known of a network's sensitivity beside its weights."""
    return profile in ("auto", "direct", "sparse")


def keeps_output(options: EncodeOptions) -> bool:
    """Return whether errors follow from the output's: where nothing else says how much may be lost.

    Raises
    ------
    InputError
        If an output error is given to a profile that has another rule.
    """
    if options.output_error_db is not None and not uses_calibration(options.profile):
        raise InputError(
            f"output_error_db is for auto, direct and sparse; profile {options.profile!r} has another rule"
        )
    given = (options.tolerance, options.errors, options.target_bytes, options.target_bits)
    return uses_calibration(options.profile) and all(value is None for value in given)


@dataclass(frozen=True)
class Task:
    """A tensor to code.

    Attributes
    ----------
    exact
        Whether it must be stored bit-exactly.
    limit
        How far it may be off otherwise; None leaves that to the profile.
    """

    entry: Entry
    exact: bool
    limit: DistortionLimit | None = None


def lossy_entries(entries: list[Entry], profile: str, exact_names: tuple[str, ...], nonfinite: str) -> list[Entry]:
    """Return the entries that may be stored with loss.

    Integers, named exceptions, tensors that are not finite (where allowed), and tensors too large or too small for
    float32 steps are stored exactly.

    Raises
    ------
    StateDictError
        If a tensor is not finite and ``nonfinite`` is ``"error"``.
    """
    return [entry for entry in entries if not _must_be_exact(entry, profile, exact_names, nonfinite)]


def make_tasks(
    entries: list[Entry],
    lossy: list[Entry],
    settings: EncodeOptions,
    sensitivity: SensitivityInfo,
    requested: Mapping[str, float] | None,
) -> list[Task]:
    """Make a task for every entry.

    ``requested`` names root mean squared errors of single tensors, see
    :func:`~coinr.codec.allocate.default_errors.distortion_limits`.

    Raises
    ------
    InputError
        If errors are requested of a tensor that is kept exactly, or without a tolerance.
    """
    tolerance = PROFILES[settings.profile].tolerance if settings.tolerance is None else settings.tolerance
    coarse = {entry.name for entry in lossy} | {entry.name for entry in entries if not in_range(entry)}
    _check_requested(requested or {}, [entry.name for entry in entries], coarse)
    if tolerance is None and (requested or sensitivity):
        raise InputError(
            f"errors and calibrate need a tolerance, which profile {settings.profile!r} has not of its own"
        )
    limits: DistortionLimits
    if tolerance is None:
        limits = [_of_bits(limit) for limit in distortion_limits(lossy, TOLERANCE, sensitivity, requested)]
    else:
        limits = distortion_limits(lossy, tolerance, sensitivity, requested)
    by_name = {entry.name: limit for entry, limit in zip(lossy, limits, strict=True)}
    return [Task(entry, entry.name not in by_name, by_name.get(entry.name)) for entry in entries]


def _of_bits(limit: DistortionLimit | None) -> DistortionLimit | None:
    """Return what a profile without a tolerance must keep: relative errors of elements, as well as its 16 bits do."""
    if limit is None or limit.relative_error is None:
        return None
    return replace(limit, relative_error=2.0 ** (1 - MAX_BITS))


def _check_requested(requested: Mapping[str, float], names: list[str], lossy: set[str]) -> None:
    for name, error in requested.items():
        if name not in names:
            raise InputError(f"errors names {name!r}, which is none of the tensors; {list_names(name, names)}")
        if name not in lossy:
            raise InputError(f"errors names {name!r}, which is no tensor that is stored with loss")
        if isinstance(error, bool) or not isinstance(error, Real) or not 0 <= error < float("inf"):
            raise InputError(f"the error of {name!r} must be a number ≥ 0, not {error!r}")


def _must_be_exact(entry: Entry, profile: str, exact_names: tuple[str, ...], nonfinite: str) -> bool:
    if (
        not entry.allows_loss
        or profile == "lossless"
        or any(fnmatchcase(entry.name, pattern) for pattern in exact_names)
    ):
        return True
    if entry.finite():
        return not in_range(entry)
    if nonfinite == "error":
        raise StateDictError(
            f"tensor {entry.name!r} holds NaN or Inf; nonfinite='lossless' stores such tensors bit-exactly"
        )
    return True


def in_range(entry: Entry) -> bool:
    """Return whether the largest magnitude is a normal float32 or zero; True for integers and if not finite.

    Lossy coders hold no others, as decoding ends in a product of float32 numbers. Squares of such numbers are finite in
    float64.
    """
    if not entry.allows_loss:
        return True
    peak = entry.peak
    return peak == 0 or FLOAT32_TINY <= peak <= FLOAT32_MAX or not math.isfinite(peak)


def least_work(tasks: list[Task], settings: EncodeOptions) -> int:
    """Return a lower bound of the dictionary entries that decoding generates, known before coding.

    Tensors that may be stored losslessly count as 0: exceptions, and those for which a quick estimate says that
    lossless storage may be smaller.
    """
    work = PROFILES[settings.profile].least_work
    lossy = [task for task in tasks if not task.exact]
    return 0 if work is None else work([task.entry for task in lossy], [task.limit for task in lossy], settings)


def encode(tasks: list[Task], settings: EncodeOptions, hessian: HessianFactor | None = None) -> list[Candidate]:
    """Encode every task's tensor; those of a Hessian together, where the profile uses it."""
    if not PROFILES[settings.profile].efforts:
        settings = replace(settings, effort="best")
    lossy = {task.entry.name: task for task in tasks if not task.exact}
    chosen: dict[str, Candidate] = {}
    if hessian is not None and uses_calibration(settings.profile):
        limits = {name: task.limit for name, task in lossy.items() if task.limit is not None}
        if all(name in limits for name in hessian.slices):
            one = encode_in_dictionary if settings.profile == "sparse" else encode_directly
            together = {name: lossy[name].entry for name in hessian.slices}
            chosen = encode_sequentially(hessian, together, limits, settings, one)
    alone = [task for name, task in lossy.items() if name not in chosen]
    results = PROFILES[settings.profile].encode(
        [task.entry for task in alone], [task.limit for task in alone], settings
    )
    chosen |= {task.entry.name: found for task, found in zip(alone, results, strict=True)}
    return [lossless(task.entry) if task.exact else chosen[task.entry.name] for task in tasks]
