"""Random orders and points of grids in the extension."""

import weakref

import numpy as np
import pytest

from coinr.engine import _C
from tests.engine.test_native_mlp import siren, step


def rotations(count, seed=0):
    rng = np.random.default_rng(seed)
    rows, columns = _C.Permutation.grid(count)
    return [
        rng.integers(length, size=lines, dtype=np.int32) for lines, length in ((rows, columns), (columns, rows)) * 2
    ]


def order_of(count, lines, threads=1):
    out = np.full(count, -1)
    _C.Permutation(count, lines).numbers(0, out, threads)
    return out


def plain_order(count, lines):
    """The order place by place: rotate rows, columns, rows and columns of the grid."""
    columns = len(lines[1])

    def move(place):
        row, column = divmod(place, columns)
        for right, down in zip(lines[::2], lines[1::2], strict=True):
            column = (column + int(right[row])) % columns
            row = (row + int(down[column])) % len(lines[0])
        return row * columns + column

    numbers = []
    for place in range(count):
        number = move(place)
        while number >= count:
            number = move(number)
        numbers.append(number)
    return numbers


@pytest.mark.parametrize("count", [1, 2, 3, 5, 16, 17, 1000, 4097])
def test_an_order_is_as_its_rotations_say(count):
    lines = rotations(count)
    assert order_of(count, lines).tolist() == plain_order(count, lines)


def test_threads_and_parts_do_not_change_an_order():
    count = 100_003
    lines = rotations(count)
    whole = order_of(count, lines)
    np.testing.assert_array_equal(order_of(count, lines, 3), whole)
    part = np.empty(50_000, np.int64)
    _C.Permutation(count, lines).numbers(777, part, 2)
    np.testing.assert_array_equal(part, whole[777:50_777])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:3], "4 arrays"),
        (lambda lines: [lines[0][:-1], *lines[1:]], "rotations 0 must be 32 numbers below 32"),
        (lambda lines: [*lines[:3], lines[3] * 0 + 32], "rotations 3 must be 32 numbers below 32"),
        (lambda lines: [-1 - lines[0], *lines[1:]], "rotations 0"),
        (lambda lines: [lines[0].astype(np.int64), *lines[1:]], "dtype int64; allowed: int32"),
    ],
)
def test_rotations_that_are_none_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        _C.Permutation(1000, change(rotations(1000)))


@pytest.mark.parametrize("count", [0, -1, 2**62])
def test_counts_out_of_range_are_refused(count):
    with pytest.raises(ValueError, match=r"allowed: 1 to 2\*\*60"):
        _C.Permutation.grid(count)


@pytest.mark.parametrize(("begin", "size"), [(-1, 1), (990, 11), (1001, 0)])
def test_places_beyond_an_order_are_refused(begin, size):
    order = _C.Permutation(1000, rotations(1000))
    with pytest.raises(ValueError, match=r"not in 0 \.\. 1000"):
        order.numbers(begin, np.empty(size, np.int64), 1)


def test_numbers_are_written_to_int64_only():
    order = _C.Permutation(1000, rotations(1000))
    with pytest.raises(ValueError, match="dtype int32; allowed: int64"):
        order.numbers(0, np.empty(5, np.int32), 1)
    fixed = np.empty(5, np.int64)
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match="not writeable"):
        order.numbers(0, fixed, 1)


def grid_step(size, values, numbers, threads=1, networks=1):
    """The errors [K] and gradients [K, ...] of points of a grid, by equal small networks."""
    program, tensors = siren(len(size), values.shape[1], 9, 1)
    tensors = [np.stack([t] * networks) for t in tensors]
    gradients = [np.full_like(t, np.nan) for t in tensors]
    grids = [_C.Grid(size, values)] * networks
    errors = program.grid_squared_error(tensors, grids, [numbers] * networks, 2.0, gradients, threads)
    return [np.array(errors), *gradients]


def plain_step(size, values, numbers):
    """The same of one network, from coordinates and values."""
    places = np.stack(np.unravel_index(numbers, size), 1)
    x = ((2 * places + 1) / np.array(size) - 1).astype(np.float32)
    y = values[numbers].astype(np.float32)
    if values.dtype == np.uint8:
        y = y / np.float32(127.5) - 1
    error, *gradients = step(*siren(len(size), values.shape[1], 9, 1), x, y)
    return [error[0], *gradients]


