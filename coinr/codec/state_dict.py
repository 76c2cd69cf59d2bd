"""Entries of a state dict: its tensors in plain form, with their ties."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.codec.distortion import rms
from coinr.codec.tensors import LOSSY_DTYPES, Layout, blocks, to_planes
from coinr.inputs.dtypes import DType
from coinr.inputs.state_dicts import items, plain_value, value_array

# Planes of at most this many real values are kept; those of other tensors are made when they are used.
_KEPT = 1 << 16

# Values that are looked at before all of a block.
_FEW = 16

# Magnitudes below this share of the root mean square do not count in geometric means.
_NEGLIGIBLE = 1 / 256


@dataclass(frozen=True, eq=False)
class Entry:
    """One entry of the state dict. It holds the tensor, and what was asked of its values.

    Attributes
    ----------
    array
        Contiguous, in the storage of the dtype.
    dtype
        Of the tensor.
    tied_to
        Position of the earlier entry that this one is tied to, else None.
    """

    name: str
    array: NDArray[Any]
    dtype: DType
    tied_to: int | None

    @cached_property
    def layout(self) -> Layout:
        """Return dtype and shape."""
        return Layout(self.dtype, self.array.shape)

    @cached_property
    def count(self) -> int:
        """Return the number of real values."""
        return self.layout.planes * self.layout.size

    @property
    def is_large(self) -> bool:
        """Return whether no copy of all values should be made."""
        return self.layout.is_large

    @property
    def planes(self) -> NDArray[np.float64]:
        """Return the values as float64 ``[planes, size]``; not to be changed."""
        return self._kept_planes if self.count <= _KEPT else to_planes(self.array, self.dtype)

    @cached_property
    def _kept_planes(self) -> NDArray[np.float64]:
        return to_planes(self.array, self.dtype)

    def _blocks(self) -> Iterator[NDArray[np.float64]]:
        """Yield all values once, a block at a time; those of tensors that are not large at once."""
        return blocks(self.array, self.dtype) if self.is_large else iter((self.planes,))

    @cached_property
    def extremes(self) -> tuple[float, float]:
        """Return the smallest and the largest value; NaN where there is one."""
        if not self.is_large:
            return float(self.planes.min()), float(self.planes.max())
        ends = np.array([(block.min(), block.max()) for block in self._blocks()])
        return float(ends[:, 0].min()), float(ends[:, 1].max())

    @cached_property
    def peak(self) -> float:
        """Return the largest magnitude; NaN where there is one."""
        return max(map(abs, self.extremes))

    @cached_property
    def rms(self) -> float:
        """Return the root mean square of the values."""
        if not self.is_large:
            return rms(self.planes)
        peak = self.peak
        if not 0 < peak < math.inf:
            return peak
        return peak * math.sqrt(sum(float(np.square(block / peak).sum()) for block in self._blocks()) / self.count)

    @cached_property
    def geometric_mean(self) -> float:
        """Return the geometric mean of the magnitudes that are not negligible; a few large values hardly change it."""
        floor = self.rms * _NEGLIGIBLE
        logs = [np.log(magnitudes[magnitudes > floor]) for magnitudes in map(np.abs, self._blocks())]
        if len(logs) == 1:
            return float(np.exp(logs[0].mean()))
        return math.exp(sum(float(one.sum()) for one in logs) / sum(one.size for one in logs))

    @cached_property
    def signs(self) -> tuple[int, int]:
        """Return the numbers of positive and of negative values."""
        counts = [(np.count_nonzero(block > 0), np.count_nonzero(block < 0)) for block in self._blocks()]
        return sum(int(one) for one, _ in counts), sum(int(other) for _, other in counts)

    def has_two_values(self) -> bool:
        """Return whether no value lies between the smallest and the largest."""
        low, high = self.extremes
        # the first values tell most tensors
        parts = (part for block in self._blocks() for part in (block[..., :_FEW], block))
        return all(bool(((part == low) | (part == high)).all()) for part in parts)

    @property
    def allows_loss(self) -> bool:
        """Return whether a tensor of this dtype may be coded with loss; False for an empty one."""
        return self.layout.dtype in LOSSY_DTYPES and self.layout.size > 0

    def finite(self) -> bool:
        """Return whether no value is NaN or infinite; True for integers."""
        is_integer = not (self.dtype.is_floating_point or self.dtype.is_complex)
        return is_integer or not self.count or math.isfinite(self.peak)


def _identity(value: Any) -> tuple[Any, ...] | None:
    """Return a key that two entries share if they are tied: the same memory in the same shape and strides."""
    if isinstance(value, np.ndarray):
        place = value.__array_interface__["data"][0]
        return ("numpy", place, value.shape, value.strides, value.dtype.str) if value.size else None
    lazy = (value.is_conj(), value.is_neg())
    place = value.data_ptr()
    key = ("torch", value.device, place, tuple(value.shape), value.stride(), value.dtype, lazy)
    return key if value.numel() else None


def read_state_dict(sd: Mapping[str, Any]) -> list[Entry]:
    """Return the entries of a state dict, in its order.

    Raises
    ------
    StateDictError
        As :func:`~coinr.inputs.state_dicts.plain_tensors`.
    """
    entries: list[Entry] = []
    first: dict[tuple[Any, ...], int] = {}
    # The list keeps every value alive: an address that is used again would look like a tie.
    for name, value in list(items(sd)):
        view = plain_value(sd, name, value)
        identity = _identity(value if isinstance(value, np.ndarray) else view)
        tied_to = first.get(identity) if identity else None
        if identity and tied_to is None:
            first[identity] = len(entries)
        content = value_array(view) if tied_to is None else (entries[tied_to].array, entries[tied_to].dtype)
        entries.append(Entry(name, *content, tied_to))
    return entries
