"""Philox words and dictionary entries of the NumPy reference."""

import numpy as np
import pytest

from coinr.engine import philox

# Random123's known answers for philox4x32-10: counter, key, words.
KNOWN = [
    ([0, 0, 0, 0], 0, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, 2**64 - 1, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        0x299F31D0A4093822,
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN, ids=["zeros", "ones", "pi"])
def test_known_answers(counter, key, words):
    assert philox.philox4x32(np.array([counter], np.uint32), key).tolist() == [words]


@pytest.mark.parametrize("kind", philox.KINDS)
def test_an_atom_does_not_depend_on_how_it_is_asked_for(kind):
    together = philox.entries(kind, 77, 5, 2, np.array([0, 3, 200, 2**24 - 1, 3]))
    alone = [philox.entries(kind, 77, 5, 2, np.array([j]))[0] for j in (0, 3, 200, 2**24 - 1, 3)]
    assert together.dtype == np.int8
    assert np.array_equal(together, alone)


@pytest.mark.parametrize("kind", ["gaussian", "rademacher"])
def test_a_longer_atom_begins_like_a_shorter_one(kind):
    js = np.arange(9)
    assert np.array_equal(philox.entries(kind, 300, 1, 0, js)[:, :65], philox.entries(kind, 65, 1, 0, js))


@pytest.mark.parametrize("kind", philox.KINDS)
def test_seeds_and_streams_give_different_atoms(kind):
    js = np.arange(40)
    base = philox.entries(kind, 64, 0, 0, js)
    for seed, stream in ((1, 0), (1 << 32, 0), (2**64 - 1, 0), (0, 1), (0, 2**32 - 1)):
        assert (philox.entries(kind, 64, seed, stream, js) != base).mean() > 0.3


@pytest.mark.parametrize(
    ("kind", "variance", "kurtosis"), [("gaussian", 2.0, 2.75), ("rademacher", 1.0, 1.0), ("hadamard", 1.0, 1.0)]
)
@pytest.mark.parametrize("n", [64, 65, 66, 129, 283, 319])
def test_moments(kind, variance, kurtosis, n):
    x = philox.entries(kind, n, 11, 0, np.arange(4000)).astype(np.float64)
    count = x.size
    # Rows kept of a Hadamard matrix are dependent: the mean of 4000 columns is not that of independent entries.
    assert abs(x.mean()) < 5 * np.sqrt(variance / (count if kind != "hadamard" else 4000))
    assert abs((x**2).mean() - variance) <= (0 if variance == 1 else 5 * np.sqrt(variance**2 * (kurtosis - 1) / count))
    assert abs((x**4).mean() / variance**2 - kurtosis) < 0.05


@pytest.mark.parametrize("n", [64, 65, 66, 129, 283, 319])
def test_coherence_is_that_of_random_atoms(n):
    """The largest inner product of 1000 unit atoms stays near sqrt(4 log(1000) / n), as for true Gaussian atoms."""
    truth = np.random.default_rng(3).standard_normal((1000, n))
    for kind in philox.KINDS:
        atoms = philox.entries(kind, n, 3, 0, np.arange(1000)).astype(np.float64)
        assert _coherence(atoms) < 1.25 * _coherence(truth)


def _coherence(atoms):
    unit = atoms / np.linalg.norm(atoms, axis=1, keepdims=True)
    return np.abs(unit @ unit.T - np.eye(len(unit))).max()


def test_hadamard_blocks_are_orthogonal():
    block = philox.entries("hadamard", 64, 9, 0, np.arange(64, 128)).astype(int)
    assert np.array_equal(block @ block.T, 64 * np.eye(64))


@pytest.mark.parametrize("n", [1, 2, 3, 63, 64, 65, 1000])
def test_hadamard_rows_are_distinct_and_ascending(n):
    rows = philox.hadamard_rows(n, 123, 4)
    p = philox.hadamard_order(n)
    assert len(rows) == n
    assert (np.diff(rows) > 0).all()
    assert rows[0] >= 0
    assert rows[-1] < p
    if n == p:
        assert np.array_equal(rows, np.arange(p))
