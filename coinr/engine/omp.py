"""Batched orthogonal matching pursuit against a seeded dictionary.

Given W of B vectors and a dictionary A, find for each vector w at most s atoms and the values x that make
‖w − A x‖ small: select the atom with the largest |aᵀr| / ‖a‖, solve least squares on the support, repeat
(Pati, Rezaiifar and Krishnaprasad, 1993; Tropp and Gilbert, 2007; paper, section 4.2).

:func:`reference_omp` is the truth that every backend is compared with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from coinr.engine import philox
from coinr.engine.dictionary import Dictionary
from coinr.engine.threads import check_threads
from coinr.errors import InputError
from coinr.inputs.arguments import checked
from coinr.inputs.dense import in_full, to_tensor
from coinr.runtime.ambient import independent

# A vector stops when its best normalised correlation is at most this times its norm.
STOP = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-13}

_BLOCK_ENTRIES = 1 << 24

_Block = tuple[int, NDArray[np.float64]]


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
    atom can reduce its residual any more (best normalised correlation at most 1e-6 of its norm) or when the
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
    from coinr.engine.backends import select

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


def reference_omp(
    W: NDArray[np.floating], dictionary: Dictionary, s: int
) -> tuple[NDArray[np.int32], NDArray[np.floating], NDArray[np.floating]]:
    """Plain batched OMP, computed in float64: indices int32 ``[B, s]``, values ``[B, s]``, path ``[B, s + 1]``.

    Values have the dtype of W, the path is float64. The residual is projected afresh in every step and values come from
    a least-squares solver, so rounding does not accumulate.
    """
    stop = STOP[W.dtype]
    target = W.astype(np.float64)
    batch, n = target.shape
    indices = np.full((batch, s), -1, np.int32)
    path = np.repeat((target**2).sum(1, keepdims=True), s + 1, axis=1)
    basis = np.zeros((batch, s, n))
    residual = target.copy()
    norm = np.sqrt(path[:, 0])
    running = norm > 0
    kept = list(_blocks(dictionary)) if n * dictionary.M <= _BLOCK_ENTRIES else None
    for k in range(s):
        best, pick = _best_atoms(residual, kept or _blocks(dictionary), indices[:, :k])
        running &= best > stop * norm
        if not running.any():
            break
        atom = philox.entries(dictionary.kind, n, dictionary.seed, dictionary.stream, pick).astype(np.float64)
        fresh = atom.copy()
        for _ in range(2):  # twice is enough (Giraud, Langou and Rozloznik, 2005)
            fresh -= np.einsum("bkn,bk->bn", basis[:, :k], np.einsum("bkn,bn->bk", basis[:, :k], fresh))
        pivot = np.linalg.norm(fresh, axis=1)
        running &= pivot > 1e-7 * np.linalg.norm(atom, axis=1)
        basis[running, k] = fresh[running] / pivot[running, None]
        indices[running, k] = pick[running]
        along = np.einsum("bkn,bn->bk", basis[:, : k + 1], target)
        residual = target - np.einsum("bkn,bk->bn", basis[:, : k + 1], along)
        path[:, k + 1 :] = (residual**2).sum(1, keepdims=True)
    values = np.zeros((batch, s))
    for b in range(batch):
        chosen = indices[b][indices[b] >= 0].astype(np.int64)
        if chosen.size:
            support = philox.entries(dictionary.kind, n, dictionary.seed, dictionary.stream, chosen)
            values[b, : chosen.size] = np.linalg.lstsq(support.T.astype(np.float64), target[b], rcond=None)[0]
    return indices, values.astype(W.dtype), path


def _blocks(dictionary: Dictionary) -> Iterator[_Block]:
    """All atoms in order, a bounded number at a time: first index, atoms of unit norm (zero atoms stay zero)."""
    size = max(1, _BLOCK_ENTRIES // dictionary.n)
    for start in range(0, dictionary.M, size):
        js = np.arange(start, min(start + size, dictionary.M))
        atoms = philox.entries(dictionary.kind, dictionary.n, dictionary.seed, dictionary.stream, js).astype(np.float64)
        norms = np.linalg.norm(atoms, axis=1, keepdims=True)
        yield start, atoms / np.where(norms > 0, norms, 1)


def _best_atoms(
    residual: NDArray[np.float64], blocks: Iterable[_Block], used: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Largest |aᵀr| / ‖a‖ over unused nonzero atoms and its lowest index, for each residual: ``[B]``, ``[B]``."""
    every = np.arange(len(residual))
    best = np.full(len(residual), -1.0)
    pick = np.zeros(len(residual), np.int64)
    for start, unit in blocks:
        score = np.abs(residual @ unit.T)
        rows, slots = np.nonzero((used >= start) & (used < start + len(unit)))
        score[rows, used[rows, slots] - start] = -1
        here = score.argmax(1)
        better = score[every, here] > best
        best[better], pick[better] = score[every, here][better], start + here[better]
    return best, pick
