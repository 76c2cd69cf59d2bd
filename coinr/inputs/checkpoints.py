"""State dicts in checkpoints: which entries are state dicts or optimizers' states, and prefixes of names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from coinr.errors import InputError
from coinr.inputs.naming import list_names
from coinr.runtime.loaded import Tensor

#: Levels below the checkpoint that are searched for state dicts.
_DEPTH = 4

#: Entries that a message lists.
_LISTED = 8


def pick_state_dict(checkpoint: Any, key: str | None = None, strip_prefix: str | None = None) -> Mapping[str, Any]:
    """Return the state dict in the content of a file.

    Parameters
    ----------
    checkpoint : mapping or list
        The content of the file.
    key : str, optional
        Entry that is the state dict, with dots between levels: ``"model"``, ``"ema.model"``, ``"models.0"``. By
        default the whole.
    strip_prefix : str, optional
        Removed from the names that begin with it, such as ``"module."`` or ``"_orig_mod."``; other names stay.

    Raises
    ------
    InputError
        If there is no such entry, no name begins with the prefix, or two names would become one. Also if the entry is
        no state dict, but a checkpoint of several entries or an optimizer's state; the message then names the entries
        that are state dicts.
    """
    chosen = checkpoint if key is None else _entry(checkpoint, key)
    what = "it" if key is None else f"the entry {key!r}"
    if not isinstance(chosen, Mapping):
        kind = type(chosen).__name__
        raise InputError(f"{what} is of type {kind}, not a state dict{_advice(checkpoint)}")
    if is_optimizer_state(chosen):
        raise InputError(
            f"{what} looks like an optimizer's state: it has 'state' and 'param_groups', and no weights of a network"
            + _advice(checkpoint, chosen)
        )
    if any(map(_is_nested, chosen.values())):
        raise InputError(f"{what} is a checkpoint of several entries, not a state dict{_advice(checkpoint)}")
    return chosen if strip_prefix is None else _stripped(chosen, strip_prefix)


def is_optimizer_state(value: Any) -> bool:
    """Return whether a value has the structure of the ``state_dict()`` of a torch optimizer."""
    return isinstance(value, Mapping) and "param_groups" in value and isinstance(value.get("state"), Mapping)


def _is_nested(value: Any) -> bool:
    """Return whether a value is a mapping, or a list that holds one at any depth; lists may hold themselves."""
    seen: set[int] = set()
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, Mapping):
            return True
        if isinstance(one, list | tuple) and id(one) not in seen:
            seen.add(id(one))
            left += one
    return False


def state_dicts(checkpoint: Any) -> list[tuple[tuple[str, ...], int]]:
    """Return path and number of tensors of each state dict below ``checkpoint``, those with most tensors first."""
    return sorted(_search(checkpoint, (), _DEPTH), key=lambda found: -found[1])


def _search(value: Any, path: tuple[str, ...], depth: int) -> Iterator[tuple[tuple[str, ...], int]]:
    children = _children(value)
    if children is None or is_optimizer_state(value):
        return
    count = _tensors(value)
    if count and path:
        yield path, count
    if depth:
        for name, child in children.items():
            yield from _search(child, (*path, name), depth - 1)


def _tensors(value: Any) -> int:
    """Return the number of tensors among the values of a mapping."""
    values = value.values() if isinstance(value, Mapping) else ()
    return sum(isinstance(child, Tensor | np.ndarray) for child in values)


def _children(value: Any) -> dict[str, Any] | None:
    """Return the values of a mapping or list by name; None for another value."""
    if isinstance(value, Mapping):
        return {str(name): child for name, child in value.items()}
    if isinstance(value, list | tuple):
        return {str(k): child for k, child in enumerate(value)}
    return None


def _entry(checkpoint: Any, key: str, within: str = "") -> Any:
    """Return the entry of a key with dots between levels; names may have dots themselves."""
    children = _children(checkpoint) or {}
    if key in children:
        return children[key]
    # the longest name first: "ema.model" before "ema"
    for name in sorted(children, key=len, reverse=True):
        if key.startswith(f"{name}.") and _children(children[name]) is not None:
            return _entry(children[name], key[len(name) + 1 :], f" in {name!r}")
    raise InputError(f"there is no entry {key!r}{within}; {list_names(key, children)}")


def _advice(checkpoint: Any, chosen: Any = None) -> str:
    """Return words on what to pass instead, and on which other entries are optimizers' states."""
    children = _children(checkpoint) or {}
    found = [f"key={'.'.join(path)!r} ({count} tensor{'s' * (count != 1)})" for path, count in state_dicts(checkpoint)]
    optimizers = [repr(name) for name, child in children.items() if is_optimizer_state(child) and child is not chosen]
    if found:
        advice = f"; give {_listed(found, ' or ')}"
    else:
        advice = "; without a key the whole is taken" if _tensors(checkpoint) else "; there is no state dict in it"
    if optimizers:
        looks = "look like optimizers' states" if len(optimizers) > 1 else "looks like an optimizer's state"
        advice += f"; {' and '.join(optimizers)} {looks}"
    return advice


def _listed(items: list[str], between: str = ", ") -> str:
    more = len(items) - _LISTED
    return between.join(items[:_LISTED]) + (f" and {more} more" if more > 0 else "") if items else "none"


def _stripped(sd: Mapping[str, Any], prefix: str) -> Mapping[str, Any]:
    if not any(str(name).startswith(prefix) for name in sd):
        raise InputError(f"no name begins with the prefix {prefix!r}; names are {_listed([repr(name) for name in sd])}")
    result: dict[str, Any] = {}
    for name, value in sd.items():
        short = name.removeprefix(prefix) if isinstance(name, str) else name
        if short in result:
            raise InputError(f"without the prefix {prefix!r} two tensors are named {short!r}")
        result[short] = value
    return result
