"""How a matrix of quantised weights is entropy coded: the form that the table stores, and the coded integers.

The model itself is C++ (``csrc/levels.hpp``); ``FORMAT.md``, "Levels", says what it computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr import _C
from coinr.errors import FormatError
from coinr.wire import Reader

#: Trellises by their code in the file: log2 of the number of states, 0 for plain scalar quantisation.
LOG_STATES = (0, 2, 3, 4, 5, 6, 7, 8)

#: Generalised normal distributions that contexts start from, by code: their exponents.
SHAPES = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 6.0, 16.0)

#: The largest magnitude of a decoded value, in steps.
LARGEST_VALUE = 2 * ((1 << 20) - 1)

_BY_ROW, _BY_COLUMN, _MIXED = 8, 16, 32
_SHAPE_SHIFT = 5
_MOST_EXPONENT = 22


@dataclass(frozen=True)
class LevelForm:
    """What the decoder of a matrix of integers must know.

    Attributes
    ----------
    log_states
        One of :data:`LOG_STATES`.
    shape
        Code of one of :data:`SHAPES`.
    scale
        Mean magnitude of the values, coded: see :func:`scale_code`.
    by_row, by_column
        Whether magnitudes of earlier values in the row and column scale the model.
    mixed
        Whether several predictions are mixed (smaller) or one is used (faster).
    """

    log_states: int
    shape: int
    scale: int
    by_row: bool
    by_column: bool
    mixed: bool

    def write(self) -> bytes:
        """Two bytes: trellis and switches; shape and scale need a third."""
        mode = LOG_STATES.index(self.log_states) | _BY_ROW * self.by_row | _BY_COLUMN * self.by_column
        return bytes([mode | _MIXED * self.mixed, self.shape, self.scale])

    @classmethod
    def read(cls, reader: Reader) -> LevelForm:
        """Inverse of :meth:`write`; FormatError for codes that mean nothing."""
        mode, shape, scale = reader.u8(), reader.u8(), reader.u8()
        if mode >= 2 * _MIXED or shape >= len(SHAPES) or scale >> 3 > _MOST_EXPONENT:
            raise FormatError(f"level form {mode:#x} {shape} {scale} is unknown")
        return cls(
            LOG_STATES[mode & 7], shape, scale, bool(mode & _BY_ROW), bool(mode & _BY_COLUMN), bool(mode & _MIXED)
        )

    def _arguments(self) -> tuple[Any, ...]:
        return self.log_states, self.shape, decoded_scale(self.scale), self.by_row, self.by_column, self.mixed

    def encode(self, k: NDArray[np.int32]) -> bytes:
        """The integers ``[rows, columns]`` as bytes."""
        data: bytes = _C.encode_levels(np.ascontiguousarray(k), *self._arguments())
        return data

    def decode(self, data: bytes | memoryview, rows: int, columns: int) -> NDArray[np.int32]:
        """The values, multiples of the step, ``[rows, columns]``; FormatError for damaged data."""
        try:
            values: NDArray[np.int32] = _C.decode_levels(bytes(data), rows, columns, *self._arguments())
        except ValueError as error:
            raise FormatError(f"coded levels: {error}") from error
        return values


def decoded_scale(code: int) -> int:
    """Mean magnitude in 1/16 step that a code of three mantissa bits below its exponent stands for."""
    return max(1, ((8 + (code & 7)) << (code >> 3)) >> 3)


def scale_code(mean: float) -> int:
    """The code nearest to a mean magnitude given in steps."""
    codes = np.arange((_MOST_EXPONENT + 1) << 3)
    scales = np.maximum(1, ((8 + (codes & 7)) << (codes >> 3)) >> 3)
    return int(np.abs(np.log(scales) - np.log(max(mean * 16, 1e-9))).argmin())
