"""Coding of signed integers of b bits: bit-packed, or Brotli of their byte planes, whichever is smaller."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coinr.codec.wire import Reader, compress, expand
from coinr.engine import packing
from coinr.errors import FormatError

MAX_BITS = 16
_PACKED, _PLANES = 0, 1


def largest(bits: int) -> int:
    """Return the largest magnitude of a symmetric b-bit symbol: 2**(bits - 1) - 1."""
    return (1 << (bits - 1)) - 1


def _width(bits: int) -> int:
    return -(-bits // 8)


def encode_symbols(q: NDArray[np.int32], bits: int) -> bytes:
    """Encode integers (any shape, C order), each in ``±largest(bits)``: one mode byte, then the symbols.

    Mode 0: ``q + largest(bits)`` in ``bits`` bits each. Mode 1: Brotli of the byte planes of ``q`` in two's
    complement, low bytes of all symbols first.
    """
    flat = np.ascontiguousarray(q.reshape(-1), np.int32)
    packed = packing.pack_bits((flat + largest(bits)).astype(np.uint32), bits)
    planes = compress(flat.astype("<i4").view(np.uint8).reshape(-1, 4)[:, : _width(bits)].T.tobytes())
    return bytes([_PACKED]) + packed if len(packed) <= len(planes) else bytes([_PLANES]) + planes


def decode_symbols(data: bytes | memoryview, count: int, bits: int) -> NDArray[np.int32]:
    """Decode what :func:`encode_symbols` encoded: int32 ``[count]``. Raise FormatError for a symbol out of range."""
    reader = Reader(data)
    mode = reader.u8()
    rest = reader.take(len(reader.data) - 1)
    if mode == _PACKED:
        q = packing.unpack_bits(rest, count, bits).astype(np.int32) - largest(bits)
    elif mode == _PLANES:
        width = _width(bits)
        raw = np.frombuffer(expand(rest, count * width), np.uint8).reshape(width, count)
        q = raw[-1].view(np.int8).astype(np.int32)
        if width == 2:
            q = q * 256 + raw[0]
    else:
        raise FormatError(f"symbol mode {mode} is not 0 or 1")
    if count and max(int(q.max()), -int(q.min())) > largest(bits):
        raise FormatError(f"symbol outside ±{largest(bits)}")
    return q
