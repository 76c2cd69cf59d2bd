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
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from coinr.runtime.denormals import flush_denormals, flushes_denormals
from coinr.runtime.loaded import torch_is_loaded
from coinr.runtime.setting import Setting

if TYPE_CHECKING:
    from coinr.runtime.torch_settings import Products

_P = ParamSpec("_P")
_R = TypeVar("_R")

_ERRORS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}

_PLAIN_SETTINGS = {
    "denormals": Setting(False, flushes_denormals, flush_denormals),
    "errors": Setting(_ERRORS, np.geterr, lambda errors: np.errstate(**errors)),
}


def _settings() -> Mapping[str, Setting]:
    """Return all settings by name; those of torch only where it is loaded, as nobody has changed them before."""
    if not torch_is_loaded():
        return _PLAIN_SETTINGS
    from coinr.runtime.torch_settings import TORCH_SETTINGS

    return {**TORCH_SETTINGS, **_PLAIN_SETTINGS}


def _products() -> Products | None:
    """Return the precision of torch's products; None where torch is not loaded."""
    if not torch_is_loaded():
        return None
    from coinr.runtime.torch_settings import PRODUCTS

    return PRODUCTS


class _Thread(threading.local):
    """The caller's settings that a public function changed, while it runs; else None. So for the products it took."""

    caller: Mapping[str, Any] | None = None
    products: Products | None = None


_thread = _Thread()


@contextmanager
def own_settings(*kept: str) -> Iterator[None]:
    """Run under the settings of public functions, apart from those ``kept`` of the caller; restore them at the end."""
    if _thread.caller is not None:  # in a public function that another one called
        yield
        return
    settings, products = _settings(), _products()
    present = {name: setting.read() for name, setting in settings.items()}
    caller = {name: value for name, value in present.items() if name not in kept and value != settings[name].own}
    with ExitStack() as stack:
        for name in caller:
            stack.enter_context(settings[name].use(settings[name].own))
        if products is not None:
            products.take()
            stack.callback(products.give_back)
        _thread.caller, _thread.products = caller, products
        try:
            yield
        finally:
            _thread.caller = _thread.products = None


@contextmanager
def callers_settings(*only: str) -> Iterator[None]:
    """Run a callable of the caller, within :func:`own_settings`, under all of the caller's settings, or ``only`` some.

    Outside of :func:`own_settings` this does nothing. Public functions that run within have their own settings again.
    """
    caller, products = _thread.caller, _thread.products
    if caller is None:
        yield
        return
    settings = _settings()
    with ExitStack() as stack:
        for name, value in caller.items():
            if not only or name in only:
                stack.enter_context(settings[name].use(value))
        if products is not None and (not only or "products" in only):
            products.give_back()
            stack.callback(products.take)
        _thread.caller = _thread.products = None
        try:
            yield
        finally:
            _thread.caller, _thread.products = caller, products


def independent(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make a public function run under :func:`own_settings`."""

    @functools.wraps(function)
    def under_own_settings(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with own_settings():
            return function(*args, **kwargs)

    return under_own_settings
