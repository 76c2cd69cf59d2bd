"""Entropy coding of sparse codes, and the pursuit that chooses them."""

from math import lgamma, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coinr.engine import _C, philox


class RangeReader:
    """The range decoder, written out."""

    def __init__(self, data):
        self.data, self.at, self.low, self.high, self.code = data, 0, 0, 2**32 - 1, 0
        for _ in range(4):
            self.code = self.code << 8 | self.next()

    def next(self):
        self.at += 1
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def bit(self, p):
        middle = self.low + ((self.high - self.low) * p >> 16)
        bit = int(self.code <= middle)
        self.low, self.high = (self.low, middle) if bit else (middle + 1, self.high)
        while self.low >> 24 == self.high >> 24:
            self.low, self.high = self.low << 8 & 0xFFFFFFFF, self.high << 8 & 0xFFFFFFFF | 0xFF
            self.code = self.code << 8 & 0xFFFFFFFF | self.next()
        return bit

    def raw(self, bits):
        return sum(self.bit(1 << 15) << i for i in reversed(range(bits)))


class Adaptive(dict):
    """Adaptive bits by name."""

    def read(self, reader, name):
        p, count = self.get(name, (1 << 15, 0))
        bit = reader.bit(min(max(p, 16), 65536 - 16))
        step = 131072 // (2 * count + 3)
        self[name] = p + (((65535 if bit else 0) - p) * step >> 16), min(count + 1, 1000)
        return bit


def tail(R, k, t):
    factors, off = min(k, t), max(k, t)
    p = 1 << 32
    if factors <= 8:
        for i in range(factors):
            p = p * (R - off - i) // (R - i)
        return p
    base = (2 * (R - t) - k + 1 << 32) // (2 * R - k + 1)
    while k:
        if k & 1:
            p = p * base >> 32
        base = base * base >> 32
        k >>= 1
    return p


