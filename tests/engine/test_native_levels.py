"""The direct coder's extension: integers and trellises come back, known bytes, rate, garbage."""

import hashlib
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coinr.engine import _C
from tests.codec.levels_reference import Form
from tests.grids import fast_where

LOG_STATES = (0, 2, 3, 4, 5, 6, 7, 8)
BY_ROW, BY_COLUMN, MIXED, ROW_STEPS, COLUMN_STEPS, RANS, ASCENDING = (1 << bit for bit in range(7))
WITHOUT_ASCENDING = RANS | ROW_STEPS | COLUMN_STEPS
SWITCHES = [
    switches
    for switches in range(128)
    if not (switches & MIXED and switches & RANS) and not (switches & ASCENDING and switches & WITHOUT_ASCENDING)
]
NONE = np.zeros(0, np.uint8)


def integers(rows, columns, seed=0, spread=9.0):
    return np.rint(np.random.default_rng(seed).standard_normal((rows, columns)) * spread).astype(np.int32)


def exponents(rows, columns, switches):
    row = np.arange(31, 31 + rows, dtype=np.uint8) % 32 if switches & ROW_STEPS else NONE
    return row, np.arange(columns, dtype=np.uint8) % 7 if switches & COLUMN_STEPS else NONE


def check_round_trip(k, log_states, shape, scale, switches):
    row, column = exponents(*k.shape, switches)
    form = (log_states, shape, scale, switches)
    data = _C.encode_levels(k, row, column, *form)
    values, rows, columns = _C.decode_levels(data, *k.shape, *form)
    assert np.array_equal(values, _C.level_values(k, log_states))
    assert np.array_equal(rows, row)
    assert np.array_equal(columns, column)
    return data


