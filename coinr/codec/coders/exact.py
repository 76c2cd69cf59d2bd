"""Exact coder: lossless. An adaptive model codes the leading bits of each word; the last bits are stored as they are.

The model is C++ (``csrc/entropy/exact.hpp``); ``FORMAT.md``, coder 5, specifies it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.codec.tensors import Layout, from_bytes, view_bytes
from coinr.codec.wire import Reader
from coinr.engine import native
from coinr.errors import FormatError
from coinr.inputs.dtypes import DType

_NONE, _ROTATE, _LEFT, _ABOVE = range(4)

# Words from which the transform and the number of modeled bits are chosen.
_SAMPLE = 1 << 13


@dataclass(frozen=True)
class ExactParams:
    """No parameters: the layout suffices."""

    def write(self) -> bytes:
        return b""

    def check(self, layout: Layout) -> None:
        pass

    def work(self, layout: Layout) -> int:
        return 0

    def describe(self, layout: Layout) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class _Form:
    """The words of a tensor, and how they are coded.

    Attributes
    ----------
    rows, columns
        Shape of the matrix of words.
    width
        Bytes of a word.
    lanes
        Words of an element: 2 for complex tensors, else 1.
    transform
        What is coded in place of a word: 0 the word, 1 the word rotated, 2 and 3 its difference to the left one and to
        the one above.
    modeled
        Leading bits of each transformed word that are modeled.
    """

    rows: int
    columns: int
    width: int
    lanes: int
    transform: int
    modeled: int

    @classmethod
    def of(cls, layout: Layout, mode: int = 0) -> _Form:
        """Return the form of a layout and of the mode byte of a payload."""
        lanes = layout.planes
        rows = layout.shape[0] if len(layout.shape) > 1 else 1
        width = layout.dtype.itemsize // lanes
        return cls(rows, lanes * layout.size // rows, width, lanes, mode & 3, (mode >> 2) + 1)

    @property
    def mode(self) -> int:
        """Return the mode byte."""
        return self.transform | (self.modeled - 1) << 2

    def arguments(self) -> tuple[int, ...]:
        """Return the arguments of the extension's functions."""
        return self.rows, self.columns, self.width, self.lanes, self.transform, self.modeled


class Exact:
    """Payload: one mode byte, then the coded words; empty for a tensor without elements."""

    id = 5
    name = "exact"

    def read(self, reader: Reader) -> ExactParams:
        return ExactParams()

    def encode(self, content: tuple[NDArray[Any], DType], params: ExactParams) -> bytes:
        array, dtype = content
        if not array.size:
            return b""
        raw = view_bytes(array)
        layout = Layout(dtype, array.shape)
        if dtype.name == "bool":
            form = _Form.of(layout)
            return bytes([form.mode]) + native.encode_bools(raw, form.rows, form.columns)
        form = _choose(raw, layout)
        return bytes([form.mode]) + native.encode_exact(raw, *form.arguments())

    def pack(self, data: bytes) -> bytes:
        """Encode any bytes, with all their bits modeled; the tensor table may be stored so."""
        packed: bytes = native.encode_exact(data, 1, len(data), 1, 1, _NONE, 8)
        return packed

    def unpack(self, packed: bytes, size: int) -> bytes:
        """Decode ``size`` bytes that :meth:`pack` encoded; raise FormatError if they are damaged."""
        try:
            return native.decode_exact(packed, 1, size, 1, 1, _NONE, 8).tobytes()
        except ValueError as error:
            raise FormatError(f"exact code: {error}") from error

    def pack_after(self, known: bytes, data: bytes, columns: int) -> bytes:
        """Encode bytes that continue ``known`` ones, which the receiver has, in rows of ``columns``."""
        packed: bytes = native.encode_continued(known, data, columns)
        return packed

    def unpack_after(self, known: bytes, packed: bytes, size: int, columns: int) -> bytes:
        """Decode ``size`` bytes that :meth:`pack_after` encoded; raise FormatError if they are damaged."""
        try:
            data: bytes = native.decode_continued(known, packed, size, columns)
            return data
        except ValueError as error:
            raise FormatError(f"exact code: {error}") from error

    def is_decodable(self, payload: bytes, layout: Layout) -> bool:
        """Return whether decoders accept the payload: it may not stand for too many bits for its length."""
        modeled = 1 if layout.dtype.name == "bool" else (payload[0] >> 2) + 1 if payload else 0
        return layout.size * layout.planes * modeled <= native.max_modeled_bits(len(payload) - 1)

    def decode(
        self, payload: memoryview, params: ExactParams, layout: Layout, seed: int, device: str = "cpu"
    ) -> NDArray[Any]:
        reader = Reader(payload)
        if not layout.size:
            reader.end()
            return from_bytes(b"", layout)
        form = _Form.of(layout, reader.u8())
        data = payload[reader.at :]
        try:
            if layout.dtype.name == "bool":
                if form.mode:
                    raise FormatError(f"exact mode {form.mode} of bools is not 0")
                raw = native.decode_bools(data, form.rows, form.columns)
            else:
                raw = native.decode_exact(data, *form.arguments())
        except ValueError as error:
            raise FormatError(f"exact code: {error}") from error
        return from_bytes(raw, layout)


def _choose(raw: memoryview, layout: Layout) -> _Form:
    """Return the form with the fewest bits on a sample of the words: its transform and number of modeled bits."""
    form = _Form.of(layout)
    rows = min(form.rows, max(1, _SAMPLE // form.columns))
    columns = form.columns if form.rows > 1 else min(form.columns, _SAMPLE)
    start = (form.rows - rows) // 2 * form.columns * form.width
    sample = raw[start : start + rows * columns * form.width]
    options = []
    for transform in (_NONE, _ROTATE, _LEFT, _ABOVE):
        costs = native.exact_costs(sample, rows, columns, form.width, form.lanes, transform)
        # A bit that is not modeled costs one bit.
        totals = np.cumsum(costs - rows * columns)
        modeled = int(totals.argmin()) + 1
        options.append((float(totals[modeled - 1]), transform, modeled))
    _, transform, modeled = min(options)
    return replace(form, transform=transform, modeled=modeled)
