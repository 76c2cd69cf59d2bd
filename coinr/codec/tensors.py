"""Tensors in the codec: arrays in the storage of their dtypes, real planes, the cut into vectors with its inverse."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.errors import FormatError
from coinr.inputs.dtypes import DTYPES, DType

# The position of a dtype is its code in the file.
DTYPE_CODES = {dtype: code for code, dtype in enumerate(DTYPES)}

# The dtypes that may be coded with loss; all others are lossless.
LOSSY_DTYPES = frozenset(DTYPES[:6])

# The dtypes of the parts of complex numbers.
_REAL = {"complex32": np.float16, "complex64": np.float32, "complex128": np.float64}

# Bits of the exponent of 8-bit floats, and whether they have infinities.
_FLOAT8 = {"float8_e4m3fn": (4, False), "float8_e5m2": (5, True)}

#: Tensors of more real values are large: no copy of all their values is made, but of one block at a time.
LARGE = 1 << 20

#: Values of a block, where a tensor is read in parts.
BLOCK = 1 << 16


@dataclass(frozen=True)
class Layout:
    """Dtype and shape of a decoded tensor."""

    dtype: DType
    shape: tuple[int, ...]

    @cached_property
    def size(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)

    @cached_property
    def planes(self) -> int:
        """Return 2 for complex tensors (real, imaginary), else 1."""
        return 2 if self.dtype.is_complex else 1

    @property
    def is_large(self) -> bool:
        """Return whether no copy of all values should be made."""
        return self.planes * self.size > LARGE

    @property
    def nbytes(self) -> int:
        """Return the bytes of the decoded tensor."""
        return self.size * self.dtype.itemsize


def blocks(array: NDArray[Any], dtype: DType) -> Iterator[NDArray[np.float64]]:
    """Yield the values that :func:`to_planes` returns, in order, as float64 blocks of at most :data:`BLOCK` values."""
    for plane in real_planes(array.reshape(-1), dtype):
        for first in range(0, len(plane), BLOCK):
            yield widen(plane[first : first + BLOCK], dtype)


def sample(array: NDArray[Any], dtype: DType) -> NDArray[np.float64]:
    """Return at most :data:`BLOCK` values that lie evenly in a tensor; of complex ones, real parts."""
    flat = array.reshape(-1)
    values: NDArray[np.float64] = to_planes(flat[:: -(-len(flat) // BLOCK)], dtype)[0]
    return values


def to_planes(array: NDArray[Any], dtype: DType) -> NDArray[np.float64]:
    """Return the values as float64 ``[planes, size]``: real parts, then imaginary parts of a complex tensor."""
    planes = [widen(plane, dtype) for plane in real_planes(array.reshape(-1), dtype)]
    return planes[0][None] if len(planes) == 1 else np.stack(planes)


def from_planes(planes: NDArray[np.floating[Any]], layout: Layout) -> NDArray[Any]:
    """Return the array of planes, float32 or float64 ``[planes, size]``, each value rounded to the layout's dtype."""
    array = np.empty(layout.shape, layout.dtype.storage)
    for plane, values in zip(real_planes(array.reshape(-1), layout.dtype), planes, strict=True):
        for first in range(0, layout.size, BLOCK):  # narrowing takes several times the memory of its values
            part = slice(first, first + BLOCK)
            plane[part] = narrow(values[part], layout.dtype)
    return array


def real_planes(flat: NDArray[Any], dtype: DType) -> tuple[NDArray[Any], ...]:
    """Return views of the real numbers of a flat array: all, or real and imaginary parts."""
    if not dtype.is_complex:
        return (flat,)
    pairs = np.ascontiguousarray(flat).view(_REAL[dtype.name]).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def widen(values: NDArray[Any], dtype: DType) -> NDArray[np.float64]:
    """Return real numbers in the storage of a dtype, or of its parts, as float64."""
    if dtype.name == "bfloat16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    elif dtype.name in _FLOAT8:
        small: NDArray[np.float64] = _float8_values(*_FLOAT8[dtype.name])[values]
        return small
    with np.errstate(invalid="ignore"):  # of signaling NaN
        wide: NDArray[np.float64] = values.astype(np.float64, copy=False)
    return wide


