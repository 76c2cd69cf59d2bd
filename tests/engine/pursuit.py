"""How two pursuits are compared: exactly, but for picks where two correlations tie within rounding."""

import numpy as np

from coinr.engine import philox
from coinr.engine.seeded_dictionary import SeededDictionary


def targets(B, n, seed):
    """Normal vectors, float32 [B, n]."""
    return np.random.default_rng(seed).standard_normal((B, n)).astype(np.float32)


def gap_at(vector, support, mine, theirs, dictionary: SeededDictionary) -> float:
    """Relative gap between two atoms' normalized correlations with the float64 residual on a support."""
    atoms = philox.entries(
        dictionary.kind, dictionary.n, dictionary.seed, dictionary.stream, np.array([*support, mine, theirs])
    )
    atoms = atoms.astype(np.float64)
    residual = vector.astype(np.float64)
    if len(support):
        chosen = atoms[: len(support)].T
        residual = residual - chosen @ np.linalg.lstsq(chosen, residual, rcond=None)[0]
    first, second = np.abs(atoms[-2:] @ residual) / np.linalg.norm(atoms[-2:], axis=1)
    return abs(first - second) / max(first, second)


def assert_same_pursuit(W, code, reference, dictionary: SeededDictionary, *, share: float = 0.01) -> None:
    """Equal supports up to ties (gap ≤ 1e-5, at most a ``share`` of vectors), residual energies within 1e-3."""
    indices, truth = np.asarray(code.indices), np.asarray(reference.indices)
    differing = np.flatnonzero((indices != truth).any(axis=1))
    for b in differing:
        k = int(np.flatnonzero(indices[b] != truth[b])[0])
        if -1 in (indices[b, k], truth[b, k]):
            # One of the two saw no atom left worth picking: the residual must be at the level of rounding.
            assert reference.path[b, k] <= 1e-9 * reference.path[b, 0], (b, k)
            continue
        gap = gap_at(W[b], truth[b, :k], indices[b, k], truth[b, k], dictionary)
        assert gap <= 1e-5, f"vector {b}, pick {k}: {indices[b, k]} against {truth[b, k]}, gap {gap:.2e}"
    assert len(differing) <= max(1, share * len(W)), f"{len(differing)} of {len(W)} supports differ"
    floor = 1e-9 * np.asarray(reference.path)[:, 0]
    np.testing.assert_allclose(code.energy, reference.energy, rtol=1e-3, atol=max(floor.max(initial=0), 1e-300))
