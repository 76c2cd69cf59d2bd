"""Fill memory that nothing has written with NaN or large odd integers, so that reading it shows."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

PATTERN = 0x5B5B5B5B
INTEGERS = {getattr(torch, f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)}


def fill_tensor(made: torch.Tensor) -> torch.Tensor:
    """Fill a tensor of a plain dtype; packed and quantized ones stay as they are."""
    with torch.no_grad():
        if made.dtype in INTEGERS:
            made.fill_(PATTERN & torch.iinfo(made.dtype).max)
        elif made.dtype == torch.bool:
            made.fill_(True)
        elif (made.is_floating_point() or made.is_complex()) and not str(made.dtype).endswith("_x2"):
            made.fill_(float("nan"))
    return made


def fill_array(made: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Fill an array of numbers; other dtypes stay as they are."""
    if made.dtype.kind in "fc":
        made.fill(np.nan)
    elif made.dtype.kind == "b":
        made.fill(True)
    elif made.dtype.kind in "iu":
        made.fill(PATTERN & np.iinfo(made.dtype).max)
    return made


def _filled(make: Callable[..., Any], fill: Callable[[Any], Any]) -> Callable[..., Any]:
    @functools.wraps(make)
    def call(*args: Any, **options: Any) -> Any:
        return fill(make(*args, **options))

    return call


def _resize(resize: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    @functools.wraps(resize)
    def call(self: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        before = self.numel()
        made = resize(self, *args, **options)
        if made.is_contiguous() and made.numel() > before:
            fill_tensor(made.view(-1)[before:])
        return made

    return call


def everywhere() -> None:
    """Replace the functions of PyTorch and NumPy that return such memory, for the rest of the process."""
    # PyTorch collects the functions that a default device applies to once: before they are replaced.
    with torch.device("cpu"):
        torch.empty(0)
    for owner, names in (
        (torch, ("empty", "empty_like", "empty_strided")),
        (torch.Tensor, ("new_empty", "new_empty_strided")),
    ):
        for name in names:
            setattr(owner, name, _filled(getattr(owner, name), fill_tensor))
    torch.Tensor.resize_ = _resize(torch.Tensor.resize_)  # type: ignore[method-assign]
    for name in ("empty", "empty_like"):
        setattr(np, name, _filled(getattr(np, name), fill_array))
