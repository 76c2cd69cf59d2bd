"""A caller's module, called with the values of a state dict and left as it was; its samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_leaves

from coinr.errors import InputError, first_line
from coinr.inputs.dense import count_nonfinite, to_tensor
from coinr.inputs.dtypes import check_dtype, dtype_name
from coinr.runtime.ambient import callers_settings

#: How torch.compile names what it wraps.
_COMPILED = "_orig_mod"

#: How many leading parts of the module's names, and of the state dict's, the other may lack: wrappers, submodules.
_CUTS = ((0, 0), (1, 0), (0, 1), (2, 0), (0, 2), (3, 0), (0, 3))

# Inputs whose shapes are named in messages.
_MOST_SHAPES = 4

_ERRORS = (RuntimeError, TypeError, ValueError, IndexError)


class SampledModule:
    """A module in evaluation mode with the values of a state dict, and sample inputs.

    Parameters
    ----------
    module
        Also in DataParallel, DistributedDataParallel or compiled. Names may differ from those of the state dict by
        leading parts that wrappers add.
    inputs
        A tensor or array, or several, with samples along the first axis; floating ones get the module's dtype.
    state_dict
        Values of parameters and buffers; the module's own for what it lacks.

    Attributes
    ----------
    count : int
        Samples.
    values : dict of str to Tensor
        The module's parameters that the state dict holds, by the state dict's names; leaves for gradients.

    Raises
    ------
    InputError
        If the inputs are no samples, or the state dict holds no parameter of the module.
    """

    def __init__(self, module: nn.Module, inputs: Any, state_dict: Mapping[str, Any]) -> None:
        self._module = unwrap_module(module)
        parameters = dict(self._module.named_parameters())
        device = next((parameter.device for parameter in parameters.values()), torch.device("cpu"))
        first = inputs[0] if isinstance(inputs, Sequence) and len(inputs) else inputs
        device = first.device if isinstance(first, Tensor) else device
        self._columns = sample_columns(inputs, device, floating_dtype(self._module), "a calibration")
        self.count = len(self._columns[0])
        own = parameters | dict(self._module.named_buffers())
        shapes = {name: tuple(tensor.shape) for name, tensor in own.items()}
        keys = match_names(shapes, {key: tuple(getattr(value, "shape", ())) for key, value in state_dict.items()})
        self._values: dict[str, Tensor] = {}
        self._buffers: dict[str, Tensor] = {}
        self.values: dict[str, Tensor] = {}
        for name, tensor in own.items():
            value = (to_tensor(state_dict[keys[name]], f"tensor {keys[name]!r}") if name in keys else tensor).detach()
            if value.is_complex() != tensor.is_complex():
                raise InputError(
                    f"the module of the calibration has {name!r} in {dtype_name(tensor.dtype)}, the state dict "
                    f"{keys[name]!r} in {dtype_name(value.dtype)}: both must be real or both complex"
                )
            value = value.to(device, tensor.dtype, copy=True)
            if name not in parameters:
                self._buffers[name] = value
            else:
                self._values[name] = value
                if name in keys:
                    differs = value.is_floating_point() or value.is_complex()
                    self.values[keys[name]] = value.requires_grad_() if differs else value
        if not self.values:
            raise InputError("the module of the calibration has no parameter that the state dict holds")

    def call(self, first: int, last: int) -> list[Tensor]:
        """Return the outputs, floating or complex, of the samples ``first`` to ``last`` - 1."""
        samples = [column[first:last].clone() for column in self._columns]
        buffers = {name: buffer.clone() for name, buffer in self._buffers.items()}
        return call_with(self._module, self._values | buffers, samples)

    def checked(self, first: int, last: int) -> list[Tensor]:
        """Call the module as :meth:`call` does; name what it cannot take.

        Raises
        ------
        InputError
            If the module cannot take such inputs, or gives none of these.
        """
        samples = [column[first:last] for column in self._columns]
        return checked_outputs(lambda: self.call(first, last), samples, "the module of the calibration")

    def why(self, first: int, last: int) -> str:
        """Return the end of a message: which of the samples ``first`` to ``last`` - 1 are not finite; empty if none."""
        for k, column in enumerate(self._columns):
            fine = column[first:last].isfinite().reshape(last - first, -1).all(1)
            if not bool(fine.all()):
                sample = first + int(fine.int().argmin())
                held = count_nonfinite(column[sample])
                return f"; input {k} of the calibration must be finite, sample {sample} holds {held}"
        return ""


def call_with(module: nn.Module, values: Mapping[str, Tensor], samples: Sequence[Tensor]) -> list[Tensor]:
    """Return the outputs, floating or complex, of a module in evaluation mode with these parameters and buffers."""
    with _evaluating(module), callers_settings("device"):
        out = functional_call(module, dict(values), tuple(samples))
    return [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor) and _differs(leaf)]


def checked_outputs(call: Callable[[], list[Tensor]], samples: Sequence[Tensor], what: str) -> list[Tensor]:
    """Return the outputs of a call with these samples.

    Raises
    ------
    InputError
        If ``what`` is called cannot take such inputs, or gives none.
    """
    try:
        outputs = call()
    except _ERRORS as error:
        if type(error) not in _ERRORS:  # the module's own
            raise
        shapes = " and ".join(f"{column.dtype} {list(column.shape)}" for column in samples[:_MOST_SHAPES])
        shapes += f" and {more} more" if (more := len(samples) - _MOST_SHAPES) > 0 else ""
        raise InputError(f"{what} cannot take {shapes}: {first_line(error)}") from error
    if not outputs:
        raise InputError(f"{what} gives no floating-point tensor")
    return outputs


def _differs(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def floating_dtype(module: nn.Module) -> torch.dtype | None:
    """Return the dtype of a module's first floating-point parameter; None if it has none."""
    return next((one.dtype for one in module.parameters() if one.is_floating_point()), None)