@pytest.mark.parametrize("count", [1, 65, 1000])
@pytest.mark.parametrize("size", [(1,), (7, 1), (37, 53), (5, 1, 9), (2, 3, 4, 5)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_points_of_a_grid_give_the_bits_of_their_coordinates_and_values(size, count, dtype):
    rng = np.random.default_rng(count)
    points = int(np.prod(size))
    values = rng.integers(256, size=(points, 3)).astype(dtype)
    numbers = rng.integers(points, size=count)
    numbers[-1] = points - 1
    expected = plain_step(size, values, numbers)
    for threads, networks in ((1, 1), (3, 2)):
        for found, one in zip(grid_step(size, values, numbers, threads, networks), expected, strict=True):
            for k in range(networks):
                np.testing.assert_array_equal(found[k], one)


def test_the_ends_of_rows_of_large_pictures_are_where_they_are():
    # quotients that are whole, or nearly so
    size = 3001, 4001
    values = np.arange(3001 * 4001, dtype=np.uint8)[:, None]
    numbers = (np.arange(0, 3001, 3)[:, None] * 4001 + [0, 4000]).ravel()
    for found, one in zip(grid_step(size, values, numbers), plain_step(size, values, numbers), strict=True):
        np.testing.assert_array_equal(found[0], one)


@pytest.mark.parametrize("number", [-1, 12])
def test_samples_of_no_point_are_refused(number):
    with pytest.raises(ValueError, match=rf"sample {number} is not in 0 \.\. 11"):
        grid_step((3, 4), np.zeros((12, 1), np.uint8), np.array([0, number] * 700), threads=2)


@pytest.mark.parametrize(
    ("size", "values", "message"),
    [
        ((), np.zeros((1, 1), np.uint8), "at least one axis"),
        ((3, 4), np.zeros((12, 0), np.uint8), "one channel"),
        ((3, 4), np.zeros(12, np.uint8), "1 dimensions; allowed: 2"),
        ((3, 4), np.zeros((11, 1), np.uint8), "11 values for 12 points"),
        ((3, 0), np.zeros((0, 1), np.uint8), "axis of 0 points"),
        ((2**40, 2**40), np.zeros((1, 1), np.uint8), "axis of 1099511627776 points"),
        ((3, 4), np.zeros((12, 1), np.float64), "dtype float64; allowed: float32"),
        ((3, 4), np.zeros((12, 1), np.int8), "dtype int8; allowed: uint8"),
        ((3, 4), np.zeros((24, 1), np.uint8)[::2], "not C-contiguous"),
    ],
)
def test_grids_that_are_none_are_refused(size, values, message):
    with pytest.raises(ValueError, match=message):
        _C.Grid(size, values)


def test_a_grid_of_another_network_is_refused():
    program, tensors = siren(2, 3, 9, 1)
    grids = [_C.Grid((12,), np.zeros((12, 3), np.uint8))]
    with pytest.raises(ValueError, match="a grid of 1 axes and 3 channels does not suit"):
        program.grid_squared_error(tensors, grids, [np.arange(3)], 1.0, tensors, 1)


def test_a_grid_keeps_its_values_alive():
    values = np.zeros((12, 3), np.uint8)
    alive = weakref.ref(values)
    grid = _C.Grid((3, 4), values)
    del values
    assert alive() is not None
    del grid
    assert alive() is None


def score_by_numpy(rule, values, targets):
    """The sums that a rule of csrc/sampling/score.hpp names, of 8 bits."""
    if rule == "noise":
        return [((values.astype(np.float64) - targets) ** 2).sum(), (targets.astype(np.float64) ** 2).sum()]
    if rule == "levels":
        unit = (values.astype(np.float64) + 1) / 2
        alpha = np.ones((len(unit), 1))
        if unit.shape[1] in (2, 4):
            alpha = unit[:, -1:].clip(0, 1)
            unit[:, :-1] /= alpha.clip(1e-6)
            alpha = np.rint(alpha * 255) / 255
            unit[:, -1:] = 1
        shown = np.rint(unit * 255).clip(0, 255) / 255 * alpha
        return [((shown - (targets.astype(np.float64) + 1) / 2) ** 2).sum(), values.size]
    a, b = (x > 0.5 if rule == "occupancy" else x < 0 for x in (values, targets))
    return [(a & b).sum(), (a | b).sum(), (~np.isfinite(values)).sum()]


@pytest.mark.parametrize("rule", ["levels", "noise", "occupancy", "distance"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_sums_of_scores_are_those_of_numpy(rule, channels):
    rng = np.random.default_rng(channels)
    targets = rng.uniform(-1, 1, (35, channels)).astype(np.float32)
    program, tensors = siren(2, channels, 9, 1)
    tensors[2] *= 3
    numbers = rng.integers(35, size=1100)
    places = np.stack(np.unravel_index(numbers, (5, 7)), 1)
    x = ((2 * places + 1) / np.array((5, 7)) - 1).astype(np.float32)
    values = program.forward(tensors, [x], len(x), 1)
    grid = _C.Grid((5, 7), targets)
    sums = program.grid_score(tensors, grid, numbers, rule, 255.0, 1)
    np.testing.assert_allclose(sums, score_by_numpy(rule, values, targets[numbers]), rtol=1e-12)
    assert program.grid_score(tensors, grid, numbers, rule, 255.0, 3) == sums
    assert program.grid_score(tensors, grid, numbers[:0], rule, 255.0, 2) == [0.0] * len(sums)


def test_scores_of_nothing_known_are_refused():
    program, tensors = siren(2, 3, 9, 1)
    grid = _C.Grid((3, 4), np.zeros((12, 3), np.uint8))
    with pytest.raises(ValueError, match="a rule is 'psnr'"):
        program.grid_score(tensors, grid, np.arange(3), "psnr", 255.0, 1)
    with pytest.raises(ValueError, match=r"sample 12 is not in 0 \.\. 11"):
        program.grid_score(tensors, grid, np.arange(13), "noise", 0.0, 2)
