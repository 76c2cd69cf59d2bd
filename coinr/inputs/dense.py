"""Tensors and arrays of callers as plain dense ones. Others are refused, with words on what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.parameter import is_lazy

from coinr.errors import InputError

# What to do with tensors whose class, by its name, overrides operations.
_INSTEAD = {
    "DTensor": "its values are spread over devices: pass .full_tensor()",
    "FakeTensor": "it has no values: load the weights outside of FakeTensorMode",
    "MaskedTensor": "some of its values are masked: pass .to_tensor(fill_value)",
    "NestedTensor": "it is a list of tensors of different shapes (nested): pass those of .unbind() one by one",
}
_CONVERT = "its class has operations of its own: convert it to a plain torch.Tensor first"

# How far values may lie outside of [0, 1] by rounding in float32.
_ROUNDING = 1e-6

# An array of more entries is broadcast from few: it would take a terabyte.
_MOST_ENTRIES = 1 << 36

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
        if tensor.numel() > _MOST_ENTRIES:
            raise InputError(f"{what} has {tensor.numel()} entries, more than {_MOST_ENTRIES}")
        return tensor.as_subclass(torch.Tensor).detach()
    array = _array(value, what)
    try:
        return torch.from_numpy(array)
    except TypeError as error:
        raise InputError(f"{what} has dtype {array.dtype}, which torch lacks: convert it to float64, say") from error


def to_array(value: Any, what: str) -> NDArray[Any]:
    """Return a tensor, array or nested list as an array: C-contiguous, aligned, writable, in native byte order.

    Raises
    ------
    InputError
        As :func:`to_tensor`, or if it is a tensor of a dtype that NumPy lacks.
    """
    if not isinstance(value, torch.Tensor):
        return _array(value, what)
    tensor = to_tensor(value, what).resolve_conj().resolve_neg().cpu()
    try:
        return tensor.contiguous().numpy()
    except TypeError as error:
        raise InputError(f"{what} has dtype {_short(tensor.dtype)}, which NumPy lacks: convert it first") from error


def in_unit_range(array: NDArray[Any], what: str) -> NDArray[Any]:
    """Clip a floating array of at least one value to [0, 1], where only rounding put values outside.

    Raises
    ------
    InputError
        If it holds NaN, Inf or values farther outside.
    """
    if not np.isfinite(array).all():
        raise InputError(f"{what} holds NaN or infinite values")
    low, high = float(array.min()), float(array.max())
    rounding = max(_ROUNDING, 8 * float(np.finfo(array.dtype).eps))
    if low < -rounding or high > 1 + rounding:
        raise InputError(f"{what} must lie in [0, 1] if floating, got {exact_repr(low)} to {exact_repr(high)}")
    return array if low >= 0 and high <= 1 else np.clip(array, 0, 1)


def count_nonfinite(tensor: torch.Tensor) -> str:
    """Return words on how many NaN and infinite values a floating or complex tensor holds."""
    counts = {"NaN": int(tensor.isnan().sum()), "infinite": int(tensor.isinf().sum())}
    return " and ".join(f"{count} {kind}" for kind, count in counts.items() if count) + " values"


def exact_repr(value: float) -> str:
    """Return all digits of a number, for messages about a number that is close to a limit."""
    return repr(float(value)).removesuffix(".0")


def _array(value: Any, what: str) -> NDArray[Any]:
    try:
        array = np.asanyarray(value)
    except Exception as error:  # a caller's ``__array__`` may fail in any way
        raise InputError(f"{what} must be an array, got {type(value).__name__} ({error})") from error
    if isinstance(array, np.ma.MaskedArray):
        raise InputError(f"{what} is a masked array: pass .filled(value)")
    if array.dtype.names:
        raise InputError(f"{what} is a structured array: pass its fields ({', '.join(array.dtype.names)}) one by one")
    if array.size > _MOST_ENTRIES:
        raise InputError(f"{what} has {array.size} entries, more than {_MOST_ENTRIES}")
    return np.require(np.asarray(array), array.dtype.newbyteorder("="), ("C", "A", "W"))


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
