"""Integer synthesis of the native engine, bit for bit against NumPy."""

import numpy as np
import pytest

from coinr.engine import _C, philox


def reference(indices, q, step, kind, n, seed, stream):
    """float32(sum_k q_k A[:, j_k]) * step, the sum in int64."""
    out = np.empty((len(indices), n), np.float32)
    for b, (atoms, levels) in enumerate(zip(indices, q, strict=True)):
        total = levels.astype(np.int64) @ philox.entries(kind, n, seed, stream, atoms).astype(np.int64)
        out[b] = total.astype(np.float32) * np.float32(step)
    return out


@pytest.mark.parametrize("kind", philox.KINDS)
@pytest.mark.parametrize(("B", "n", "s"), [(1, 1, 1), (3, 2, 1), (5, 63, 7), (4, 64, 0), (2, 100, 33), (3, 1025, 5)])
@pytest.mark.parametrize("bits", [2, 8, 16, 24, 32])
def test_equals_integer_arithmetic(kind, B, n, s, bits):
    generator = np.random.default_rng(n + bits)
    M = 5000
    indices = generator.integers(0, M, (B, s)).astype(np.int32)
    q = generator.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (B, s)).astype(np.int32)
    if s:
        q[:, 0] = -(2 ** (bits - 1))
    step = float(np.float32(0.37e-4))
    want = reference(indices, q, step, kind, n, 2**63 + 5, 2)
    for threads in (1, 3):
        got = _C.synthesize(indices, q, step, philox.KINDS[kind], n, M, 2**63 + 5, 2, threads)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got.view(np.uint32), want.view(np.uint32))


def test_sums_beyond_int32_are_exact():
    n, s = 64, 600
    indices = np.zeros((1, s), np.int32)
    q = np.full((1, s), 2**31 - 1, np.int32)
    got = _C.synthesize(indices, q, 2.0**-40, 1, n, 1, 0, 0, 1)
    np.testing.assert_array_equal(got, reference(indices, q, 2.0**-40, "gaussian", n, 0, 0))


def test_rounding_is_to_nearest_even_before_the_step():
    # The only entry of this atom is ±1, so the sum is ±(2^24 + 1): a tie that rounds to even.
    atom = np.zeros((1, 1), np.int32)
    got = _C.synthesize(atom, np.array([[2**24 + 1]], np.int32), 3.0, 2, 1, 1, 0, 0, 1)
    assert abs(float(got[0, 0])) == 3.0 * 2**24


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"indices": np.array([[-1]], np.int32)}, "index -1"),
        ({"indices": np.array([[9]], np.int32)}, "index 9"),
        ({"indices": np.array([[0, 1]], np.int32)}, "differ in shape"),
        ({"q": np.array([[0]], np.int64)}, "dtype int64"),
        ({"step": 0.0}, "normal float32"),
        ({"step": float("nan")}, "step"),
        ({"step": float("inf")}, "normal float32"),
        ({"step": 2.0**-140}, "normal float32"),
        ({"step": 0.1}, "float32 value"),
        ({"step": 2.0**127, "q": np.array([[1000]], np.int32)}, "not finite"),
        ({"n": 0}, "n is 0"),
        ({"threads": -1}, "threads is -1"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {
        "indices": np.zeros((1, 1), np.int32),
        "q": np.ones((1, 1), np.int32),
        "step": 1.0,
        "kind": 1,
        "n": 4,
        "M": 9,
        "seed": 0,
        "stream": 0,
        "threads": 1,
    }
    with pytest.raises(ValueError, match=message):
        _C.synthesize(**(arguments | change))
