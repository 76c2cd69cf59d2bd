"""The dtypes that files hold."""

from __future__ import annotations

import torch

from coinr.errors import InputError

# The position of a dtype is its code in the file: append only.
DTYPES: tuple[torch.dtype, ...] = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.complex64,
    torch.complex128,
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.complex32,
)


def dtype_name(dtype: torch.dtype) -> str:
    """Return ``float32`` for ``torch.float32``."""
    return str(dtype).removeprefix("torch.")


def check_dtype(dtype: torch.dtype, what: str) -> None:
    """Raise InputError, which calls the tensor ``what``, unless files hold this dtype."""
    if dtype not in DTYPES:
        allowed = ", ".join(map(dtype_name, DTYPES))
        raise InputError(f"{what} has dtype {dtype_name(dtype)}; convert it to one of {allowed}")
