"""Tensors in the codec: dtype codes, real planes, and the cut into vectors with its inverse."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from coinr.errors import FormatError
from coinr.inputs.dtypes import DTYPES

# The position of a dtype is its code in the file.
DTYPE_CODES = {dtype: code for code, dtype in enumerate(DTYPES)}

# The dtypes that may be coded with loss; all others are lossless.
LOSSY_DTYPES = frozenset(DTYPES[:6])

#: Tensors of more real values are large: no copy of all their values is made, but of one block at a time.
LARGE = 1 << 20

#: Values of a block, where a tensor is read in parts.
BLOCK = 1 << 16


@dataclass(frozen=True)
class Layout:
    """Dtype and shape of a decoded tensor."""

    dtype: torch.dtype
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


def blocks(tensor: torch.Tensor) -> Iterator[NDArray[np.float64]]:
    """Yield the values that :func:`to_planes` returns, in order, as float64 blocks of at most :data:`BLOCK` values."""
    flat = tensor.reshape(-1)
    for plane in torch.view_as_real(flat).unbind(1) if tensor.dtype.is_complex else (flat,):
        for first in range(0, len(plane), BLOCK):
            part: NDArray[np.float64] = plane[first : first + BLOCK].to(torch.float64).numpy()
            yield part


def sample(tensor: torch.Tensor) -> NDArray[np.float64]:
    """Return at most :data:`BLOCK` values that lie evenly in a tensor; of complex ones, real parts."""
    flat = tensor.reshape(-1)
    values: NDArray[np.float64] = to_planes(flat[:: -(-len(flat) // BLOCK)])[0]
    return values


def to_planes(tensor: torch.Tensor) -> NDArray[np.float64]:
    """Return the values as float64 ``[planes, size]``: real parts, then imaginary parts of a complex tensor."""
    flat = tensor.reshape(-1)
    if tensor.dtype.is_complex:
        flat = torch.view_as_real(flat).T
    planes: NDArray[np.float64] = flat.to(torch.float64).reshape(-1, tensor.numel()).numpy()
    return planes


def from_planes(planes: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Return the tensor of planes, float32 or float64 ``[planes, size]``, each value rounded to the layout's dtype."""
    if layout.dtype.is_complex:
        wide = torch.complex(planes[0], planes[1])
        return wide.to(layout.dtype).reshape(layout.shape)
    return planes[0].to(layout.dtype).reshape(layout.shape)


def to_bytes(tensor: torch.Tensor) -> bytes:
    """Return the raw little-endian bytes of a tensor, in C order."""
    raw: bytes = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return raw


def view_bytes(tensor: torch.Tensor) -> memoryview:
    """Return what :func:`to_bytes` does, without a copy; the tensor is contiguous and on the CPU."""
    raw: memoryview = tensor.reshape(-1).view(torch.uint8).numpy().data
    return raw


def from_bytes(raw: bytes | bytearray | NDArray[np.uint8], layout: Layout) -> torch.Tensor:
    """Return the tensor whose bytes :func:`to_bytes` gave; it takes over an array."""
    if not layout.size:
        return torch.empty(layout.shape, dtype=layout.dtype)
    if isinstance(raw, np.ndarray):
        return torch.from_numpy(raw).view(layout.dtype).reshape(layout.shape)
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(layout.dtype).reshape(layout.shape)


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

    def undo(self, vectors: torch.Tensor, layout: Layout) -> torch.Tensor:
        """Return the planes ``[planes, size]`` of vectors ``[B, n]``."""
        planes = vectors.reshape(layout.planes, -1)[:, : layout.size]
        if self.transposed:
            rows, columns = self._matrix(layout)
            planes = planes.reshape(-1, columns, rows).transpose(1, 2).reshape(layout.planes, -1)
        return planes
