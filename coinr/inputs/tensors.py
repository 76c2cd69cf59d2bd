"""Tensors of torch from arrays, and arrays from tensors: the bits stay the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from coinr.inputs.dtypes import BY_NAME, DType, dtype_name


def tensor_to_array(tensor: torch.Tensor) -> tuple[NDArray[Any], DType]:
    """Return the values of a dense tensor as a contiguous array of its dtype's storage, and its dtype.

    The memory is that of the tensor if it is contiguous and on the CPU.
    """
    dtype = BY_NAME[dtype_name(tensor.dtype)]
    host = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    if not host.numel():
        return np.empty(tuple(host.shape), dtype.storage), dtype
    raw: NDArray[np.uint8] = host.reshape(-1).view(torch.uint8).numpy()
    return raw.view(dtype.storage).reshape(tuple(host.shape)), dtype


def torch_dtype(dtype: DType) -> torch.dtype:
    """Return the dtype of torch of that name."""
    found: torch.dtype = getattr(torch, dtype.name)
    return found


def array_to_tensor(array: NDArray[Any], dtype: DType) -> torch.Tensor:
    """Return the tensor on the CPU whose bits a contiguous array holds; it shares the memory."""
    kind = torch_dtype(dtype)
    if not array.size:
        return torch.empty(array.shape, dtype=kind)
    raw = torch.from_numpy(array.reshape(-1).view(np.uint8))
    return raw.view(kind).reshape(array.shape)
