"""Entries of a state dict: its tensors in plain form, with their ties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from coinr.codec.tensors import LOSSY_DTYPES, Layout, to_planes
from coinr.inputs.state_dicts import entry_tensor, items


@dataclass(frozen=True, eq=False)
class Entry:
    """One entry of the state dict.

    Attributes
    ----------
    tensor
        On the CPU, contiguous, detached.
    tied_to
        Position of the earlier entry that this one is tied to, else None.
    """

    name: str
    tensor: torch.Tensor
    tied_to: int | None

    @property
    def layout(self) -> Layout:
        """Return dtype and shape."""
        return Layout(self.tensor.dtype, tuple(self.tensor.shape))

    @cached_property
    def planes(self) -> NDArray[np.float64]:
        """Return the values as float64 ``[planes, size]``."""
        return to_planes(self.tensor)

    @property
    def allows_loss(self) -> bool:
        """Return whether a tensor of this dtype may be coded with loss; False for an empty one."""
        return self.layout.dtype in LOSSY_DTYPES and self.layout.size > 0

    def finite(self) -> bool:
        """Return whether no value is NaN or infinite; True for integers."""
        kind = self.tensor.dtype
        return not (kind.is_floating_point or kind.is_complex) or bool(np.isfinite(self.planes).all())


def _identity(value: Any, tensor: torch.Tensor) -> tuple[Any, ...] | None:
    """Return a key that two entries share if they are tied: the same memory in the same shape and strides."""
    if not tensor.numel():
        return None
    if isinstance(value, np.ndarray):
        return ("numpy", value.__array_interface__["data"][0], value.shape, value.strides, value.dtype.str)
    lazy = (tensor.is_conj(), tensor.is_neg())
    return ("torch", tensor.device, tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype, lazy)


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
        view = entry_tensor(sd, name, value)
        identity = _identity(value, view)
        tied_to = first.get(identity) if identity else None
        if identity and tied_to is None:
            first[identity] = len(entries)
        host = view.resolve_conj().resolve_neg().cpu().contiguous() if tied_to is None else entries[tied_to].tensor
        entries.append(Entry(name, host, tied_to))
    return entries
