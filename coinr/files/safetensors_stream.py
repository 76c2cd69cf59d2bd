"""Writing of ``.safetensors`` files tensor by tensor; the library writes only what is in memory as a whole."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from coinr.errors import InputError
from coinr.inputs.dtypes import DType

# The names of the dtypes in the header.
_NAMES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "float8_e5m2": "F8_E5M2",
    "float8_e4m3fn": "F8_E4M3",
    "int16": "I16",
    "uint16": "U16",
    "float16": "F16",
    "bfloat16": "BF16",
    "int32": "I32",
    "uint32": "U32",
    "float32": "F32",
    "complex64": "C64",
    "float64": "F64",
    "int64": "I64",
    "uint64": "U64",
}

# The header is padded to a multiple of this many bytes, so that wide elements are aligned.
_ALIGNMENT = 8


@runtime_checkable
class LazyTensors(Protocol):
    """A mapping of names to tensors that are made when they are taken."""

    def array_layouts(self) -> Mapping[str, tuple[DType, tuple[int, ...]]]:
        """Return dtype and shape of each tensor, by name."""

    def array(self, name: str) -> NDArray[Any]:
        """Return a tensor as an array in the storage of its dtype."""


def write_safetensors(
    stream: BinaryIO,
    layouts: Mapping[str, tuple[DType, tuple[int, ...]]],
    array_of: Callable[[str], NDArray[Any]],
    metadata: Mapping[str, str],
) -> None:
    """Write tensors one by one; wider elements come first, as the format asks for.

    Parameters
    ----------
    layouts
        Dtype and shape of each tensor, by name.
    array_of
        Returns an array of that layout, in the storage of its dtype. It is called once for each name.

    Raises
    ------
    InputError
        If the format does not have a dtype, or keeps a name for itself.
    """
    if "__metadata__" in layouts:
        raise InputError(".safetensors cannot hold a tensor named '__metadata__'; use .pt or .npz")
    if missing := [dtype for dtype, _ in layouts.values() if dtype.name not in _NAMES]:
        raise InputError(f".safetensors does not have {missing[0]}; use .pt or .npz")
    names = sorted(layouts, key=lambda name: (-layouts[name][0].itemsize, name))
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in names:
        dtype, shape = layouts[name]
        start, end = end, end + dtype.itemsize * math.prod(shape)
        header[name] = {"dtype": _NAMES[dtype.name], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    stream.write(len(text).to_bytes(8, "little") + text)
    for name in names:
        _write_array(stream, array_of(name))


def _write_array(stream: BinaryIO, array: NDArray[Any]) -> None:
    if array.size:
        stream.write(array.reshape(-1).view(np.uint8).data)
