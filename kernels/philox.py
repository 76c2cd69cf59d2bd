"""Philox words and integer dictionary entries on the device, equal to ``coinr/engine/philox.py`` bit for bit.

The generator is Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011), written out
here because ``tl.randint`` fixes a counter layout of its own. No float occurs in the generator.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import triton
import triton.language as tl

from ._checks import check_atoms, check_tensor, signed32, split_seed

KINDS = {"gaussian": 1, "rademacher": 2, "hadamard": 3}
HADAMARD_ROWS = 4

GAUSSIAN = tl.constexpr(1)
RADEMACHER = tl.constexpr(2)
HADAMARD = tl.constexpr(3)


@triton.jit
def philox(x0, x1, x2, x3, key0, key1):
    """Return four uint32 words of Philox4x32-10 for uint32 counters ``(x0, x1, x2, x3)`` and key ``(key0, key1)``."""
    for _ in tl.static_range(10):
        product0 = x0.to(tl.uint64) * 0xD2511F53
        product1 = x2.to(tl.uint64) * 0xCD9E8D57
        x0 = (product1 >> 32).to(tl.uint32) ^ x1 ^ key0
        x1 = product1.to(tl.uint32)
        x2 = (product0 >> 32).to(tl.uint32) ^ x3 ^ key1
        x3 = product0.to(tl.uint32)
        key0 = key0 + tl.full([], 0x9E3779B9, tl.uint32)
        key1 = key1 + tl.full([], 0xBB67AE85, tl.uint32)
    return x0, x1, x2, x3


@triton.jit
def byte_counts(words):
    """Return the popcounts of the four bytes of each uint32 word, in their places (SWAR)."""
    words = words - ((words >> 1) & 0x55555555)
    words = (words & 0x33333333) + ((words >> 2) & 0x33333333)
    return (words + (words >> 4)) & 0x0F0F0F0F


@triton.jit
def parity(words):
    """Return the parity of each uint32 word, 0 or 1."""
    words = words ^ (words >> 16)
    words = words ^ (words >> 8)
    words = words ^ (words >> 4)
    words = words ^ (words >> 2)
    return (words ^ (words >> 1)) & 1


@triton.jit
def words_tile(
    columns,  # uint32 [ROWS]: the first counter word
    call,  # first call of the tile
    stream,
    key0,
    key1,
    KIND: tl.constexpr,
    ROWS: tl.constexpr,
    WORDS: tl.constexpr,
):
    """Return words ``4 * call … 4 * call + WORDS`` of each column's sequence: uint32 ``[ROWS, WORDS]``."""
    CALLS: tl.constexpr = (WORDS + 3) // 4
    zeros = tl.zeros([ROWS, CALLS], tl.uint32)
    calls = (call + tl.arange(0, CALLS)).to(tl.uint32)
    x0, x1, x2, x3 = philox(
        columns[:, None] + zeros,
        calls[None, :] + zeros,
        zeros + stream.to(tl.uint32, bitcast=True),
        zeros + KIND,
        key0.to(tl.uint32, bitcast=True),
        key1.to(tl.uint32, bitcast=True),
    )
    if WORDS == 1:
        return x0
    elif WORDS == 2:
        return tl.reshape(tl.join(x0, x1), [ROWS, 2])
    else:
        return tl.reshape(tl.join(tl.join(x0, x2), tl.join(x1, x3)), [ROWS, WORDS])


