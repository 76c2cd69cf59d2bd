"""Direct coder: a uniform or trellis-coded quantizer and an adaptive arithmetic coder, one base step a tensor.

w = float32(v) · step, with integers v. All |v| are below 2²⁴, so only the product is rounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.codec.coders.blocks import Block, TensorMatrix
from coinr.codec.coders.coder import read_short_step, write_short_step
from coinr.codec.coders.levels import LARGEST_VALUE, MOST_EXPONENT, LevelForm, step_factors
from coinr.codec.tensors import LOSSY_DTYPES, Layout, from_planes
from coinr.codec.wire import Reader
from coinr.engine import native
from coinr.errors import FormatError

_TRANSPOSED = 0x80

# Integers [rows, columns], and the step exponents of rows and columns.
Integers = tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True)
class DirectParams:
    """How a matrix of integers is coded.

    Attributes
    ----------
    step
        The base step: a float32 whose lower 16 bits are zero.
    transposed
        Whether the matrix is coded column by column.
    """

    form: LevelForm
    step: float
    transposed: bool = False

    def write(self) -> bytes:
        mode, shape, scale = self.form.write()
        return bytes([mode, shape | _TRANSPOSED * self.transposed, scale]) + write_short_step(self.step)

    def check(self, layout: Layout) -> None:
        if layout.dtype not in LOSSY_DTYPES:
            raise FormatError(f"{layout.dtype} cannot be quantized")
        if not layout.size:
            raise FormatError("a tensor without elements cannot be quantized")

    def work(self, layout: Layout) -> int:
        return 0

    def describe(self, layout: Layout) -> dict[str, Any]:
        order = {"order": "ascending"} if self.form.ascending else {}
        return {"step": self.step, "states": 1 << self.form.log_states, **order}


class DirectCoder:
    """Payload: the coded integers of the matrix ``[planes · shape[0], rest]``, or of its transpose."""

    id = 3
    name = "direct"

    def read(self, reader: Reader) -> DirectParams:
        mode, shape, scale = reader.take(3)
        form = LevelForm.of(mode, shape & ~_TRANSPOSED, scale)
        widest = 1 << MOST_EXPONENT if form.row_steps or form.column_steps else 1
        return DirectParams(form, read_short_step(reader, LARGEST_VALUE * widest), bool(shape & _TRANSPOSED))

    def encode(self, content: Integers, params: DirectParams) -> bytes:
        return params.form.encode(*content)

    def decode(
        self, payload: memoryview, params: DirectParams, layout: Layout, seed: int, device: str = "cpu"
    ) -> NDArray[Any]:
        if layout.is_large and params.form.rans and not params.transposed:
            return self._decode_in_blocks(payload, params, layout)
        rows, columns = matrix_shape(layout)
        values, factors = params.form.decode(payload, *((columns, rows) if params.transposed else (rows, columns)))
        if params.transposed:
            values, factors = values.T, factors.T
        return dequantize(values, np.float32(params.step) * factors, layout)

    def _decode_in_blocks(self, payload: memoryview, params: DirectParams, layout: Layout) -> NDArray[Any]:
        """Return an array that is decoded in little memory beside its own."""
        rows, columns = matrix_shape(layout)
        reader = params.form.reader(payload, rows, columns)
        array = np.empty(layout.shape, layout.dtype.storage)
        matrix = TensorMatrix(array, layout.dtype)
        for block, values in read_blocks(reader, params, matrix):
            matrix.write(block, values)
        return array


def read_blocks(
    reader: native.LevelReader, params: DirectParams, matrix: TensorMatrix
) -> Iterator[tuple[Block, NDArray[np.float32]]]:
    """Yield the blocks of a matrix with their decoded values, float32, until all are done and nothing is left.

    Raises
    ------
    FormatError
        If the data are damaged.
    """
    row, column, step = reader.row, reader.column, np.float32(params.step)
    try:
        for block in matrix.blocks():
            values = reader.read(block.size).reshape(block.shape)
            yield block, values.astype(np.float32) * (step * step_factors(row[block.rows], column[block.columns]))
        reader.finish()
    except ValueError as error:
        raise FormatError(f"coded levels: {error}") from error


def matrix_shape(layout: Layout) -> tuple[int, int]:
    """Return rows and columns of the matrix ``[planes · shape[0], rest]``; a vector is one row."""
    rows = layout.shape[0] if len(layout.shape) > 1 else 1
    return layout.planes * rows, layout.size // rows


def dequantize(values: NDArray[np.int32], steps: NDArray[np.float32], layout: Layout) -> NDArray[Any]:
    """Return the array of integers ``[rows, columns]`` times float32 steps that broadcast to them.

    Each product is rounded to float32 and then to the dtype of the layout.
    """
    products = values.astype(np.float32) * steps
    return from_planes(products.reshape(layout.planes, -1), layout)
