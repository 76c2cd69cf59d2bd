"""What every coder provides; ``coinr.codec.coders`` holds the table of them."""

from __future__ import annotations

import struct
from typing import Any, Protocol

import numpy as np
import torch

from coinr.codec.tensors import Layout
from coinr.codec.wire import Reader
from coinr.errors import FormatError

FLOAT32_MAX = float(np.finfo(np.float32).max)
FLOAT32_TINY = float(np.finfo(np.float32).tiny)


class Params(Protocol):
    """A coder's entry in the tensor table, enough to decode and to bound the cost before doing so."""

    def write(self) -> bytes:
        """As stored in the table."""
        ...

    def check(self, layout: Layout) -> None:
        """FormatError unless these parameters can belong to a tensor of this layout."""
        ...

    def work(self, layout: Layout) -> int:
        """Dictionary entries that decoding generates."""
        ...

    def describe(self, layout: Layout) -> dict[str, Any]:
        """Columns of the report."""
        ...


class Coder(Protocol):
    """Turns what it codes into a payload, and a payload into a tensor."""

    id: int
    name: str

    def read(self, reader: Reader) -> Params:
        """The parameters that :meth:`Params.write` stored."""
        ...

    def encode(self, content: Any, params: Any) -> bytes:
        """The payload; ``content`` is what this coder codes: a tensor, its planes, or a sparse code."""
        ...

    def decode(self, payload: memoryview, params: Any, layout: Layout, seed: int, device: torch.device) -> torch.Tensor:
        """The tensor, on the device; FormatError if the payload does not fit the parameters."""
        ...


def step_for(peak: float, levels: int) -> float | None:
    """The float32 step with which ``levels`` steps reach ``peak``; None where that is no normal float32."""
    if peak == 0:
        return 1.0
    if peak > FLOAT32_MAX:
        return None
    step = float(np.float32(peak / levels))
    return step if step >= FLOAT32_TINY and step * levels <= FLOAT32_MAX else None


def write_step(step: float) -> bytes:
    """Four bytes, little-endian float32."""
    return struct.pack("<f", step)


def read_step(reader: Reader, bound: int) -> float:
    """A positive normal float32 whose product with ``bound`` is finite; FormatError otherwise."""
    return _checked_step(struct.unpack("<f", reader.take(4))[0], bound)


def short_step(step: float) -> float:
    """The largest float32 at or below a positive ``step`` that two bytes can hold: its lower 16 bits are zero."""
    bits = int(np.float32(step).view(np.uint32))
    rounded = np.uint32(bits & 0xFFFF0000).view(np.float32)
    return float(rounded)


def write_short_step(step: float) -> bytes:
    """The upper two bytes of a :func:`short_step`, little-endian."""
    return write_step(step)[2:]


def read_short_step(reader: Reader, bound: int) -> float:
    """Inverse of :func:`write_short_step`, checked as by :func:`read_step`."""
    return _checked_step(struct.unpack("<f", b"\0\0" + reader.take(2))[0], bound)


def _checked_step(step: float, bound: int) -> float:
    with np.errstate(over="ignore"):
        largest = np.float32(bound) * np.float32(step)  # as synthesis rounds it
    if not FLOAT32_TINY <= step <= FLOAT32_MAX or not np.isfinite(largest):
        raise FormatError(f"step {step} is not a normal float32 whose products stay finite")
    return step
