"""A learned dictionary: K-SVD (Aharon, Elad and Bruckstein 2006), its coding step by orthogonal matching pursuit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Support = NDArray[np.int64]


def pursue(W: Array, D: Array, s: int) -> tuple[Support, Array]:
    """Return supports and least-squares values ``[B, s]`` of vectors ``[B, n]`` in given atoms ``[M, n]`` of unit norm.

    Orthogonal matching pursuit. Slots of a vector that has no residual left, or whose best atom lies in the span of its
    support, are -1 with value 0.
    """
    B, (M, n) = len(W), D.shape
    indices = np.full((B, s), -1)
    residual, basis = W.copy(), np.zeros((B, s, n))
    running = np.linalg.norm(W, axis=1) > 0
    floor = 1e-10 * np.linalg.norm(W, axis=1)
    for k in range(min(s, M, n)):
        score = np.abs(residual @ D.T)
        if k:
            taken = indices[:, :k]
            np.put_along_axis(score, np.where(taken < 0, 0, taken), np.where(taken < 0, -0.5, -1.0), 1)
        pick = score.argmax(1)
        fresh = D[pick].copy()
        for _ in range(2):
            fresh -= np.einsum("bkn,bk->bn", basis[:, :k], np.einsum("bkn,bn->bk", basis[:, :k], fresh))
        pivot = np.linalg.norm(fresh, axis=1)
        running &= (pivot > 1e-7) & (np.linalg.norm(residual, axis=1) > floor)
        if not running.any():
            break
        basis[running, k] = fresh[running] / pivot[running, None]
        indices[running, k] = pick[running]
        residual -= basis[:, k] * np.einsum("bn,bn->b", basis[:, k], residual)[:, None]
    return indices, least_squares(W, D, indices)


def least_squares(W: Array, D: Array, indices: Support) -> Array:
    """Return values ``[B, s]`` on given supports; 0 where the index is -1."""
    values = np.zeros(indices.shape)
    for b, row in enumerate(indices):
        used = row >= 0
        values[b, used] = np.linalg.lstsq(D[row[used]].T, W[b], rcond=None)[0]
    return values


def rebuilt(D: Array, indices: Support, values: Array) -> Array:
    """Return Σ_k values[k] · D[indices[k]], ``[B, n]``."""
    weights = np.where(indices < 0, 0.0, values)
    vectors: Array = np.einsum("bs,bsn->bn", weights, D[np.maximum(indices, 0)])
    return vectors


def learn(W: Array, M: int, s: int, iterations: int) -> tuple[Array, list[float]]:
    """Return a dictionary ``[M, n]`` for vectors ``[B, n]``, and their residual energy after each iteration.

    It starts from vectors themselves, as many as there are, and normal atoms. A vector keeps its earlier code where the
    pursuit in the new dictionary finds none better, so the residual never rises; atoms that no vector uses are left as
    they are.
    """
    rng = np.random.default_rng(0)
    chosen = W[rng.permutation(len(W))[:M]]
    D = np.concatenate([chosen, rng.standard_normal((M - len(chosen), W.shape[1]))])
    D /= np.maximum(np.linalg.norm(D, axis=1, keepdims=True), 1e-12)
    indices, values = pursue(W, D, s)
    history = [float(np.square(W - rebuilt(D, indices, values)).sum())]
    for _ in range(iterations):
        _update(W, D, indices, values)
        fresh, amounts = pursue(W, D, s)
        before = np.square(W - rebuilt(D, indices, values)).sum(1)
        better = np.square(W - rebuilt(D, fresh, amounts)).sum(1) < before
        indices[better], values[better] = fresh[better], amounts[better]
        history.append(float(np.square(W - rebuilt(D, indices, values)).sum()))
    return D, history


def _update(W: Array, D: Array, indices: Support, values: Array) -> None:
    """Update each atom and its values in place, by the best rank-one fit of what the others leave."""
    residual = W - rebuilt(D, indices, values)
    for atom in range(len(D)):
        users, slots = np.nonzero(indices == atom)
        if not users.size:
            continue
        part = residual[users] + values[users, slots, None] * D[atom]
        left, size, right = np.linalg.svd(part, full_matrices=False)
        if size[0] <= 0:
            continue
        D[atom], values[users, slots] = right[0], left[:, 0] * size[0]
        residual[users] = part - values[users, slots, None] * D[atom]
