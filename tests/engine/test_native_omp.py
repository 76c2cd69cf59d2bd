"""Native matching pursuit against a plain float64 pursuit in NumPy."""

import functools
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coinr.engine import _C, philox
from tests.engine.pursuit import targets
from tests.grids import fast_where


def scores_of(A, residual):
    norms = np.sqrt((A * A).sum(0))
    return np.abs(residual @ A) / np.where(norms > 0, norms, np.inf)


def pursue(A, w, s):
    """Textbook pursuit in float64 on the columns of A: support, values, squared residual norms."""
    support, path = [], [w @ w]
    basis = np.empty((0, len(w)))
    norms = np.sqrt((A * A).sum(0))
    norms[norms == 0] = np.inf
    residual = w.copy()
    while len(support) < s:
        score = np.abs(residual @ A) / norms
        score[support] = -1
        best = int(np.argmax(score))
        if score[best] <= 1e-6 * np.sqrt(w @ w):
            break
        new = A[:, best]
        for _ in range(2):
            new = new - (basis @ new) @ basis
        if np.linalg.norm(new) <= 1e-5 * norms[best]:
            break
        support.append(best)
        basis = np.vstack([basis, new / np.linalg.norm(new)])
        residual = w - (basis @ w) @ basis
        path.append(residual @ residual)
    values = np.linalg.lstsq(A[:, support], w, rcond=None)[0] if support else np.empty(0)
    return support, values, path


@functools.lru_cache(1)
def expected(raw, kind, n, M, seed, s):
    """The dictionary, float64 [n, M], and what :func:`pursue` gives for each vector of float32 bytes."""
    A = philox.entries(kind, n, seed, 0, np.arange(M)).T.astype(np.float64)
    return A, [pursue(A, w.astype(np.float64), s) for w in np.frombuffer(raw, np.float32).reshape(-1, n)]


def compare(W, kind, M, seed, s, indices, values, path):
    """Number of vectors whose support differs by more than an exact tie; all must be ties within rounding."""
    A, references = expected(W.tobytes(), kind, W.shape[1], M, seed, s)
    different = 0
    for b in range(len(W)):
        w = W[b].astype(np.float64)
        support, x, energies = references[b]
        k = len(support)
        got = indices[b][indices[b] >= 0].tolist()
        if got == support:
            assert (indices[b, k:] == -1).all()
            assert (values[b, k:] == 0).all()
            np.testing.assert_allclose(values[b, :k], x, rtol=2e-4, atol=2e-6 * np.abs(x).max(initial=0))
            np.testing.assert_allclose(path[b, : k + 1], energies, rtol=1e-3, atol=1e-9 * (w @ w))
            assert (path[b, k:] == path[b, k]).all()
            continue
        different += 1
        first = next(i for i in range(s) if i >= min(k, len(got)) or got[i] != support[i])
        if first >= min(k, len(got)):  # one of them stopped: both must be at rounding level
            assert path[b, first] <= 1e-9 * (w @ w)
            continue
        base = support[:first]
        residual = w - A[:, base] @ np.linalg.lstsq(A[:, base], w, rcond=None)[0] if base else w
        score = scores_of(A, residual)
        gap = abs(score[got[first]] - score[support[first]]) / score[support[first]]
        assert gap <= 1e-5
        different -= gap <= 1e-9  # an exact tie, which integer atoms have
    return different


def allowed(n, B):
    """Vectors that may differ. Tiny integer dictionaries are full of exact ties, which rounding breaks either way."""
    return B if n < 12 else 0.01 * B


SHAPES = [
    (1, 1, 1, 1),
    (2, 5, 3, 2),
    (3, 8, 4, 3),
    (16, 100, 7, 16),
    (63, 200, 5, 20),
    (64, 1024, 48, 16),
    (65, 300, 5, 24),
    (100, 257, 9, 40),
    (128, 4096, 8, 32),
    (300, 2048, 3, 60),
    (513, 1500, 2, 40),
    (1024, 3000, 2, 40),
    (64, 80000, 20, 8),
    (1100, 600, 2, 140),
    (2100, 500, 2, 70),
    (4200, 500, 2, 17),
]


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("kind", philox.KINDS)
@pytest.mark.parametrize(("n", "M", "B", "s"), fast_where(lambda n, M, B, s: M <= 4096 and n <= 512, SHAPES))
def test_equals_reference(kind, n, M, B, s, exact):
    W = targets(B, n, n + M)
    indices, values, path = _C.omp(W, philox.KINDS[kind], M, 2**64 - 3, 0, s, 1, exact)
    assert (indices.dtype, values.dtype, path.dtype) == (np.int32, np.float32, np.float32)
    assert (indices.shape, values.shape, path.shape) == ((B, s), (B, s), (B, s + 1))
    assert compare(W, kind, M, 2**64 - 3, s, indices, values, path) <= allowed(n, B)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_shapes(data):
    kind = data.draw(st.sampled_from(sorted(philox.KINDS)))
    n = data.draw(st.integers(1, 150))
    M = data.draw(st.integers(1, 400))
    B = data.draw(st.integers(0, 20))
    s = data.draw(st.integers(0, min(n, M, 40)))
    seed = data.draw(st.integers(0, 2**64 - 1))
    W = targets(B, n, data.draw(st.integers(0, 2**32)))
    indices, values, path = _C.omp(W, philox.KINDS[kind], M, seed, 0, s, 1)
    assert compare(W, kind, M, seed, s, indices, values, path) <= allowed(n, B)


