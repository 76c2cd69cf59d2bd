"""State dicts of callers: names checked, values as plain dense tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from coinr.errors import InputError, StateDictError
from coinr.inputs.checkpoints import is_optimizer_state, state_dicts
from coinr.inputs.dtypes import DType, check_dtype
from coinr.inputs.plain_arrays import plain_array
from coinr.runtime.loaded import Module, Tensor, is_tensor

if TYPE_CHECKING:
    import torch

#: What stands for a state dict: names to tensors or arrays, or a module.
StateDict = Mapping[str, Any] | Module


def to_state_dict(sd: StateDict) -> Mapping[str, Any]:
    """Return the ``state_dict()`` of a module, whose tensors share its memory; a mapping as it is."""
    return sd.state_dict() if isinstance(sd, Module) else sd


def is_state_dict(value: object) -> bool:
    """Return whether a value stands for one state dict: it is a mapping or a module."""
    return isinstance(value, Mapping | Module)


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


def plain_value(sd: Mapping[Any, Any], name: str, value: Any) -> torch.Tensor | NDArray[Any]:
    """Return a plain dense tensor, on its device, or a plain array; raise StateDictError if files cannot hold it."""
    if not isinstance(value, Tensor | np.ndarray):
        raise _refuse(sd, name, value)
    what = f"tensor {name!r}"
    try:
        plain = _dense(value, what) if is_tensor(value) else plain_array(value, what)
        check_dtype(plain.dtype, what)
    except InputError as error:
        raise StateDictError(str(error)) from error
    return plain


def _dense(tensor: torch.Tensor, what: str) -> torch.Tensor:
    from coinr.inputs.dense import to_tensor

    return to_tensor(tensor, what)


def value_array(value: torch.Tensor | NDArray[Any]) -> tuple[NDArray[Any], DType]:
    """Return a :func:`plain_value` as a contiguous array in the storage of its dtype, and the dtype."""
    if isinstance(value, np.ndarray):
        return value, check_dtype(value.dtype, "an array")
    from coinr.inputs.tensors import tensor_to_array

    return tensor_to_array(value)


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
    return {name: _as_tensor(plain_value(sd, name, value)) for name, value in items(sd)}


def _as_tensor(value: torch.Tensor | NDArray[Any]) -> torch.Tensor:
    import torch

    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def plain_classes(sd: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same mapping with tensors of subclasses as plain ones; tied tensors stay tied.

    A subclass may give any value as an attribute, also as its shape.
    """
    from coinr.inputs.dense import plain_class

    made: dict[int, Any] = {}
    for value in sd.values():
        if id(value) not in made:
            made[id(value)] = plain_class(value) if is_tensor(value) else value
    return {name: made[id(value)] for name, value in sd.items()}