def narrow(values: NDArray[np.floating[Any]], dtype: DType) -> NDArray[Any]:
    """Return float32 or float64 numbers in the storage of a dtype, or of its parts, each rounded to the nearest."""
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype.name == "float16":
            return values.astype(np.float32, copy=False).astype(np.float16)
        if dtype.name == "bfloat16":
            return _to_bfloat16(values.astype(np.float32, copy=False))
        return values.astype(_REAL.get(dtype.name, dtype.storage))


def _to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return the upper halves of float32 numbers, rounded to the nearest, ties to even; all NaN become one."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded: NDArray[np.uint16] = ((bits + ((bits >> 16 & 1) + 0x7FFF)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)


@cache
def _float8_values(exponent_bits: int, has_infinity: bool) -> NDArray[np.float64]:
    """Return the values of the 256 numbers of an 8-bit float."""
    mantissa_bits = 7 - exponent_bits
    bias = (1 << exponent_bits - 1) - 1
    codes = np.arange(128)
    exponent, mantissa = codes >> mantissa_bits, codes & (1 << mantissa_bits) - 1
    fraction = mantissa / (1 << mantissa_bits) + (exponent > 0)
    values = np.ldexp(fraction, np.maximum(exponent, 1) - bias)
    if has_infinity:
        values[exponent == exponent[-1]] = np.nan
        values[codes[-1] + 1 - (1 << mantissa_bits)] = np.inf
    else:
        values[-1] = np.nan
    return np.concatenate((values, -values))


def to_bytes(array: NDArray[Any]) -> bytes:
    """Return the raw little-endian bytes of an array, in C order."""
    return array.tobytes()


def view_bytes(array: NDArray[Any]) -> memoryview:
    """Return what :func:`to_bytes` does, without a copy; the array is contiguous."""
    return array.reshape(-1).view(np.uint8).data


def from_bytes(raw: bytes | bytearray | NDArray[np.uint8], layout: Layout) -> NDArray[Any]:
    """Return the array whose bytes :func:`to_bytes` gave; it takes over an array."""
    if not layout.size:
        return np.empty(layout.shape, layout.dtype.storage)
    if not isinstance(raw, np.ndarray):
        raw = np.frombuffer(bytearray(raw), np.uint8)
    return raw.view(layout.dtype.storage).reshape(layout.shape)


@dataclass(frozen=True)
class Cut:
    """How a tensor becomes vectors ``[B, n]``.

    Each plane is a matrix ``[shape[0], rest]``, transposed if ``transposed``. It is read in C order and chopped into
    runs of n; the last run is padded with zeros. Planes follow each other.
    """

    transposed: bool
    n: int

    def check(self, layout: Layout) -> None:
        """Raise FormatError unless this cut can belong to a tensor of this layout."""
        if not 1 <= self.n <= layout.size:
            raise FormatError(f"vectors of {self.n} cannot come from a tensor of {layout.size} elements")

    def vectors_per_plane(self, layout: Layout) -> int:
        """Return ceil(size / n)."""
        return -(-layout.size // self.n)

    def batch(self, layout: Layout) -> int:
        """Return B, the vectors of all planes."""
        return layout.planes * self.vectors_per_plane(layout)

    def _matrix(self, layout: Layout) -> tuple[int, int]:
        rows = layout.shape[0] if layout.shape else 1
        return rows, layout.size // rows

    def apply(self, planes: NDArray[np.float64], layout: Layout) -> NDArray[np.float64]:
        """Return the vectors ``[B, n]`` of planes, float64 ``[planes, size]``."""
        if self.transposed:
            planes = planes.reshape(-1, *self._matrix(layout)).transpose(0, 2, 1).reshape(len(planes), -1)
        padding = self.vectors_per_plane(layout) * self.n - layout.size
        return np.pad(planes, ((0, 0), (0, padding))).reshape(-1, self.n)

    def undo(self, vectors: NDArray[np.float32], layout: Layout) -> NDArray[np.float32]:
        """Return the planes ``[planes, size]`` of vectors ``[B, n]``."""
        planes = vectors.reshape(layout.planes, -1)[:, : layout.size]
        if self.transposed:
            rows, columns = self._matrix(layout)
            planes = planes.reshape(-1, columns, rows).transpose(0, 2, 1).reshape(layout.planes, -1)
        return planes
