"""Tensors of callers as plain dense ones. Others are refused, with words on what to do."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.parameter import is_lazy

from coinr.errors import InputError
from coinr.inputs.plain_arrays import MOST_ENTRIES, plain_array

# What to do with tensors whose class, by its name, overrides operations.
_INSTEAD = {
    "DTensor": "its values are spread over devices: pass .full_tensor()",
    "FakeTensor": "it has no values: load the weights outside of FakeTensorMode",
    "MaskedTensor": "some of its values are masked: pass .to_tensor(fill_value)",
    "NestedTensor": "it is a list of tensors of different shapes (nested): pass those of .unbind() one by one",
}
_CONVERT = "its class has operations of its own: convert it to a plain torch.Tensor first"

_PLAIN_FUNCTIONS = (torch.Tensor.__torch_function__, torch._C._disabled_torch_function_impl)


def why_not_dense(tensor: torch.Tensor) -> str | None:
    """Return words on what a tensor is, and what to do, unless it is dense with values of its own; else None.

    A subclass of :class:`torch.Tensor` is accepted where it overrides no operation.
    """
    kind = type(tensor)
    if is_lazy(tensor):
        return f"is an {kind.__name__}, without shape or values yet: run the network once on a batch of inputs"
    if not _leaves_operations_alone(kind):
        return f"is a {kind.__name__}: {_INSTEAD.get(kind.__name__, _CONVERT)}"
    tensor = plain_class(tensor)
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor) or torch._is_functional_tensor(tensor):
        return "belongs to a function transform (torch.func.vmap, grad, ...): use its values outside of the transform"
    if tensor.is_quantized:
        return f"is quantized ({_short(tensor.dtype)}): pass .dequantize(), or .int_repr() to keep the integers"
    if tensor.is_nested:
        return f"is {_INSTEAD['NestedTensor'].removeprefix('it is ')}"
    if tensor.device.type == "meta":
        return "is on the meta device, without values: call .to_empty(device='cpu') and load the weights first"
    if tensor.layout != torch.strided:
        return f"has the layout {_short(tensor.layout)}, not dense: pass .to_dense()"
    if tensor.numel() and tensor.untyped_storage().nbytes() < _end(tensor) * tensor.itemsize:
        return "has no memory any more (as parameters of FSDP between uses): gather the full parameters first"
    return None


def plain_class(tensor: torch.Tensor) -> torch.Tensor:
    """Return a dense tensor as a plain :class:`torch.Tensor`, if its class overrides no operation."""
    kind = type(tensor)
    # the class of a tensor that is not dense cannot be changed
    dense = torch.Tensor.layout.__get__(tensor) == torch.strided  # type: ignore[attr-defined]
    if kind in (torch.Tensor, torch.nn.Parameter) or not dense or not _leaves_operations_alone(kind):
        return tensor
    return tensor.as_subclass(torch.Tensor)


def to_tensor(value: Any, what: str) -> torch.Tensor:
    """Return a tensor, array or nested list of numbers as a plain dense tensor, detached, on the tensor's device.

    It shares memory with ``value`` where that is possible.

    Parameters
    ----------
    what
        Its name in errors: ``"tensor 'w'"``.

    Raises
    ------
    InputError
        If it is a tensor without plain values, a masked or structured array, or of a dtype that torch lacks.
    """
    if isinstance(value, torch.Tensor):
        if why := why_not_dense(value):
            raise InputError(f"{what} {why}")
        tensor = plain_class(value)
        if tensor.numel() > MOST_ENTRIES:
            raise InputError(f"{what} has {tensor.numel()} entries, more than {MOST_ENTRIES}")
        return tensor.as_subclass(torch.Tensor).detach()
    array = plain_array(value, what)
    try:
        return torch.from_numpy(array)
    except TypeError as error:
        raise InputError(f"{what} has dtype {array.dtype}, which torch lacks: convert it to float64, say") from error


def count_nonfinite(tensor: torch.Tensor) -> str:
    """Return words on how many NaN and infinite values a floating or complex tensor holds."""
    counts = {"NaN": int(tensor.isnan().sum()), "infinite": int(tensor.isinf().sum())}
    return " and ".join(f"{count} {kind}" for kind, count in counts.items() if count) + " values"


def _leaves_operations_alone(kind: type[torch.Tensor]) -> bool:
    function = kind.__torch_function__
    # a class method is another object for each class
    plain = any(getattr(function, "__func__", function) is getattr(one, "__func__", one) for one in _PLAIN_FUNCTIONS)
    return plain and kind.__torch_dispatch__ is torch.Tensor.__torch_dispatch__


def _end(tensor: torch.Tensor) -> int:
    """Return the number of elements of a tensor's storage up to its last element; the tensor is not empty."""
    spans = zip(tensor.shape, tensor.stride(), strict=True)
    return int(tensor.storage_offset()) + 1 + sum((size - 1) * stride for size, stride in spans)


def _short(kind: object) -> str:
    return str(kind).removeprefix("torch.")
