"""Self-distillation: a module's own output is what the refined network has to show, so no signal is needed."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from coinr.errors import CoinrError, InputError
from coinr.inputs.arguments import describe_value
from coinr.inputs.callbacks import copy_state_dict
from coinr.inputs.dense import count_nonfinite
from coinr.inputs.state_dicts import plain_tensors
from coinr.optimize.refine.lagrange import LOSS_INCREASE
from coinr.runtime.ambient import callers_settings
from coinr.sensitivity.output_meter import output_unit, relative_squared_error
from coinr.sensitivity.sampled_module import (
    call_with,
    checked_outputs,
    floating_dtype,
    match_names,
    sample_columns,
    unwrap_module,
)

#: Output error by default, in dB of the output's range.
OUTPUT_ERROR_DB = -50.0

# Samples of a batch at most, and entries of their inputs at most.
_BATCH, _ENTRIES = 4096, 1 << 20

# Share of the samples that are held out, how many at most, and how many batches of a callable at most.
_HELD_OUT, _MOST_HELD_OUT, _MOST_BATCHES = 1 / 8, 16384, 64

# Fewer samples are all trained with and all held out.
_FEWEST = 64

# What the loss holds besides the squared error, in units of the level. It stands for the error of a network that shows
# a signal: coding at the level increases this loss by as much as coding does by default where there is a signal.
_FLOOR = 1 / LOSS_INCREASE


class Distillation:
    """The squared difference between a module's output and that of the same module with other weights.

    The error of each output is that of :class:`~coinr.sensitivity.output_meter.OutputMeter`, with the range at the
    held-out samples as unit. The largest of them counts.

    Parameters
    ----------
    module
        As it is, called in evaluation mode.
    inputs
        A tensor of samples, a tuple of several, or a callable that draws a batch of one of these.
    seed
        Of the choice of batches and of held-out samples.

    Attributes
    ----------
    state_dict : Mapping of str to Tensor
        Of the module, as it was.
    level : float
        The squared error that :meth:`loss` and :meth:`score` have as unit, relative to the squared range.

    Raises
    ------
    InputError
        If the module cannot take the inputs, or its output is not finite, or constant.
    """

    def __init__(self, module: nn.Module, inputs: Any, seed: int) -> None:
        self._module = unwrap_module(module)
        self.state_dict: Mapping[str, Tensor] = plain_tensors(module.state_dict())
        own = dict(self._module.named_parameters()) | dict(self._module.named_buffers())
        shapes = {name: tuple(tensor.shape) for name, tensor in own.items()}
        self._names = match_names(shapes, {name: tuple(one.shape) for name, one in self.state_dict.items()})
        self._device = next((tensor.device for tensor in own.values()), torch.device("cpu"))
        self._dtype = floating_dtype(self._module)
        self._generator = torch.Generator().manual_seed(seed)
        self._draw, self._held_out = self._split(inputs)
        self.level = math.pow(10, OUTPUT_ERROR_DB / 10)
        self._original = [self._original_outputs(batch) for batch in self._held_out]
        self._units = _units(self._original)

    def loss(self, state_dict: Mapping[str, Tensor]) -> Tensor:
        """Return the squared error on a new batch, in units of the level, plus a constant, 0-dim.

        Raises
        ------
        CoinrError
            If it is not finite.
        """
        batch = self._draw()
        original = self._original_outputs(batch)  # names what the module cannot take
        error = self._squared_errors(self._outputs(state_dict, batch), original).max()
        if not math.isfinite(float(error.detach())):
            raise CoinrError(f"the output error became {float(error.detach())}; try a lower learning rate")
        return error / self.level + _FLOOR

    def squared_error_of(self, loss: float) -> float:
        """Return the relative squared error of which :meth:`loss` is so much."""
        return (loss - _FLOOR) * self.level

    @torch.no_grad()
    def squared_error(self, state_dict: Mapping[str, Tensor]) -> float:
        """Return the mean squared error at the held-out samples, relative to the squared range."""
        total = sum(
            len(batch[0]) * self._squared_errors(self._outputs(state_dict, batch), original).double()
            for batch, original in zip(self._held_out, self._original, strict=True)
        )
        assert isinstance(total, Tensor)
        return float(total.max()) / sum(len(batch[0]) for batch in self._held_out)

    def score(self, state_dict: Mapping[str, Tensor]) -> float:
        """Return the negative squared error in units of the level: −1 at the level, 0 if nothing changed."""
        return -self.squared_error(state_dict) / self.level

    def _split(self, inputs: Any) -> tuple[Callable[[], list[Tensor]], list[list[Tensor]]]:
        """Return what draws a batch to train with, and the held-out samples in batches."""
        if callable(inputs):
            held_out: list[list[Tensor]] = []
            while len(held_out) < _MOST_BATCHES and sum(len(batch[0]) for batch in held_out) < _MOST_HELD_OUT:
                held_out.append(self._drawn(inputs))
            return lambda: self._drawn(inputs), held_out
        columns = self._columns(inputs)
        count = len(columns[0])
        size = max(1, min(_BATCH, _ENTRIES // max(1, sum(column[0].numel() for column in columns))))
        order = torch.randperm(count, generator=self._generator)
        last = count if count < _FEWEST else min(int(_HELD_OUT * count), _MOST_HELD_OUT)
        kept = order if count < _FEWEST else order[last:]
        held_out = [[column[part.to(self._device)] for column in columns] for part in torch.split(order[:last], size)]

        def draw() -> list[Tensor]:
            chosen = kept[torch.randint(len(kept), (min(size, len(kept)),), generator=self._generator)]
            return [column[chosen.to(self._device)] for column in columns]

        return draw, held_out

    def _drawn(self, inputs: Callable[[], Any]) -> list[Tensor]:
        """Return a batch of a callable."""
        with callers_settings():
            given = inputs()
        return self._columns(given)

    def _columns(self, inputs: Any) -> list[Tensor]:
        if isinstance(inputs, Mapping | str | bytes):
            raise InputError(
                f"the inputs of a module must be a tensor, a tuple of tensors or a callable that draws a batch, not "
                f"{describe_value(inputs)}"
            )
        return sample_columns(inputs, self._device, self._dtype, "a module")

    def _outputs(self, state_dict: Mapping[str, Tensor], batch: Sequence[Tensor]) -> list[Tensor]:
        """Return the module's outputs with these values of its state dict, real, at least float32."""
        copied = copy_state_dict(state_dict)
        values = {name: copied[key] for name, key in self._names.items()}
        samples = [column.clone() for column in batch]
        outputs = call_with(self._module, values, samples)
        real = [torch.view_as_real(one) if one.is_complex() else one for one in outputs]
        return [one.to(torch.promote_types(one.dtype, torch.float32)) for one in real]

    @torch.no_grad()
    def _original_outputs(self, batch: Sequence[Tensor]) -> list[Tensor]:
        return checked_outputs(lambda: self._outputs(self.state_dict, batch), batch, "the module")

    def _squared_errors(self, outputs: Sequence[Tensor], original: Sequence[Tensor]) -> Tensor:
        """Return the relative squared error of each output, ``[outputs]``."""
        found = zip(outputs, original, self._units, strict=True)
        return torch.stack([relative_squared_error(*one) for one in found])


def decibels(squared_error: float) -> float:
    """Return a squared error in dB; -inf of zero."""
    return 10 * math.log10(squared_error) if squared_error > 0 else -math.inf


def _units(batches: Sequence[Sequence[Tensor]]) -> list[float]:
    """Return the unit of each output over batches of it.

    Raises
    ------
    InputError
        If values are not finite, or all outputs are constant.
    """
    outputs = list(zip(*batches, strict=True))
    for one in (one for output in outputs for one in output):
        if not bool(one.isfinite().all()):
            raise InputError(f"the module must give finite values at its inputs; it gives {count_nonfinite(one)}")
    if all(max(float(one.max()) for one in output) == min(float(one.min()) for one in output) for output in outputs):
        raise InputError("the output of the module is the same at all its inputs, so errors have no range to refer to")
    return [output_unit(output) for output in outputs]


def is_loss(value: Any) -> bool:
    """Return whether a value is a callable that needs an argument: a loss of a state dict, not inputs of a module."""
    if not callable(value):
        return False
    try:
        inspect.signature(value).bind()
    except TypeError:
        return True
    except ValueError:  # builtins have no signature
        return False
    return False
