"""Batched orthogonal matching pursuit against a seeded dictionary.

Given W of B vectors and a dictionary A, find for each vector w at most s atoms and the values x that make
‖w − A x‖ small: select the atom with the largest |aᵀr| / ‖a‖, solve least squares on the support, repeat
(Pati, Rezaiifar and Krishnaprasad, 1993; Tropp and Gilbert, 2007; paper, section 4.2).

:func:`~coinr.engine.reference_omp.reference_omp` is the truth that every backend is compared with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from coinr.engine.backends import select
from coinr.engine.dictionary import Dictionary
from coinr.engine.threads import check_threads
from coinr.errors import InputError
from coinr.inputs.arguments import checked
from coinr.inputs.dense import in_full, to_tensor
from coinr.runtime.ambient import independent


@dataclass(frozen=True)
class SparseCode:
    """What a pursuit found: w ≈ Σ_k ``values[k]`` · A[:, ``indices[k]``] for each of B vectors.

    Tensors on the device of the input where that was a tensor, else NumPy arrays.

    Attributes
    ----------
    indices
        int32 ``[B, s]``, in order of selection; -1 in the slots of a vector that stopped early.
    values
        float32 ``[B, s]`` (float64 from the reference on float64 input), multiplying the raw integer atoms;
        0 where the index is -1.
    path
        float64 ``[B, s + 1]``: squared residual norm after 0 … s atoms; of float64 vectors beyond 1e150 or so, whose
        squares float64 does not hold, its largest number, and its smallest normal one at the other end.
    """

    indices: Any
    values: Any
    path: Any

    @property
    def energy(self) -> Any:
        """Squared residual norm of each vector: ``[B]``."""
        return self.path[:, -1]


@independent
@checked
def omp(
    W: Any,
    dictionary: Dictionary,
    s: int,
    *,
    backend: str | None = None,
    threads: int | None = None,
    exact: bool = False,
) -> SparseCode:
    """Code every row of W with at most s atoms of the dictionary.

    Ties go to the lowest atom index; zero atoms are never picked, no atom twice. A vector stops early when no
    atom can reduce its residual any more (best normalized correlation at most 1e-6 of its norm) or when the
    best atom is numerically in the span of its support; a zero vector picks nothing.

    Parameters
    ----------
    W
        ``[B, n]``, a tensor or array of float32; float64 is kept by the reference and rounded to float32
        by the other backends. One vector ``[n]`` is not accepted: pass ``W[None]``.
    dictionary
        The atoms; its ``n`` must be ``W.shape[1]``.
    s
        Nonzeros per vector, ``0 … min(n, M)``.
    backend
        ``"reference"``, ``"native"`` or ``"triton"``; by default ``triton`` for CUDA tensors, ``native``
        otherwise, or what the environment variable ``COINR_BACKEND`` names.
    threads
        Threads of the native backend, 256 at most; all available cores by default. The result does not depend on it.
    exact
        Turn every screening shortcut of the native backend off.

    Raises
    ------
    InputError
        On wrong shapes, types or ranges, or values that are not finite.
    BackendError
        If the backend cannot run here.
    """
    n, M = dictionary.n, dictionary.M
    if getattr(W, "ndim", None) != 2 or W.shape[1] != n:
        raise InputError(f"W must be [B, {n}] for this dictionary, not {tuple(getattr(W, 'shape', ()))}")
    if not isinstance(s, int | np.integer) or not 0 <= s <= min(n, M):
        raise InputError(f"s must be an integer in 0 … min(n, M) = {min(n, M)}, not {s!r}")
    check_threads(threads)
    is_tensor = isinstance(W, torch.Tensor)
    tensor = to_tensor(W, "W")
    if tensor.dtype not in (torch.float32, torch.float64):
        raise InputError(f"W must be float32 or float64, not {tensor.dtype}")
    if not bool(torch.isfinite(tensor).all()):
        raise InputError("W holds NaN or Inf")
    scale = _power_of_two(tensor)
    indices, values, path = select(backend, tensor.device).omp(tensor / scale, dictionary, int(s), threads, exact)
    values, path = values * scale, _squares(path.double(), scale.double())
    if not bool(values.isfinite().all()):
        raise InputError(f"W holds {in_full(float(tensor.abs().max()))}: values of its code are beyond float64")
    if is_tensor:
        return SparseCode(indices, values, path)
    return SparseCode(indices.numpy(), values.numpy(), path.numpy())


def _squares(path: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Squared norms in units of a scale as they are: the largest or smallest normal float64 where they leave those."""
    # one factor after the other: the square of the scale alone may overflow
    squares = path * scale * scale
    limits = torch.finfo(torch.float64)
    return torch.where(path > 0, squares.clamp(limits.tiny, limits.max), squares)


def _power_of_two(W: torch.Tensor) -> torch.Tensor:
    """The power of two just above each row's largest magnitude: ``[B, 1]``, 1 for zero rows.

    Divided by it, weights of any size pass through float32 squares without overflow or underflow. It is a normal number
    itself, of float64 weights too.
    """
    peak = W.abs().amax(dim=1, keepdim=True) if W.numel() else W.new_zeros(len(W), 1)
    least, most = (-120, 120) if W.dtype == torch.float32 else (-1021, 1000)
    exponent = torch.frexp(peak).exponent.clamp(least, most)
    return torch.ldexp(torch.ones_like(peak), torch.where(peak > 0, exponent, torch.zeros_like(exponent)))
