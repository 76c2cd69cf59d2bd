"""Networks in the extension: values, errors and gradients against float64, with every instruction set."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from coinr.engine import _C
from tests.engine.instruction_sets import run_with
from tests.grids import fast_where

OMEGA = 30.0


def siren(a: int, b: int, width: int, hidden: int) -> tuple[Any, list[np.ndarray]]:
    """A program and its tensors."""
    rng = np.random.default_rng(width + hidden)
    fans = [(a, width), *[(width, width)] * hidden, (width, b)]
    layers = [
        ("sine" if k <= hidden else "none", "real", *fan, k, 0, k + 1, 0, OMEGA, 1.0) for k, fan in enumerate(fans)
    ]
    tensors = []
    for k, (fan_in, fan_out) in enumerate(fans):
        bound = 1 / fan_in if k == 0 else np.sqrt(6 / fan_in) / OMEGA
        tensors += [rng.uniform(-bound, bound, (fan_out, fan_in)), rng.uniform(-0.1, 0.1, fan_out)]
    return _C.MlpProgram([(a, [], 0, 0)], layers), [t.astype(np.float32) for t in tensors]


def exact(tensors: list[np.ndarray], x: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The values in float64, and the inputs and pre-activations of each layer."""
    kept = []
    x = x.astype(np.float64)
    for k in range(0, len(tensors), 2):
        weight, bias = (t.astype(np.float64) for t in tensors[k : k + 2])
        z = x @ weight.T + bias
        kept += [x, z]
        x = np.sin(OMEGA * z) if k + 2 < len(tensors) else z
    return x, kept


def exact_gradients(tensors: list[np.ndarray], kept: list[np.ndarray], gradient: np.ndarray) -> list[np.ndarray]:
    """The gradients of the tensors, and of the inputs at the end."""
    found: list[np.ndarray] = []
    for k in range(len(tensors) - 2, -1, -2):
        x, z = kept[k : k + 2]
        if k + 2 < len(tensors):
            gradient = gradient * OMEGA * np.cos(OMEGA * z)
        found = [gradient.T @ x, gradient.sum(0), *found]
        gradient = gradient @ tensors[k].astype(np.float64)
    return [*found, gradient]


