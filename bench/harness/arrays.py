"""Tensors of torch for the codec's inner functions, which take arrays, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from coinr.codec.state_dict import Entry
from coinr.codec.tensors import Layout, to_planes
from coinr.inputs.dtypes import check_dtype
from coinr.inputs.tensors import array_to_tensor, tensor_to_array


def planes_of(tensor: torch.Tensor) -> NDArray[np.float64]:
    """Return the values of a tensor, float64 ``[planes, size]``."""
    return to_planes(*tensor_to_array(tensor))


def layout_of(tensor: torch.Tensor) -> Layout:
    """Return dtype and shape of a tensor."""
    return Layout(check_dtype(tensor.dtype, "a tensor"), tuple(tensor.shape))


def entry_of(tensor: torch.Tensor, name: str = "w") -> Entry:
    """Return a tensor as the only entry of a state dict."""
    return Entry(name, *tensor_to_array(tensor), None)


def tensor_of(array: NDArray[Any], layout: Layout) -> torch.Tensor:
    """Return an array that a coder decoded as a tensor of its dtype."""
    return array_to_tensor(array, layout.dtype)
