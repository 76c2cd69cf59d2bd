"""Philox words and integer dictionary entries in NumPy: the reference for every backend.

The generator is Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011).
``numpy.random.Philox`` is a different (64-bit) generator and is not used. No float occurs in this module.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10

# Fourth counter word: the kind of the dictionary, or the selection of Hadamard rows.
KINDS = {"gaussian": 1, "rademacher": 2, "hadamard": 3}
HADAMARD_ROWS = 4

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_POPCOUNT8: NDArray[np.int8] = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1).astype(np.int8)


def philox4x32(counters: NDArray[np.uint32], seed: int) -> NDArray[np.uint32]:
    """Return the Philox4x32-10 words of each counter.

    Parameters
    ----------
    counters
        uint32 ``[..., 4]``.
    seed
        The 64-bit key, ``0 … 2**64 - 1``; its low half is key word 0.

    Returns
    -------
    uint32 ``[..., 4]``.
    """
    x0, x1, x2, x3 = (counters[..., k].astype(np.uint64) for k in range(4))
    key0, key1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(ROUNDS):
        product0 = x0 * np.uint64(MULTIPLIERS[0])
        product1 = x2 * np.uint64(MULTIPLIERS[1])
        x0 = (product1 >> _HALF) ^ x1 ^ np.uint64(key0)
        x1 = product1 & _LOW
        x2 = (product0 >> _HALF) ^ x3 ^ np.uint64(key1)
        x3 = product0 & _LOW
        key0 = (key0 + KEY_STEPS[0]) & 0xFFFFFFFF
        key1 = (key1 + KEY_STEPS[1]) & 0xFFFFFFFF
    return np.stack([x0, x1, x2, x3], axis=-1).astype(np.uint32)


def _bytes_of(columns: NDArray[np.int64], calls: int, seed: int, stream: int, kind: int) -> NDArray[np.uint8]:
    """Return the bytes of ``calls`` Philox calls for each first counter word: uint8 ``[len(columns), 16 * calls]``."""
    counters = np.empty((len(columns), calls, 4), np.uint32)
    counters[..., 0] = columns[:, None]
    counters[..., 1] = np.arange(calls)
    counters[..., 2] = stream
    counters[..., 3] = kind
    words = philox4x32(counters, seed).astype("<u4", copy=False)
    return words.view(np.uint8).reshape(len(columns), 16 * calls)


def _signs(columns: NDArray[np.int64], n: int, seed: int, stream: int, kind: int) -> NDArray[np.int8]:
    """Return ±1 from single bits, least significant first: int8 ``[len(columns), n]``."""
    raw = _bytes_of(columns, -(-n // 128), seed, stream, kind)
    bits = np.unpackbits(raw, axis=1, bitorder="little")[:, :n]
    return (1 - 2 * bits.astype(np.int8)).astype(np.int8)


def hadamard_order(n: int) -> int:
    """Return the order p of the Hadamard matrix: the smallest power of two that is at least ``n``."""
    return 1 << (n - 1).bit_length()


@lru_cache(maxsize=16)
def hadamard_rows(n: int, seed: int, stream: int) -> NDArray[np.int64]:
    """Return the n rows of the Hadamard matrix that a dictionary uses, ascending: int64 ``[n]``.

    Row r has a 32-bit sort key, word ``r % 4`` of counter ``(0, r // 4, stream, HADAMARD_ROWS)``; the n rows
    with the smallest (key, r) are selected.
    """
    p = hadamard_order(n)
    keys = _bytes_of(np.zeros(1, np.int64), -(-p // 4), seed, stream, HADAMARD_ROWS).view("<u4")[0, :p]
    rows = np.sort(np.argsort(keys, kind="stable")[:n])
    rows.setflags(write=False)
    return rows


def entries(kind: str, n: int, seed: int, stream: int, indices: NDArray[np.int64]) -> NDArray[np.int8]:
    """Return the dictionary entries of the atoms ``indices``: int8 ``[k, n]``, one atom a row.

    * ``gaussian``: entry i is the popcount of byte ``i % 16`` of call ``i // 16``, less 4: Binomial(8, 1/2) - 4.
    * ``rademacher``: entry i is ``1 - 2 * bit`` for bit ``i % 128`` of call ``i // 128``.
    * ``hadamard``: atom j is column ``j % p`` of the Sylvester Hadamard matrix of order p, restricted to
      :func:`hadamard_rows`, times the signs of block ``j // p`` (drawn as for ``rademacher``).
    """
    indices = np.asarray(indices, np.int64)
    if kind == "gaussian":
        raw = _bytes_of(indices, -(-n // 16), seed, stream, KINDS[kind])
        centered: NDArray[np.int8] = _POPCOUNT8[raw[:, :n]] - np.int8(4)
        return centered
    if kind == "rademacher":
        return _signs(indices, n, seed, stream, KINDS[kind])
    p = hadamard_order(n)
    blocks, inverse = np.unique(indices // p, return_inverse=True)
    signs = _signs(blocks, n, seed, stream, KINDS[kind])[inverse]
    common = (indices % p)[:, None] & hadamard_rows(n, seed, stream)[None, :]
    parity = np.bitwise_count(common).astype(np.int8) & np.int8(1)
    atoms: NDArray[np.int8] = signs * (1 - 2 * parity)
    return atoms
