"""Entropy coding of levels: the integers of a quantized matrix, and the form that the table stores for them.

A level is a quantization index. The model is C++ (``csrc/entropy/levels.hpp``); ``FORMAT.md``, "Levels", specifies it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coinr.codec.wire import Reader
from coinr.engine import native
from coinr.errors import FormatError

#: Trellises by their code in the file: log2 of the number of states; 0 is scalar quantization.
LOG_STATES = (0, 2, 3, 4, 5, 6, 7, 8)

#: Exponents of the generalized normal distributions that contexts start from, by code.
SHAPES = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 6.0, 16.0)

#: The step exponents of a form that has none.
NO_STEPS: NDArray[np.uint8] = np.zeros(0, np.uint8)

_NO_EXPONENT: NDArray[np.int64] = np.zeros((1, 1), np.int64)
_ONE_FACTOR: NDArray[np.float32] = np.ones((1, 1), np.float32)

#: The largest magnitude of a decoded value, in steps.
LARGEST_VALUE = 2 * ((1 << 20) - 1)

#: The largest step exponent of a row or column. Each unit widens a step by the square root of two.
MOST_EXPONENT = 31

_MOST_SCALE = 22

# Bits of a form: of its first byte, and of its second.
_MIXED, _STEPS = 0x20, 0xC0
_ASCENDING, _RANS = 0x08, 0x40


@dataclass(frozen=True)
class LevelForm:
    """How a matrix of levels is coded: what a decoder must know.

    Attributes
    ----------
    log_states
        One of :data:`LOG_STATES`.
    shape
        Code of one of :data:`SHAPES`.
    scale
        Code of the mean magnitude of the values, in base steps: see :func:`scale_code`. Of an ascending form, that of
        the distances, in integers.
    by_row, by_column
        Whether the magnitudes of earlier values in the row and in the column scale the model.
    mixed
        Whether several predictions are mixed (fewer bytes) or one is used (faster).
    row_steps, column_steps
        Whether rows and columns have step exponents.
    rans
        Whether integers are coded as whole symbols (fastest); not together with ``mixed``.
    ascending
        Whether integers are coded by their distance from the value before; not together with steps or ``rans``.
    """

    log_states: int
    shape: int
    scale: int
    by_row: bool = False
    by_column: bool = False
    mixed: bool = True
    row_steps: bool = False
    column_steps: bool = False
    rans: bool = False
    ascending: bool = False

    @property
    def _switches(self) -> int:
        return self.by_row | self.by_column << 1 | self.mixed << 2 | self.row_steps << 3 | self.column_steps << 4

    def write(self) -> bytes:
        """Return three bytes: trellis and switches, shape, scale."""
        mode = LOG_STATES.index(self.log_states) | self._switches << 3
        return bytes([mode, self.shape | _ASCENDING * self.ascending | _RANS * self.rans, self.scale])

    @classmethod
    def read(cls, reader: Reader) -> LevelForm:
        """Read what :meth:`write` wrote; raise FormatError for unknown codes."""
        return cls.of(*reader.take(3))

    @classmethod
    def of(cls, mode: int, shape: int, scale: int) -> LevelForm:
        """Return the form of three bytes that :meth:`write` made; raise FormatError for unknown codes."""
        ascending, rans = bool(shape & _ASCENDING), bool(shape & _RANS)
        code = shape & ~_ASCENDING & ~_RANS
        excluded = (rans and mode & _MIXED) or (ascending and (rans or mode & _STEPS))
        if code >= len(SHAPES) or scale >> 3 > _MOST_SCALE or excluded:
            raise FormatError(f"level form {mode} {shape} {scale} is unknown")
        switches = [*(bool(mode >> bit & 1) for bit in range(3, 8)), rans, ascending]
        return cls(LOG_STATES[mode & 7], code, scale, *switches)

    def _arguments(self) -> tuple[int, int, int, int]:
        switches = self._switches | self.rans << 5 | self.ascending << 6
        return self.log_states, self.shape, decoded_scale(self.scale), switches

    def encode(
        self, k: NDArray[np.int32], row: NDArray[np.uint8] = NO_STEPS, column: NDArray[np.uint8] = NO_STEPS
    ) -> bytes:
        """Encode levels, int32 ``[rows, columns]``, with the step exponents, uint8, that the form has."""
        row, column = row if self.row_steps else NO_STEPS, column if self.column_steps else NO_STEPS
        data: bytes = native.encode_levels(np.ascontiguousarray(k), row, column, *self._arguments())
        return data

    def encode_in_blocks(self, k: NDArray[np.int16] | NDArray[np.int32], row: NDArray[np.uint8]) -> native.CodedLevels:
        """Encode the levels of a large matrix by rANS, in little memory beside the coded bytes.

        ``finish()`` of the result returns what :meth:`encode` does. The levels are not needed for that.
        """
        return native.encode_levels_in_blocks(k, row, *self._arguments())

    def reader(self, data: memoryview, rows: int, columns: int) -> native.LevelReader:
        """Return a reader of the values that rANS coded; damaged data raise FormatError or, in the reader, ValueError.

        ``data`` must not change while it reads.
        """
        _check_size(rows, columns, len(data))
        try:
            return native.LevelReader(data, rows, columns, *self._arguments())
        except ValueError as error:
            raise FormatError(f"coded levels: {error}") from error

    def decode(
        self, data: bytes | memoryview, rows: int, columns: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the values, int32, in steps of each element, and the factors of the base step, float32 and exact.

        Both broadcast to ``[rows, columns]``. Damaged data raise FormatError.
        """
        _check_size(rows, columns, len(data))
        try:
            values, row, column = native.decode_levels(bytes(data), rows, columns, *self._arguments())
        except ValueError as error:
            raise FormatError(f"coded levels: {error}") from error
        return values, step_factors(row, column)


