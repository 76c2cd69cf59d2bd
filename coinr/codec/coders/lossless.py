"""Lossless coder: raw bytes, or Brotli of them, plain or as byte planes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.codec.tensors import Layout, from_bytes, view_bytes
from coinr.codec.wire import Reader, compress, expand
from coinr.errors import FormatError
from coinr.inputs.dtypes import DType

_RAW, _BROTLI, _PLANES = 0, 1, 2


@dataclass(frozen=True)
class LosslessParams:
    """No parameters: the layout suffices."""

    def write(self) -> bytes:
        return b""

    def check(self, layout: Layout) -> None:
        pass

    def work(self, layout: Layout) -> int:
        return 0

    def describe(self, layout: Layout) -> dict[str, Any]:
        return {}


class Lossless:
    """Payload: one mode byte, then the bytes; empty for a tensor without elements."""

    id = 0
    name = "lossless"

    def read(self, reader: Reader) -> LosslessParams:
        return LosslessParams()

    def encode(self, content: tuple[NDArray[Any], DType], params: LosslessParams) -> bytes:
        array, dtype = content
        if not array.size:
            return b""
        raw, width = view_bytes(array), dtype.itemsize
        mode, data = _BROTLI, compress(raw)
        if width > 1:
            planes = compress(np.frombuffer(raw, np.uint8).reshape(-1, width).T.tobytes())
            mode, data = min((mode, data), (_PLANES, planes), key=lambda option: len(option[1]))
        return bytes([mode]) + data if len(data) < len(raw) else bytes([_RAW]) + raw

    def decode(
        self, payload: memoryview, params: LosslessParams, layout: Layout, seed: int, device: str = "cpu"
    ) -> NDArray[Any]:
        reader = Reader(payload)
        if not layout.size:
            reader.end()
            return from_bytes(b"", layout)
        mode = reader.u8()
        rest = reader.take(len(payload) - 1)
        raw: bytes | bytearray
        if mode == _RAW:
            raw = bytes(rest)
            if len(raw) != layout.nbytes:
                raise FormatError(f"{len(raw)} raw bytes for a tensor of {layout.nbytes}")
        elif mode in (_BROTLI, _PLANES):
            raw = expand(rest, layout.nbytes)
            if mode == _PLANES:
                raw = np.frombuffer(raw, np.uint8).reshape(layout.dtype.itemsize, -1).T.tobytes()
        else:
            raise FormatError(f"lossless mode {mode} is not 0, 1 or 2")
        if layout.dtype.name == "bool" and np.frombuffer(raw, np.uint8).max() > 1:
            raise FormatError("a bool that is neither 0 nor 1")
        return from_bytes(raw, layout)
