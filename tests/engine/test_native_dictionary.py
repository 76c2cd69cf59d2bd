"""Philox words and dictionary entries of the native engine against the NumPy reference."""

import numpy as np
import pytest

from coinr.engine import _C, philox

SEEDS = [0, 1, 0x0123456789ABCDEF, 2**63, 2**64 - 1]
DIMS = [1, 2, 3, 15, 16, 17, 63, 64, 65, 100, 127, 128, 129, 255, 257, 319, 1000, 1024, 1025, 5000]

# Random123 known answers for philox4x32-10 (kat_vectors): counter, key, words.
KNOWN = [
    ((0, 0, 0, 0), 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, 2**64 - 1, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        0x299F31D0A4093822,
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN, ids=["zeros", "ones", "pi"])
def test_philox_known_answers(counter, key, words):
    out = _C.philox4x32(np.array([counter], np.uint32), key)
    assert out.dtype == np.uint32
    assert tuple(out[0]) == words


def test_philox_equals_reference():
    counters = np.random.default_rng(0).integers(0, 2**32, (1000, 4), dtype=np.uint32)
    for seed in SEEDS:
        np.testing.assert_array_equal(_C.philox4x32(counters, seed), philox.philox4x32(counters, seed))


@pytest.mark.parametrize("kind", philox.KINDS)
@pytest.mark.parametrize("n", DIMS)
def test_entries_equal_reference(kind, n):
    indices = np.array([0, 1, 2, 3, 15, 16, 17, 63, 64, 1000, 65535, 2**20 + 7, 2**24 - 1], np.int64)
    for seed in SEEDS:
        for stream in (0, 2**32 - 1):
            got = _C.entries(philox.KINDS[kind], n, 2**24, seed, stream, indices, 1)
            np.testing.assert_array_equal(got, philox.entries(kind, n, seed, stream, indices))


@pytest.mark.parametrize("kind", philox.KINDS)
def test_entries_of_long_atoms(kind):
    n = 2**16 + 3
    indices = np.array([5, 2**24 - 2], np.int64)
    got = _C.entries(philox.KINDS[kind], n, 2**24, 9, 1, indices, 1)
    np.testing.assert_array_equal(got, philox.entries(kind, n, 9, 1, indices))


def test_entries_do_not_depend_on_threads_or_order():
    indices = np.random.default_rng(1).integers(0, 2**24, 333)
    one = _C.entries(1, 77, 2**24, 3, 0, indices, 1)
    np.testing.assert_array_equal(one, _C.entries(1, 77, 2**24, 3, 0, indices, 3))
    np.testing.assert_array_equal(one[::-1], _C.entries(1, 77, 2**24, 3, 0, indices[::-1].copy(), 1))


def test_no_atoms():
    assert _C.entries(1, 8, 8, 0, 0, np.empty(0, np.int64), 1).shape == (0, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": 0}, "kind is 0"),
        ({"kind": 4}, "kind is 4"),
        ({"n": 0}, "n is 0"),
        ({"n": 2**24 + 1}, "n is 16777217"),
        ({"M": 0}, "M is 0"),
        ({"M": 2**24 + 1}, "M is 16777217"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**64}, "seed is 18446744073709551616"),
        ({"stream": 2**32}, "stream is 4294967296"),
        ({"stream": -1}, "stream is -1"),
        ({"indices": np.array([64], np.int64)}, "index 64"),
        ({"indices": np.array([-1], np.int64)}, "index -1"),
        ({"indices": np.array([1], np.int32)}, "dtype int32"),
        ({"indices": np.zeros((1, 1), np.int64)}, "2 dimensions"),
        ({"indices": np.arange(8)[::2]}, "not C-contiguous"),
        ({"threads": 0}, "threads is 0"),
        ({"threads": 257}, "threads is 257"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_bad_arguments(change, message):
    arguments = {"kind": 1, "n": 8, "M": 64, "seed": 0, "stream": 0, "indices": np.array([1], np.int64), "threads": 1}
    with pytest.raises(ValueError, match=message):
        _C.entries(**(arguments | change))


def test_philox_bad_arguments():
    with pytest.raises(ValueError, match="shape"):
        _C.philox4x32(np.zeros((2, 3), np.uint32), 0)
    with pytest.raises(ValueError, match="dtype"):
        _C.philox4x32(np.zeros((2, 4), np.int32), 0)
