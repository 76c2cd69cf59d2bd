"""rANS in blocks: the bytes and values of the whole matrix at once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from coinr.engine import native
from tests.grids import fast_where

NO_STEPS = np.zeros(0, np.uint8)
RANS, ROW_STEPS, COLUMN_STEPS = 32, 8, 16


def levels(rows: int, columns: int, dtype: type = np.int32, seed: int = 0) -> np.ndarray:
    """Integers whose magnitudes differ from row to row, some of them large."""
    rng = np.random.default_rng(seed)
    k = rng.laplace(size=(rows, columns)) * np.exp(rng.normal(size=(rows, 1))) * 3
    k[rng.random(k.shape) < 1e-3] *= 500
    return np.rint(k).clip(-30000, 30000).astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "shape", "switches"),
    fast_where(
        lambda dtype, shape, switches: switches == 3 and (dtype == np.int16 or shape == (300, 700)),
        itertools.product(
            [np.int16, np.int32], [(1, 200_000), (100_000, 2), (300, 700), (200_000, 1), (1, 1)], [0, 1, 2, 3]
        ),
    ),
)
def test_bytes_are_those_of_the_whole_matrix(shape, switches, dtype):
    k = levels(*shape)
    form = 3, 2, 40, switches | RANS
    found = native.encode_levels_in_blocks(k.astype(dtype), NO_STEPS, *form).finish()
    assert found == native.encode_levels(k, NO_STEPS, NO_STEPS, *form)


@pytest.mark.parametrize("switches", [0, 3])
def test_larger_matrices_decode_to_their_values_and_take_as_many_bytes(switches):
    k = levels(700, 1000)
    form = 3, 2, 40, switches | RANS
    data = native.encode_levels_in_blocks(k, NO_STEPS, *form).finish()
    whole = native.encode_levels(k, NO_STEPS, NO_STEPS, *form)
    assert len(data) < 1.001 * len(whole)
    assert np.array_equal(native.decode_levels(data, *k.shape, *form)[0], native.level_values(k, 3))


def test_step_exponents_of_rows_come_first():
    k, row = levels(300, 700), np.random.default_rng(0).integers(0, 8, 300).astype(np.uint8)
    form = 3, 2, 40, 3 | ROW_STEPS | RANS
    data = native.encode_levels_in_blocks(k, row, *form).finish()
    assert data == native.encode_levels(k, row, NO_STEPS, *form)
    reader = native.LevelReader(data, 300, 700, *form)
    assert np.array_equal(reader.row, row)
    assert reader.column.size == 0


@pytest.mark.parametrize("some", [1, 7, 699, 701, 5000])
def test_values_are_read_some_at_a_time(some):
    k = levels(30, 700)
    form = 3, 2, 40, 3 | RANS
    reader = native.LevelReader(native.encode_levels(k, NO_STEPS, NO_STEPS, *form), 30, 700, *form)
    parts = [reader.read(min(some, k.size - at)) for at in range(0, k.size, some)]
    reader.finish()
    assert np.array_equal(np.concatenate(parts), native.level_values(k, 3).reshape(-1))


def test_a_closed_sequence_leads_to_the_first_state():
    x = np.random.default_rng(0).normal(size=(20, 400)) * 4
    bits = native.level_costs(3, 2, 40, 64)[None]
    parts = [native.choose_levels(3, one, np.array([3.0]), bits, NO_STEPS, closed=True) for one in x]
    together = native.level_values(np.concatenate(parts)[None], 3)
    assert np.array_equal(together.reshape(x.shape), np.concatenate([native.level_values(k[None], 3) for k in parts]))
    free = [native.choose_levels(3, one, np.array([3.0]), bits, NO_STEPS) for one in x]
    changed = [np.flatnonzero(a != b).min(initial=400) for a, b in zip(parts, free, strict=True)]
    assert min(changed) > 300
    assert any(one < 400 for one in changed)


def test_wrong_arguments_are_value_errors():
    k, form = levels(30, 700), (3, 2, 40, RANS)
    data = native.encode_levels(k, NO_STEPS, NO_STEPS, *form)
    for call, words in (
        (lambda: native.encode_levels_in_blocks(k, NO_STEPS, 3, 2, 40, 0), "rANS"),
        (lambda: native.encode_levels_in_blocks(k[:0], NO_STEPS, *form), "levels"),
        (lambda: native.encode_levels_in_blocks(k, np.zeros(3, np.uint8), *form), "3 step exponents"),
        (lambda: native.encode_levels_in_blocks(k, NO_STEPS, 3, 9, 40, RANS), "shape is 9"),
        (lambda: native.encode_levels_in_blocks(k.astype(np.int64), NO_STEPS, *form), "int64"),
        (lambda: native.encode_levels_in_blocks(k + (1 << 20), NO_STEPS, *form), "2\\*\\*20"),
        (lambda: native.LevelReader(data, 30, 700, 3, 2, 40, 0), "rANS"),
        (lambda: native.LevelReader(b"", 30, 700, *form), "empty"),
        (lambda: native.LevelReader(data, 30, 700, *form).read(21001), "count is 21001"),
        (lambda: native.LevelReader(data, 30, 700, *form).finish(), "not read"),
        (lambda: native.choose_levels(3, np.zeros(2), np.ones(1), np.ones((1, 2, 4)), NO_STEPS, closed=True), "short"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


@pytest.mark.parametrize("at", [0, 5, 100, -1])
def test_damaged_bytes_are_value_errors(at):
    form = 3, 2, 40, RANS
    data = bytearray(native.encode_levels(levels(30, 700), NO_STEPS, NO_STEPS, *form))
    data[at] ^= 0x55

    def read() -> None:
        reader = native.LevelReader(bytes(data), 30, 700, *form)
        reader.read(21000)
        reader.finish()

    with pytest.raises(ValueError, match="coded data"):
        read()
