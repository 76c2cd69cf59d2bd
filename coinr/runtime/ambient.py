"""Settings of torch and NumPy that a caller may have changed; no result depends on them.

:func:`independent` gives every public function settings of its own: gradients, no inference mode, no autocast, the CPU
as default device, denormal numbers kept, NumPy's default errors, full precision in products of float32. Callables of
the caller run under the caller's settings, see :func:`callers_settings`.

The default dtype of torch belongs to all threads, so it is never changed. Code of this package names the dtype of every
tensor that it makes.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np
import torch

from coinr.runtime.denormals import flush_denormals, flushes_denormals

_P = ParamSpec("_P")
_R = TypeVar("_R")

#: Kinds of devices that may have autocast.
_AUTOCAST = ("cpu", "cuda", "mps", "xpu")

#: Names of precisions that do not round products; "none" stands for the default.
_WHOLE = frozenset({"ieee", "none", "highest"})

_ERRORS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


class _Setting(NamedTuple):
    """A setting of a thread: the value of public functions, a reader, and a context manager that sets it."""

    own: Any
    read: Callable[[], Any]
    use: Callable[[Any], AbstractContextManager[Any]]


def _read_autocast() -> Mapping[str, torch.dtype]:
    return {kind: torch.get_autocast_dtype(kind) for kind in _AUTOCAST if torch.is_autocast_enabled(kind)}


@contextmanager
def _use_autocast(dtypes: Mapping[str, torch.dtype]) -> Iterator[None]:
    with ExitStack() as stack:
        for kind in {*dtypes, *_read_autocast()}:
            stack.enter_context(torch.autocast(kind, dtypes.get(kind), enabled=kind in dtypes))
        # the cache keeps casts of weights, which may have changed since
        torch.clear_autocast_cache()
        try:
            yield
        finally:
            torch.clear_autocast_cache()


# In the order in which they are entered: inference mode changes the mode of gradients.
_SETTINGS = {
    "inference": _Setting(False, torch.is_inference_mode_enabled, torch.inference_mode),
    "gradients": _Setting(True, torch.is_grad_enabled, torch.set_grad_enabled),
    "autocast": _Setting({}, _read_autocast, _use_autocast),
    "device": _Setting(torch.device("cpu"), torch.get_default_device, torch.device),
    "denormals": _Setting(False, flushes_denormals, flush_denormals),
    "errors": _Setting(_ERRORS, np.geterr, lambda errors: np.errstate(**errors)),
}


class _Products:
    """The precision of float32 products, which all threads share.

    The first thread that needs full precision sets it; the last one restores the caller's.
    """

    def __init__(self) -> None:
        self._lock, self._users = threading.Lock(), 0
        self._callers: tuple[str, ...] = ()

    @staticmethod
    def _places() -> list[Any]:
        """Return the objects that hold the precision of each library; none before torch 2.9."""
        places = (getattr(torch.backends.cuda, "matmul", None), getattr(torch.backends.mkldnn, "matmul", None))
        return [place for place in places if hasattr(place, "fp32_precision")]

    def _read(self) -> tuple[str, ...]:
        return tuple(place.fp32_precision for place in self._places()) or (torch.get_float32_matmul_precision(),)

    def _write(self, values: tuple[str, ...]) -> None:
        for place, value in zip(self._places(), values, strict=False):
            place.fp32_precision = value
        if not self._places():
            torch.set_float32_matmul_precision(values[0])

    def take(self) -> None:
        """Begin to use full precision."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._callers = self._read()
                if not _WHOLE.issuperset(self._callers):
                    self._write(("ieee" if self._places() else "highest",) * len(self._callers))

    def give_back(self) -> None:
        """End to use full precision."""
        with self._lock:
            self._users -= 1
            if not self._users and not _WHOLE.issuperset(self._callers):
                self._write(self._callers)


class _Thread(threading.local):
    """The caller's settings that a public function changed, while it runs; else None."""

    caller: Mapping[str, Any] | None = None


_products, _thread = _Products(), _Thread()


@contextmanager
def own_settings(*kept: str) -> Iterator[None]:
    """Run under the settings of public functions, apart from those ``kept`` of the caller; restore them at the end."""
    if _thread.caller is not None:  # in a public function that another one called
        yield
        return
    present = {name: setting.read() for name, setting in _SETTINGS.items()}
    caller = {name: value for name, value in present.items() if name not in kept and value != _SETTINGS[name].own}
    with ExitStack() as stack:
        for name in caller:
            stack.enter_context(_SETTINGS[name].use(_SETTINGS[name].own))
        _products.take()
        stack.callback(_products.give_back)
        _thread.caller = caller
        try:
            yield
        finally:
            _thread.caller = None


@contextmanager
def callers_settings(*only: str) -> Iterator[None]:
    """Run a callable of the caller, within :func:`own_settings`, under all of the caller's settings, or ``only`` some.

    Outside of :func:`own_settings` this does nothing. Public functions that run within have their own settings again.
    """
    caller = _thread.caller
    if caller is None:
        yield
        return
    with ExitStack() as stack:
        for name, value in caller.items():
            if not only or name in only:
                stack.enter_context(_SETTINGS[name].use(value))
        if not only or "products" in only:
            _products.give_back()
            stack.callback(_products.take)
        _thread.caller = None
        try:
            yield
        finally:
            _thread.caller = caller


def independent(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make a public function run under :func:`own_settings`."""

    @functools.wraps(function)
    def under_own_settings(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with own_settings():
            return function(*args, **kwargs)

    return under_own_settings
