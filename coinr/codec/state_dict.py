"""From a state dict as it is in the wild to tensors that can be coded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from coinr.codec.tensors import LOSSY_DTYPES, Layout, check_dtype, to_planes
from coinr.errors import InputError, StateDictError
from coinr.inputs.checkpoints import is_optimizer_state, state_dicts
from coinr.inputs.dense import plain_class, to_tensor


@dataclass(frozen=True, eq=False)
class Source:
    """One entry of the state dict.

    Attributes
    ----------
    tensor
        On the CPU, contiguous, detached.
    alias
        Position of the earlier entry that this one is tied to, else None.
    """

    name: str
    tensor: torch.Tensor
    alias: int | None

    @property
    def layout(self) -> Layout:
        """Dtype and shape."""
        return Layout(self.tensor.dtype, tuple(self.tensor.shape))

    @cached_property
    def planes(self) -> NDArray[np.float64]:
        """Values as float64 ``[planes, size]``."""
        return to_planes(self.tensor)

    @property
    def lossy(self) -> bool:
        """Whether this dtype may be coded with loss."""
        return self.layout.dtype in LOSSY_DTYPES and self.layout.size > 0

    def finite(self) -> bool:
        """Whether no value is NaN or Inf; true of integers."""
        kind = self.tensor.dtype
        return not (kind.is_floating_point or kind.is_complex) or bool(np.isfinite(self.planes).all())


def _refuse(sd: Mapping[Any, Any], name: str, value: Any) -> StateDictError:
    if is_optimizer_state(sd):
        return StateDictError("this looks like an optimizer's state: pass the state_dict() of the network")
    entries = [
        f"{''.join(f'[{key!r}]' for key in path)} ({count} tensor{'s' * (count != 1)})"
        for path, count in state_dicts(sd)[:4]
    ]
    hint = f"; pass that of {' or '.join(entries)}" if entries else ""
    return StateDictError(f"the value of {name!r} is {type(value).__name__}, not a tensor or array{hint}")


def _entry_tensor(sd: Mapping[Any, Any], name: str, value: Any) -> torch.Tensor:
    if not isinstance(value, torch.Tensor | np.ndarray):
        raise _refuse(sd, name, value)
    try:
        tensor = to_tensor(value, f"tensor {name!r}")
        check_dtype(tensor.dtype, f"tensor {name!r}")
    except InputError as error:
        raise StateDictError(str(error)) from error
    return tensor


def _items(sd: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and values, the names checked."""
    if not isinstance(sd, Mapping):
        hint = "; pass its state_dict()" if isinstance(sd, torch.nn.Module) else ""
        raise StateDictError(f"a state dict is a mapping of names to tensors, not {type(sd).__name__}{hint}")
    for name, value in sd.items():
        if not isinstance(name, str):
            raise StateDictError(f"the name {name!r} is {type(name).__name__}, not str")
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise StateDictError(f"the name {name!r} is not valid Unicode") from error
        yield name, value


def plain_tensors(sd: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """All entries as plain dense tensors, detached, where they are; errors as :func:`read_state_dict`."""
    return {name: _entry_tensor(sd, name, value) for name, value in _items(sd)}


def plain_classes(sd: Mapping[str, Any]) -> dict[str, Any]:
    """The same entries, tensors of subclasses as plain ones; those that are one stay one.

    The attributes of a subclass, its shape among them, may be anything.
    """
    made: dict[int, Any] = {}
    for value in sd.values():
        if id(value) not in made:
            made[id(value)] = plain_class(value) if isinstance(value, torch.Tensor) else value
    return {name: made[id(value)] for name, value in sd.items()}


def _identity(value: Any, tensor: torch.Tensor) -> tuple[Any, ...] | None:
    """What two entries share when they are tied: same memory, same geometry."""
    if not tensor.numel():
        return None
    if isinstance(value, np.ndarray):
        return ("numpy", value.__array_interface__["data"][0], value.shape, value.strides, value.dtype.str)
    lazy = (tensor.is_conj(), tensor.is_neg())
    return ("torch", tensor.device, tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype, lazy)


def read_state_dict(sd: Mapping[str, Any]) -> list[Source]:
    """The entries in their order.

    Raises
    ------
    StateDictError
        If ``sd`` is no mapping of names to dense tensors or arrays of supported dtypes. For a nested checkpoint
        the message names the key that looks like the state dict.
    """
    sources: list[Source] = []
    first: dict[tuple[Any, ...], int] = {}
    # The list keeps every value alive: an address that is used again would look like a tie.
    for name, value in list(_items(sd)):
        view = _entry_tensor(sd, name, value)
        identity = _identity(value, view)
        alias = first.get(identity) if identity else None
        if identity and alias is None:
            first[identity] = len(sources)
        host = view.resolve_conj().resolve_neg().cpu().contiguous() if alias is None else sources[alias].tensor
        sources.append(Source(name, host, alias))
    return sources
