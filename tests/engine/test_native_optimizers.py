"""Steps of Muon and Adam in the extension against float64, with every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from coinr.engine import _C
from tests.engine.instruction_sets import run_with

RATE, MOMENTUM, BETAS, EPS = 0.3, 0.95, (0.9, 0.999), 1e-8

Arrays = list[NDArray[np.float32]]


def take(matrices: list[Arrays], others: list[Arrays], count: int = 1, threads: int = 1) -> None:
    """Take the step with this number, of arrays: values, gradients, and what is kept of these."""
    kept = [[(values, *more) for values, _, *more in part] for part in (matrices, others)]
    gradients = [arrays[1] for arrays in (*matrices, *others)]
    steps = [float(count)] * len(others)
    _C.OptimizerSteps(*kept).take(gradients, steps, RATE, MOMENTUM, *BETAS, EPS, threads)


def exact_muon(values: NDArray, gradients: NDArray, means: NDArray) -> list[NDArray]:
    """The values and means after a step, in float64."""
    values, gradients, means = (t.astype(np.float64) for t in (values, gradients, means))
    means = MOMENTUM * means + (1 - MOMENTUM) * gradients
    x = MOMENTUM * means + (1 - MOMENTUM) * gradients
    x = x / np.linalg.norm(x, axis=(1, 2), keepdims=True)
    for _ in range(4):
        square = x.mT @ x
        x = 3.4445 * x + x @ (-4.7750 * square + 2.0315 * square @ square)
    return [values - 2 * RATE * x, means]


def exact_adam(values: NDArray, gradients: NDArray, means: NDArray, squares: NDArray, count: int) -> list[NDArray]:
    """The values, means and squares after a step, in float64."""
    values, gradients, means, squares = (t.astype(np.float64) for t in (values, gradients, means, squares))
    means = BETAS[0] * means + (1 - BETAS[0]) * gradients
    squares = BETAS[1] * squares + (1 - BETAS[1]) * gradients**2
    root = np.sqrt(squares / (1 - BETAS[1] ** count)) + EPS
    return [values - RATE * means / (1 - BETAS[0] ** count) / root, means, squares]


def drawn(shape: tuple[int, ...], arrays: int, seed: int = 0) -> Arrays:
    """Values, gradients, means and, if four, squares."""
    rng = np.random.default_rng(seed)
    found = [rng.standard_normal(shape).astype(np.float32) for _ in range(arrays)]
    return [*found[:3], *(np.abs(t) for t in found[3:])]


def distance(found: NDArray, right: NDArray) -> float:
    return float(np.linalg.norm(found - right) / np.linalg.norm(right))


SIZES = (1, 1), (2, 2), (64, 2), (17, 16), (33, 33), (48, 47), (65, 64), (130, 17), (129, 129), (9, 30)
SHAPES = [(count, *size) for size in SIZES for count in (1, 3)]

LARGE = [pytest.param(shape, marks=pytest.mark.slow) for shape in ((2, 300, 300), (5, 256, 256))]


@pytest.mark.parametrize("shape", [*SHAPES, *LARGE])
def test_matrices_move_as_in_float64(shape):
    check_matrices(shape)


def check_matrices(shape: tuple[int, ...]) -> None:
    before = drawn(shape, 3)
    right = exact_muon(*before)
    found = [t.copy() for t in before]
    take([found], [])
    np.testing.assert_array_equal(found[1], before[1])
    assert distance(found[0] - before[0], right[0] - before[0]) < 3e-6
    assert distance(found[2], right[1]) < 1e-6


@pytest.mark.parametrize("shape", [(1,), (3, 5), (16,), (2, 31), (64,), (3, 9000), (0,)])
@pytest.mark.parametrize("count", [1, 700])
def test_others_move_as_in_float64(shape, count):
    check_others(shape, count)


def check_others(shape: tuple[int, ...], count: int) -> None:
    before = drawn(shape, 4)
    right = exact_adam(*before, count)
    found = [t.copy() for t in before]
    take([], [found], count)
    for now, exact in zip((found[0], *found[2:]), right, strict=True):
        np.testing.assert_allclose(now, exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_do_not_change_a_bit(threads):
    shapes = [(3, 64, 64), (2, 130, 129), (1, 200, 2)], [(7,), (2, 20_001)]
    one, more = ([[drawn(shape, 3 + k, 9) for shape in part] for k, part in enumerate(shapes)] for _ in range(2))
    take(*one)
    take(*more, threads=threads)
    for part, other in zip(one, more, strict=True):
        for arrays, others in zip(part, other, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(arrays, others, strict=True))


def test_arrays_may_begin_at_any_float():
    shape = (2, 33, 31)
    aligned = [drawn(shape, 3), drawn(shape, 4)]
    shifted = []
    for arrays in aligned:
        memory = [np.concatenate((np.zeros(1, np.float32), t.ravel())) for t in arrays]
        shifted.append([t[1:].reshape(shape) for t in memory])
    take(aligned[:1], aligned[1:])
    take(shifted[:1], shifted[1:])
    for arrays, others in zip(aligned, shifted, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(arrays, others, strict=True))


def test_a_gradient_of_zero_moves_nothing():
    for size in (0.0, 1e-40, -0.0):
        matrices, others = drawn((2, 20, 19), 3), drawn((50,), 4)
        for arrays in (matrices, others):
            arrays[1][:] = size
            arrays[2][:] = 0
        others[3][:] = 0
        before = [arrays[0].copy() for arrays in (matrices, others)]
        take([matrices], [others])
        np.testing.assert_allclose(matrices[0], before[0], rtol=0, atol=1e-8)
        np.testing.assert_allclose(others[0], before[1], rtol=0, atol=1e-8)


@pytest.mark.parametrize("size", [1e-25, 1e15])
def test_the_size_of_gradients_does_not_matter_to_matrices(size):
    small, large = drawn((1, 24, 24), 3), drawn((1, 24, 24), 3)
    for t in small[1:]:
        t *= np.float32(size)
    take([small], [])
    take([large], [])
    np.testing.assert_allclose(small[0], large[0], rtol=0, atol=1e-5)


def test_what_is_not_finite_stays_within_its_matrix():
    arrays = drawn((3, 20, 20), 3)
    alone = drawn((3, 20, 20), 3)
    arrays[1][1, 4, 5] = np.nan
    take([arrays], [])
    take([alone], [])
    assert np.isnan(arrays[0][1]).all()
    for k in (0, 2):
        np.testing.assert_array_equal(arrays[0][k], alone[0][k])


def test_complex_gradients_are_pairs_of_floats():
    arrays, pairs = drawn((3, 8), 4), drawn((3, 8), 4)
    take([], [arrays])
    take([], [[pairs[0], pairs[1].view(np.complex64), *pairs[2:]]])
    assert all(np.array_equal(a, b) for a, b in zip(arrays, pairs, strict=True))


def test_wrong_arrays_are_refused():
    good, other = drawn((2, 4, 3), 3), drawn((5,), 4)
    for place in (0, 2):
        for wrong, words in (
            (good[place].astype(np.float64), "float64"),
            (good[place][:1], "different shapes"),
            (good[place].transpose(0, 2, 1), "not C-contiguous"),
            (good[place].ravel(), "dimensions"),
        ):
            with pytest.raises(ValueError, match=words):
                take([[*good[:place], wrong, *good[place + 1 :]]], [])
    for wrong, words in (
        (good[1].astype(np.float64), "gradient has dtype float64"),
        (good[1][:1], "gradient has 12 floats, its tensor 24"),
        (good[1].transpose(0, 2, 1), "not C-contiguous"),
    ):
        with pytest.raises(ValueError, match=words):
            take([[good[0], wrong, good[2]]], [])
    for place in (0, 2, 3):
        fixed = other[place].copy()
        fixed.setflags(write=False)
        with pytest.raises(ValueError, match="writeable"):
            take([], [[*other[:place], fixed, *other[place + 1 :]]])
    steps = _C.OptimizerSteps([], [(other[0], *other[2:])])
    for gradients, counts, threads, words in (
        ([], [1.0], 1, "1 gradients, got 0"),
        ([other[1]], [], 1, "1 steps, got 0"),
        ([other[1]], [0.5], 1, "0.5"),
        ([other[1]], [np.nan], 1, "nan"),
        ([other[1]], [1.0], 0, "threads"),
    ):
        with pytest.raises(ValueError, match=words):
            steps.take(gradients, counts, RATE, MOMENTUM, *BETAS, EPS, threads)


@pytest.mark.parametrize("level", ["portable", "avx2"])
def test_other_instruction_sets(level):
    script = f"""if True:
        from tests.engine import test_native_optimizers as tests
        assert tests._C.simd_level() in ("portable", "{level}")
        for shape in tests.SHAPES:
            tests.check_matrices(shape)
        for shape in ((1,), (31,), (3, 9000)):
            tests.check_others(shape, 3)
        tests.test_threads_do_not_change_a_bit(2)
        tests.test_arrays_may_begin_at_any_float()
        tests.test_a_gradient_of_zero_moves_nothing()
    """
    run_with(level, script)