@triton.jit
def sign_bits(columns, start, stream, key0, key1, KIND: tl.constexpr, ROWS: tl.constexpr, BK: tl.constexpr):
    """Return bits ``start … start + BK`` of each column, least significant first: uint32 ``[ROWS, BK]``, 1 for -1.

    ``start`` is a multiple of 128; BK is a power of two, at least 16.
    """
    if BK < 32:
        words = words_tile(columns, start // 128, stream, key0, key1, KIND, ROWS, 1)
        return (words >> tl.arange(0, BK)[None, :].to(tl.uint32)) & 1
    else:
        words = words_tile(columns, start // 128, stream, key0, key1, KIND, ROWS, BK // 32)
        shifts = tl.arange(0, 32).to(tl.uint32)
        return tl.reshape((words[:, :, None] >> shifts[None, None, :]) & 1, [ROWS, BK])


@triton.jit
def counts(columns, start, stream, key0, key1, ROWS: tl.constexpr, BK: tl.constexpr):
    """Return popcounts of bytes ``start … start + BK`` of each column: uint32 ``[ROWS, BK]``; 16 divides ``start``."""
    words = byte_counts(words_tile(columns, start // 16, stream, key0, key1, 1, ROWS, BK // 4))
    pairs = tl.join(tl.join(words, words >> 16), tl.join(words >> 8, words >> 24))
    return tl.reshape(pairs & 15, [ROWS, BK])


@triton.jit
def entries_tile(
    atoms,  # int [ROWS]
    start,  # first entry, a multiple of 128
    n,
    order,  # p for hadamard, else unused
    rows_ptr,  # int32 [n], the rows of H for hadamard, else unused
    stream,
    key0,
    key1,
    KIND: tl.constexpr,
    ROWS: tl.constexpr,
    BK: tl.constexpr,
):
    """Return entries ``start … start + BK`` of each atom, 0 from ``n`` on: int32 ``[ROWS, BK]``."""
    offsets = start + tl.arange(0, BK)
    if KIND == GAUSSIAN:
        values = counts(atoms.to(tl.uint32), start, stream, key0, key1, ROWS, BK).to(tl.int32) - 4
    elif KIND == RADEMACHER:
        bits = sign_bits(atoms.to(tl.uint32), start, stream, key0, key1, KIND, ROWS, BK)
        values = 1 - 2 * bits.to(tl.int32)
    else:
        bits = sign_bits((atoms // order).to(tl.uint32), start, stream, key0, key1, KIND, ROWS, BK)
        rows = tl.load(rows_ptr + offsets, mask=offsets < n, other=0)
        common = (atoms % order).to(tl.uint32)[:, None] & rows.to(tl.uint32)[None, :]
        values = 1 - 2 * (bits ^ parity(common)).to(tl.int32)
    return tl.where((offsets < n)[None, :], values, 0)


@triton.jit(do_not_specialize=["count", "key0", "key1"])
def philox_kernel(counters_ptr, words_ptr, count, key0, key1, BLOCK: tl.constexpr):
    """Set words[i] = Philox4x32-10(counters[i], key), uint32 as int32 ``[count, 4]``."""
    rows = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = rows < count
    base = counters_ptr + rows * 4
    x0 = tl.load(base, mask=inside, other=0).to(tl.uint32, bitcast=True)
    x1 = tl.load(base + 1, mask=inside, other=0).to(tl.uint32, bitcast=True)
    x2 = tl.load(base + 2, mask=inside, other=0).to(tl.uint32, bitcast=True)
    x3 = tl.load(base + 3, mask=inside, other=0).to(tl.uint32, bitcast=True)
    x0, x1, x2, x3 = philox(x0, x1, x2, x3, key0.to(tl.uint32, bitcast=True), key1.to(tl.uint32, bitcast=True))
    out = words_ptr + rows * 4
    tl.store(out, x0.to(tl.int32, bitcast=True), mask=inside)
    tl.store(out + 1, x1.to(tl.int32, bitcast=True), mask=inside)
    tl.store(out + 2, x2.to(tl.int32, bitcast=True), mask=inside)
    tl.store(out + 3, x3.to(tl.int32, bitcast=True), mask=inside)


def philox4x32(counters: torch.Tensor, seed: int) -> torch.Tensor:
    """Return the Philox4x32-10 words of each counter.

    Parameters
    ----------
    counters
        int32 ``[count, 4]``, the bits of uint32 counters.
    seed
        the 64-bit key.

    Returns
    -------
    int32 ``[count, 4]``, the bits of the uint32 words.

    Raises
    ------
    ValueError
        If a shape, dtype or seed is not allowed.
    """
    check_tensor("counters", counters, torch.int32, (None, 4))
    key0, key1 = split_seed(seed)
    words = torch.empty_like(counters)
    count = counters.shape[0]
    if count:
        philox_kernel[(triton.cdiv(count, 256),)](counters, words, count, key0, key1, BLOCK=256)
    return words


@triton.jit(do_not_specialize=["count", "n", "order", "stream", "key0", "key1"])
def entries_kernel(
    atoms_ptr,  # int32 [count], or unused
    rows_ptr,
    out_ptr,  # int8 [count, stride]
    stride,
    count,
    n,
    order,
    stream,
    key0,
    key1,
    KIND: tl.constexpr,
    LISTED: tl.constexpr,
    ROWS: tl.constexpr,
    BK: tl.constexpr,
):
    """Set out[i, :stride] = atom ``atoms[i]`` (or atom i when not LISTED), zero from n to the stride."""
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    start = tl.program_id(1) * BK
    atoms = tl.load(atoms_ptr + rows, mask=rows < count, other=0) if LISTED else rows.to(tl.int32)
    values = entries_tile(atoms, start, n, order, rows_ptr, stream, key0, key1, KIND, ROWS, BK)
    offsets = start + tl.arange(0, BK)
    inside = (rows < count)[:, None] & (offsets < stride)[None, :]
    tl.store(out_ptr + rows[:, None] * stride + offsets[None, :], values.to(tl.int8), mask=inside)


@triton.jit(do_not_specialize=["M", "n", "stream", "key0", "key1"])
def norms_kernel(out_ptr, M, n, stream, key0, key1, ROWS: tl.constexpr, BK: tl.constexpr):
    """Set out[j] = 1 / |a_j| for the gaussian atoms, 0 for a zero atom: float32 ``[M]``.

    The squared norm is an integer; it is exact in int32, since n * 16 < 2**31 for every n up to 2**24.
    """
    atoms = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    squares = tl.zeros([ROWS], tl.int32)
    for start in range(0, n, BK):
        values = entries_tile(atoms, start, n, 1, out_ptr, stream, key0, key1, 1, ROWS, BK)
        squares += tl.sum(values * values, axis=1)
    inverse = tl.where(squares > 0, 1.0 / tl.sqrt(tl.maximum(squares, 1).to(tl.float32)), 0.0)
    tl.store(out_ptr + atoms, inverse, mask=atoms < M)


def hadamard_order(n: int) -> int:
    """Return the order p of the Hadamard matrix: the smallest power of two that is at least ``n``."""
    return 1 << (n - 1).bit_length()


@lru_cache(maxsize=16)
def hadamard_rows(n: int, seed: int, stream: int, device: torch.device) -> torch.Tensor:
    """Return the n rows of the Hadamard matrix that a dictionary uses, ascending: int32 ``[n]`` on ``device``.

    The n rows with the smallest (32-bit key, row) are selected, as in ``coinr.engine.philox.hadamard_rows``.
    """
    order = hadamard_order(n)
    if order == n:
        return torch.arange(n, dtype=torch.int32, device=device)
    counters = torch.zeros(-(-order // 4), 4, dtype=torch.int32, device=device)
    counters[:, 1] = torch.arange(len(counters), dtype=torch.int32, device=device)
    counters[:, 2] = signed32(stream)
    counters[:, 3] = HADAMARD_ROWS
    keys = philox4x32(counters, seed).reshape(-1)[:order].to(torch.int64) & 0xFFFFFFFF
    ranked = torch.argsort(keys * order + torch.arange(order, device=device))
    return torch.sort(ranked[:n]).values.to(torch.int32)


def rows_for(kind: str, n: int, seed: int, stream: int, device: torch.device) -> tuple[torch.Tensor, int]:
    """Return the row table and order p for ``hadamard``; a one-element placeholder and 1 for the other kinds."""
    if kind != "hadamard":
        return torch.empty(1, dtype=torch.int32, device=device), 1
    return hadamard_rows(n, seed, stream, device), hadamard_order(n)


def _fill(out: torch.Tensor, atoms: torch.Tensor | None, kind: str, n: int, seed: int, stream: int) -> torch.Tensor:
    """Fill int8 ``[count, stride]`` with the listed atoms, or with atoms 0 … count - 1."""
    count, stride = out.shape
    rows, order = rows_for(kind, n, seed, stream, out.device)
    key0, key1 = split_seed(seed)
    if count:
        # A grid has at most 65535 programs along its second axis.
        block = min(128 if stride <= 1 << 22 else 1024, max(16, triton.next_power_of_2(stride)))
        grid = (triton.cdiv(count, 32), triton.cdiv(stride, block))
        listed = atoms is not None
        entries_kernel[grid](
            atoms if listed else rows, rows, out, stride, count, n, order, signed32(stream), key0, key1,
            KIND=KINDS[kind], LISTED=listed, ROWS=32, BK=block,
        )  # fmt: skip
    return out


def entries(kind: str, n: int, M: int, seed: int, stream: int, indices: torch.Tensor) -> torch.Tensor:
    """Return the dictionary entries of the atoms ``indices``: int8 ``[k, n]``, one atom a row.

    Parameters
    ----------
    kind
        ``gaussian``, ``rademacher`` or ``hadamard``.
    n
        signal dimension.
    M
        number of atoms.
    seed
        the 64-bit key.
    stream
        32-bit stream number.
    indices
        int32 or int64 ``[k]``, each in ``0 … M - 1``, on the device that is to make the entries.

    Raises
    ------
    ValueError
        If an argument is out of range; the message says which.
    """
    check_atoms(kind, n, M, seed, stream)
    check_tensor("indices", indices, (torch.int32, torch.int64), (None,))
    low, high = (int(indices.min()), int(indices.max())) if indices.numel() else (0, 0)
    if low < 0 or high >= M:
        raise ValueError(f"indices must lie in 0 … {M - 1}, got {low} … {high}")
    out = torch.empty(indices.numel(), n, dtype=torch.int8, device=indices.device)
    return _fill(out, indices.to(torch.int32), kind, n, seed, stream)


def stored_dictionary(kind: str, n: int, M: int, seed: int, stream: int, device: torch.device, stride: int):
    """Return the whole dictionary, one atom a row, zero from n to ``stride``: int8 ``[M, stride]``."""
    return _fill(torch.empty(M, stride, dtype=torch.int8, device=device), None, kind, n, seed, stream)


def inverse_norms(n: int, M: int, seed: int, stream: int, device: torch.device) -> torch.Tensor:
    """Return 1 / |a_j| of the gaussian atoms, 0 for zero atoms: float32 ``[M]``."""
    out = torch.empty(M, dtype=torch.float32, device=device)
    key0, key1 = split_seed(seed)
    block = min(128, max(16, triton.next_power_of_2(n)))
    norms_kernel[(triton.cdiv(M, 64),)](out, M, n, signed32(stream), key0, key1, ROWS=64, BK=block)
    return out
