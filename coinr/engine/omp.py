"""Batched orthogonal matching pursuit against a seeded dictionary.

For each vector w of B, approximate ``argmin ‖w − A x‖² subject to ‖x‖₀ ≤ s``: select the atom with the largest
|aᵀr| / ‖a‖ for the residual r = w − A x, solve least squares on the support, repeat (Pati, Rezaiifar and
Krishnaprasad, 1993; Tropp and Gilbert, 2007; paper, section 4.2).

Every backend is compared with :func:`~coinr.engine.reference_omp.reference_omp`.
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
from coinr.inputs.arguments import checked, describe_value
from coinr.inputs.arrays import exact_repr
from coinr.inputs.dense import to_tensor
from coinr.runtime.ambient import independent


@dataclass(frozen=True)
class SparseCode:
    """Hold the result of a pursuit: w ≈ Σ_k ``values[k]`` · A[:, ``indices[k]``] for each of B vectors.

    Tensors on the device of the input if that was a tensor, else NumPy arrays.

    Attributes
    ----------
    indices
        int32 ``[B, s]``, in order of selection; -1 in the slots of a vector that stopped early.
    values
        float32 ``[B, s]`` (float64 from the reference on float64 input), multiplying the raw integer atoms;
        0 where the index is -1.
    path
        float64 ``[B, s + 1]``: squared residual norm after 0 … s atoms, clipped to the range of normal float64 numbers
        (vectors beyond about 1e150 have larger squares).
    """

    indices: Any
    values: Any
    path: Any

    @property
    def energy(self) -> Any:
        """Return the squared residual norm of each vector: ``[B]``."""
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
    """Approximate every row w of W by at most s atoms: ``argmin ‖w − A x‖² subject to ‖x‖₀ ≤ s``, greedily.

    Ties go to the lowest atom index. Zero atoms are never selected, and no atom twice. A vector stops early if its
    best normalized correlation is at most 1e-6 of its norm, or if the best atom is numerically in the span of its
    support. A zero vector has no atoms.

    Parameters
    ----------
    W
        ``[B, n]``, a tensor or array of float32; the reference keeps float64, the other backends round it
        to float32. One vector ``[n]`` is not accepted: pass ``W[None]``.
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
        Make the native backend score every atom exactly, without screening.

    Raises
    ------
    InputError
        On wrong shapes, types or ranges, or values that are not finite.
    BackendError
        If the backend cannot run here.
    """
    n, M = dictionary.n, dictionary.M
    shape = getattr(W, "shape", None)
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[1] != n:
        given = tuple(shape) if isinstance(shape, tuple) else describe_value(W)
        raise InputError(f"W must be [B, {n}] for this dictionary, not {given}")
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
    indices, values, path = select(backend, tensor.device.type).omp(tensor / scale, dictionary, int(s), threads, exact)
    values, path = values * scale, _squares(path.double(), scale.double())
    if not bool(values.isfinite().all()):
        raise InputError(f"W holds {exact_repr(float(tensor.abs().max()))}: values of its code are beyond float64")
    if is_tensor:
        return SparseCode(indices, values, path)
    return SparseCode(indices.numpy(), values.numpy(), path.numpy())


def _squares(path: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return squared norms times scale², clipped to the range of normal float64 numbers (zeros stay zero)."""
    # the square of the scale alone may overflow
    squares = path * scale * scale
    limits = torch.finfo(torch.float64)
    return torch.where(path > 0, squares.clamp(limits.tiny, limits.max), squares)


def _power_of_two(W: torch.Tensor) -> torch.Tensor:
    """Return the power of two just above each row's largest magnitude: ``[B, 1]``, 1 for zero rows.

    Squares of rows divided by it neither overflow nor underflow float32. It is a normal number for float64 rows too.
    """
    peak = W.abs().amax(dim=1, keepdim=True) if W.numel() else W.new_zeros(len(W), 1)
    least, most = (-120, 120) if W.dtype == torch.float32 else (-1021, 1000)
    exponent = torch.frexp(peak).exponent.clamp(least, most)
    return torch.ldexp(torch.ones_like(peak), torch.where(peak > 0, exponent, torch.zeros_like(exponent)))
