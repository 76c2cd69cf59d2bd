"""Tensors, arrays and lists of callers as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.errors import InputError
from coinr.inputs.dtypes import dtype_name
from coinr.inputs.plain_arrays import plain_array
from coinr.runtime.loaded import Tensor

# How far values may lie outside of [0, 1] by rounding in float32.
_ROUNDING = 1e-6


def to_array(value: Any, what: str) -> NDArray[Any]:
    """Return a tensor, array or nested list as an array: C-contiguous, aligned, writable, in native byte order.

    Raises
    ------
    InputError
        As :func:`to_tensor`, or if it is a tensor of a dtype that NumPy lacks.
    """
    if not isinstance(value, Tensor):
        return plain_array(value, what)
    from coinr.inputs.dense import to_tensor

    tensor = to_tensor(value, what).resolve_conj().resolve_neg().cpu()
    try:
        return tensor.contiguous().numpy()
    except TypeError as error:
        raise InputError(f"{what} has dtype {dtype_name(tensor.dtype)}, which NumPy lacks: convert it first") from error


def in_unit_range(array: NDArray[Any], what: str) -> NDArray[Any]:
    """Clip a floating array of at least one value to [0, 1], where only rounding put values outside.

    Raises
    ------
    InputError
        If it holds NaN, Inf or values farther outside.
    """
    if not np.isfinite(array).all():
        raise InputError(f"{what} holds NaN or infinite values")
    low, high = float(array.min()), float(array.max())
    rounding = max(_ROUNDING, 8 * float(np.finfo(array.dtype).eps))
    if low < -rounding or high > 1 + rounding:
        raise InputError(f"{what} must lie in [0, 1] if floating, got {exact_repr(low)} to {exact_repr(high)}")
    return array if low >= 0 and high <= 1 else np.clip(array, 0, 1)


def exact_repr(value: float) -> str:
    """Return all digits of a number, for messages about a number that is close to a limit."""
    return repr(float(value)).removesuffix(".0")