@pytest.mark.parametrize("switches", SWITCHES)
def test_levels_come_back(switches):
    for (rows, columns), log_states in itertools.product([(1, 1), (1, 300), (63, 5), (40, 64)], LOG_STATES):
        k = integers(rows, columns)
        k.flat[0] = 2**19 if switches & ASCENDING else 2**20 - 1
        check_round_trip(k, log_states, 4, 40, switches)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.integers(0, 30),
    columns=st.integers(0, 30),
    log_states=st.sampled_from(LOG_STATES),
    shape=st.integers(0, 7),
    scale=st.sampled_from([1, 2, 16, 1000, 1 << 20, 1 << 26]),
    switches=st.sampled_from(SWITCHES),
    magnitude=st.integers(0, 2**20 - 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_levels_come_back(rows, columns, log_states, shape, scale, switches, magnitude, seed):
    magnitude //= 2 if switches & ASCENDING else 1  # no distance is beyond the range of levels
    k = np.random.default_rng(seed).integers(-magnitude, magnitude, (rows, columns), np.int32, endpoint=True)
    check_round_trip(k, log_states, shape, scale, switches)


@pytest.mark.parametrize(
    ("log_states", "switches", "expected"),
    [
        (2, BY_ROW | BY_COLUMN | MIXED, "8ea3eaa18dbab7a7461676516d3afec0df7a04d496"),
        (2, BY_ROW | BY_COLUMN | RANS, "05faa78eafd8aa01000e108a2463bb1df7620c45cfdda98c45"),
        (0, 0, "c653c1e35e30ccd8d89385d108965afc6c0745c54a1b"),
        (
            8,
            ROW_STEPS | COLUMN_STEPS | RANS,
            "05107f086015000000998320401c93f23f50ff19732f7f8e196cff21b3537f4cd15ffe883f48ffe6cf6eff1366537febff",
        ),
    ],
)
def test_known_levels_take_known_bytes(log_states, switches, expected):
    """Frozen: FORMAT.md, "Levels"."""
    assert check_round_trip(integers(4, 6), log_states, 4, 32, switches).hex() == expected


@pytest.mark.parametrize("switches", [0, MIXED, RANS])
@pytest.mark.parametrize("spread", [0.5, 20.0, 3000.0])
def test_rate_is_near_the_entropy_of_a_normal_distribution(switches, spread):
    k = integers(300, 300, spread=spread)
    _, counts = np.unique(np.abs(k), return_counts=True)
    shares = counts / k.size
    entropy = -(shares * np.log2(shares)).sum() + (k != 0).mean() if spread < 1 else np.log2(spread) + 2.0471
    mean = np.abs(k).mean()
    size = len(_C.encode_levels(k, NONE, NONE, 0, 4, max(1, round(16 * mean)), switches))
    assert 8 * size / k.size == pytest.approx(entropy, abs=0.02)


@pytest.mark.parametrize("switches", [MIXED, RANS])
def test_rows_and_columns_of_different_size_take_fewer_bytes_by_row_and_column(switches):
    rng = np.random.default_rng(1)
    sizes = np.exp(rng.standard_normal((128, 1)) + rng.standard_normal(128))
    k = np.rint(20 * sizes * rng.standard_normal((128, 128))).clip(-(2**19), 2**19).astype(np.int32)
    scale = round(16 * np.abs(k).mean())
    plain, row, column, both = (len(_C.encode_levels(k, NONE, NONE, 0, 4, scale, switches | by)) for by in (0, 1, 2, 3))
    assert both < min(row, column)
    assert max(row, column) < plain


@pytest.mark.parametrize("switches", [0, BY_ROW | BY_COLUMN | MIXED | ROW_STEPS | COLUMN_STEPS, RANS, 63 - MIXED])
def test_garbage_ends_in_values_or_an_error(switches):
    for seed in range(300):
        data = np.random.default_rng(seed).bytes(seed)
        if switches & RANS and seed % 2:
            data = bytes([seed // 2 % 21 | seed % 4 << 5]) + data
        try:
            values, _, _ = _C.decode_levels(data, 20, 30, 8, 4, 40, switches)
        except ValueError:
            continue
        assert not switches & RANS
        assert np.abs(values).max() < 2**21


def test_every_changed_byte_of_rans_shows_in_the_values_or_is_refused():
    k = integers(9, 30)
    form = (4, 3, 100, RANS | BY_ROW | ROW_STEPS)
    row, _ = exponents(9, 30, ROW_STEPS)
    data = bytearray(_C.encode_levels(k, row, NONE, *form))
    values = _C.level_values(k, 4)
    refused = 0
    for at in range(len(data)):
        data[at] ^= 16
        try:
            assert not np.array_equal(_C.decode_levels(data, 9, 30, *form)[0], values)
        except ValueError:
            refused += 1
        data[at] ^= 16
    assert refused > 0.9 * len(data)
    for wrong in (data[:-1], data[:-4], data + bytes(4), data[:5], b""):
        with pytest.raises(ValueError, match="coded data"):
            _C.decode_levels(wrong, 9, 30, *form)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ((1, 4, 40, 0), "log_states is 1"),
        ((9, 4, 40, 0), "log_states is 9"),
        ((0, 8, 40, 0), "shape is 8"),
        ((0, 4, 0, 0), "scale is 0"),
        ((0, 4, (1 << 26) + 1, 0), "scale is 67108865"),
        ((0, 4, 40, 128), "switches is 128"),
        ((0, 4, 40, ASCENDING | RANS), "ascending levels have neither"),
        ((4, 4, 40, ASCENDING | ROW_STEPS), "ascending levels have neither"),
        ((4, 4, 40, ASCENDING | COLUMN_STEPS), "ascending levels have neither"),
        ((0, 4, 40, RANS | MIXED), "rANS contexts are not mixed"),
    ],
)
def test_forms_that_mean_nothing_are_refused(form, message):
    with pytest.raises(ValueError, match=message):
        _C.decode_levels(bytes(9), 2, 2, *form)
    with pytest.raises(ValueError, match=message):
        _C.encode_levels(np.zeros((2, 2), np.int32), NONE, NONE, *form)


@pytest.mark.parametrize(
    ("k", "row", "message"),
    [
        (np.full((1, 2), 2**20, np.int32), NONE, "level 1048576"),
        (np.full((1, 2), -(2**31), np.int32), NONE, "level -2147483648"),
        (np.zeros((1, 2), np.int32), np.zeros(2, np.uint8), "2 step exponents for 0"),
        (np.zeros((1, 2), np.int64), NONE, "dtype"),
    ],
)
def test_integers_that_cannot_be_coded_are_named(k, row, message):
    with pytest.raises(ValueError, match=message):
        _C.encode_levels(k, row, NONE, 0, 4, 40, 0)


@pytest.mark.parametrize("log_states", LOG_STATES)
def test_ascending_levels_reach_all_levels_but_no_further(log_states):
    form = (log_states, 2, 1 << 20, ASCENDING)
    k = np.array([[1 - 2**20, -1, 2**19, 2**20 - 1]], np.int32)
    data = _C.encode_levels(k, NONE, NONE, *form)
    assert np.array_equal(_C.decode_levels(data, 1, 4, *form)[0], _C.level_values(k, log_states))
    with pytest.raises(ValueError, match=r"level 1572\d{3} is not in"):  # the distance
        _C.encode_levels(np.array([[-(2**19), 2**20 - 1]], np.int32), NONE, NONE, *form)
    distances = np.array([[2**19, 2**19 + 2]], np.int32)
    data = forged_distances(distances, 2, 1 << 20)
    with pytest.raises(ValueError, match=r"level 104\d{4} is not in"):  # the sum
        _C.decode_levels(data, 1, 2, *form)


def forged_distances(distances, shape, scale):
    """Coded ascending levels with these distances, whatever their sum: those of a row of one column have no other."""
    return _C.encode_levels(distances.T, NONE, NONE, 0, shape, scale, ASCENDING)


@pytest.mark.parametrize("log_states", LOG_STATES)
def test_sorted_levels_take_fewer_bytes_by_their_distances(log_states):
    """A set of n numbers takes log2 n! bits less than a sequence of them, and n less without their signs."""
    n = 64
    x = np.sort(np.random.default_rng(4).uniform(0, 4000, n))
    bits = np.zeros((1, 2, 5000))
    k = _C.choose_levels(log_states, x, np.ones(1), bits, np.zeros(0, np.uint8))[None]
    mixed = np.random.default_rng(5).permutation(k[0])[None]
    ascending = len(_C.encode_levels(k, NONE, NONE, log_states, 2, round(16 * k.max() / n), ASCENDING))
    plain = min(
        len(_C.encode_levels(mixed, NONE, NONE, log_states, shape, round(16 * k.mean()), 0)) for shape in range(8)
    )
    assert ascending < plain - 0.8 * math.log2(math.factorial(n)) / 8


@pytest.mark.parametrize(("log_states", "gain"), [(2, 0.9), (4, 1.1), (8, 1.25)])
def test_a_trellis_gains_decibels_over_a_scalar_quantizer(log_states, gain):
    x = np.random.default_rng(0).standard_normal(20000) * 50
    bits = _C.level_costs(log_states, 4, 640, 400)[None]
    k = _C.choose_levels(log_states, x, np.array([1e6]), bits, np.zeros(0, np.uint8))
    values = _C.level_values(k[None], log_states)
    # a scalar quantizer of as many levels has a step of 2 and an error of 1/3
    assert 10 * np.log10(1 / 3 / np.square(values[0] - x).mean()) > gain


@settings(max_examples=150, deadline=None)
@given(
    mode=st.integers(0, 255),
    shape=st.integers(0, 7),
    scale=st.integers(0, 183),
    rans=st.booleans(),
    size=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    bits=st.integers(0, 20),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_decoder_of_the_format_reads_the_levels(mode, shape, scale, rans, size, bits, seed):
    rng = np.random.default_rng(seed)
    form = Form(bytes([mode & ~0x20 if rans else mode, shape | 0x40 * rans, scale]))
    native = (form.bits, shape, form.mean, (mode & ~0x20 if rans else mode) >> 3 | RANS * rans)
    k = rng.integers(1 - 2**bits, 2**bits, size, np.int32)
    row = rng.integers(0, 32, size[0], np.uint8) if form.row_steps else NONE
    column = rng.integers(0, 32, size[1], np.uint8) if form.column_steps else NONE
    data = _C.encode_levels(k, row, column, *native)
    values, rows, columns = form.decode(data, *size)
    assert values == _C.level_values(k, form.bits).tolist()
    assert (rows, columns) == (row.tolist(), column.tolist())


@settings(max_examples=40, deadline=None)
@given(
    mode=st.integers(0, 63),
    shape=st.integers(0, 7),
    scale=st.integers(0, 183),
    size=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    bits=st.integers(0, 19),
    ascend=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_decoder_of_the_format_reads_ascending_levels(mode, shape, scale, size, bits, ascend, seed):
    form = Form(bytes([mode, shape | 8, scale]))
    k = np.random.default_rng(seed).integers(1 - 2**bits, 2**bits, size, np.int32)
    k = np.sort(k, 1) if ascend else k
    data = _C.encode_levels(k, NONE, NONE, form.bits, shape, form.mean, mode >> 3 | ASCENDING)
    assert form.decode(data, *size)[0] == _C.level_values(k, form.bits).tolist()


@pytest.mark.parametrize(
    "switches",
    fast_where(
        lambda switches: switches & BY_ROW, [0, MIXED, BY_ROW | BY_COLUMN | MIXED, BY_ROW | BY_COLUMN | ROW_STEPS]
    ),
)
@pytest.mark.parametrize(
    ("trellis", "shape", "spread"), [(0, (20, 55), 1.0), (3, (3, 60), 2.0**18)], ids=["many", "large"]
)
def test_the_decoder_of_the_format_reads_many_and_large_levels(trellis, shape, spread, switches):
    """Contexts see more bits than they count, and sums of magnitudes exceed 32 bits."""
    rng = np.random.default_rng(switches)
    k = np.rint(spread * rng.standard_normal(shape)).clip(1 - 2**20, 2**20 - 1).astype(np.int32)
    row = rng.integers(28, 32, shape[0]).astype(np.uint8) if switches & ROW_STEPS else NONE
    form = Form(bytes([trellis | switches << 3, 4, 180]))
    data = _C.encode_levels(k, row, NONE, form.bits, 4, form.mean, switches)
    values, rows, _ = form.decode(data, *shape)
    assert values == _C.level_values(k, form.bits).tolist()
    assert rows == row.tolist()


@pytest.mark.parametrize("switches", [BY_ROW | BY_COLUMN | MIXED, BY_ROW | BY_COLUMN | RANS])
def test_the_decoder_of_the_format_reads_a_single_long_row(switches):
    """No sums of its columns are kept, and reciprocals of its first places alone."""
    k = integers(1, 1200, spread=4.0)
    form = Form(bytes([3 | (switches & 31) << 3, 4 | bool(switches & RANS) << 6, 45]))
    data = _C.encode_levels(k, NONE, NONE, form.bits, 4, form.mean, switches)
    assert form.decode(data, *k.shape)[0] == _C.level_values(k, form.bits).tolist()


@pytest.mark.parametrize(("swings", "memory"), [(0, 2), (5, 1)])
def test_the_decoder_of_the_format_follows_alphabets_that_forget(swings, memory):
    rng = np.random.default_rng(0)
    scales = np.exp2(rng.integers(0, swings, (100, 1), endpoint=True))
    k = np.rint(3 * scales * rng.standard_normal((100, 200))).astype(np.int32)
    form = Form(bytes([0, 0x44, 40]))
    data = _C.encode_levels(k, NONE, NONE, 0, 4, form.mean, RANS)
    assert data[0] >> 5 == memory
    assert form.decode(data, *k.shape)[0] == k.tolist()


@pytest.mark.parametrize(
    ("octaves", "period", "rows", "memory", "digest"),
    [
        (2, 5, 100, 0, "c9595e3efe9fa24f"),
        (1, 60, 120, 1, "807d2d022a9c2d8d"),
        (0, 1, 100, 2, "5a2f98fdaa75a004"),
        (0, 1, 400, 3, "6456df5e8a4585f8"),
    ],
)
def test_the_memory_that_takes_the_fewest_bytes_is_chosen(octaves, period, rows, memory, digest):
    """Frozen when all four encodings were made and the smallest was kept."""
    scales = np.exp2(np.arange(rows)[:, None] // period % (octaves + 1))
    k = np.rint(3 * scales * np.random.default_rng(0).standard_normal((rows, 200))).astype(np.int32)
    data = _C.encode_levels(k, NONE, NONE, 0, 4, 32, RANS)
    assert data[0] >> 5 == memory
    assert hashlib.sha256(data).hexdigest()[:16] == digest


def test_feedback_lowers_the_weighted_error_and_none_changes_nothing():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((24, 16)) * 10
    bits = np.stack([np.stack([_C.level_costs(8, 4, 60, 64)[q] for q in (0, 1)])])
    table = np.zeros(x.shape, np.uint8)
    ones = np.ones(x.shape)
    weight = np.full(x.shape, 1e3)
    plain = _C.choose_levels(8, x.reshape(-1), np.array([1e3]), bits, table.reshape(-1)).reshape(x.shape)
    assert np.array_equal(_C.choose_levels_with_feedback(8, x, ones, weight, np.eye(16), bits, table), plain)
    upper = np.triu(0.5 * rng.standard_normal((16, 16)), 1) + np.eye(16)
    compensated = _C.choose_levels_with_feedback(8, x, ones, weight, upper, bits, table)

    def error(k):
        return np.square((_C.level_values(k, 8) - x) @ upper).sum()

    assert error(compensated) < 0.6 * error(plain)


def survivor_of_four(matrix, upper):
    """A path of the trellis of four states in which each state keeps one survivor and what its errors move."""
    paths = {0: (0.0, [], None)}
    for row, j in itertools.product(matrix, range(matrix.shape[1])):
        if j == 0:
            paths = {state: (cost, ks, np.zeros(len(row), np.float32)) for state, (cost, ks, _) in paths.items()}
        found = {}
        for state, (cost, ks, moved) in sorted(paths.items()):
            aim = row[j] - np.float64(moved[j])
            for parity in (0, 1):
                sizes = range(parity, 200, 2)
                values = [2 * k - (state & 1) * (k > 0) for k in sizes]
                off, k, value = min((abs(abs(aim) - v), k, v) for k, v in zip(sizes, values, strict=True))
                to = (state >> 1) ^ ((state & 1) * 2) ^ (k & 1)
                sign = -1 if aim < 0 else 1
                if to not in found or cost + off**2 < found[to][0]:
                    error = np.float32(sign * value - row[j])
                    after = moved + error * upper[j].astype(np.float32)
                    found[to] = cost + off**2, [*ks, sign * k], after
        paths = found
    return min(paths.values(), key=lambda path: path[0])[1]


def nearest(matrix, upper):
    """Integers one after the other, each moved by the errors of those before it."""
    k = np.zeros(matrix.shape, np.int64)
    for i, row in enumerate(matrix):
        moved = np.zeros(len(row), np.float32)
        for j, target in enumerate(row):
            k[i, j] = round(target - np.float64(moved[j]))
            moved += np.float32(k[i, j] - target) * upper[j].astype(np.float32)
    return k.ravel().tolist()


@pytest.mark.parametrize(("rows", "columns"), [(1, 64), (1, 65), (1, 700), (2, 150)])
def test_survivors_follow_their_own_errors_through_windows(rows, columns):
    rng = np.random.default_rng(columns)
    x = rng.standard_normal((rows, columns)) * 20
    upper = np.triu(0.3 * rng.standard_normal((columns, columns)) * columns**-0.5, 1) + np.eye(columns)
    free, ones = np.zeros((1, 2, 200)), np.ones(x.shape)
    for log_states, expected in ((2, survivor_of_four(x, upper)), (0, nearest(x, upper))):
        chosen = _C.choose_levels_with_feedback(log_states, x, ones, ones, upper, free, np.zeros(x.shape, np.uint8))
        assert chosen.ravel().tolist() == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": np.zeros((2, 3))}, "steps"),
        ({"matrix": np.full((2, 3), np.nan)}, "matrix"),
        ({"feedback": np.eye(2)}, "feedback"),
        ({"table": np.ones((2, 3), np.uint8)}, "table"),
        ({"weight": np.ones((3, 2))}, "weight"),
        ({"bits": np.zeros((0, 2, 4))}, "bits"),
    ],
)
def test_wrong_arguments_of_the_shaped_choice_are_named(change, message):
    right = {
        "matrix": np.ones((2, 3)),
        "steps": np.ones((2, 3)),
        "weight": np.ones((2, 3)),
        "feedback": np.eye(3),
        "bits": np.zeros((1, 2, 4)),
        "table": np.zeros((2, 3), np.uint8),
    }
    with pytest.raises(ValueError, match=message):
        _C.choose_levels_with_feedback(4, **right | change)
    assert _C.choose_levels_with_feedback(4, **right).shape == (2, 3)