@pytest.mark.parametrize("kind", philox.KINDS)
def test_full_support_reproduces_the_vector(kind):
    n = 24
    W = targets(6, n, 5)
    indices, values, path = _C.omp(W, philox.KINDS[kind], 500, 1, 0, n, 1)
    for b in range(6):
        used = indices[b] >= 0
        A = philox.entries(kind, n, 1, 0, indices[b][used]).astype(np.float64)
        np.testing.assert_allclose(values[b][used] @ A, W[b], atol=1e-4)
    assert (path[:, -1] <= 1e-9 * path[:, 0]).all()


@pytest.mark.parametrize("kind", philox.KINDS)
@pytest.mark.parametrize("B", [3, 20])
def test_zero_vectors_pick_nothing(kind, B):
    W = targets(B, 20, 0)
    W[1] = 0
    indices, values, path = _C.omp(W, philox.KINDS[kind], 50, 0, 0, 4, 1)
    assert (indices[1] == -1).all()
    assert (values[1] == 0).all()
    assert (path[1] == 0).all()
    assert (np.delete(indices, 1, 0) >= 0).all()


def test_no_atoms_and_no_vectors():
    indices, values, path = _C.omp(targets(3, 8, 0), 1, 50, 0, 0, 0, 1)
    assert (indices.shape, values.shape, path.shape) == ((3, 0), (3, 0), (3, 1))
    indices, values, path = _C.omp(np.empty((0, 8), np.float32), 1, 50, 0, 0, 4, 1)
    assert (indices.shape, path.shape) == ((0, 4), (0, 5))


@pytest.mark.parametrize("kind", philox.KINDS)
@pytest.mark.parametrize("B", [5, 20])
def test_an_atom_is_found_alone_and_duplicates_go_to_the_lowest_index(kind, B):
    n, M = 4, 3000
    atoms = philox.entries(kind, n, 7, 0, np.arange(M)).astype(np.float32)
    W = atoms[atoms.any(1)][-B:]
    indices, values, _ = _C.omp(np.ascontiguousarray(W), philox.KINDS[kind], M, 7, 0, 3, 1)
    for b in range(B):
        cosine = np.abs(atoms @ W[b]) / np.where(atoms.any(1), np.linalg.norm(atoms, axis=1), np.inf)
        # Parallel atoms score equal up to rounding of the norms.
        parallel = np.flatnonzero(cosine >= np.linalg.norm(W[b]) * (1 - 1e-6))
        assert indices[b, 0] in parallel
        same = [j for j in parallel if np.array_equal(np.abs(atoms[j]), np.abs(atoms[indices[b, 0]]))]
        assert indices[b, 0] == same[0]
        assert (indices[b, 1:] == -1).all()
        assert (values[b, 1:] == 0).all()


@pytest.mark.parametrize("scale", [2.0**-100, 1e-30, 1e30])
def test_scale_does_not_matter(scale):
    W = targets(4, 32, 3)
    base, x, _ = _C.omp(W, 1, 200, 0, 0, 8, 1)
    indices, values, _ = _C.omp(W * np.float32(scale), 1, 200, 0, 0, 8, 1)
    np.testing.assert_array_equal(indices, base)
    np.testing.assert_allclose(values, x * np.float32(scale), rtol=1e-5)


def test_subnormal_vectors_are_coded():
    W = targets(2, 16, 1) * np.float32(1e-41)
    indices, values, _ = _C.omp(W, 1, 100, 0, 0, 16, 1)
    A = philox.entries("gaussian", 16, 0, 0, np.arange(100)).T.astype(np.float64)
    for b in range(2):
        assert np.abs(A[:, indices[b]] @ values[b].astype(np.float64) - W[b]).max() < 1e-42


