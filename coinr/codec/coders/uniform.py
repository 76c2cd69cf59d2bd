"""Uniform scalar quantizer: w = float32(q) · step, with b-bit symmetric integers q and one step a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.codec.coders.coder import read_step, step_for, write_step
from coinr.codec.coders.symbols import MAX_BITS, decode_symbols, encode_symbols, largest
from coinr.codec.tensors import LOSSY_DTYPES, Layout, from_planes
from coinr.codec.wire import Reader
from coinr.errors import FormatError


@dataclass(frozen=True)
class UniformParams:
    """The bits of a value, 2 … 16."""

    bits: int

    def write(self) -> bytes:
        return bytes([self.bits])

    def check(self, layout: Layout) -> None:
        if layout.dtype not in LOSSY_DTYPES:
            raise FormatError(f"{layout.dtype} cannot be quantized")
        if not layout.size:
            raise FormatError("a tensor without elements cannot be quantized")
        if not 2 <= self.bits <= MAX_BITS:
            raise FormatError(f"{self.bits} value bits are not in 2 … {MAX_BITS}")

    def work(self, layout: Layout) -> int:
        return 0

    def describe(self, layout: Layout) -> dict[str, Any]:
        return {"bits": self.bits}


class Uniform:
    """Payload: step (float32), then the symbols of all planes."""

    id = 1
    name = "uniform"

    def read(self, reader: Reader) -> UniformParams:
        return UniformParams(reader.u8())

    def quantize(self, planes: NDArray[np.float64], bits: int) -> tuple[NDArray[np.int32], float] | None:
        """Return q = round(w / step), int32 of the shape of ``planes``, and step = max abs(w) / (2^(bits − 1) − 1).

        None where no normal float32 step can hold them.
        """
        step = step_for(float(np.abs(planes).max()), largest(bits))
        if step is None:
            return None
        q = np.clip(np.rint(planes / step), -largest(bits), largest(bits)).astype(np.int32)
        return q, step

    def encode(self, content: tuple[NDArray[np.int32], float], params: UniformParams) -> bytes:
        q, step = content
        return write_step(step) + encode_symbols(q, params.bits)

    def decode(
        self, payload: memoryview, params: UniformParams, layout: Layout, seed: int, device: str = "cpu"
    ) -> NDArray[Any]:
        reader = Reader(payload)
        step = read_step(reader, largest(params.bits))
        q = decode_symbols(payload[reader.at :], layout.planes * layout.size, params.bits)
        planes = (q.astype(np.float32) * np.float32(step)).reshape(layout.planes, -1)
        return from_planes(planes, layout)
