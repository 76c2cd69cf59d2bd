"""The dtypes that files hold, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from coinr.errors import InputError


@dataclass(frozen=True)
class DType:
    """A dtype as torch names it, and the one of the arrays that hold it.

    Attributes
    ----------
    storage
        NumPy's dtype of that name, or unsigned integers of its size for the bits of what NumPy lacks.
    """

    name: str
    storage: np.dtype[Any]

    def __str__(self) -> str:
        return self.name

    @property
    def itemsize(self) -> int:
        """Return the bytes of an element."""
        return self.storage.itemsize

    @property
    def is_complex(self) -> bool:
        """Return whether elements are complex numbers."""
        return self.name.startswith("complex")

    @property
    def is_floating_point(self) -> bool:
        """Return whether elements are real floating-point numbers."""
        return "float" in self.name

    @property
    def is_native(self) -> bool:
        """Return whether NumPy has this dtype."""
        return self.name == self.storage.name


def _dtype(name: str, storage: str = "") -> DType:
    return DType(name, np.dtype(storage or name))


# The position of a dtype is its code in the file: append only.
DTYPES: tuple[DType, ...] = (
    _dtype("float32"),
    _dtype("float64"),
    _dtype("float16"),
    _dtype("bfloat16", "uint16"),
    _dtype("complex64"),
    _dtype("complex128"),
    _dtype("bool"),
    _dtype("uint8"),
    _dtype("int8"),
    _dtype("int16"),
    _dtype("int32"),
    _dtype("int64"),
    _dtype("uint16"),
    _dtype("uint32"),
    _dtype("uint64"),
    _dtype("float8_e4m3fn", "uint8"),
    _dtype("float8_e5m2", "uint8"),
    _dtype("complex32", "uint32"),
)

#: The dtypes by name.
BY_NAME = {dtype.name: dtype for dtype in DTYPES}


def dtype_name(dtype: object) -> str:
    """Return ``float32`` for ``torch.float32``, for NumPy's dtype and for a :class:`DType`."""
    return str(dtype).removeprefix("torch.")


def check_dtype(dtype: object, what: str) -> DType:
    """Return the dtype of that name; raise InputError, which calls the tensor ``what``, unless files hold it."""
    found = BY_NAME.get(dtype_name(dtype))
    if found is None:
        raise InputError(f"{what} has dtype {dtype_name(dtype)}; convert it to one of {', '.join(BY_NAME)}")
    return found