@pytest.mark.parametrize("kind", philox.KINDS)
@pytest.mark.parametrize(
    ("n", "M", "B", "s"),
    fast_where(
        lambda n, M, B, s: n in (600, 200, 2100),
        [
            (600, 9000, 3, 40),
            (9000, 1100, 2, 6),
            (300, 40000, 2, 8),
            (200, 3000, 40, 70),
            (256, 2000, 20, 20),
            (2100, 900, 3, 10),
            (1030, 2200, 40, 20),
        ],
    ),
    ids=["lazy", "panels", "streamed", "rounded", "rounded most", "divided", "lazy many"],
)
def test_shortcuts_do_not_change_the_support(kind, n, M, B, s):
    W = targets(B, n, 1)
    fast = _C.omp(W, philox.KINDS[kind], M, 11, 0, s, 1, False)
    exact = _C.omp(W, philox.KINDS[kind], M, 11, 0, s, 2, True)
    for a, b in zip(fast, exact, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", philox.KINDS)
def test_spikes_far_from_normal_scores(kind):
    """Scores of few levels: many atoms tie within the rounding of a pass, or none is as high as normal ones are."""
    W = np.zeros((6, 600), np.float32)
    for row, entries in zip(W, ([1], [1] * 4, [1, 0.99, 0.98, 0.97], [1, 0.9, 0.8, 0.7, 0.6], [1] * 6), strict=False):
        row[: len(entries)] = entries
    W[5] = philox.entries(kind, 600, 5, 1, np.array([77]))[0]
    fast = _C.omp(W, philox.KINDS[kind], 9000, 5, 1, 8, 2)
    for a, b in zip(fast, _C.omp(W, philox.KINDS[kind], 9000, 5, 1, 8, 2, True), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", philox.KINDS)
@pytest.mark.parametrize(
    ("n", "M", "B"),
    fast_where(lambda n, M, B: n < 600, [(512, 1024, 5), (256, 1024, 30), (600, 9000, 3)]),
    ids=["floats", "rounded", "lazy"],
)
def test_near_ties_are_decided_exactly(kind, n, M, B):
    """Two atoms whose scores differ by a few units in the last place of float32."""
    generator = np.random.default_rng(0)
    A = philox.entries(kind, n, 5, 1, np.arange(M)).astype(np.float64)
    A /= np.linalg.norm(A, axis=1, keepdims=True)
    W = np.empty((210, n), np.float32)
    for w in W:
        i, j = generator.choice(M, 2, replace=False)
        v = A[i] + A[j] + 0.02 / math.sqrt(n) * generator.standard_normal(n)
        v -= A[i] * (v @ A[i] - v @ A[j]) / (1 - A[i] @ A[j])
        w[:] = v * 7
    exact = _C.omp(W, philox.KINDS[kind], M, 5, 1, 1, 1, True)[0]
    for first in range(0, 210, B):
        fast = _C.omp(W[first : first + B], philox.KINDS[kind], M, 5, 1, 1, 1)[0]
        np.testing.assert_array_equal(fast, exact[first : first + B])


@pytest.mark.parametrize("kind", philox.KINDS)
@pytest.mark.parametrize(("n", "M"), [(128, 3000), (800, 8000)], ids=["lockstep", "lazy"])
def test_sparse_signals_are_recovered(kind, n, M):
    generator = np.random.default_rng(2)
    W = np.empty((3, n), np.float32)
    true = np.array([generator.choice(M, 6, replace=False) for _ in range(3)])
    for b in range(3):
        W[b] = np.array([32, -16, 8, -4, 2, 1]) @ philox.entries(kind, n, 4, 0, true[b]).astype(np.float64)
    indices, values, path = _C.omp(W, philox.KINDS[kind], M, 4, 0, 12, 1)
    for b in range(3):
        found = dict(zip(indices[b].tolist(), values[b].tolist(), strict=True))
        assert path[b, -1] <= 1e-9 * path[b, 0]
        for j, x in zip(true[b].tolist(), [32, -16, 8, -4, 2, 1], strict=True):
            assert found[j] == pytest.approx(x, abs=1e-3)


SIMD_SCRIPT = """
import hashlib
import numpy as np
from coinr.engine import _C

digest = hashlib.sha256()
for kind in (1, 2, 3):
    for n, M, B, s in [(63, 700, 21, 12), (64, 300, 5, 64), (130, 40000, 3, 9), (256, 3000, 35, 70),
                       (1000, 6000, 2, 25), (9000, 600, 1, 5)]:
        W = np.random.default_rng(n).standard_normal((B, n)).astype(np.float32)
        for array in (*_C.omp(W, kind, M, 3, 0, s, 1), *_C.correlate_argmax(W, kind, M, 3, 0, 1)):
            digest.update(array.tobytes())
x = np.random.default_rng(0).standard_normal((2, 203)) * 9
upper = np.triu(np.random.default_rng(1).standard_normal((203, 203)) / 30, 1) + np.eye(203)
ones, none = np.ones(x.shape), np.zeros(x.shape, np.uint8)
digest.update(_C.choose_levels_with_feedback(5, x, ones, ones, upper, np.zeros((1, 2, 99)), none).tobytes())
print(_C.simd_level(), digest.hexdigest())
"""


def test_instruction_sets_give_the_same_bits():
    levels = ["portable", "avx2", "avx512"]
    found = {}
    for level in levels:
        environment = os.environ | {"COINR_SIMD": level}
        done = subprocess.run(
            [sys.executable, "-P", "-c", SIMD_SCRIPT], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        name, digest = done.stdout.split()
        assert levels.index(name) <= levels.index(level)
        found[name] = digest
    assert "portable" in found
    assert len(set(found.values())) == 1, found


def test_an_unknown_instruction_set_is_an_error():
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from coinr.engine import _C; _C.simd_level()"],
        env=os.environ | {"COINR_SIMD": "sse9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "COINR_SIMD is 'sse9'" in done.stderr


@pytest.mark.parametrize("B", [3, 20])
@pytest.mark.parametrize(
    "n",
    fast_where(
        lambda n: n <= 33 or n == 513, [*range(1, 18), 31, 32, 33, 65, 128, 200, 511, 512, 513, 1024, 1025, 2049]
    ),
)
def test_every_score_of_a_transform(n, B):
    order = 1 << (n - 1).bit_length()
    M = 2 * order + order // 2 + 1
    A = philox.entries("hadamard", n, 3, 0, np.arange(M)).astype(np.float32)
    atoms = np.random.default_rng(n).integers(0, M, B)
    best, value = _C.correlate_argmax(A[atoms] + 0.25 * targets(B, n, 4), philox.KINDS["hadamard"], M, 3, 0, 1)
    scores = (A[atoms] + 0.25 * targets(B, n, 4)).astype(np.float64) @ A.T.astype(np.float64) / math.sqrt(n)
    np.testing.assert_allclose(value, scores[np.arange(B), best], rtol=1e-6)
    assert (np.abs(value) >= np.abs(scores).max(1) * (1 - 1e-6)).all()
    if n > 16:
        np.testing.assert_array_equal(best, atoms)


@pytest.mark.parametrize("kind", philox.KINDS)
@pytest.mark.parametrize(("B", "n", "M"), [(1, 1, 1), (5, 3, 20), (33, 64, 999), (2, 1200, 700), (100, 129, 2111)])
@pytest.mark.parametrize("exact", [False, True])
def test_correlate_argmax(kind, B, n, M, exact):
    R = targets(B, n, 4)
    A = philox.entries(kind, n, 3, 0, np.arange(M)).T.astype(np.float64)
    norms = np.sqrt((A * A).sum(0))
    signed = R @ A / np.where(norms > 0, norms, np.inf)
    best, value = _C.correlate_argmax(R, philox.KINDS[kind], M, 3, 0, 2, exact)
    assert (best.dtype, value.dtype) == (np.int32, np.float32)
    if not norms.any():
        assert (best == -1).all()
        return
    top = np.abs(signed).max(1)
    picked = signed[np.arange(B), best]
    assert (np.abs(picked) >= top * (1 - 1e-9)).all()
    np.testing.assert_allclose(value, picked, rtol=1e-6)


@pytest.mark.parametrize("kind", philox.KINDS)
@pytest.mark.parametrize("B", [2, 20])
def test_correlate_argmax_of_zero_is_the_first_atom(kind, B):
    best, value = _C.correlate_argmax(np.zeros((B, 40), np.float32), philox.KINDS[kind], 100, 0, 0, 1)
    assert (best == 0).all()
    assert (value == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"s": -1}, "s is -1"),
        ({"s": 9}, "s is 9"),
        ({"s": 7, "M": 6}, "s is 7"),
        ({"W": np.zeros((2, 8))}, "dtype float64"),
        ({"W": np.zeros(8, np.float32)}, "1 dimensions"),
        ({"W": np.zeros((2, 0), np.float32)}, "n is 0"),
        ({"W": np.zeros((8, 2), np.float32).T}, "not C-contiguous"),
        ({"W": np.full((2, 8), np.nan, np.float32)}, "not finite"),
        ({"W": np.full((2, 8), np.inf, np.float32)}, "not finite"),
        ({"kind": 9}, "kind is 9"),
        ({"threads": 0}, "threads is 0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_bad_arguments(change, message):
    arguments = {"W": np.ones((2, 8), np.float32), "kind": 1, "M": 64, "seed": 0, "stream": 0, "s": 3, "threads": 1}
    with pytest.raises(ValueError, match=message):
        _C.omp(**(arguments | change))
