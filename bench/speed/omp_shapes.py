"""Shapes of the pursuit benchmarks, their targets, and the check that every benchmark makes of its result."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coinr.engine import _C, philox

# n, M, B, s
SHAPES = [
    (64, 1024, 192, 16),
    (64, 4096, 192, 24),
    (64, 65536, 192, 20),
    (128, 4096, 384, 32),
    (128, 65536, 384, 48),
    (256, 4096, 1024, 64),
    (1024, 16384, 3, 256),
    (4096, 16384, 3, 512),
    (16384, 65536, 3, 64),
]
SEED = 7
_CHUNK = 1 << 24  # entries of the dictionary held at a time


def targets(n: int, B: int, seed: int = 0) -> NDArray[np.float32]:
    """Return standard normal vectors float32 ``[B, n]``."""
    return np.random.default_rng(seed).standard_normal((B, n)).astype(np.float32)


def atoms(kind: str, n: int, M: int, first: int, stop: int) -> NDArray[np.int8]:
    """Return atoms ``first … stop - 1``, int8 ``[stop - first, n]``."""
    return _C.entries(philox.KINDS[kind], n, M, SEED, 0, np.arange(first, stop), 1)


def wrong_picks(
    W: NDArray[np.float32], kind: str, M: int, indices: NDArray[np.int32], vectors: int
) -> tuple[int, int, float]:
    """Return how often a pick is not the best atom for the residual of the picks before it.

    The residuals of all prefixes of a support come from one QR factorization, so one product with the dictionary
    (float32, in chunks) certifies a whole pursuit; picks it doubts are decided in float64.

    Args:
        W: targets float32 ``[B, n]``.
        kind: of the dictionary, with seed :data:`SEED` and stream 0.
        M: atoms.
        indices: int32 ``[B, s]``, no -1.
        vectors: how many of the B are checked.

    Returns
    -------
        Picks that fall short of the best atom by more than 1e-5 of its score, vectors with any pick that is not
        the best atom, and the largest shortfall.
    """
    n = W.shape[1]
    B, s = min(vectors, len(W)), indices.shape[1]
    residuals = np.empty((B, s, n), np.float32)
    picked = np.empty((B, s))
    for b in range(B):
        A = _C.entries(philox.KINDS[kind], n, M, SEED, 0, indices[b].astype(np.int64), 1).astype(np.float64)
        basis, _ = np.linalg.qr(A.T)
        w = W[b].astype(np.float64)
        parts = (w @ basis)[:, None] * basis.T
        prefixes = w - np.vstack([np.zeros(n), np.cumsum(parts, axis=0)[:-1]])
        residuals[b] = prefixes
        picked[b] = np.abs(np.einsum("kn,kn->k", A, prefixes)) / np.linalg.norm(A, axis=1)
    flat = residuals.reshape(B * s, n)
    best = np.zeros(B * s)
    step = max(1, _CHUNK // n)
    for first in range(0, M, step):
        D = atoms(kind, n, M, first, min(M, first + step)).astype(np.float32)
        norms = np.linalg.norm(D, axis=1)
        scores = np.abs(flat @ D.T) / np.where(norms > 0, norms, np.inf)
        for k in range(s):  # atoms of the support do not count; their scores are rounding errors
            rows = np.arange(B) * s + k
            for before in range(k):
                column = indices[:B, before] - first
                inside = (column >= 0) & (column < len(D))
                scores[rows[inside], column[inside]] = 0
        best = np.maximum(best, scores.max(axis=1))
    shortfall = 1 - picked / best.reshape(B, s)
    return int((shortfall > 1e-5).sum()), int((shortfall > 2e-6).any(axis=1).sum()), float(shortfall.max())
