"""Orthogonal matching pursuit in plain NumPy: the reference that every backend is compared with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from coinr.engine import philox
from coinr.engine.seeded_dictionary import SeededDictionary

# A vector stops when its best normalized correlation is at most this times its norm.
STOP = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-13}

_BLOCK_ENTRIES = 1 << 24

_Block = tuple[int, NDArray[np.float64]]


def reference_omp(
    W: NDArray[np.floating], dictionary: SeededDictionary, s: int
) -> tuple[NDArray[np.int32], NDArray[np.floating], NDArray[np.floating]]:
    """Run plain batched OMP in float64: indices int32 ``[B, s]``, values ``[B, s]``, path ``[B, s + 1]``.

    Values have the dtype of W, the path is float64. Every step projects the targets again, and values come from a
    least-squares solver, so rounding errors do not accumulate.
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
    stored = list(_blocks(dictionary)) if n * dictionary.M <= _BLOCK_ENTRIES else None
    for k in range(s):
        best, pick = _best_atoms(residual, stored or _blocks(dictionary), indices[:, :k])
        running &= best > stop * norm
        if not running.any():
            break
        atom = philox.entries(dictionary.kind, n, dictionary.seed, dictionary.stream, pick).astype(np.float64)
        remainder = atom.copy()
        for _ in range(2):  # twice is enough (Giraud, Langou and Rozloznik, 2005)
            remainder -= np.einsum("bkn,bk->bn", basis[:, :k], np.einsum("bkn,bn->bk", basis[:, :k], remainder))
        pivot = np.linalg.norm(remainder, axis=1)
        running &= pivot > 1e-7 * np.linalg.norm(atom, axis=1)
        basis[running, k] = remainder[running] / pivot[running, None]
        indices[running, k] = pick[running]
        along = np.einsum("bkn,bn->bk", basis[:, : k + 1], target)
        residual = target - np.einsum("bkn,bk->bn", basis[:, : k + 1], along)
        path[:, k + 1 :] = (residual**2).sum(1, keepdims=True)
    values = np.zeros((batch, s))
    for b in range(batch):
        support = indices[b][indices[b] >= 0].astype(np.int64)
        if support.size:
            atoms = philox.entries(dictionary.kind, n, dictionary.seed, dictionary.stream, support)
            values[b, : support.size] = np.linalg.lstsq(atoms.T.astype(np.float64), target[b], rcond=None)[0]
    return indices, values.astype(W.dtype), path


def _blocks(dictionary: SeededDictionary) -> Iterator[_Block]:
    """Yield all atoms in order, in blocks of bounded size: first index, atoms of unit norm (zero atoms stay zero)."""
    size = max(1, _BLOCK_ENTRIES // dictionary.n)
    for start in range(0, dictionary.M, size):
        js = np.arange(start, min(start + size, dictionary.M))
        atoms = philox.entries(dictionary.kind, dictionary.n, dictionary.seed, dictionary.stream, js).astype(np.float64)
        norms = np.linalg.norm(atoms, axis=1, keepdims=True)
        yield start, atoms / np.where(norms > 0, norms, 1)


def _best_atoms(
    residual: NDArray[np.float64], blocks: Iterable[_Block], used: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the largest |aᵀr| / ‖a‖ over unused nonzero atoms and its lowest index: both ``[B]``, one per residual."""
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