def relative(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    flat = [np.concatenate([np.asarray(t, np.float64).ravel() for t in part]) for part in (found, expected)]
    return float(np.linalg.norm(flat[0] - flat[1]) / np.linalg.norm(flat[1]))


def step(program: Any, tensors: list[np.ndarray], x: np.ndarray, y: np.ndarray, threads: int = 1) -> list[np.ndarray]:
    """The error and the gradients of a batch."""
    gradients = [np.full_like(t, np.nan) for t in tensors]
    errors = program.squared_error(tensors, [[x]], [y], 2.0, gradients, threads)
    return [np.array(errors), *gradients]


SIZES = [
    (a, b, width, hidden, count)
    for a, b, width, hidden in [
        (2, 3, 19, 1),
        (1, 1, 1, 0),
        (3, 4, 64, 2),
        (7, 17, 130, 1),
        (2, 3, 300, 3),
        (2, 1, 9, 12),
    ]
    for count in (1, 63, 64, 65, 700, 10_000)
]


@pytest.mark.parametrize(
    ("a", "b", "width", "hidden", "count"),
    fast_where(lambda _a, _b, width, _h, count: width < 70 and count < 100, [*SIZES, (2, 1, 9, 12, 65)]),
)
def test_errors_and_gradients_are_those_of_float64(a, b, width, hidden, count):
    check_errors_and_gradients(a, b, width, hidden, count)


def check_errors_and_gradients(a: int, b: int, width: int, hidden: int, count: int) -> None:
    program, tensors = siren(a, b, width, hidden)
    rng = np.random.default_rng(count)
    x, y = (rng.uniform(-1, 1, (count, n)).astype(np.float32) for n in (a, b))
    values, kept = exact(tensors, x)
    difference = values - y
    expected = exact_gradients(tensors, kept, 2.0 * 2 * difference / difference.size)
    error, *found = step(program, tensors, x, y)
    assert error[0] == pytest.approx((difference**2).mean(), rel=1e-5)
    assert relative(found, expected[:-1]) < 1e-5
    given = difference.astype(np.float32)
    of_tensors, of_inputs = program.backward(tensors, [x], count, given, True, 1)
    expected = exact_gradients(tensors, kept, given)
    assert relative([*of_tensors, of_inputs], expected) < 1e-5
    assert relative([program.forward(tensors, [x], count, 1)], [values]) < 1e-5


@pytest.mark.parametrize("count", [1, 500, pytest.param(9000, marks=pytest.mark.slow)])
def test_threads_do_not_change_a_bit(count):
    program, tensors = siren(2, 3, 33, 2)
    rng = np.random.default_rng(0)
    x, y = (rng.uniform(-1, 1, (count, n)).astype(np.float32) for n in (2, 3))
    one = step(program, tensors, x, y)
    spread = np.repeat(x, 2, 1)[:, ::2]
    for threads in (2, 3, 5):
        for a, b in zip(one, step(program, tensors, spread, y, threads), strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(program.forward(tensors, [x], count, 1), program.forward(tensors, [x], count, 3))


def test_stacked_networks_are_computed_as_single_ones():
    program, first = siren(2, 3, 12, 1)
    rng = np.random.default_rng(0)
    stacked = [np.stack([t * f for f in (1, 0.5, 0.25)]).astype(np.float32) for t in first]
    counts = (700, 0, 130)
    x, y = ([rng.uniform(-1, 1, (count, n)).astype(np.float32) for count in counts] for n in (2, 3))
    gradients = [np.full_like(t, np.nan) for t in stacked]
    errors = program.squared_error(stacked, [[one] for one in x], y, 2.0, gradients, 2)
    assert np.isnan(errors[1])
    assert not any(g[1].any() for g in gradients)
    for k in (0, 2):
        alone = step(program, [np.ascontiguousarray(t[k]) for t in stacked], x[k], y[k])
        for a, b in zip(alone, [np.array([errors[k]]), *(g[k] for g in gradients)], strict=True):
            np.testing.assert_array_equal(a, b)


def test_concurrent_calls_agree():
    program, tensors = siren(2, 3, 20, 1)
    rng = np.random.default_rng(0)
    x, y = (rng.uniform(-1, 1, (1500, n)).astype(np.float32) for n in (2, 3))
    one, wrong = step(program, tensors, x, y), []

    def run() -> None:
        for _ in range(3):
            found = step(program, tensors, x, y, 2)
            wrong.extend(a for a, b in zip(one, found, strict=True) if not np.array_equal(a, b))

    workers = [threading.Thread(target=run) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_sines_are_exact_to_two_units_in_the_last_place():
    rng = np.random.default_rng(0)
    x = (rng.uniform(-1, 1, 200_000) * 10.0 ** rng.uniform(-6, 4, 200_000)).astype(np.float32)
    near = (np.arange(1, 3184) * np.pi).astype(np.float32)  # where sines vanish
    x = np.concatenate((x, near, np.nextafter(near, np.float32(0)), [0, -0.0, 1e-40, 1e4]), dtype=np.float32)
    for found, right in zip(_C.sines(x), (np.sin(x.astype(np.float64)), np.cos(x.astype(np.float64))), strict=True):
        assert np.abs(found - right).max() < 2.5e-7
    sine, right = _C.sines(x)[0], np.sin(x.astype(np.float64))
    assert (np.abs(sine - right) <= 2 * np.spacing(np.abs(right).astype(np.float32)).astype(np.float64)).all()
    far = np.array([70_000, -3e6, 1e10, 3e38, -65_537, 65_536], np.float32)
    np.testing.assert_allclose(_C.sines(far)[0], np.sin(far.astype(np.float64)), atol=1e-6)
    with np.errstate(all="ignore"):
        assert np.isnan(_C.sines(np.array([np.nan, np.inf, -np.inf], np.float32))).all()


def check_a_layer_of_sines() -> None:
    program = _C.MlpProgram([(1, [], 0, 0)], [("sine", "real", 1, 1, 0, 0, 1, 0, 1.0, 1.0)])
    tensors = [np.ones((1, 1), np.float32), np.zeros(1, np.float32)]
    x = np.random.default_rng(0).uniform(-1e4, 1e4, (300, 1)).astype(np.float32)
    x[[70, 130, 195, 290], 0] = 3e8, -1e20, np.nan, np.inf
    with np.errstate(all="ignore"):
        found = program.forward(tensors, [x], len(x), 1)
        _, gradient = program.backward(tensors, [x], len(x), np.ones_like(x), True, 1)
        np.testing.assert_allclose(found, np.sin(x.astype(np.float64)), rtol=0, atol=2.5e-7)
        np.testing.assert_allclose(gradient, np.cos(x.astype(np.float64)), rtol=0, atol=2.5e-7)


def test_a_layer_takes_sines_of_near_and_far_numbers():
    check_a_layer_of_sines()


@pytest.mark.parametrize(
    ("inputs", "layers", "words"),
    [
        ([], [], "needs inputs"),
        ([(2, [], 0, 0)], [("sine", "real", 3, 4, 0, 0, 1, 0, 1.0, 1.0)], "not there"),
        ([(2, [], 0, 0)], [("sine", "real", 2, 4, 0, 0, 0, 1, 1.0, 1.0)], "writes where it reads"),
        ([(2, [], 0, 0)], [("sine", "real", 2, 4, 0, 0, 1 << 40, 0, 1.0, 1.0)], "has a buffer"),
        ([(2, [], 0, 0)], [("sine", "real", 2, 0, 0, 0, 1, 0, 1.0, 1.0)], "0 outputs"),
        ([(2, [], 0, 0)], [("sine", "real", 2, 4, 0, 0, 2, 0, 1.0, 1.0)], "empty buffer"),
        ([(2, [], 0, 0)], [("sinus", "real", 2, 4, 0, 0, 1, 0, 1.0, 1.0)], "sinus"),
        ([(2, [], 0, 0)], [("sine", "complex", 1, 4, 0, 0, 1, 0, 1.0, 1.0)], "complex"),
        ([(2, [], 0, 0)], [("none", "real", 2, 1, 0, 0, 1, k, 1.0, 1.0) for k in (0, 0)], "twice"),
        ([(2, [], 0, 0)], [("none", "real", 2, 1, 0, 0, k, 0, 1.0, 1.0) for k in (1, 2)], "nothing reads"),
    ],
)
def test_programs_that_make_no_sense_are_refused(inputs, layers, words):
    with pytest.raises(ValueError, match=words):
        _C.MlpProgram(inputs, layers).forward([], [], 0, 1)


def test_wrong_arrays_are_refused():
    program, tensors = siren(2, 3, 8, 1)
    x = np.zeros((4, 2), np.float32)
    for wrong in (tensors[:-1], [tensors[0].T, *tensors[1:]], [tensors[0].astype(np.float64), *tensors[1:]]):
        with pytest.raises(ValueError, match="tensor"):
            program.forward(wrong, [x], 4, 1)
    for wrong, words in ((x[:3], "4 samples"), (x[:, :1], "shape"), (x.astype(np.float64), "float32")):
        with pytest.raises(ValueError, match=words):
            program.forward(tensors, [wrong], 4, 1)
    with pytest.raises(ValueError, match="inputs"):
        program.forward(tensors, [], 4, 1)
    with pytest.raises(ValueError, match="threads"):
        program.forward(tensors, [x], 4, 0)
    fixed = [t.copy() for t in tensors]
    fixed[0].setflags(write=False)
    with pytest.raises(ValueError, match="writeable"):
        program.squared_error(tensors, [[x]], [np.zeros((4, 3), np.float32)], 1.0, fixed, 1)


@pytest.mark.parametrize("level", ["portable", "avx2"])
def test_other_instruction_sets(level):
    script = f"""if True:
        from tests.engine import test_native_mlp as tests
        assert tests._C.simd_level() in ("portable", "{level}")
        for sizes in ((2, 3, 19, 1), (3, 4, 64, 2), (7, 17, 130, 1)):
            for count in (1, 65, 700):
                tests.check_errors_and_gradients(*sizes, count)
        tests.test_threads_do_not_change_a_bit(500)
        tests.test_sines_are_exact_to_two_units_in_the_last_place()
        tests.check_a_layer_of_sines()
    """
    run_with(level, script)
