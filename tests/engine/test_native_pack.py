"""Bit packing and Rice-coded index sets: known bytes, round trips, hostile input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coinr.engine import _C


def test_pack_bits_known_bytes():
    # 1, 2, 3 in 3 bits, least significant first: 001 010 011 -> 0b11_010_001, 0b0.
    assert _C.pack_bits(np.array([1, 2, 3], np.uint32), 3) == bytes([0b11010001, 0b0])
    assert _C.pack_bits(np.array([0xDEADBEEF], np.uint32), 32) == bytes.fromhex("efbeadde")
    assert _C.pack_bits(np.empty(0, np.uint32), 7) == b""


@given(st.integers(1, 32), st.integers(0, 70), st.integers(0, 2**32 - 1))
def test_pack_bits_round_trip(width, count, seed):
    values = (np.random.default_rng(seed).integers(0, 2**width, count, dtype=np.uint64)).astype(np.uint32)
    data = _C.pack_bits(values, width)
    bits = (values[:, None].astype(np.uint64) >> np.arange(width, dtype=np.uint64)) & np.uint64(1)
    assert data == np.packbits(bits.astype(np.uint8).ravel(), bitorder="little").tobytes()
    np.testing.assert_array_equal(_C.unpack_bits(data, count, width), values)


@pytest.mark.parametrize(
    ("data", "count", "width", "message"),
    [
        (b"\0\0", 3, 3, None),
        (b"\0", 3, 3, "do not hold exactly"),
        (b"\0\0\0", 3, 3, "do not hold exactly"),
        (b"\0\x02", 3, 3, "padding"),
        (b"\0", -1, 3, "do not hold exactly"),
        (b"\0", 2**62, 3, "do not hold exactly"),
        (b"\0", 2**63 - 1, 32, "do not hold exactly"),
        (b"\0", 1, 0, "width is 0"),
        (b"\0", 1, 33, "width is 33"),
    ],
)
def test_unpack_bits_checks(data, count, width, message):
    if message is None:
        np.testing.assert_array_equal(_C.unpack_bits(data, count, width), [0] * count)
    else:
        with pytest.raises(ValueError, match=message):
            _C.unpack_bits(data, count, width)


def test_pack_bits_checks():
    with pytest.raises(ValueError, match="does not fit"):
        _C.pack_bits(np.array([8], np.uint32), 3)
    with pytest.raises(ValueError, match="dtype"):
        _C.pack_bits(np.array([8], np.int64), 3)


def rice_reference(rows):
    """The coder of the contract, one character per bit."""
    gaps = [i - before - 1 for row in rows for before, i in zip([-1, *row], row, strict=False)]
    r = min(range(25), key=lambda r: (sum((g >> r) + 1 + r for g in gaps), r))
    bits = "".join("1" * (g >> r) + "0" + "".join(str(g >> k & 1) for k in range(r)) for g in gaps)
    bits += "0" * (-len(bits) % 8)
    return bytes([r]) + bytes(int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8))


@given(st.integers(0, 5), st.integers(0, 12), st.sampled_from([12, 13, 64, 1000, 65536, 2**24]), st.integers(0, 2**32))
def test_pack_sorted_round_trip(B, s, M, seed):
    generator = np.random.default_rng(seed)
    # Strictly ascending: sorted draws from a smaller range, spread by their rank.
    rows = [(np.sort(generator.integers(0, M - s + 1, s)) + np.arange(s)).tolist() for _ in range(B)]
    indices = np.array(rows, np.int32).reshape(B, s)
    data = _C.pack_sorted(indices, M)
    assert data == rice_reference(rows)
    np.testing.assert_array_equal(_C.unpack_sorted(data, B, s, M), indices)


def test_pack_sorted_known_bytes():
    # Gaps 0, 1, 0 cost 4 bits with r = 0: 0, 10, 0.
    assert _C.pack_sorted(np.array([[0, 2, 3]], np.int32), 4) == bytes([0, 0b0010])


@pytest.mark.parametrize(
    ("indices", "M", "message"),
    [
        ([[3, 3]], 8, "ascend"),
        ([[4, 3]], 8, "ascend"),
        ([[-1, 3]], 8, "ascend"),
        ([[1, 8]], 8, "ascend"),
        ([[1, 2]], 0, "M is 0"),
        ([[1, 2]], 2**24 + 1, "M is"),
    ],
)
def test_pack_sorted_checks(indices, M, message):
    with pytest.raises(ValueError, match=message):
        _C.pack_sorted(np.array(indices, np.int32), M)


@pytest.mark.parametrize(
    ("data", "B", "s", "M", "message"),
    [
        (b"", 1, 1, 8, "empty"),
        (b"", 0, 0, 8, "empty"),
        (b"\x19\0\0\0\0", 1, 1, 8, "Rice parameter is 25"),
        (b"\0", 1, 1, 8, "cannot hold"),
        (b"\0\xff\xff\xff", 1, 1, 8, "not below M"),
        (b"\0\xff", 1, 1, 2**24, "ends early"),
        (b"\0\x7f", 1, 1, 7, "not below M"),
        (b"\x03\x0e\0", 1, 1, 7, "not below M"),
        (b"\0\x02", 1, 1, 8, "padding"),
        (b"\0\0\0", 1, 1, 8, "longer"),
        (b"\0\0", 2**40, 2**23, 2**24, "cannot hold"),
        (b"\0\0", -1, 1, 8, "not allowed"),
        (b"\0\0", 1, 9, 8, "not allowed"),
    ],
)
def test_unpack_sorted_checks(data, B, s, M, message):
    with pytest.raises(ValueError, match=message):
        _C.unpack_sorted(data, B, s, M)


@settings(max_examples=300)
@given(st.binary(max_size=40), st.integers(0, 6), st.integers(0, 9), st.sampled_from([9, 50, 4096]))
def test_unpack_sorted_never_breaks(data, B, s, M):
    try:
        indices = _C.unpack_sorted(data, B, s, M)
    except ValueError:
        return
    assert indices.shape == (B, s)
    assert (indices < M).all()
    assert (indices >= 0).all()
    assert (np.diff(indices, axis=1) > 0).all()


def test_any_bytes_like_is_read_and_nothing_else():
    data = _C.pack_bits(np.arange(8, dtype=np.uint32), 5)
    for view in (bytearray(data), memoryview(data), np.frombuffer(data, np.uint8)):
        np.testing.assert_array_equal(_C.unpack_bits(view, 8, 5), np.arange(8))
    with pytest.raises(ValueError, match="contiguous bytes"):
        _C.unpack_bits(np.zeros(2, np.uint16), 4, 8)
    with pytest.raises(ValueError, match="contiguous bytes"):
        _C.unpack_bits(np.zeros(8, np.uint8)[::2], 4, 8)