# Decoding a level takes as long as decoding this many bits of the exact coder.
_BITS_PER_LEVEL = 16


def worth_decoding(count: int, size: int) -> bool:
    """Return whether a payload of ``size`` bytes may stand for ``count`` levels.

    The bound keeps the time to decode in proportion to the size. Encoders store tensors beyond it by another coder.
    """
    limit: int = native.max_modeled_bits(size)
    return _BITS_PER_LEVEL * count <= limit


def _check_size(rows: int, columns: int, size: int) -> None:
    if not worth_decoding(rows * columns, size):
        raise FormatError(f"{size} bytes may not stand for {rows} x {columns} levels")


def step_factors(row: NDArray[np.uint8], column: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return factors of the base step, float32 ``[rows or 1, columns or 1]``, from step exponents; empty ones are 0.

    The factor is 2^(e / 2), where e is the sum of both exponents and 181 / 128 stands for √2: exact in float32.
    """
    if not row.size and not column.size:
        return _ONE_FACTOR
    total = step_exponents(row, column)
    factors: NDArray[np.float32] = np.ldexp(np.where(total & 1, 181 / 128, 1.0), total >> 1).astype(np.float32)
    return factors


def step_exponents(row: NDArray[np.uint8], column: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the sums of the step exponents of rows and columns, int64 ``[rows or 1, columns or 1]``."""
    if not row.size and not column.size:
        return _NO_EXPONENT
    zero = np.zeros(1, np.int64)
    total: NDArray[np.int64] = (row if row.size else zero)[:, None].astype(np.int64) + (column if column.size else zero)
    return total


def decoded_scale(code: int) -> int:
    """Return the mean magnitude, in 1/16 step, of a code: an exponent above three bits of mantissa."""
    return max(1, ((8 + (code & 7)) << (code >> 3)) >> 3)


_SCALES = np.log([decoded_scale(code) for code in range((_MOST_SCALE + 1) << 3)])
_SCALE_LIST = _SCALES.tolist()


def scale_codes(means: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the codes nearest to mean magnitudes in steps, int64 of their shape."""
    logs = np.log(np.maximum(means * 16, 1e-9))
    above = np.clip(np.searchsorted(_SCALES, logs), 1, len(_SCALES) - 1)
    nearest: NDArray[np.int64] = above - (logs - _SCALES[above - 1] < _SCALES[above] - logs)
    return nearest


def scale_code(mean: float) -> int:
    """Return the code nearest to a mean magnitude in steps."""
    log = math.log(max(mean * 16, 1e-9))
    above = min(max(bisect_left(_SCALE_LIST, log), 1), len(_SCALE_LIST) - 1)
    nearer: bool = log - _SCALE_LIST[above - 1] < _SCALE_LIST[above] - log
    return above - nearer
