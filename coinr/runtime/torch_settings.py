"""Settings of torch that a caller may have changed: see :mod:`coinr.runtime.ambient`."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from coinr.runtime.setting import Setting

#: Kinds of devices that may have autocast.
_AUTOCAST = ("cpu", "cuda", "mps", "xpu")

#: Names of precisions that do not round products; "none" stands for the default.
_WHOLE = frozenset({"ieee", "none", "highest"})


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
TORCH_SETTINGS = {
    "inference": Setting(False, torch.is_inference_mode_enabled, torch.inference_mode),
    "gradients": Setting(True, torch.is_grad_enabled, torch.set_grad_enabled),
    "autocast": Setting({}, _read_autocast, _use_autocast),
    "device": Setting(torch.device("cpu"), torch.get_default_device, torch.device),
}


class Products:
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


PRODUCTS = Products()
