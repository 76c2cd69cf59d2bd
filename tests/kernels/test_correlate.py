"""Correlation and argmax on the device against float64 NumPy: dense, stored, streamed, and by Hadamard transform."""

import importlib

import numpy as np
import pytest
import torch

from coinr.engine import philox
from tests.grids import fast_where
from tests.kernels.on_device import DEVICE, KINDS, kernels

correlate = importlib.import_module("coinr.kernels.correlate")
hadamard = importlib.import_module("coinr.kernels.hadamard")
select = importlib.import_module("coinr.kernels.select")

SEED, STREAM = 2**63 + 7, 3


def signed_scores(R, kind, M):
    """a . r / |a| in float64, [B, M]; NaN for zero atoms."""
    atoms = philox.entries(kind, R.shape[1], SEED, STREAM, np.arange(M)).astype(np.float64)
    norms = np.sqrt((atoms**2).sum(1))
    return R.astype(np.float64) @ atoms.T / np.where(norms > 0, norms, np.nan)


def assert_best(R, kind, M, index, value):
    """Value and index are right, and the index is the reference's unless the two scores agree to 1e-5.

    Short gaussian atoms are often multiples of one another: their scores are equal but for the rounding of 1 / |a|.
    """
    scores = signed_scores(R, kind, M)
    sizes = np.where(np.isnan(scores), -1, np.abs(scores))
    rows = np.arange(len(R))
    truth = sizes.argmax(1)
    gap = 1 - sizes[rows, index] / sizes[rows, truth]
    assert (gap <= 1e-5).all(), gap.max()
    if kind != "gaussian" or R.shape[1] > 3:
        assert ((index == truth) | (gap > 0)).all(), "an exact tie must go to the lowest index"
        assert (index != truth).mean() <= 0.01
    np.testing.assert_allclose(value, scores[rows, index], rtol=0, atol=2e-6 * np.abs(scores[rows, index]).max())


def vectors(B, n):
    return torch.randn(B, n)


SHAPES = [
    (1, 5, 3),
    (2, 37, 5),
    (3, 301, 3),
    (63, 777, 3),
    (64, 300, 5),
    (100, 300, 17),
    (128, 513, 2),
    (300, 300, 3),
]


@pytest.mark.parametrize(("n", "M", "B"), fast_where(lambda n, M, B: n == 64, SHAPES))
@pytest.mark.parametrize("kind", KINDS)
def test_best_atom_equals_float64(kind, n, M, B):
    R = vectors(B, n)
    index, value = kernels.correlate_argmax(R.to(DEVICE), kind, M, SEED, STREAM)
    assert_best(R.numpy(), kind, M, index.cpu().numpy(), value.cpu().numpy())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "n", "M"), [("rademacher", 1024, 300), ("hadamard", 1024, 2500), ("hadamard", 700, 1024)]
)
def test_long_vectors(kind, n, M):
    R = vectors(2, n)
    index, value = kernels.correlate_argmax(R.to(DEVICE), kind, M, SEED, STREAM)
    assert_best(R.numpy(), kind, M, index.cpu().numpy(), value.cpu().numpy())


@pytest.mark.slow
@pytest.mark.parametrize("factor", [4])
def test_hadamard_factors_compose(factor, monkeypatch):
    # Orders above 2**14 need two factors before the last one; small factors show it at order 4096.
    monkeypatch.setattr(hadamard, "FACTOR", factor)
    R = vectors(1, 3000)
    index, value = kernels.correlate_argmax(R.to(DEVICE), "hadamard", 4096 + 77, SEED, STREAM)
    assert_best(R.numpy(), "hadamard", 4096 + 77, index.cpu().numpy(), value.cpu().numpy())


def run_dense(R, kind, M, **options):
    """Candidates of a dense engine with given options, then the best atom."""
    engine = correlate.DenseCorrelator(kind, R.shape[1], M, SEED, STREAM, len(R), DEVICE, **options)
    original = select.correlator
    select.correlator = lambda *arguments: engine
    try:
        return *(part.cpu().numpy() for part in kernels.correlate_argmax(R.to(DEVICE), kind, M, SEED, STREAM)), engine
    finally:
        select.correlator = original


