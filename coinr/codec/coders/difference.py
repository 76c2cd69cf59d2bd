"""Difference coder: the tensor of a reference network plus a difference, which another coder holds.

w = base + difference in float64, rounded to float32 (not for float64 and complex128), then to the dtype.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.codec.coders.coder import Coder, Params
from coinr.codec.tensors import LOSSY_DTYPES, Layout, from_planes, to_planes
from coinr.codec.wire import Reader
from coinr.errors import FormatError
from coinr.inputs.dtypes import BY_NAME

_SAME = 255
_WIDE = (BY_NAME["float64"], BY_NAME["complex128"])


@dataclass(frozen=True)
class DifferenceParams:
    """The coder of the difference and its parameters; None where the tensor equals the reference's."""

    inner: tuple[Coder, Params] | None = None

    def write(self) -> bytes:
        return bytes([_SAME]) if self.inner is None else bytes([self.inner[0].id]) + self.inner[1].write()

    def check(self, layout: Layout) -> None:
        if self.inner is not None:
            if layout.dtype not in LOSSY_DTYPES:
                raise FormatError(f"{layout.dtype} has no differences")
            self.inner[1].check(difference_layout(layout))

    def work(self, layout: Layout) -> int:
        return 0 if self.inner is None else self.inner[1].work(difference_layout(layout))

    def describe(self, layout: Layout) -> dict[str, Any]:
        if self.inner is None:
            return {"inner": "same"}
        coder, params = self.inner
        return {"inner": coder.name, **params.describe(difference_layout(layout))}


class DifferenceCoder:
    """Payload: that of the coder of the difference; empty where the tensor equals the reference's.

    Parameters
    ----------
    inner
        The coders that may hold a difference, by id.
    """

    id = 6
    name = "difference"

    def __init__(self, inner: Mapping[int, Coder]) -> None:
        self.inner = inner

    def read(self, reader: Reader) -> DifferenceParams:
        code = reader.u8()
        if code == _SAME:
            return DifferenceParams()
        if code not in self.inner:
            raise FormatError(f"coder {code} cannot hold a difference")
        coder = self.inner[code]
        return DifferenceParams((coder, coder.read(reader)))

    def encode(self, content: Any, params: DifferenceParams) -> bytes:
        return b"" if params.inner is None else params.inner[0].encode(content, params.inner[1])

    def decode(
        self, payload: memoryview, params: DifferenceParams, layout: Layout, seed: int, device: str = "cpu"
    ) -> NDArray[Any]:
        """Return the difference, in the layout of :func:`difference_layout`; :meth:`restore` adds the reference."""
        coded_layout = difference_layout(layout)
        if params.inner is not None:
            coder, inner = params.inner
            return coder.decode(payload, inner, coded_layout, seed, device)
        if len(payload):
            raise FormatError(f"{len(payload)} bytes for a tensor that the receiver has")
        return np.zeros(coded_layout.shape, coded_layout.dtype.storage)

    def restore(
        self, payload: memoryview, params: DifferenceParams, layout: Layout, seed: int, base: NDArray[Any]
    ) -> NDArray[Any]:
        """Return the array from the payload and the reference's array ``base`` of the same layout."""
        difference = self.decode(payload, params, layout, seed)
        return base.copy() if params.inner is None else add(base, difference, layout)


def difference_layout(layout: Layout) -> Layout:
    """Return the layout of differences: float32, or complex64 for complex tensors, and the same shape."""
    return Layout(BY_NAME["complex64" if layout.dtype.is_complex else "float32"], layout.shape)


def subtract(array: NDArray[Any], base: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """Return array − base, both of the layout, as float32 (complex64); infinite where float32 cannot hold it."""
    with np.errstate(over="ignore", invalid="ignore"):
        planes = (to_planes(array, layout.dtype) - to_planes(base, layout.dtype)).astype(np.float32)
    return from_planes(planes, difference_layout(layout))


def add(base: NDArray[Any], difference: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """Return base + difference, summed in float64, rounded to float32 (unless wider), then to the layout's dtype."""
    planes = to_planes(difference, difference_layout(layout).dtype)  # float64 from float32, so this is a copy
    with np.errstate(over="ignore", invalid="ignore"):
        planes += to_planes(base, layout.dtype)
        total = planes if layout.dtype in _WIDE else planes.astype(np.float32)
    return from_planes(total, layout)
