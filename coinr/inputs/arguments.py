"""Check the arguments of public functions against their annotations, before anything else looks at them."""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import inspect
import numbers
import os
import types
import typing
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np

from coinr.errors import InputError, StateDictError
from coinr.runtime.loaded import Tensor

P = ParamSpec("P")
R = TypeVar("R")

# Most elements of an array that stands for a sequence.
_MOST_PARTS = 1 << 24

# Most characters of a description, and most parts of a sequence that are named in it.
_LONG, _FEW_PARTS = 80, 5

_Test = Callable[[Any], bool]


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Refuse arguments that are not what the annotations of a function say; NumPy's scalars become Python's.

    Supported annotations are numbers, strings, paths, bytes, ``None``, callables, classes, tuples and collections of
    these; a collection may be an array of one dimension. Arrays and ``Any`` are left to the function. Bools and numbers
    are different types.

    Raises
    ------
    InputError
        By the function returned: names the argument, what it may be, and what was given.
    """
    signature = inspect.signature(function)

    @functools.cache
    def tests() -> dict[str, tuple[_Test, str]]:
        hints = typing.get_type_hints(function, include_extras=True)
        return {name: _test(hints[name]) for name in signature.parameters if hints.get(name, Any) is not Any}

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            if name in tests() and not _is_varying(signature.parameters[name]):
                bound.arguments[name] = check(name, value, *tests()[name])
        return function(*bound.args, **bound.kwargs)

    return call


def check(name: str, value: Any, test: _Test, allowed: str) -> Any:
    """Return a value, a NumPy scalar as a Python one, if it passes the test; else raise an InputError."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.size == 1 and not test(value)):
        value = value.item()
    if not test(value):
        error = StateDictError if name == "sd" else InputError
        raise error(f"{name} must be {allowed}, got {describe_value(value)}")
    return value


def check_fields(instance: object) -> None:
    """Refuse fields of a frozen dataclass that are not what its annotations say; NumPy's scalars become Python's."""
    kind: Any = type(instance)
    for name, test in _field_tests(kind).items():
        object.__setattr__(instance, name, check(name, getattr(instance, name), *test))


@functools.cache
def _field_tests(kind: Any) -> dict[str, tuple[_Test, str]]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: _test(hints[field.name]) for field in dataclasses.fields(kind)}


def describe_value(value: object) -> str:
    """Return what a value is, on one short line."""
    kind = type(value).__name__
    if isinstance(value, np.ndarray | Tensor):
        plain = _plain(value)
        return f"a {kind} of {str(plain.dtype).removeprefix('torch.')} and shape {list(plain.shape)}"
    if isinstance(value, int) and value.bit_length() > 1000:
        return f"an int of {value.bit_length()} bits"
    try:
        text = " ".join(repr(value).split())
    except Exception:  # the caller's ``__repr__`` may fail in any way
        return f"a {kind}"
    if len(text) > _LONG and isinstance(value, (tuple, list)) and len(value) <= _FEW_PARTS:
        return f"a {kind} of {len(value)}: {', '.join(type(part).__name__ for part in value)}"
    return f"{text if len(text) <= _LONG else text[: _LONG - 3] + '...'} ({kind})"


def _plain(value: Any) -> Any:
    """Return an array as it is, and a tensor without its class."""
    if isinstance(value, np.ndarray):
        return value
    from coinr.inputs.dense import plain_class

    return plain_class(value)


def _is_varying(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


_PLAIN: dict[Any, tuple[_Test, str]] = {
    int: (_is_integer, "an integer"),
    float: (_is_number, "a number"),
    bool: (lambda value: isinstance(value, bool), "True or False"),
    str: (lambda value: isinstance(value, str), "a string"),
    bytes: (lambda value: isinstance(value, bytes), "bytes"),
    Tensor: (lambda value: isinstance(value, Tensor | np.ndarray), "a tensor or an array"),
    type(None): (lambda value: value is None, "None"),
    collections.abc.Callable: (callable, "callable"),
}


def _test(hint: Any) -> tuple[_Test, str]:
    """Return the test of an annotation, and what it allows in words."""
    if hint is Any or typing.get_origin(hint) is np.ndarray:
        return lambda value: True, "anything"
    if hint in _PLAIN:
        return _PLAIN[hint]
    if _is_torch_tensor(hint):
        return _PLAIN[Tensor]
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:  # with words for what it allows
        return _test(inner[0])[0], inner[1]
    if origin in (typing.Union, types.UnionType):
        parts = [_test(part) for part in inner]
        words = dict.fromkeys(words for _, words in parts)
        return lambda value: any(test(value) for test, _ in parts), " or ".join(words)
    if origin is collections.abc.Callable:
        return _PLAIN[collections.abc.Callable]
    if origin is tuple and Ellipsis not in inner:
        each = [_test(part) for part in inner]
        kinds = ", ".join(kind for _, kind in each)
        return lambda value: _is_tuple(value, [test for test, _ in each]), f"a tuple of {kinds}"
    if origin is collections.abc.Sequence or origin in (list, tuple):
        of_part, name = _test(inner[0])
        return lambda value: _is_sequence(value) and all(map(of_part, _parts(value))), f"a sequence, each {name}"
    if origin is collections.abc.Mapping and inner[1] is not Any:
        of_key, of_value = _test(inner[0])[0], _test(inner[1])
        return (
            lambda value: (
                isinstance(value, collections.abc.Mapping)
                and all(of_key(key) and of_value[0](part) for key, part in value.items())
            )
        ), f"a Mapping of strings, each to {of_value[1]}"
    kind = origin or hint
    return lambda value: isinstance(value, kind), f"a {'path' if kind is os.PathLike else kind.__name__}"


def _is_torch_tensor(hint: Any) -> bool:
    return (getattr(hint, "__module__", ""), getattr(hint, "__name__", "")) == ("torch", "Tensor")


def _is_tuple(value: Any, tests: list[_Test]) -> bool:
    return (
        _is_sequence(value)
        and len(value) == len(tests)
        and all(test(part) for test, part in zip(tests, _parts(value), strict=True))
    )


def _is_sequence(value: Any) -> bool:
    if isinstance(value, np.ndarray | Tensor):
        value = _plain(value)
        return value.ndim == 1 and value.shape[0] <= _MOST_PARTS and not getattr(value, "is_meta", False)
    return isinstance(value, collections.abc.Sequence) and not isinstance(value, (bytes, bytearray, memoryview))


def _parts(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | Tensor) else value
