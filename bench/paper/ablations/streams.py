"""Streams of the same sparse integers in several codings, each with its decoder.

All carry atoms and integers only: step, shapes and names are known to the decoder. Rows are sorted by atom first, but
for ``lists``, whose order of selection the paper keeps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import brotli
import numpy as np
from numpy.typing import NDArray

from bench.harness.coders import entropy_bytes
from coinr.codec.coders import SPARSE, SparseParams
from coinr.codec.coders.sparse import SparseIntegers, decode_integers
from coinr.codec.coders.symbols import decode_symbols, encode_symbols
from coinr.codec.tensors import Cut, Layout
from coinr.engine import packing
from coinr.inputs.dtypes import BY_NAME


@dataclass(frozen=True)
class Code:
    """Sparse integers of B vectors.

    Attributes
    ----------
    atoms, q : int32 ``[B, s]``
        Distinct atoms of each vector, below ``M``, and the integers that multiply them.
    M : int
        Atoms, at most 65536.
    bits : int
        Of an integer.
    """

    atoms: NDArray[np.int32]
    q: NDArray[np.int32]
    M: int
    bits: int

    def sorted(self) -> Code:
        """Return by ascending atom."""
        order = np.argsort(self.atoms, axis=1)
        atoms, q = np.take_along_axis(self.atoms, order, 1), np.take_along_axis(self.q, order, 1)
        return Code(np.ascontiguousarray(atoms), np.ascontiguousarray(q), self.M, self.bits)

    def same(self, atoms: NDArray[np.int32], q: NDArray[np.int32]) -> bool:
        """Return whether these are the same codes, in any order and but for atoms times 0."""
        return np.array_equal(self.dense(self.atoms, self.q), self.dense(atoms, q))

    def dense(self, atoms: NDArray[np.int32], q: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return integers of all atoms, ``[B, M]``."""
        out = np.zeros((len(atoms), self.M), np.int32)
        np.add.at(out, (np.arange(len(atoms))[:, None], atoms), q)
        return out


#: Atoms and integers ``[B, s]``.
Decoded = tuple[NDArray[np.int32], NDArray[np.int32]]


def _shuffle(words: NDArray[np.uint16]) -> bytes:
    """Return byte planes of 16-bit words, low bytes first."""
    return words.astype("<u2").reshape(-1, 1).view(np.uint8).T.tobytes()


def _join(raw: bytes, count: int) -> NDArray[np.uint16]:
    planes = np.frombuffer(raw, np.uint8).reshape(2, count)
    words: NDArray[np.uint16] = planes[0] | planes[1].astype(np.uint16) << np.uint16(8)
    return words


def _compress(data: bytes) -> bytes:
    packed: bytes = brotli.compress(data, quality=11, lgwin=24)
    return packed


def lists(code: Code) -> bytes:
    """Return 16-bit atoms as they were selected, 16-bit integers, Brotli over both."""
    return _compress(code.atoms.astype("<u2").tobytes() + code.q.astype("<i2").tobytes())


def read_lists(data: bytes, code: Code) -> Decoded:
    """Inverse of :func:`lists`; of ``code`` only the shape is looked at."""
    raw = brotli.decompress(data)
    half = len(raw) // 2
    atoms = np.frombuffer(raw[:half], "<u2").astype(np.int32).reshape(code.atoms.shape)
    return atoms, np.frombuffer(raw[half:], "<i2").astype(np.int32).reshape(code.q.shape)


def gaps(code: Code) -> bytes:
    """Return sorted: 16-bit differences of atoms and integers as byte planes, Brotli over both."""
    code = code.sorted()
    steps = np.diff(code.atoms, axis=1, prepend=0).astype(np.uint16)
    return _compress(_shuffle(steps) + _shuffle(code.q.astype("<i2").view(np.uint16)))


def read_gaps(data: bytes, code: Code) -> Decoded:
    """Inverse of :func:`gaps`."""
    raw = brotli.decompress(data)
    half = len(raw) // 2
    atoms = np.cumsum(_join(raw[:half], code.atoms.size).reshape(code.atoms.shape), axis=1, dtype=np.int32)
    return atoms, _join(raw[half:], code.q.size).view(np.int16).astype(np.int32).reshape(code.q.shape)


def rice(code: Code) -> bytes:
    """Encode as ``paper`` does: Rice-coded gaps, and packed integers or Brotli over their byte planes."""
    code = code.sorted()
    indices = packing.pack_sorted(code.atoms, code.M)
    return len(indices).to_bytes(4, "little") + indices + encode_symbols(code.q, code.bits)


def read_rice(data: bytes, code: Code) -> Decoded:
    """Inverse of :func:`rice`."""
    end = 4 + int.from_bytes(data[:4], "little")
    B, s = code.atoms.shape
    atoms = packing.unpack_sorted(data[4:end], B, s, code.M)
    return atoms, decode_symbols(data[end:], code.q.size, code.bits).reshape(code.q.shape)


def _sparse_params(code: Code) -> SparseParams:
    """Return M is rounded up to a power of two, as that coder wants it; cut and step are not looked at here."""
    return SparseParams(Cut(False, 1), "gaussian", 1 << (code.M - 1).bit_length(), code.atoms.shape[1], 1.0)


def enumerate_code(code: Code) -> bytes:
    """Encode as ``sparse`` does: counts, enumerated sets and adaptively coded integers; zeros are left out."""
    code = code.sorted()
    used = code.q != 0
    counts = used.sum(1).astype(np.int32)
    return SPARSE.encode(SparseIntegers(counts, code.atoms[used], code.q[used]), _sparse_params(code))


def read_enumeration(data: bytes, code: Code) -> Decoded:
    """Inverse of :func:`enumerate_code`."""
    return decode_integers(data, _sparse_params(code), Layout(BY_NAME["float32"], (len(code.atoms),)))


#: Every coding: its name, encoder and decoder.
STREAMS: dict[str, tuple[Callable[[Code], bytes], Callable[[bytes, Code], Decoded]]] = {
    "16-bit lists + values, Brotli": (lists, read_lists),
    "sorted gaps + values, Brotli": (gaps, read_gaps),
    "Rice gaps + Brotli (paper profile)": (rice, read_rice),
    "sets + adaptive (sparse profile)": (enumerate_code, read_enumeration),
}


def ideal_bytes(code: Code) -> tuple[float, float]:
    """Return log2 C(M, s) of every set, and the order-0 entropy of all integers; frequencies cost nothing."""
    B, s = code.atoms.shape
    log_choose = (math.lgamma(code.M + 1) - math.lgamma(s + 1) - math.lgamma(code.M - s + 1)) / math.log(2)
    return B * log_choose / 8, entropy_bytes(code.q.astype(np.int64).ravel())
