"""Argument checks of all wrappers, and properties of the device."""

from __future__ import annotations

import torch
import triton
from triton.runtime.interpreter import InterpretedFunction

MAX_N = 1 << 24
MAX_M = 1 << 24


@triton.jit
def _probe() -> None:
    """Do nothing; the type of this function shows whether Triton interprets."""


def interpreted() -> bool:
    """Return whether the kernels were defined for Triton's interpreter (TRITON_INTERPRET=1 at import)."""
    return isinstance(_probe, InterpretedFunction)


def signed32(value: int) -> int:
    """Return the int32 with the bits of a uint32, so that a kernel argument's type never depends on its value."""
    return value - (1 << 32) if value >= 1 << 31 else value


def split_seed(seed: int) -> tuple[int, int]:
    """Return the low and high half of a 64-bit seed, as int32.

    Raises
    ------
    ValueError
        If the seed is negative or has more than 64 bits.
    """
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"seed must lie in 0 … 2**64 - 1, got {seed}")
    return signed32(seed & 0xFFFFFFFF), signed32(seed >> 32)


def check_atoms(kind: str, n: int, M: int, seed: int, stream: int) -> None:
    """Raise ValueError unless the five numbers describe a dictionary."""
    if kind not in ("gaussian", "rademacher", "hadamard"):
        raise ValueError(f"kind must be gaussian, rademacher or hadamard, got {kind!r}")
    if not 1 <= n <= MAX_N:
        raise ValueError(f"n must lie in 1 … 2**24, got {n}")
    if not 1 <= M <= MAX_M:
        raise ValueError(f"M must lie in 1 … 2**24, got {M}")
    split_seed(seed)
    if not 0 <= stream < 1 << 32:
        raise ValueError(f"stream must lie in 0 … 2**32 - 1, got {stream}")


def check_tensor(
    name: str,
    tensor: torch.Tensor,
    dtypes: torch.dtype | tuple[torch.dtype, ...],
    shape: tuple[int | None, ...],
) -> None:
    """Raise ValueError unless the tensor has one of the dtypes, the shape (None: any) and a usable device.

    Raises
    ------
    ValueError
        If dtype, shape, contiguity or device is wrong; the message says which.
    """
    allowed = dtypes if isinstance(dtypes, tuple) else (dtypes,)
    if tensor.dtype not in allowed:
        raise ValueError(f"{name} must be {' or '.join(map(str, allowed))}, got {tensor.dtype}")
    fits = tensor.dim() == len(shape) and all(w is None or w == h for w, h in zip(shape, tensor.shape, strict=True))
    if not fits:
        allowed_shape = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} must have shape [{allowed_shape}], got {list(tensor.shape)}")
    if not tensor.is_contiguous():
        raise ValueError(f"{name} must be contiguous, got strides {tensor.stride()}")
    if not (tensor.is_cuda or interpreted()):
        raise ValueError(f"{name} must be on a CUDA device, got {tensor.device}; TRITON_INTERPRET=1 allows the CPU")


def capability(device: torch.device) -> tuple[int, int]:
    """Return the compute capability of a CUDA device; 9.0 in the interpreter, so that it runs the code of an H100."""
    return torch.cuda.get_device_capability(device) if device.type == "cuda" else (9, 0)


def multiprocessors(device: torch.device) -> int:
    """Return the number of multiprocessors of a CUDA device; 3 in the interpreter, so that work is split."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 3
