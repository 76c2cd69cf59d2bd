"""Orthogonal matching pursuit in plain NumPy: the truth that every backend is compared with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from coinr.engine import philox
from coinr.engine.seeded import Seeded

# A vector stops when its best normalized correlation is at most this times its norm.
STOP = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-13}

_BLOCK_ENTRIES = 1 << 24

_Block = tuple[int, NDArray[np.float64]]


def reference_omp(
    W: NDArray[np.floating], dictionary: Seeded, s: int
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


def _blocks(dictionary: Seeded) -> Iterator[_Block]:
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
