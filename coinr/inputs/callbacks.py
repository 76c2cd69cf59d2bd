"""Callables of the caller: they run under the caller's settings, on copies, and their results are checked."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coinr.errors import CoinrError, InputError
from coinr.inputs.arguments import describe_value
from coinr.runtime.ambient import callers_settings


def copy_state_dict(state_dict: Mapping[str, Any]) -> OrderedDict[str, Any]:
    """Copy every tensor and array; tied tensors stay tied, and gradients flow through."""
    made: dict[int, Any] = {}
    for value in state_dict.values():
        if id(value) not in made:
            made[id(value)] = value.clone() if isinstance(value, Tensor) else np.array(value)
    return OrderedDict((name, made[id(value)]) for name, value in state_dict.items())


def call_module(module: nn.Module, *inputs: Tensor) -> Any:
    """Call a module, perhaps the caller's, under the caller's default device."""
    with callers_settings("device"):
        return module(*inputs)


def gradients(value: Tensor, tensors: Sequence[Tensor], what: str = "the loss") -> tuple[Tensor | None, ...]:
    """Return the gradients of a value that the caller's code computed; None for tensors that it does not depend on.

    Raises
    ------
    InputError
        If there are none, for example since a tensor was changed in place.
    """
    try:
        return torch.autograd.grad(value, tensors, allow_unused=True)
    except RuntimeError as error:
        if type(error) is not RuntimeError:  # out of memory
            raise
        raise InputError(f"{what} cannot be derived: {error}") from error


class Metric:
    """A caller's metric of a state dict.

    Raises
    ------
    InputError
        If it returns what is not one real number.
    """

    def __init__(self, evaluate: Callable[[Mapping[str, Any]], Any]) -> None:
        self._evaluate = evaluate

    def __call__(self, state_dict: Mapping[str, Any]) -> float:
        """Return the score of a copy; it may be NaN or infinite."""
        with callers_settings():
            score = self._evaluate(copy_state_dict(state_dict))
        return _number(score)


def _number(score: Any) -> float:
    value = score
    if isinstance(value, Tensor | np.ndarray | np.generic) and math.prod(value.shape) == 1:
        value = value.detach().item() if isinstance(value, Tensor) else value.item()
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"evaluate must return a real number, not {describe_value(score)}")
    try:
        return float(value)
    except OverflowError as error:
        raise InputError(f"evaluate must return a number that float64 holds, not {describe_value(score)}") from error


class Loss:
    """A caller's loss of a state dict, through which gradients flow.

    Raises
    ------
    InputError
        If it returns other than a 0-dim real tensor that is positive or zero.
    CoinrError
        If the loss is not finite.
    """

    def __init__(self, loss_fn: Callable[[Mapping[str, Tensor]], Any]) -> None:
        self._loss_fn = loss_fn

    def __call__(self, state_dict: Mapping[str, Tensor]) -> Tensor:
        """Return the loss of a copy, 0-dim, at least float32."""
        with callers_settings("autocast", "device", "errors", "products"):
            loss = self._loss_fn(copy_state_dict(state_dict))
        if not isinstance(loss, Tensor) or loss.ndim or not loss.is_floating_point():
            raise InputError(f"loss_fn must give a 0-dim floating-point tensor, not {describe_value(loss)}")
        value = float(loss.detach())
        if not math.isfinite(value):
            raise CoinrError(f"the loss became {value}; try a lower learning rate")
        if value < 0:
            raise InputError(f"loss_fn must give a loss of 0 or more, as its relative change counts, not {value}")
        return loss.to(torch.promote_types(loss.dtype, torch.float32))
