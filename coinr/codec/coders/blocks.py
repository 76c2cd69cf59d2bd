"""Large tensors as matrices that are read and written a block at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.codec.tensors import BLOCK, Layout, narrow, real_planes, widen
from coinr.inputs.dtypes import DType


@dataclass(frozen=True)
class Block:
    """Some rows, or a part of one row; blocks follow each other in C order.

    Attributes
    ----------
    rows, columns
        Where the block lies.
    """

    rows: slice
    columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Return the numbers of rows and columns."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @property
    def size(self) -> int:
        """Return the number of elements."""
        rows, columns = self.shape
        return rows * columns


class TensorMatrix:
    """The matrix ``[planes · shape[0], rest]`` of a tensor, which is read and written in place.

    Parameters
    ----------
    array
        Contiguous, in the storage of the dtype.
    """

    def __init__(self, array: NDArray[Any], dtype: DType) -> None:
        layout = Layout(dtype, array.shape)
        self._dtype = dtype
        self._plane_rows = layout.shape[0] if len(layout.shape) > 1 else 1
        self.rows = layout.planes * self._plane_rows
        self.columns = layout.size // self._plane_rows
        shape = self._plane_rows, self.columns
        self._planes = [plane.reshape(shape) for plane in real_planes(array.reshape(-1), dtype)]

    def blocks(self) -> Iterator[Block]:
        """Yield blocks of at most :data:`~coinr.codec.tensors.BLOCK` elements, none of them in two planes."""
        for plane in range(0, self.rows, self._plane_rows):
            for first, last in _parts(self._plane_rows, max(1, BLOCK // self.columns)):
                for start, stop in _parts(self.columns, BLOCK):
                    yield Block(slice(plane + first, plane + last), slice(start, stop))

    def _view(self, block: Block) -> NDArray[Any]:
        plane, row = divmod(block.rows.start, self._plane_rows)
        view: NDArray[Any] = self._planes[plane][row : row + block.shape[0], block.columns]
        return view

    def read(self, block: Block) -> NDArray[np.float64]:
        """Return the values of a block, float64 ``[rows, columns]``."""
        return widen(self._view(block), self._dtype)

    def write(self, block: Block, values: NDArray[np.float32]) -> None:
        """Set the values of a block, each rounded to the tensor's dtype."""
        self._view(block)[:] = narrow(values, self._dtype)

    def rounded(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return values as :meth:`write` and :meth:`read` give them back."""
        return widen(narrow(values, self._dtype), self._dtype)

    def sample(self, count: int, longest: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return about ``count`` values in runs of at most ``longest`` of a row, spread evenly.

        The rows that the runs come from are int64 ``[runs]``, the values float64 ``[runs, length]``.
        """
        length = min(longest, self.columns)
        in_row = self.columns // length
        runs = min(max(1, count // length), self.rows * in_row)
        which = np.arange(runs, dtype=np.int64) * (self.rows * in_row) // runs
        rows, places = which // in_row, which % in_row * length
        values = np.empty((runs, length))
        for plane, part in enumerate(self._planes):
            own = np.flatnonzero(rows // self._plane_rows == plane)
            first = (rows[own] % self._plane_rows) * self.columns + places[own]
            index = first[:, None] + np.arange(length)
            values[own] = widen(part[index // self.columns, index % self.columns], self._dtype)
        return rows, values


def _parts(count: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield the ends of the fewest parts of at most ``most`` things each, all of about one size."""
    parts = -(-count // most)
    for part in range(parts):
        yield part * count // parts, (part + 1) * count // parts
