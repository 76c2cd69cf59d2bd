"""Tensors of tests as the codec has them: arrays in the storage of their dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from coinr.codec.state_dict import Entry
from coinr.codec.tensors import Layout, to_planes
from coinr.inputs import dtypes
from coinr.inputs.dtypes import check_dtype
from coinr.inputs.tensors import array_to_tensor, tensor_to_array, torch_dtype

#: The dtypes that files hold, in the order of their codes.
DTYPES = tuple(map(torch_dtype, dtypes.DTYPES))


def planes_of(tensor: torch.Tensor) -> NDArray[np.float64]:
    return to_planes(*tensor_to_array(tensor))


def entry_of(tensor: torch.Tensor, name: str = "t") -> Entry:
    return Entry(name, *tensor_to_array(tensor), None)


def layout_of(tensor: torch.Tensor) -> Layout:
    return layout(tensor.dtype, tuple(tensor.shape))


def layout(dtype: torch.dtype, shape: tuple[int, ...]) -> Layout:
    return Layout(check_dtype(dtype, "a tensor"), shape)


def tensor_of(array: NDArray[Any], as_layout: Layout) -> torch.Tensor:
    return array_to_tensor(array, as_layout.dtype)
