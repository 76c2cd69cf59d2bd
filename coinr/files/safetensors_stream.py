"""Writing of ``.safetensors`` files tensor by tensor; the library writes only what is in memory as a whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import BinaryIO, Protocol, runtime_checkable

import torch

from coinr.errors import InputError

# The names of the dtypes in the header.
_NAMES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.int16: "I16",
    torch.uint16: "U16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.uint32: "U32",
    torch.float32: "F32",
    torch.complex64: "C64",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.uint64: "U64",
}

# The header is padded to a multiple of this many bytes, so that wide elements are aligned.
_ALIGNMENT = 8


@runtime_checkable
class LazyTensors(Protocol):
    """A mapping of names to tensors that are made when they are taken."""

    def layouts(self) -> Mapping[str, tuple[torch.dtype, tuple[int, ...]]]:
        """Return dtype and shape of each tensor, by name."""


def write_safetensors(
    stream: BinaryIO,
    layouts: Mapping[str, tuple[torch.dtype, tuple[int, ...]]],
    tensor_of: Callable[[str], torch.Tensor],
    metadata: Mapping[str, str],
) -> None:
    """Write tensors one by one; wider elements come first, as the format asks for.

    Parameters
    ----------
    layouts
        Dtype and shape of each tensor, by name.
    tensor_of
        Returns a tensor of that layout, on the CPU. It is called once for each name.

    Raises
    ------
    InputError
        If the format does not have a dtype, or keeps a name for itself.
    """
    if "__metadata__" in layouts:
        raise InputError(".safetensors cannot hold a tensor named '__metadata__'; use .pt or .npz")
    if missing := [dtype for dtype, _ in layouts.values() if dtype not in _NAMES]:
        raise InputError(f".safetensors does not have {missing[0]}; use .pt or .npz")
    names = sorted(layouts, key=lambda name: (-layouts[name][0].itemsize, name))
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in names:
        dtype, shape = layouts[name]
        start, end = end, end + dtype.itemsize * torch.Size(shape).numel()
        header[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    stream.write(len(text).to_bytes(8, "little") + text)
    for name in names:
        _write_tensor(stream, tensor_of(name))


def _write_tensor(stream: BinaryIO, tensor: torch.Tensor) -> None:
    if tensor.numel():
        stream.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
