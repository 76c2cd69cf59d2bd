"""The protocol of a coder, and the steps that several coders store. The table of coders is ``coinr.codec.coders``."""

from __future__ import annotations

import struct
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from coinr.codec.tensors import Layout
from coinr.codec.wire import Reader
from coinr.errors import FormatError

FLOAT32_MAX = float(np.finfo(np.float32).max)
FLOAT32_TINY = float(np.finfo(np.float32).tiny)


class Params(Protocol):
    """The parameters of a coder in the tensor table. They suffice to decode, and to bound the cost before decoding."""

    def write(self) -> bytes:
        """Return the parameters as the table stores them."""
        ...

    def check(self, layout: Layout) -> None:
        """Raise FormatError unless these parameters can belong to a tensor of this layout."""
        ...

    def work(self, layout: Layout) -> int:
        """Return the number of dictionary entries that decoding generates."""
        ...

    def describe(self, layout: Layout) -> dict[str, Any]:
        """Return the columns of the report."""
        ...


class Coder(Protocol):
    """Encode to a payload, and decode a payload to an array."""

    id: int
    name: str

    def read(self, reader: Reader) -> Params:
        """Read the parameters that :meth:`Params.write` stored."""
        ...

    def encode(self, content: Any, params: Any) -> bytes:
        """Return the payload of what the coder takes: an array and its dtype, integers and a step, or a sparse code."""
        ...

    def decode(self, payload: memoryview, params: Any, layout: Layout, seed: int, device: str = "cpu") -> NDArray[Any]:
        """Return the array, in the storage of the dtype. Raise FormatError if the payload does not fit the parameters.

        ``device`` is the kind of device that the values go to: it chooses the backend of dictionaries.
        """
        ...


def step_for(peak: float, levels: int) -> float | None:
    """Return the float32 step ``peak / levels``, 1 for a peak of 0; None where it is not a normal float32."""
    if peak == 0:
        return 1.0
    if peak > FLOAT32_MAX:
        return None
    step = float(np.float32(peak / levels))
    return step if step >= FLOAT32_TINY and step * levels <= FLOAT32_MAX else None


def write_step(step: float) -> bytes:
    """Return a step as four bytes, little-endian float32."""
    return struct.pack("<f", step)


def read_step(reader: Reader, bound: int) -> float:
    """Read a positive normal float32 whose product with ``bound`` is finite; raise FormatError for another."""
    return _checked_step(struct.unpack("<f", reader.take(4))[0], bound)


def short_step(step: float) -> float:
    """Round a positive step down to a float32 whose lower 16 bits are zero, so that two bytes hold it."""
    bits = int(np.float32(step).view(np.uint32))
    rounded = np.uint32(bits & 0xFFFF0000).view(np.float32)
    return float(rounded)


def write_short_step(step: float) -> bytes:
    """Return the upper two bytes of a :func:`short_step`, little-endian."""
    return write_step(step)[2:]


def read_short_step(reader: Reader, bound: int) -> float:
    """Read what :func:`write_short_step` wrote, with the checks of :func:`read_step`."""
    return _checked_step(struct.unpack("<f", b"\0\0" + reader.take(2))[0], bound)


def _checked_step(step: float, bound: int) -> float:
    with np.errstate(over="ignore"):
        largest = np.float32(bound) * np.float32(step)  # as synthesis rounds it
    if not FLOAT32_TINY <= step <= FLOAT32_MAX or not np.isfinite(largest):
        raise FormatError(f"step {step} is not a normal float32 whose products stay finite")
    return step
