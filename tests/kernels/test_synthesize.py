"""Synthesis on the device: bit for bit what NumPy makes of the same integers."""

import numpy as np
import pytest
import torch

from coinr.engine import philox
from tests.grids import fast_where
from tests.kernels.on_device import DEVICE, KINDS, kernels

STEP = float(np.float32(0.00123))


def reference(indices, q, step, kind, n, seed, stream):
    out = np.empty((len(indices), n), np.float32)
    for b in range(len(indices)):
        total = q[b].astype(np.int64) @ philox.entries(kind, n, seed, stream, indices[b]).astype(np.int64)
        out[b] = total.astype(np.float32) * np.float32(step)
    return out


def synthesize(indices, q, step, *dictionary):
    return (
        kernels.synthesize(torch.tensor(indices).to(DEVICE), torch.tensor(q).to(DEVICE), step, *dictionary)
        .cpu()
        .numpy()
    )


@pytest.mark.parametrize("bits", [8, 32])
@pytest.mark.parametrize(
    ("n", "M", "B", "s"),
    fast_where(
        lambda n, M, B, s: n in (3, 64),
        [
            (1, 5, 2, 3),
            (2, 3, 3, 1),
            (3, 7, 1, 3),
            (63, 777, 3, 17),
            (64, 999, 2, 5),
            (130, 5000, 2, 16),
            (300, 2**24, 1, 33),
        ],
    ),
)
@pytest.mark.parametrize("kind", KINDS)
def test_bits_equal_numpy(kind, n, M, B, s, bits, generator):
    indices = generator.integers(0, M, (B, s), np.int32)
    q = generator.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (B, s), np.int64).astype(np.int32)
    got = synthesize(indices, q, STEP, kind, n, M, 2**64 - 5, 9)
    np.testing.assert_array_equal(got.view(np.int32), reference(indices, q, STEP, kind, n, 2**64 - 5, 9).view(np.int32))


def test_sum_is_rounded_once_to_nearest_even():
    # 2**24 + 1 lies between two float32 numbers, 2**24 + 3 too: ties go to the even one, below and above.
    q = np.array([[2**24 + 1], [2**24 + 3], [-(2**24) - 1], [-(2**31)]], np.int32)
    indices = np.zeros((4, 1), np.int32)
    sign = philox.entries("rademacher", 1, 0, 0, np.array([0]))[0, 0]
    got = synthesize(indices, q, 1.0, "rademacher", 1, 1, 0, 0)[:, 0] * sign
    assert got.tolist() == [2.0**24, 2.0**24 + 4, -(2.0**24), -(2.0**31)]


def test_int64_where_int32_would_overflow():
    indices = np.zeros((1, 5), np.int32)
    q = np.full((1, 5), 2**31 - 1, np.int32)
    got = synthesize(indices, q, 1.0, "hadamard", 2, 2, 3, 0)
    np.testing.assert_array_equal(np.abs(got), np.full((1, 2), np.float32(5 * (2**31 - 1))))


def test_zero_weights_subnormal_products_and_empty_shapes():
    indices = np.array([[0, 1]], np.int32)
    assert not synthesize(indices, np.zeros((1, 2), np.int32), STEP, "gaussian", 7, 2, 0, 0).any()
    tiny = float(np.float32(2.0**-126))
    one = np.array([[3, 0]], np.int32)
    np.testing.assert_array_equal(
        synthesize(indices, one, -tiny, "gaussian", 7, 2, 0, 0), reference(indices, one, -tiny, "gaussian", 7, 0, 0)
    )
    assert synthesize(np.zeros((0, 2), np.int32), np.zeros((0, 2), np.int32), 1.0, "gaussian", 7, 2, 0, 0).shape == (
        0,
        7,
    )
    assert not synthesize(np.zeros((3, 0), np.int32), np.zeros((3, 0), np.int32), 1.0, "gaussian", 7, 2, 0, 0).any()


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # NumPy's, in the interpreter
@pytest.mark.parametrize(
    ("indices", "q", "step", "message"),
    [
        ([[-1]], [[1]], 1.0, "indices must lie in"),
        ([[8]], [[0]], 1.0, "indices must lie in"),
        ([[0]], [[1]], 0.0, "step must be"),
        ([[0]], [[1]], 1e-40, "step must be"),
        ([[0]], [[1]], float("inf"), "step must be"),
        ([[0]], [[1]], float("nan"), "step must be"),
        ([[0]], [[1]], 0.1, "step must be"),
        ([[0]], [[1, 2]], 1.0, "q must have shape"),
        ([[0, 1, 2]], [[2**31 - 1] * 3], 2.0**127, "overflows float32"),
    ],
)
def test_bad_arguments_are_named(indices, q, step, message):
    with pytest.raises(ValueError, match=message):
        synthesize(np.array(indices, np.int32), np.array(q, np.int32), step, "rademacher", 40, 8, 0, 0)
