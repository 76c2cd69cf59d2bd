"""Targets of a compression: a size or a score, and their checks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from coinr.codec.options import EncodeOptions
from coinr.codec.profiles.tasks import check_options
from coinr.errors import InputError
from coinr.inputs.naming import check_patterns
from coinr.signals.audio.signal import AudioSignal
from coinr.signals.image.signal import ImageSignal
from coinr.signals.shape.signal import ShapeSignal
from coinr.signals.signal import Signal

# Options of ``encode_state_dict`` that the budget sets.
_SET_BY_BUDGET = ("output_error_db", "tolerance", "errors", "target_bits", "calibrate", "base", "meta")

# The largest target: beyond it, numbers of bits are no floats.
_LARGEST = 1 << 63

# Profiles whose files can have almost any size, and that ``refine`` supports.
_PROFILES = ("auto", "direct", "sparse")


@dataclass(frozen=True)
class Budget:
    """The largest size in bytes, or the lowest score; the other is None."""

    size: int | None
    score: float | None


def resolve_budget(
    signal: Signal, target_bytes: int | None, target_bpp: float | None, min_score: float | None
) -> Budget:
    """Return the budget that one of three arguments of :func:`coinr.compress` sets for a signal.

    Raises
    ------
    InputError
        If none or several are given, or one is out of range.
    """
    given = {"target_bytes": target_bytes, "target_bpp": target_bpp, "min_score": min_score}
    if sum(value is not None for value in given.values()) != 1:
        raise InputError(f"give one of {', '.join(given)}")
    if target_bytes is not None and (isinstance(target_bytes, bool) or not isinstance(target_bytes, int)):
        raise InputError(f"target_bytes must be an integer, got {target_bytes!r}")
    for name, value in given.items():
        if value is None:
            continue
        # a whole number beyond floats is compared, never converted or printed
        finite = -math.inf < value < math.inf
        if finite and not -_LARGEST <= value <= _LARGEST:
            raise InputError(f"{name} must be at most 2**63, got a number of {int(abs(value)).bit_length()} bits")
        if not (finite and (value > 0 or name == "min_score")):
            raise InputError(f"{name} must be a {'' if name == 'min_score' else 'positive '}finite number, got {value}")
    if min_score is not None and not signal.unit and min_score >= 1:
        raise InputError(f"min_score must be below 1 for a {signal.metric}, got {min_score}")
    if target_bpp is not None:
        target_bytes = math.floor(target_bpp * count_samples(signal) / 8)
    return Budget(target_bytes, min_score)


def count_samples(signal: Signal) -> int:
    """Return the number of pixels, of samples of a sound, or of voxels of the whole grid.

    Raises
    ------
    InputError
        If the signal is a scene, which has no samples of its own.
    """
    if isinstance(signal, ShapeSignal):
        return int(np.prod(signal.volume.shape))
    if not isinstance(signal, ImageSignal | AudioSignal):
        raise InputError(f"a {signal.kind} has no samples that bits could be counted by: give target_bytes")
    return signal.count


def check_encode_options(codec: Mapping[str, Any]) -> None:
    """Check options of ``encode_state_dict`` before a long fit.

    Raises
    ------
    InputError
        If an option is out of range or set by the budget, or if the profile cannot meet a budget.
    """
    if decided := [name for name in _SET_BY_BUDGET if name in codec]:
        raise InputError(f"a budget decides {', '.join(decided)}")
    # whether patterns match is only known once there is a network
    check_patterns(codec.get("lossless", ()))
    options = EncodeOptions.from_arguments(codec)
    check_options(options)
    if options.profile not in _PROFILES:
        raise InputError(
            f"profile {options.profile!r} cannot be given a budget; it must be one of {', '.join(_PROFILES)}"
        )