@pytest.mark.parametrize("kind", fast_where(lambda kind: kind == "hadamard", KINDS))
def test_stored_dictionary_gives_the_same_candidates(kind):
    R = vectors(5, 100)
    index, value, engine = run_dense(R, kind, 400, stored=True)
    assert_best(R.numpy(), kind, 400, index, value)
    if kind != "hadamard":
        _, _, generated = run_dense(R, kind, 400, stored=False)
        assert torch.equal(engine.tile, generated.tile)
        torch.testing.assert_close(engine.top, generated.top, rtol=1e-6, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gaussian", "rademacher"])
@pytest.mark.parametrize(
    "shape",
    [
        correlate.Tiling(64, 128, 256, False, True, 8, 2),
        correlate.Tiling(16, 64, 128, False, False, 4, 1),
        correlate.Tiling(128, 64, 128, False, False, 8, 1),
    ],
    ids=["resident", "few", "streamed"],
)
def test_tilings_agree(kind, shape):
    R = vectors(3, 200)
    index, value, _ = run_dense(R, kind, 261, shape=shape)
    assert_best(R.numpy(), kind, 261, index, value)


def test_memory_does_not_grow_with_vectors_times_atoms():
    sizes = [correlate.DenseCorrelator("rademacher", 64, M, 0, 0, 50, DEVICE).top.numel() for M in (2**16, 2**20)]
    assert sizes[0] == sizes[1] <= 50 * 3 * 8
    transform = [hadamard.HadamardCorrelator(64, M, 0, 0, 50, DEVICE).top.numel() for M in (2**16, 2**20)]
    assert transform[0] == transform[1] <= 50 * 3 * 8
    long = hadamard.HadamardCorrelator(2**14, 2**20, 0, 0, 50, DEVICE)
    assert long.scratch.numel() * 2 <= hadamard.SCRATCH_BYTES


@pytest.mark.parametrize("kind", fast_where(lambda kind: kind == "hadamard", ["rademacher", "hadamard"]))
def test_equal_and_opposite_atoms_go_to_the_lowest_index(kind):
    # Four patterns of signs: every atom has hundreds of equals and opposites, also in other tiles and residues.
    R = vectors(3, 2)
    index, _ = kernels.correlate_argmax(R.to(DEVICE), kind, 1000, SEED, STREAM)
    truth = np.abs(np.round(signed_scores(R.numpy(), kind, 1000), 12)).argmax(1)
    np.testing.assert_array_equal(index.cpu().numpy(), truth)


def test_zero_residual_takes_the_first_atom_that_is_not_zero():
    first = int(np.flatnonzero(philox.entries("gaussian", 1, SEED, STREAM, np.arange(50)).any(1))[0])
    index, value = kernels.correlate_argmax(torch.zeros(2, 1).to(DEVICE), "gaussian", 50, SEED, STREAM)
    assert index.tolist() == [first] * 2
    assert value.tolist() == [0, 0]


def test_zero_atoms_only():
    seed = next(seed for seed in range(100) if not philox.entries("gaussian", 1, seed, 0, np.arange(1)).any())
    index, value = kernels.correlate_argmax(torch.ones(3, 1).to(DEVICE), "gaussian", 1, seed, 0)
    assert index.tolist() == [-1] * 3
    assert value.tolist() == [0] * 3


@pytest.mark.parametrize("exponent", fast_where(lambda exponent: exponent < 0, [-40, 40]))
def test_scale_of_the_residual_does_not_matter(exponent):
    R = vectors(2, 64)
    R[:, 0] *= 1e-6  # entries far below the largest one
    plain, _ = kernels.correlate_argmax(R.to(DEVICE), "gaussian", 200, SEED, STREAM)
    scaled, _ = kernels.correlate_argmax((R * 2.0**exponent).to(DEVICE), "gaussian", 200, SEED, STREAM)
    assert torch.equal(scaled, plain)


@pytest.mark.slow
@pytest.mark.parametrize("capability", [(8, 0), (9, 0)])
@pytest.mark.parametrize("kind", KINDS)
def test_tilings_of_both_architectures(kind, capability, monkeypatch):
    monkeypatch.setattr(correlate, "capability", lambda device: capability)
    monkeypatch.setattr(hadamard, "capability", lambda device: capability)
    R = vectors(3, 256)
    index, value = kernels.correlate_argmax(R.to(DEVICE), kind, 300, SEED, STREAM)
    assert_best(R.numpy(), kind, 300, index.cpu().numpy(), value.cpu().numpy())


def test_no_vectors():
    index, value = kernels.correlate_argmax(torch.zeros(0, 5).to(DEVICE), "gaussian", 3, 0, 0)
    assert index.shape == value.shape == (0,)


def test_hadamard_beyond_two_to_the_16_is_refused():
    with pytest.raises(ValueError, match="n up to 65536"):
        hadamard.HadamardCorrelator(2**16 + 1, 5, 0, 0, 1, DEVICE)


@pytest.mark.parametrize(
    "R", [torch.zeros(2, 3).double(), torch.zeros(3), torch.zeros(3, 2).T], ids=["dtype", "shape", "strides"]
)
def test_bad_residuals_are_named(R):
    with pytest.raises(ValueError, match="R must"):
        kernels.correlate_argmax(R.to(DEVICE), "gaussian", 3, 0, 0)