def read_gap(reader, R, k):
    last = R - k
    low, size, at_low, at_end = 0, 1 << last.bit_length(), 1 << 32, 0
    while size > 1:
        if 4 * k * size <= R and low + size - 1 <= last:
            return low + reader.raw(size.bit_length() - 1)
        size //= 2
        if low + size > last:
            continue
        at_middle = min(max(tail(R, k, low + size), at_end), at_low)
        whole = at_low - at_end
        p = min(max((at_middle - at_end << 16) // whole, 1), 65535) if whole else 1 << 15
        if reader.bit(p):
            low, at_low = low + size, at_middle
        else:
            at_end = at_middle
    return low


def read_integer(reader, contexts, sum_, count):
    context = (2 * sum_ // count).bit_length() - 1 if count else 0
    octave = 0
    while octave < 19 and contexts.read(reader, ("octave", context, octave)):
        octave += 1
    value = 1
    for i in reversed(range(octave)):
        if octave - 1 - i == 3:
            value = value << (i + 1) | reader.raw(i + 1)
            break
        value = 2 * value + contexts.read(reader, ("mantissa", octave, value))
    return (-value if reader.raw(1) else value), sum_ + value, count + 1


def read_sparse(data, B, M, s):
    """What ``FORMAT.md`` says of a sparse payload, in plain Python."""
    reader, contexts = RangeReader(data), Adaptive()
    codes = []
    for _ in range(B):
        node = 1
        for _ in range(s.bit_length()):
            node = 2 * node + contexts.read(reader, ("count", node))
        k = node - (1 << s.bit_length())
        indices, at = [], 0
        for i in range(k):
            at += read_gap(reader, M - at, k - i)
            indices.append(at)
            at += 1
        sum_ = count = 0
        q = []
        for _ in range(k):
            value, sum_, count = read_integer(reader, contexts, sum_, count)
            q.append(value)
        codes.append((indices, q))
    return codes


def random_codes(B, M, s, seed, scale=3.0, counts=None):
    g = np.random.default_rng(seed)
    counts = np.full(B, s) if counts is None else counts
    indices = [np.sort(g.choice(M, k, replace=False)) for k in counts]
    flat = np.concatenate([*indices, np.zeros(0, int)]).astype(np.int32)
    q = np.maximum(1, np.abs(np.rint(g.standard_normal(len(flat)) * scale))) * g.choice([-1, 1], len(flat))
    return np.asarray(counts, np.int32), flat, q.astype(np.int32)


def padded(counts, flat, s):
    out = np.zeros((len(counts), s), np.int32)
    out[np.arange(s) < counts[:, None]] = flat
    return out


@pytest.mark.parametrize(
    ("B", "M", "s"),
    [(0, 4, 2), (1, 1, 0), (1, 1, 1), (3, 1, 1), (5, 2, 1), (4, 2, 2), (7, 13, 5), (7, 13, 13), (3, 1000, 999)]
    + [(9, 256, 64), (6, 1 << 14, 40), (2, 1 << 24, 7), (3, 4096, 4095), (40, 1 << 18, 1)],
)
@pytest.mark.parametrize("scale", [0.5, 4.0, 30000.0])
def test_round_trip(B, M, s, scale):
    for vary in (False, True):
        counts = np.random.default_rng(s).integers(0, s + 1, B) if vary else None
        counts, indices, q = random_codes(B, M, s, M + s, scale, counts)
        data = _C.encode_sparse(counts, indices, q, M, s)
        got_indices, got_q = _C.decode_sparse(data, B, M, s)
        np.testing.assert_array_equal(got_indices, padded(counts, indices, s))
        np.testing.assert_array_equal(got_q, padded(counts, q, s))


@pytest.mark.parametrize(("B", "M", "s"), [(5, 13, 5), (4, 300, 40), (20, 1 << 18, 9), (2, 64, 64), (3, 1 << 24, 30)])
def test_decodes_as_written_out(B, M, s):
    counts = np.random.default_rng(B).integers(0, s + 1, B)
    counts, indices, q = random_codes(B, M, s, 3, 200.0, counts)
    q[:2] = [2**20 - 1, -(2**20) + 1]
    data = _C.encode_sparse(counts, indices, q, M, s)
    stops = np.cumsum(counts)[:-1]
    want = [(a.tolist(), b.tolist()) for a, b in zip(np.split(indices, stops), np.split(q, stops), strict=True)]
    assert read_sparse(data, B, M, s) == want


def set_bits(M, k):
    return (lgamma(M + 1) - lgamma(k + 1) - lgamma(M - k + 1)) / log(2)


@pytest.mark.parametrize(
    ("M", "k"),
    [(64, 1), (64, 8), (64, 16), (64, 32), (64, 48), (64, 60), (100, 37), (1 << 14, 24), (1 << 18, 12), (1 << 20, 400)]
    + [(1 << 24, 3), (4096, 2048)],
)
def test_sets_take_what_they_are_worth(M, k):
    B = max(20, 4000 // k)
    counts, indices, q = random_codes(B, M, k, k)
    data = _C.encode_sparse(counts, indices, np.sign(q), M, k)
    # signs are one bit each; that all counts and magnitudes are equal is learned
    bits = 8 * len(data) - B * k
    assert set_bits(M, k) * B * 0.99 <= bits <= set_bits(M, k) * B * 1.01 + 220


def test_magnitudes_take_about_their_entropy():
    counts, indices, q = random_codes(400, 1 << 16, 20, 0, 4.0)
    _, seen = np.unique(np.abs(q), return_counts=True)
    entropy = -float((seen * np.log2(seen / seen.sum())).sum())
    ones = len(_C.encode_sparse(counts, indices, np.sign(q), 1 << 16, 20))
    assert 8 * (len(_C.encode_sparse(counts, indices, q, 1 << 16, 20)) - ones) < 1.02 * entropy + 200


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"indices": [3, 3]}, "ascend"),
        ({"indices": [4, 3]}, "ascend"),
        ({"indices": [-1, 3]}, "ascend"),
        ({"indices": [1, 8]}, "ascend"),
        ({"q": [0, 1]}, "zero"),
        ({"q": [1, 2**20]}, "2\\*\\*20"),
        ({"q": [-(2**20), 1]}, "2\\*\\*20"),
        ({"q": [1]}, "as many"),
        ({"counts": [3]}, "as many"),
        ({"counts": [-2]}, "negative"),
        ({"s": 1}, "count 2"),
        ({"s": 9}, "not allowed"),
        ({"s": -1}, "not allowed"),
        ({"s": 4096, "M": 8192}, "not allowed"),
        ({"M": 0}, "M is 0"),
        ({"M": 2**24 + 1}, "M is"),
    ],
)
def test_encode_checks(change, message):
    given_ = {"counts": [2], "indices": [1, 5], "q": [1, -1], "M": 8, "s": 2} | change
    arrays = [np.array(given_[name], np.int32) for name in ("counts", "indices", "q")]
    with pytest.raises(ValueError, match=message):
        _C.encode_sparse(*arrays, given_["M"], given_["s"])


