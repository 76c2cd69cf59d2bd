"""The exact coder's extension: round trips of words and bools, known bytes, garbage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coinr.engine import _C
from tests.codec import exact_reference

WORDS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def words(kind, count, width, rng):
    """Words that try different contexts: noise, floats, small numbers, runs, counters."""
    if kind == "floats" and width > 1:
        return (rng.standard_normal(count) * 0.1).astype(f"<f{width}").view(WORDS[width])
    made = {
        "small": rng.integers(0, 3, count),
        "runs": np.repeat(rng.integers(0, 200, count), 5)[:count],
        "counter": np.arange(count) * 7,
    }.get(kind)
    noise = rng.integers(0, 256, count * width, dtype=np.uint8).view(WORDS[width])
    return noise if made is None else made.astype(np.uint64).astype(WORDS[width])


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["noise", "floats", "small", "runs", "counter"]),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 40)),
    width=st.sampled_from([1, 2, 4, 8]),
    lanes=st.sampled_from([1, 2]),
    transform=st.integers(0, 3),
    modeled=st.integers(1, 64),
    seed=st.integers(0, 2**32 - 1),
)
def test_words_come_back(kind, shape, width, lanes, transform, modeled, seed):
    rows, columns = shape
    raw = words(kind, rows * columns, width, np.random.default_rng(seed)).tobytes()
    form = (rows, columns, width, lanes, transform, min(modeled, 8 * width))
    assert _C.decode_exact(_C.encode_exact(raw, *form), *form).tobytes() == raw


@pytest.mark.parametrize("count", [0, 1, (1 << 17) + 1])
@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_tensors_beyond_the_mixed_size_and_empty_ones_come_back(count, width):
    raw = words("floats", count, width, np.random.default_rng(width)).tobytes()
    form = (1, count, width, 1, 1, 8 * width)
    assert _C.decode_exact(_C.encode_exact(raw, *form), *form).tobytes() == raw


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 20), st.integers(1, 40), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_bools_come_back(rows, columns, share, seed):
    raw = (np.random.default_rng(seed).random(rows * columns) < share).astype(np.uint8).tobytes()
    assert _C.decode_bools(_C.encode_bools(raw, rows, columns), rows, columns).tobytes() == raw


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["noise", "floats", "small", "runs", "counter"]),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 20)),
    width=st.sampled_from([1, 2, 4, 8]),
    lanes=st.sampled_from([1, 2]),
    transform=st.integers(0, 3),
    modeled=st.integers(1, 64),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_decoder_of_the_format_reads_the_words(kind, shape, width, lanes, transform, modeled, seed):
    rows, columns = shape
    raw = words(kind, rows * columns, width, np.random.default_rng(seed)).tobytes()
    form = (rows, columns, width, lanes, transform, min(modeled, 8 * width))
    assert exact_reference.decode_words(_C.encode_exact(raw, *form), *form) == raw


@pytest.mark.slow
def test_the_decoder_of_the_format_reads_large_tensors():
    raw = words("small", (1 << 17) + 3, 2, np.random.default_rng(0)).tobytes()
    form = (1, (1 << 17) + 3, 2, 1, 1, 9)
    assert exact_reference.decode_words(_C.encode_exact(raw, *form), *form) == raw


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 30), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_the_decoder_of_the_format_reads_the_bools(rows, columns, share, seed):
    raw = (np.random.default_rng(seed).random(rows * columns) < share).astype(np.uint8).tobytes()
    assert exact_reference.decode_bools(_C.encode_bools(raw, rows, columns), rows, columns) == raw


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 20), st.integers(0, 50), st.integers(0, 2**32 - 1))
def test_the_decoder_of_the_format_continues_bytes(rows, columns, size, seed):
    rng = np.random.default_rng(seed)
    known, raw = (words("small", count, 1, rng).tobytes() for count in (rows * columns, size))
    data = _C.encode_continued(known, raw, columns)
    assert _C.decode_continued(known, data, size, columns) == raw
    assert exact_reference.continue_words(known, data, size, columns) == raw


def test_bytes_that_known_ones_foretell_take_next_to_none():
    row = bytes(range(1, 60))
    assert (
        len(_C.encode_continued(row * 16, row, len(row))) <= 2 < 20 < len(_C.encode_continued(row, row[::-1], len(row)))
    )


@pytest.mark.parametrize(
    ("known", "size", "columns"),
    [
        (b"", 3, 1),
        (b"abc", 3, 2),
        (b"abc", 3, 0),
        (b"abc", 3, -1),
        (b"ab", 3, 4),
        (b"abc", -1, 3),
        (b"abc", 1 << 17, 3),
    ],
)
def test_sizes_that_nothing_continues_are_refused(known, size, columns):
    with pytest.raises(ValueError, match="continue|size must"):
        _C.decode_continued(known, b"\x55" * 99, size, columns)


def test_continued_bytes_that_are_damaged_are_refused():
    with pytest.raises(ValueError, match="may stand for"):
        _C.decode_continued(b"abc", b"", (1 << 13) + 1, 3)
    with pytest.raises(ValueError, match=r"."):
        _C.decode_continued(b"abc", _C.encode_continued(b"abc", b"xyz", 3) + b"\x55" * 9, 3, 3)


def test_known_bytes():
    """Frozen: FORMAT.md, coder 5."""
    raw = np.array([1.5, -0.25, 3.0, 0.1, -0.75, 2.0], "<f4").tobytes()
    assert _C.encode_exact(raw, 2, 3, 4, 1, 1, 10).hex() == "000040000000000068666601000000000080596d9764b3d2"
    assert _C.encode_bools(bytes([1, 0, 0, 1, 1, 1, 0, 1, 1, 0]), 2, 5).hex() == "70"


def test_costs_add_up_to_the_coded_size():
    rng = np.random.default_rng(0)
    raw = words("floats", 5000, 4, rng).tobytes()
    costs = _C.exact_costs(raw, 50, 100, 4, 1, 1)
    for modeled in (1, 9, 16, 32):
        size = len(_C.encode_exact(raw, 50, 100, 4, 1, 1, modeled))
        expected = (costs[:modeled].sum() + 5000 * (32 - modeled)) / 8
        assert expected - 1 <= size <= expected * 1.0005 + 3


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([1, 2, 4, 8]), st.integers(0, 3), st.integers(1, 64))
def test_garbage_ends_in_words_or_in_an_error(data, width, transform, modeled):
    form = (3, 5, width, 1, transform, min(modeled, 8 * width))
    try:
        raw = _C.decode_exact(data, *form)
    except ValueError:
        return
    assert _C.decode_exact(_C.encode_exact(raw.tobytes(), *form), *form).tobytes() == raw.tobytes()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=8))
def test_garbage_ends_in_bools_or_in_an_error(data):
    try:
        raw = _C.decode_bools(data, 4, 6)
    except ValueError:
        return
    assert _C.decode_bools(_C.encode_bools(raw.tobytes(), 4, 6), 4, 6).tobytes() == raw.tobytes()


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ((1, 1, 3, 1, 0, 8), "width is 3"),
        ((1, 1, 4, 3, 0, 8), "lanes"),
        ((1, 1, 4, 0, 0, 8), "lanes"),
        ((1, 1, 4, 1, 4, 8), "transform is 4"),
        ((1, 1, 4, 1, -1, 8), "transform is -1"),
        ((1, 1, 4, 1, 0, 0), "modeled is 0"),
        ((1, 1, 4, 1, 0, 33), "modeled is 33"),
        ((1 << 40, 1 << 40, 4, 1, 0, 8), "not allowed"),
        ((-1, 4, 4, 1, 0, 8), "not allowed"),
        ((1 << 20, 1 << 28, 8, 1, 0, 1), "cannot hold"),
        ((1, (1 << 11) + 1, 4, 1, 0, 32), "may stand for 65536 bits"),
    ],
)
def test_forms_that_mean_nothing_are_refused_before_room_is_made(form, message):
    with pytest.raises(ValueError, match=message):
        _C.decode_exact(b"", *form)


def test_bools_that_a_few_bytes_cannot_be_are_refused():
    assert _C.decode_bools(b"", 1 << 8, 1 << 8).shape == (1 << 16,)
    with pytest.raises(ValueError, match="may stand for 73728 bits"):
        _C.decode_bools(bytes(9), 1, (1 << 16) + (1 << 13) + 1)
    assert [_C.max_modeled_bits(size) for size in (0, 8, 9, 2**50, 2**63 - 1)] == [
        2**16,
        2**16,
        9 * 2**13,
        2**63 - 2**13,
        2**63 - 2**13,
    ]


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="raw holds"):
        _C.encode_exact(b"123", 1, 1, 4, 1, 0, 8)
    with pytest.raises(ValueError, match="raw holds"):
        _C.exact_costs(b"123", 1, 1, 4, 1, 0)
    with pytest.raises(ValueError, match="raw holds"):
        _C.encode_bools(b"\0", 2, 2)
    with pytest.raises(ValueError, match="neither 0 nor 1"):
        _C.encode_bools(b"\2", 1, 1)
