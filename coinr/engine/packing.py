"""Bit packing and Rice coding of index lists; hostile input gives a FormatError.

The C++ extension does the work and checks every bound; this module turns its errors into typed ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coinr.engine import _C
from coinr.errors import FormatError


def pack_bits(values: NDArray[np.uint32], width: int) -> bytes:
    """Pack each of ``values`` (uint32 ``[N]``) in ``width`` bits (1 … 32), least significant bit first, zero padded."""
    packed: bytes = _C.pack_bits(values, width)
    return packed


def unpack_bits(data: bytes | memoryview, count: int, width: int) -> NDArray[np.uint32]:
    """Undo :func:`pack_bits`: uint32 ``[count]``."""
    try:
        values: NDArray[np.uint32] = _C.unpack_bits(bytes(data), count, width)
    except ValueError as error:
        raise FormatError(f"packed bits: {error}") from error
    return values


def pack_sorted(indices: NDArray[np.int32], M: int) -> bytes:
    """Pack rows of strictly ascending indices (int32 ``[B, s]``, below M) as Rice-coded gaps (``FORMAT.md``)."""
    packed: bytes = _C.pack_sorted(indices, M)
    return packed


def unpack_sorted(data: bytes | memoryview, B: int, s: int, M: int) -> NDArray[np.int32]:
    """Undo :func:`pack_sorted`: int32 ``[B, s]``, rows strictly ascending, below M."""
    try:
        indices: NDArray[np.int32] = _C.unpack_sorted(bytes(data), B, s, M)
    except ValueError as error:
        raise FormatError(f"sorted indices: {error}") from error
    return indices