@pytest.mark.parametrize(
    ("data", "B", "M", "s", "message"),
    [
        (b"\0", 1, 8, 3, "zero byte"),
        (b"\0", 1, 8, 2, "count 3"),
        (b"abcdefgh", 0, 8, 2, "longer"),
        (b"", -1, 8, 2, "not allowed"),
        (b"", 1, 8, 9, "not allowed"),
        (b"", 2**49, 8, 1, "not allowed"),
        (b"", 1, 0, 0, "M is 0"),
        (b"", 1, 2**25, 1, "M is"),
    ],
)
def test_decode_checks(data, B, M, s, message):
    with pytest.raises(ValueError, match=message):
        _C.decode_sparse(data, B, M, s)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 6), st.sampled_from([1, 9, 50, 4096, 1 << 24]), st.integers(0, 12))
def test_garbage_ends_in_an_error_or_a_code(data, B, M, s):
    try:
        indices, q = _C.decode_sparse(data, B, M, min(s, M))
    except ValueError:
        return
    counts = (q != 0).sum(1)
    used = np.arange(q.shape[1]) < counts[:, None]
    assert ((q != 0) == used).all()
    assert (np.abs(q) < 2**20).all()
    again = _C.encode_sparse(counts.astype(np.int32), indices[used], q[used], M, min(s, M))
    for got, want in zip(_C.decode_sparse(again, B, M, min(s, M)), (indices, q), strict=True):
        np.testing.assert_array_equal(got, want)


def prices(M, s):
    k = np.arange(1, s + 1)
    return np.concatenate([[0.0], np.cumsum(np.log2((M - k + 1) / k))]), np.array([1.2, 4.0, 6.5, 8.5])


def price(X, M, lam, codes, seed):
    counts, indices, q = codes
    made = _C.synthesize(indices, q, 1.0, 3, X.shape[1], M, seed, 0, 1)
    sets, values = prices(M, q.shape[1])
    magnitudes = np.abs(q[q != 0])
    beyond = 2 * np.log2(np.maximum(magnitudes / len(values), 1))
    bits = sets[counts].sum() + (values[np.minimum(magnitudes, len(values)) - 1] + beyond).sum()
    return np.square(made - X.astype(np.float64)).sum() + lam * bits


