"""The options of ``encode_state_dict`` as one value, and checks of them that need no state dict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Self

from coinr.codec.effort import EFFORTS
from coinr.codec.format.tensor_table import Limits
from coinr.engine.backends import select
from coinr.engine.threads import available_threads, check_threads
from coinr.errors import InputError
from coinr.inputs.arguments import check_fields
from coinr.inputs.naming import check_patterns
from coinr.inputs.state_dicts import StateDict
from coinr.sensitivity.calibration import Calibration

DEFAULT_PROFILE = "auto"

#: The output error in dB that is kept by default, and the range of those that may be requested.
OUTPUT_ERROR_DB, OUTPUT_ERRORS_DB = -50.0, (-200.0, 0.0)
DEFAULT_EFFORT = "default"

_OWN = "profile_options"


@dataclass(frozen=True, eq=False, kw_only=True)
class EncodeOptions:
    """The arguments of :func:`~coinr.encode_state_dict` after the state dict, under the same names and defaults.

    Attributes
    ----------
    profile_options
        Keyword arguments that only the profile knows.

    Raises
    ------
    InputError
        If a value is not of the annotated type. :meth:`check` checks ranges.
    """

    seed: int = 0
    profile: str = DEFAULT_PROFILE
    effort: str = DEFAULT_EFFORT
    output_error_db: float | None = None
    tolerance: float | None = None
    lossless: Sequence[str] = ()
    nonfinite: str = "error"
    base: StateDict | None = None
    seeds: int = 1
    calibrate: Calibration | None = None
    errors: Mapping[str, float] | None = None
    target_bytes: int | None = None
    target_bits: float | None = None
    meta: Mapping[str, Any] | None = None
    canonical: bool = False
    limits: Limits | None = None
    backend: str | None = None
    threads: int | None = None
    profile_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any], decided: Sequence[str] = ()) -> Self:
        """Return the options that keyword arguments stand for; arguments of other names are the profile's.

        Parameters
        ----------
        decided
            Names of those that may not be given, since the caller of this function decides them.

        Raises
        ------
        InputError
            If one of them is given, or a value is of a wrong type.
        """
        if refused := [name for name in decided if name in arguments]:
            raise InputError(f"{', '.join(refused)} cannot be given here")
        common = {name: value for name, value in arguments.items() if name in option_names()}
        own = {name: value for name, value in arguments.items() if name not in common}
        return cls(**common, profile_options=own)

    def changed(self, **values: Any) -> Self:
        """Return the options with other values, whose types are not checked again."""
        made = copy(self)
        vars(made).update(values)
        return made

    def check(self) -> None:
        """Check ranges, as far as they depend on neither the state dict nor the profile.

        Raises
        ------
        InputError
            If a value is out of range, or several say how much may be lost.
        BackendError
            If the backend cannot run here.
        """
        if not 0 <= self.seed < 1 << 64:
            raise InputError(f"seed must be an integer in 0 … 2**64 - 1, not {self.seed!r}")
        if not 1 <= self.seeds <= (1 << 64) - self.seed:
            raise InputError(f"seeds must be an integer ≥ 1 with seed + seeds at most 2**64, not {self.seeds!r}")
        if self.effort not in EFFORTS:
            raise InputError(f"effort must be one of {', '.join(EFFORTS)}, not {self.effort!r}")
        if self.nonfinite not in ("error", "lossless"):
            raise InputError(f"nonfinite must be 'error' or 'lossless', not {self.nonfinite!r}")
        check_patterns(self.lossless)
        select(self.backend)
        check_threads(self.threads)
        available_threads(self.threads)
        check_tolerance(self.tolerance)
        check_output_error(self.output_error_db)
        for name, value in {"target_bytes": self.target_bytes, "target_bits": self.target_bits}.items():
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"{name} must be a positive number, not {value!r}")
        targets = [value for value in (self.target_bytes, self.target_bits) if value is not None]
        if len(targets) > 1 or (targets and (self.tolerance is not None or self.errors is not None)):
            raise InputError("give tolerance (and errors), target_bytes or target_bits: one of them")
        if self.output_error_db is not None and (targets or self.tolerance is not None or self.errors is not None):
            raise InputError(
                "give output_error_db, or tolerance (and errors), target_bytes or target_bits: one of them"
            )

    def target_size(self, parameters: int) -> int | None:
        """Return the largest size of the file in bytes for a number of parameters; None without a target."""
        if self.target_bits is not None:
            return int(self.target_bits * parameters / 8)
        return self.target_bytes


def option_names() -> list[str]:
    """Return the names of the options, without those of profiles."""
    return [one.name for one in fields(EncodeOptions) if one.name != _OWN]


def check_tolerance(tolerance: float | None) -> None:
    """Raise InputError unless a tolerance is None or a finite number ≥ 0."""
    if tolerance is not None and not 0 <= tolerance < math.inf:
        raise InputError(f"tolerance must be a number ≥ 0, not {tolerance!r}")


def check_output_error(output_error_db: float | None) -> None:
    """Raise InputError unless a level is None or within the range that may be requested."""
    low, high = OUTPUT_ERRORS_DB
    if output_error_db is not None and not low <= output_error_db <= high:
        raise InputError(f"output_error_db must be a number in {low:g} … {high:g}, not {output_error_db!r}")


def read_profile_options(options: EncodeOptions, **defaults: Any) -> dict[str, Any]:
    """Return the profile's own options over their defaults; InputError for a name that the profile does not know."""
    unknown = sorted(set(options.profile_options) - set(defaults))
    if unknown:
        allowed = ", ".join(defaults) or "none"
        near = get_close_matches(unknown[0], [*defaults, *option_names()], 1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(f"unknown option {unknown[0]!r}; {meant}this profile has: {allowed}")
    return {**defaults, **options.profile_options}


def check_range(name: str, value: Any, low: int, high: int, *, optional: bool = False) -> None:
    """Raise InputError unless the value is an integer in the range, or None where optional."""
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"{name} must be an integer in {low} … {high}, not {value!r}")