def unwrap_module(module: nn.Module) -> nn.Module:
    """Return the module without wrappers that only change where, or how fast, it runs."""
    while True:
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        elif isinstance(module._modules.get(_COMPILED), nn.Module):
            module = module.get_submodule(_COMPILED)
        else:
            return module


def sample_columns(inputs: Any, device: torch.device, dtype: torch.dtype | None, what: str) -> list[Tensor]:
    """Return copies of samples on a device, floating ones of a dtype.

    Parameters
    ----------
    inputs
        A tensor or array, or several, with samples along the first axis.
    device, dtype
        Of the copies; None keeps the dtype.
    what
        Whose inputs they are, for messages.

    Raises
    ------
    InputError
        If they hold no samples, or not equally many.
    """
    given = list(inputs) if isinstance(inputs, Sequence) else [inputs]
    columns = [to_tensor(column, f"an input of {what}") for column in given]
    shapes = " and ".join(str(list(column.shape)) for column in columns) or "none"
    if not columns or not all(column.ndim for column in columns):
        raise InputError(
            f"the inputs of {what} must be a tensor or several, with samples along the first axis, got shapes {shapes}"
        )
    for column in columns:
        check_dtype(column.dtype, f"an input of {what}")
    count = len(columns[0])
    if not count or any(len(column) != count for column in columns):
        raise InputError(f"the inputs of {what} must hold equally many samples, at least one, got shapes {shapes}")
    # copies: of tensors that were made in inference mode, too, gradients can be taken
    return [column.detach().to(device, dtype if column.is_floating_point() else None, copy=True) for column in columns]


def match_names(names: Mapping[str, tuple[int, ...]], keys: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """Return the state dict's name of each of the module's tensors that it holds, given both names with shapes."""
    best: dict[str, str] = {}
    for cut_name, cut_key in _CUTS:
        named, keyed = _cut(names, cut_name), _cut(keys, cut_key)
        found = {named[part]: keyed[part] for part in named if part in keyed}
        found = {name: key for name, key in found.items() if names[name] == keys[key]}
        if len(found) > len(best):
            best = found
    return best


def _cut(names: Mapping[str, Any], count: int) -> dict[str, str]:
    """Return names without so many leading parts, each with its full name; leave out those that two then share."""
    made: dict[str, list[str]] = {}
    for name in names:
        parts = [part for part in name.split(".") if part != _COMPILED]
        if len(parts) > count:
            made.setdefault(".".join(parts[count:]), []).append(name)
    return {short: found[0] for short, found in made.items() if len(found) == 1}


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Put all parts of a module into evaluation mode, and run compiled ones as they are; then put each back."""
    modes = {part: part.training for part in module.modules()}
    with ExitStack() as stack:
        if any(_COMPILED in part._modules for part in modes):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        try:
            for part in modes:
                part.training = False
            yield
        finally:
            for part, mode in modes.items():
                part.training = mode