@pytest.mark.parametrize(("n", "M"), [(64, 4096), (100, 512), (16, 16), (256, 1 << 14)])
def test_pursuit_lowers_the_price_and_a_beam_lowers_it_further(n, M):
    X = (np.random.default_rng(0).standard_normal((30, n)) * n**0.5 / 4).astype(np.float32)
    s, lam = min(n, M), n / 30
    sets, values = prices(M, s)
    found = [_C.pursue(X, M, 7, lam, sets, values, beam, 1) for beam in (1, 4, 16)]
    for counts, indices, q in found:
        used = np.arange(s) < counts[:, None]
        assert ((q != 0) == used).all()
        assert (indices[~used] == 0).all()
        assert all((np.diff(row[:k]) > 0).all() for row, k in zip(indices, counts, strict=True))
    nothing = float(np.square(X, dtype=np.float64).sum())
    one, four, many = (price(X, M, lam, codes, 7) for codes in found)
    assert one < nothing
    # greedy choices among orthogonal atoms are the best there are
    assert many < four < one if n < M else many == four == one


def test_pursuit_does_not_depend_on_threads_or_company():
    X = (np.random.default_rng(1).standard_normal((70, 128)) * 3).astype(np.float32)
    arguments = (1 << 12, 0, 10.0, *prices(1 << 12, 100), 4)
    whole = _C.pursue(X, *arguments, 1)
    for threads, rows in ((3, slice(0, 70)), (1, slice(5, 6)), (2, slice(60, 70))):
        part = _C.pursue(X[rows], *arguments, threads)
        for got, want in zip(part, whole, strict=True):
            np.testing.assert_array_equal(got, want[rows])


def test_pursuit_finds_what_was_put_together():
    g = np.random.default_rng(2)
    n, M, s, seed = 128, 1 << 12, 6, 11
    indices = np.sort(np.stack([g.choice(M, s, replace=False) for _ in range(12)]), axis=1)
    q = g.choice([-3, -2, 2, 3], (12, s))
    X = np.stack([w @ philox.entries("hadamard", n, seed, 0, j) for w, j in zip(q, indices, strict=True)])
    counts, got, got_q = _C.pursue(X.astype(np.float32), M, seed, 1.0, *prices(M, 20), 8, 1)
    np.testing.assert_array_equal(counts, s)
    np.testing.assert_array_equal(got[:, :s], indices)
    np.testing.assert_array_equal(got_q[:, :s], q)


def test_pursuit_first_pick_is_the_best_atom():
    X = np.random.default_rng(3).standard_normal((20, 60)).astype(np.float32) * 9
    atoms = philox.entries("hadamard", 60, 5, 0, np.arange(1000)).astype(np.float64)
    _, indices, _ = _C.pursue(X, 1000, 5, 0.0, np.zeros(2), np.zeros(1), 1, 1)
    np.testing.assert_array_equal(indices[:, 0], np.abs(X @ atoms.T).argmax(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.zeros((1, 4))}, "dtype float64"),
        ({"X": np.full((1, 4), np.nan, np.float32)}, "X holds"),
        ({"X": np.full((1, 4), 2**20, np.float32)}, "X holds"),
        ({"M": 0}, "M is 0"),
        ({"seed": -1}, "seed"),
        ({"lambda_": -1.0}, "lambda"),
        ({"lambda_": float("nan")}, "lambda"),
        ({"set_bits": np.zeros(0)}, "set_bits"),
        ({"set_bits": np.zeros(10)}, "set_bits"),
        ({"value_bits": np.zeros(0)}, "value_bits"),
        ({"beam": 0}, "beam"),
        ({"beam": 257}, "beam"),
        ({"threads": 0}, "threads"),
    ],
)
def test_pursuit_checks(change, message):
    arguments = {
        "X": np.ones((1, 4), np.float32),
        "M": 8,
        "seed": 0,
        "lambda_": 1.0,
        "set_bits": np.zeros(3),
        "value_bits": np.zeros(2),
        "beam": 1,
        "threads": 1,
    }
    with pytest.raises(ValueError, match=message):
        _C.pursue(**(arguments | change))


def test_zero_vectors_have_no_atoms():
    counts, _, q = _C.pursue(np.zeros((3, 32), np.float32), 64, 0, 0.0, np.zeros(33), np.zeros(1), 4, 1)
    assert not counts.any()
    assert not q.any()
