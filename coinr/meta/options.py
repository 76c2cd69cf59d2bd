"""Options of learning a start, with defaults that depend on the method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from coinr.errors import InputError
from coinr.starts.start import check_name

#: The options of each method, and their defaults; None stands for what suits the signals and the network.
METHODS: Mapping[str, Mapping[str, Any]] = {
    "maml": {
        "steps": 1000,
        "learning_rate": None,
        "signals_per_step": 3,
        "inner_steps": 3,
        "inner_rate": 1e-2,
        "first_order": False,
    },
    "reptile": {
        "steps": 300,
        "learning_rate": 1.0,
        "signals_per_step": 3,
        "inner_steps": 20,
        "inner_rate": None,
    },
    "joint": {"steps": 2000, "learning_rate": None},
}

_OPTIONS = {name for options in METHODS.values() for name in options}

_LARGEST, _MOST_INNER_STEPS = 1e30, 1000


@dataclass(frozen=True, kw_only=True)
class MetaOptions:
    """How to learn a start: the arguments of :func:`coinr.learn_start` of these names.

    Those that a method does not have are 0, None or False.

    Raises
    ------
    InputError
        If one of them is out of range.
    """

    method: str
    name: str
    batch: int
    seed: int
    threads: int | None
    time_budget: float | None
    steps: int
    learning_rate: float | None
    signals_per_step: int = 0
    inner_steps: int = 0
    inner_rate: float | None = None
    first_order: bool = False

    @classmethod
    def of(cls, method: str, **given: Any) -> Self:
        """Return the options of a method, with its defaults for those that are None.

        Raises
        ------
        InputError
            If there is no such method, or it does not have an option that is given.
        """
        if method not in METHODS:
            raise InputError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
        chosen = {name: value for name, value in given.items() if name in _OPTIONS and value is not None}
        if foreign := [name for name in chosen if name not in METHODS[method]]:
            raise InputError(f"{foreign[0]} is no option of method {method!r}")
        common = {name: value for name, value in given.items() if name not in _OPTIONS}
        return cls(method=method, **common, **{**METHODS[method], **chosen})

    def __post_init__(self) -> None:
        check_name(self.name)
        for name in METHODS[self.method].keys() & {"steps", "signals_per_step", "inner_steps"} | {"batch", "threads"}:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} must be an integer >= 1, got {value!r}")
        if self.inner_steps > _MOST_INNER_STEPS:
            raise InputError(f"inner_steps must be at most {_MOST_INNER_STEPS}, got {self.inner_steps!r}")
        if self.time_budget is not None and not self.time_budget > 0:
            raise InputError(f"time_budget must be positive, got {self.time_budget!r}")
        for name in ("learning_rate", "inner_rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < _LARGEST:
                raise InputError(f"{name} must be positive and below {_LARGEST:g}, got {value!r}")
        if not 0 <= self.seed < 2**64:
            raise InputError(f"seed must be an integer in 0 .. 2^64 - 1, got {self.seed!r}")
