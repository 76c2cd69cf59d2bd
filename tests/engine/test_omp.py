"""Pursuits: the reference against scikit-learn, the native backend against the reference, and the edge cases."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import orthogonal_mp

import coinr
from coinr import Dictionary
from coinr.engine import _C, philox
from coinr.errors import InputError
from coinr.runtime.denormals import denormals_as_zeros
from tests.engine.pursuit import assert_same_pursuit, gap_at
from tests.grids import fast_where

BACKENDS = ["reference", "native"]


@given(
    kind=st.sampled_from(sorted(philox.KINDS)),
    n=st.integers(1, 90),
    M=st.integers(1, 700),
    B=st.integers(1, 12),
    fraction=st.floats(0, 0.6),
    seed=st.integers(0, 2**64 - 1),
    exponent=st.integers(-25, 25),
    exact=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_native_equals_reference(kind, n, M, B, fraction, seed, exponent, exact):
    dictionary = Dictionary(kind, n, M, seed)
    s = int(fraction * min(n, M))
    W = (np.random.default_rng(seed).standard_normal((B, n)) * 10.0**exponent).astype(np.float32)
    reference = coinr.omp(W, dictionary, s, backend="reference")
    assert_same_pursuit(W, coinr.omp(W, dictionary, s, backend="native", exact=exact), reference, dictionary)


@pytest.mark.parametrize("kind", philox.KINDS)
@pytest.mark.parametrize(
    ("n", "M", "B", "s"),
    fast_where(lambda n, M, B, s: n == 100, [(64, 1024, 192, 16), (100, 3000, 40, 30), (1024, 2048, 2, 64)]),
)
def test_native_equals_reference_at_working_sizes(kind, n, M, B, s, generator):
    dictionary = Dictionary(kind, n, M, 1)
    W = generator.standard_normal((B, n)).astype(np.float32)
    reference = coinr.omp(W, dictionary, s, backend="reference")
    assert_same_pursuit(W, coinr.omp(W, dictionary, s), reference, dictionary)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", philox.KINDS)
def test_supports_equal_scikit_learn(kind, backend, generator):
    dictionary = Dictionary(kind, 48, 512, 7)
    W = generator.standard_normal((100, 48)).astype(np.float32)
    s = 12
    code = coinr.omp(W, dictionary, s, backend=backend)
    atoms = dictionary.materialize().astype(np.float64)
    norms = np.linalg.norm(atoms, axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        coefficients = orthogonal_mp(atoms / norms, W.T.astype(np.float64), n_nonzero_coefs=s)
    differ = 0
    for b in range(len(W)):
        theirs = np.flatnonzero(coefficients[:, b])
        if set(theirs) == set(code.indices[b]):
            values = coefficients[code.indices[b], b] / norms[code.indices[b]]
            np.testing.assert_allclose(code.values[b], values, rtol=2e-4, atol=1e-5)
        else:
            differ += 1
            mine = [j for j in code.indices[b] if j not in theirs]
            k = list(code.indices[b]).index(mine[0])
            other = [j for j in theirs if j not in code.indices[b]]
            assert min(gap_at(W[b], code.indices[b, :k], mine[0], j, dictionary) for j in other) <= 1e-5
        residual = W[b] - atoms @ (coefficients[:, b] / norms)
        np.testing.assert_allclose(code.energy[b], (residual**2).sum(), rtol=1e-3)
    assert differ <= 1


@pytest.mark.parametrize("n", fast_where(lambda n: n in (65, 129), [64, 65, 66, 129, 283, 319]))
def test_every_kind_codes_as_well_as_true_gaussian(n, generator):
    """Residual energy within 0.35 dB of a pursuit in a normal dictionary, M = 4 n, 16 vectors."""
    W = generator.standard_normal((16, n)).astype(np.float32)
    s, M = n // 4, 4 * n
    truth = _pursue_in(generator.standard_normal((n, M)), W, s)
    for kind in philox.KINDS:
        code = coinr.omp(W, Dictionary(kind, n, M, 5), s)
        loss = 10 * np.log10(code.energy.sum() / truth)
        # Orthogonal blocks are better than random atoms when M is a small multiple of n.
        assert -3 < loss < 0.35, (kind, loss)


def _pursue_in(atoms, W, s):
    unit = atoms / np.linalg.norm(atoms, axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        coefficients = orthogonal_mp(unit, W.T.astype(np.float64), n_nonzero_coefs=s)
    return ((W.T - unit @ coefficients) ** 2).sum()


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_are_least_squares_and_the_path_falls(backend, generator):
    dictionary = Dictionary("gaussian", 30, 200, 3)
    W = generator.standard_normal((7, 30)).astype(np.float32)
    code = coinr.omp(W, dictionary, 9, backend=backend)
    assert code.indices.dtype == np.int32
    assert code.values.dtype == np.float32
    assert (np.diff(code.path, axis=1) < 0).all()
    np.testing.assert_allclose(code.path[:, 0], (W.astype(np.float64) ** 2).sum(1), rtol=1e-5)
    for b in range(7):
        support = dictionary.atoms(code.indices[b]).astype(np.float64)
        best = np.linalg.lstsq(support, W[b].astype(np.float64), rcond=None)[0]
        np.testing.assert_allclose(code.values[b], best, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(code.energy[b], ((W[b] - support @ best) ** 2).sum(), rtol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_nonzeros(backend):
    code = coinr.omp(np.ones((3, 8), np.float32), Dictionary("gaussian", 8, 20, 0), 0, backend=backend)
    assert code.indices.shape == (3, 0)
    assert code.values.shape == (3, 0)
    np.testing.assert_allclose(code.energy, 8)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", philox.KINDS)
def test_as_many_atoms_as_dimensions(backend, kind, generator):
    W = generator.standard_normal((4, 16)).astype(np.float32)
    code = coinr.omp(W, Dictionary(kind, 16, 400, 2), 16, backend=backend)
    assert (code.energy <= 1e-9 * code.path[:, 0]).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_zero_vector_picks_nothing(backend):
    W = np.zeros((2, 8), np.float32)
    W[1, 3] = 1
    code = coinr.omp(W, Dictionary("rademacher", 8, 40, 0), 3, backend=backend)
    assert (code.indices[0] == -1).all()
    assert (code.values[0] == 0).all()
    assert (code.indices[1] >= 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_atom_codes_itself_and_the_pursuit_stops(backend):
    dictionary = Dictionary("gaussian", 40, 300, 8)
    W = np.stack([3.5 * dictionary.atoms([17])[:, 0], -0.25 * dictionary.atoms([299])[:, 0]]).astype(np.float32)
    code = coinr.omp(W, dictionary, 4, backend=backend)
    assert code.indices[:, 0].tolist() == [17, 299]
    assert (code.indices[:, 1:] == -1).all()
    np.testing.assert_allclose(code.values[:, 0], [3.5, -0.25], rtol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", philox.KINDS)
def test_duplicate_and_zero_atoms(backend, kind):
    """At n = 1 every atom is a multiple of every other, and gaussian ones may be zero: one pick, the lowest index."""
    dictionary = Dictionary(kind, 1, 50, 4)
    atoms = dictionary.materialize()[0]
    code = coinr.omp(np.array([[2.0]], np.float32), dictionary, 1, backend=backend)
    assert code.indices[0, 0] == int(np.flatnonzero(atoms)[0])
    np.testing.assert_allclose(code.values[0, 0] * float(atoms[code.indices[0, 0]]), 2.0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rank_deficient_dictionaries_stop_when_the_span_is_reached(backend, generator):
    """Two dimensions, many duplicates: at most two atoms are ever independent."""
    W = generator.standard_normal((20, 2)).astype(np.float32)
    code = coinr.omp(W, Dictionary("rademacher", 2, 30, 1), 2, backend=backend)
    assert (code.energy <= 1e-9 * code.path[:, 0]).all()
    assert np.isfinite(code.values).all()


def test_float64_is_kept_by_the_reference(generator):
    W = generator.standard_normal((2, 20))
    code = coinr.omp(W, Dictionary("gaussian", 20, 100, 0), 20, backend="reference")
    assert code.values.dtype == np.float64
    assert (code.energy < 1e-20).all()


def test_tensors_give_tensors(generator):
    W = torch.from_numpy(generator.standard_normal((5, 12)).astype(np.float32))
    code = coinr.omp(W, Dictionary("hadamard", 12, 64, 0), 3)
    assert isinstance(code.indices, torch.Tensor)
    assert code.indices.dtype == torch.int32
    assert code.energy.shape == (5,)


def test_threads_do_not_change_the_result(generator):
    W = generator.standard_normal((37, 50)).astype(np.float32)
    for kind in philox.KINDS:
        one, two = (coinr.omp(W, Dictionary(kind, 50, 999, 0), 11, threads=threads) for threads in (1, 2))
        assert np.array_equal(one.indices, two.indices)
        assert one.values.tobytes() == two.values.tobytes()


@pytest.mark.parametrize(
    ("W", "s", "message"),
    [
        (np.ones((2, 9), np.float32), 1, r"\[B, 8\]"),
        (np.ones(8, np.float32), 1, r"\[B, 8\]"),
        (np.ones((2, 8), np.float32), 9, "min"),
        (np.ones((2, 8), np.float32), -1, "min"),
        (np.ones((2, 8), np.int32), 1, "float32"),
        (np.full((2, 8), np.nan, np.float32), 1, "NaN"),
    ],
)
def test_bad_input_is_refused(W, s, message):
    with pytest.raises(coinr.InputError, match=message):
        coinr.omp(W, Dictionary("gaussian", 8, 100, 0), s)


def test_more_nonzeros_than_atoms_is_an_error():
    with pytest.raises(coinr.InputError, match="min"):
        coinr.omp(np.ones((1, 8), np.float32), Dictionary("gaussian", 8, 3, 0), 4)


def test_unknown_and_unusable_backends_are_errors(monkeypatch):
    W, dictionary = np.ones((1, 8), np.float32), Dictionary("gaussian", 8, 30, 0)
    with pytest.raises(coinr.InputError, match="'fast'"):
        coinr.omp(W, dictionary, 1, backend="fast")
    monkeypatch.setenv("COINR_BACKEND", "reference")
    assert coinr.omp(W, dictionary, 1).values.shape == (1, 1)


@pytest.mark.parametrize("kind", philox.KINDS)
def test_threads_compute_as_the_caller_does(kind):
    """Threads are kept between calls: subnormal numbers are zeros for them if and only if they are for the caller."""
    W = np.random.default_rng(1).standard_normal((400, 64)).astype(np.float32)
    small = (W * 1e-41).astype(np.float32)
    with denormals_as_zeros():
        for _ in range(3):
            zeros = [_C.omp(small, philox.KINDS[kind], 3000, 0, 0, 12, threads) for threads in (1, 2, 1, 2)]
    numbers = [_C.omp(small, philox.KINDS[kind], 3000, 0, 0, 12, threads) for threads in (1, 2, 1, 2)]
    assert (numbers[0][0] >= 0).all()
    for found in (zeros, numbers):
        for other in found[1:]:
            for a, b in zip(found[0], other, strict=True):
                np.testing.assert_array_equal(a.view(np.int32), b.view(np.int32))


@pytest.mark.parametrize("W", [np, None, [[1.0, 2.0]], type("Shaped", (), {"shape": print, "ndim": 2})()])
def test_what_has_no_shape_is_named(W):
    with pytest.raises(InputError, match=r"W must be \[B, 4\]"):
        coinr.omp(W, coinr.Dictionary("gaussian", 4, 8, 0), 2)
