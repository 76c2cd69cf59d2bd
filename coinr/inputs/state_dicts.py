"""State dicts of callers: names checked, values as plain dense tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from coinr.errors import InputError, StateDictError
from coinr.inputs.checkpoints import is_optimizer_state, state_dicts
from coinr.inputs.dense import plain_class, to_tensor
from coinr.inputs.dtypes import check_dtype

#: What stands for a state dict: names to tensors or arrays, or a module.
StateDict = Mapping[str, Any] | torch.nn.Module


def to_state_dict(sd: StateDict) -> Mapping[str, Any]:
    """Return the ``state_dict()`` of a module, whose tensors share its memory; a mapping as it is."""
    return sd.state_dict() if isinstance(sd, torch.nn.Module) else sd


def is_state_dict(value: object) -> bool:
    """Return whether a value stands for one state dict: it is a mapping or a module."""
    return isinstance(value, Mapping | torch.nn.Module)


def check_same_network(
    original: Mapping[str, tuple[int, ...]], other: Mapping[str, tuple[int, ...]], place: str
) -> None:
    """Raise InputError unless both have tensors of the same names and shapes; ``place`` says where the other one is."""
    for name in [*original, *other]:
        if original.get(name) != other.get(name):
            shapes = [str(tuple(one[name])) if name in one else "absent" for one in (original, other)]
            raise InputError(f"the original is another network: {name!r} is {shapes[0]} there, {shapes[1]} in {place}")


def _refuse(sd: Mapping[Any, Any], name: str, value: Any) -> StateDictError:
    if is_optimizer_state(sd):
        return StateDictError("this looks like an optimizer's state: pass the state_dict() of the network")
    entries = [
        f"{''.join(f'[{key!r}]' for key in path)} ({count} tensor{'s' * (count != 1)})"
        for path, count in state_dicts(sd)[:4]
    ]
    hint = f"; pass that of {' or '.join(entries)}" if entries else ""
    return StateDictError(f"the value of {name!r} is {type(value).__name__}, not a tensor or array{hint}")


def entry_tensor(sd: Mapping[Any, Any], name: str, value: Any) -> torch.Tensor:
    """Return a value as a plain dense tensor, on its device; raise StateDictError if files cannot hold it."""
    if not isinstance(value, torch.Tensor | np.ndarray):
        raise _refuse(sd, name, value)
    try:
        tensor = to_tensor(value, f"tensor {name!r}")
        check_dtype(tensor.dtype, f"tensor {name!r}")
    except InputError as error:
        raise StateDictError(str(error)) from error
    return tensor


def items(sd: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield names and values; raise StateDictError unless ``sd`` is a mapping whose names files can hold."""
    if not isinstance(sd, Mapping):
        raise StateDictError(f"a state dict is a mapping of names to tensors, not {type(sd).__name__}")
    for name, value in sd.items():
        if not isinstance(name, str):
            raise StateDictError(f"the name {name!r} is {type(name).__name__}, not str")
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise StateDictError(f"the name {name!r} is not valid Unicode") from error
        yield name, value


def plain_tensors(sd: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return all values as plain dense tensors, detached, on their devices.

    Raises
    ------
    StateDictError
        If ``sd`` is no mapping of names to dense tensors or arrays of supported dtypes. For a nested checkpoint
        the message names the key that looks like the state dict.
    """
    return {name: entry_tensor(sd, name, value) for name, value in items(sd)}


def plain_classes(sd: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same mapping with tensors of subclasses as plain ones; tied tensors stay tied.

    A subclass may give any value as an attribute, also as its shape.
    """
    made: dict[int, Any] = {}
    for value in sd.values():
        if id(value) not in made:
            made[id(value)] = plain_class(value) if isinstance(value, torch.Tensor) else value
    return {name: made[id(value)] for name, value in sd.items()}
