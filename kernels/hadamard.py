"""Correlation with signed Hadamard blocks by fast Walsh-Hadamard transform, fused with signs, rows and maxima.

Atom j is column c = j % p of D_b H restricted to n rows, where b = j // p is its block. So the p correlations of a
block are H z, where z is the residual with the block's signs on the used rows, and zero on the others. With
H_{xy} = H_x (x) H_y the transform splits into small factors. One factor of 64 is a float16 product on the matrix units
(the residual in a high and a low part, see ``correlate.py``). Up to 4 more are float32 butterflies in registers. For
p > 256, factors of up to 64 come before them, through a scratch of O(B p). As in the dense kernel, eight maxima are
kept per vector and tile; a tile is min(p, 256) atoms.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import triton
import triton.language as tl

from ._checks import capability, multiprocessors, signed32, split_seed
from .correlate import RESIDUES, SMALL_N, DenseCorrelator, split_float16
from .philox import HADAMARD, hadamard_order, hadamard_rows, parity, philox

MAX_ORDER = 1 << 16
SCRATCH_BYTES = 64 << 20
INNER = 256
FACTOR = 64


@triton.jit
def apply_signs(values, bits):
    """Return float16 values, negated where the bit is 1."""
    return (values.to(tl.uint16, bitcast=True) ^ (bits << 15).to(tl.uint16)).to(tl.float16, bitcast=True)


@triton.jit
def entry_signs(block, places, stream, key0, key1):
    """Return the sign bit of each entry of a block, with one Philox call per entry: uint32, the shape of ``places``."""
    zeros = (places * 0).to(tl.uint32)
    x0, x1, x2, x3 = philox(
        zeros + block,
        (places >> 7).to(tl.uint32),
        zeros + stream.to(tl.uint32, bitcast=True),
        zeros + HADAMARD,
        key0.to(tl.uint32, bitcast=True),
        key1.to(tl.uint32, bitcast=True),
    )
    word = (places >> 5) & 3
    chosen = tl.where(word < 2, tl.where(word == 0, x0, x1), tl.where(word == 2, x2, x3))
    return (chosen >> (places & 31).to(tl.uint32)) & 1


@triton.jit
def signed_factor(block, part, rank_ptr, stream, key0, key1, FULL: tl.constexpr):
    """Return (D_b)_part H_64 with signs on the rows: float16 ``[64, 64]``; ``part`` counts groups of 64 rows."""
    k = tl.arange(0, 64)
    if FULL:
        zero = tl.zeros([1], tl.uint32)
        x0, x1, x2, x3 = philox(
            zero + block,
            zero + (part // 2),
            zero + stream.to(tl.uint32, bitcast=True),
            zero + HADAMARD,
            key0.to(tl.uint32, bitcast=True),
            key1.to(tl.uint32, bitcast=True),
        )
        words = tl.where(k < 32, x0, x1) if part % 2 == 0 else tl.where(k < 32, x2, x3)
        bits = (words >> (k & 31).to(tl.uint32)) & 1
    else:
        bits = entry_signs(block, tl.load(rank_ptr + part * 64 + k), stream, key0, key1)
    common = parity((k[:, None] & k[None, :]).to(tl.uint32))  # [column, row]
    factor = (((common ^ bits[None, :]) << 15) | 0x3C00).to(tl.uint16).to(tl.float16, bitcast=True)
    return tl.trans(factor)


@triton.jit
def load_part(ptr, base, part, rank_ptr, n, inside, FULL: tl.constexpr):
    """Load places ``64 * part …`` of each residual in the order of H's rows: float16 ``[BB, 64]``."""
    places = part * 64 + tl.arange(0, 64)
    if not FULL:
        places = tl.load(rank_ptr + places)
    return tl.load(ptr + base + places[None, :], mask=inside & (places < n)[None, :], other=0.0)


@triton.jit
def product(high, low, factor):
    """Return (high + low) factor, with one float32 accumulator: ``[BB, 64]``."""
    acc = tl.dot(low, factor)
    return tl.dot(high, factor, acc)


@triton.jit
def residue_maxima(values, first, M, TAIL: tl.constexpr, BB: tl.constexpr):
    """Return the maxima of |values| ``[BB, 64]`` for each residue modulo 8, without atoms from M on: ``[BB, 8]``."""
    size = tl.abs(values)
    if TAIL:
        size = tl.where(first + tl.arange(0, 64)[None, :] < M, size, -1.0)
    return tl.max(tl.reshape(size, [BB, 8, 8]), axis=1)


@triton.jit(do_not_specialize=["B", "M", "n", "blocks_per_chunk", "stream", "key0", "key1"])
def direct_kernel(
    high_ptr,  # float16 [B, stride]
    low_ptr,  # float16 [B, stride]
    rank_ptr,  # int32 [p]: entry on row x of H, n if none
    top_ptr,  # float32 [B, chunks, 8]
    tile_ptr,  # int32 [B, chunks, 8]
    B,
    M,
    n,
    stride,
    blocks_per_chunk,
    stream,
    key0,
    key1,
    FULL: tl.constexpr,
    TAIL: tl.constexpr,
    PARTS: tl.constexpr,
    BB: tl.constexpr,
):
    """Set top[b, chunk, j % 8] = max |a_j . r_b| over the chunk's blocks.

    p = 64 * PARTS; grid (vector tiles, chunks).
    """
    rows = tl.program_id(0).to(tl.int64) * BB + tl.arange(0, BB)
    chunk = tl.program_id(1)
    inside = (rows < B)[:, None]
    base = rows[:, None] * stride
    best = tl.full([BB, 8], -1.0, tl.float32)
    best_tile = tl.zeros([BB, 8], tl.int32)
    order: tl.constexpr = 64 * PARTS
    first = chunk * blocks_per_chunk
    last = tl.minimum(first + blocks_per_chunk, (M + order - 1) // order)
    high0 = load_part(high_ptr, base, 0, rank_ptr, n, inside, FULL)
    low0 = load_part(low_ptr, base, 0, rank_ptr, n, inside, FULL)
    if PARTS >= 2:
        high1 = load_part(high_ptr, base, 1, rank_ptr, n, inside, FULL)
        low1 = load_part(low_ptr, base, 1, rank_ptr, n, inside, FULL)
    if PARTS == 4:
        high2 = load_part(high_ptr, base, 2, rank_ptr, n, inside, FULL)
        low2 = load_part(low_ptr, base, 2, rank_ptr, n, inside, FULL)
        high3 = load_part(high_ptr, base, 3, rank_ptr, n, inside, FULL)
        low3 = load_part(low_ptr, base, 3, rank_ptr, n, inside, FULL)
    for block in range(first, last):
        atom = block * order
        a0 = product(high0, low0, signed_factor(block, 0, rank_ptr, stream, key0, key1, FULL))
        if PARTS == 1:
            top = residue_maxima(a0, atom, M, TAIL, BB)
        else:
            a1 = product(high1, low1, signed_factor(block, 1, rank_ptr, stream, key0, key1, FULL))
            plus = a0 + a1
            minus = a0 - a1
            if PARTS == 2:
                top = tl.maximum(residue_maxima(plus, atom, M, TAIL, BB), residue_maxima(minus, atom + 64, M, TAIL, BB))
            else:
                a2 = product(high2, low2, signed_factor(block, 2, rank_ptr, stream, key0, key1, FULL))
                a3 = product(high3, low3, signed_factor(block, 3, rank_ptr, stream, key0, key1, FULL))
                sums = a2 + a3
                rest = a2 - a3
                top = tl.maximum(
                    residue_maxima(plus + sums, atom, M, TAIL, BB), residue_maxima(minus + rest, atom + 64, M, TAIL, BB)
                )
                top = tl.maximum(top, residue_maxima(plus - sums, atom + 128, M, TAIL, BB))
                top = tl.maximum(top, residue_maxima(minus - rest, atom + 192, M, TAIL, BB))
        better = top > best
        best = tl.where(better, top, best)
        best_tile = tl.where(better, block, best_tile)
    out = (rows[:, None] * tl.num_programs(1) + chunk) * 8 + tl.arange(0, 8)[None, :]
    tl.store(top_ptr + out, best, mask=inside)
    tl.store(tile_ptr + out, best_tile, mask=inside)


@triton.jit(do_not_specialize=["B", "n", "first_block", "stream", "key0", "key1"])
def outer_kernel(
    high_ptr,  # float16 [B, stride] if SIGNED, else the scratch itself
    low_ptr,
    rank_ptr,  # int32 [p]
    out_high_ptr,  # float16 [B, blocks, p]
    out_low_ptr,
    B,
    n,
    stride,
    inner,  # distance of neighbors along the factor's axis
    order,
    first_block,
    stream,
    key0,
    key1,
    SIGNED: tl.constexpr,
    FULL: tl.constexpr,
    PO: tl.constexpr,
    BO: tl.constexpr,
    VECTORS: tl.constexpr,
):
    """Apply one factor H_PO of the transform of every block, in place in the scratch unless SIGNED reads the residual.

    Grid (groups of VECTORS vectors, blocks, p / (64 * PO)). BO is PO, at least 16; VECTORS share the signs.
    """
    block = tl.program_id(1)
    tiles = inner // 64
    part = tl.program_id(2)
    rows = tl.arange(0, BO)
    start = (part // tiles) * PO * inner + (part % tiles) * 64
    x = start + rows[:, None] * inner + tl.arange(0, 64)[None, :]  # [BO, 64]
    valid = (rows < PO)[:, None] & (x < order)
    places = x
    if SIGNED:
        if not FULL:
            places = tl.load(rank_ptr + x, mask=valid, other=0)
        bits = entry_signs(first_block + block, places, stream, key0, key1)
    common = parity((rows[:, None] & rows[None, :]).to(tl.uint32))
    factor = ((common << 15) | 0x3C00).to(tl.uint16).to(tl.float16, bitcast=True)
    for v in range(VECTORS):
        b = tl.program_id(0).to(tl.int64) * VECTORS + v
        out = (b * tl.num_programs(1) + block) * order + x
        here = valid & (x < tl.where(b < B, order, 0))
        if SIGNED:
            high = apply_signs(tl.load(high_ptr + b * stride + places, mask=here & (places < n), other=0.0), bits)
            low = apply_signs(tl.load(low_ptr + b * stride + places, mask=here & (places < n), other=0.0), bits)
        else:
            high = tl.load(high_ptr + out, mask=here, other=0.0)
            low = tl.load(low_ptr + out, mask=here, other=0.0)
        acc = tl.dot(factor, low)
        acc = tl.dot(factor, high, acc)
        high, low = split_float16(acc, 1.0)
        tl.store(out_high_ptr + out, high, mask=here)
        tl.store(out_low_ptr + out, low, mask=here)


@triton.jit(do_not_specialize=["M", "count", "first_tile", "tiles_per_chunk"])
def inner_kernel(
    high_ptr,  # float16 [B, count, 256]: the scratch
    low_ptr,
    top_ptr,  # float32 [B, chunks, 8]
    tile_ptr,  # int32 [B, chunks, 8]
    M,
    count,
    first_tile,
    tiles_per_chunk,
    TAIL: tl.constexpr,
    BB: tl.constexpr,
):
    """Apply the last factor, 256, to every row of the scratch, and find the maxima of a chunk; grid (B, chunks).

    From the second group of blocks on (``first_tile`` > 0) the maxima are merged with the earlier ones.
    """
    b = tl.program_id(0).to(tl.int64)
    chunk = tl.program_id(1)
    k = tl.arange(0, 64)
    best = tl.full([BB, 8], -1.0, tl.float32)
    best_tile = tl.zeros([BB, 8], tl.int32)
    common = parity((k[:, None] & k[None, :]).to(tl.uint32))
    factor = ((common << 15) | 0x3C00).to(tl.uint16).to(tl.float16, bitcast=True)
    for step in range(tiles_per_chunk):
        rows = (chunk * tiles_per_chunk + step) * BB + tl.arange(0, BB)
        inside = (rows < count)[:, None]
        base = (b * count + rows)[:, None] * 256 + k[None, :]
        a0 = product(
            tl.load(high_ptr + base, mask=inside, other=0.0), tl.load(low_ptr + base, mask=inside, other=0.0), factor
        )
        a1 = product(
            tl.load(high_ptr + base + 64, mask=inside, other=0.0),
            tl.load(low_ptr + base + 64, mask=inside, other=0.0),
            factor,
        )
        plus = a0 + a1
        minus = a0 - a1
        a0 = product(
            tl.load(high_ptr + base + 128, mask=inside, other=0.0),
            tl.load(low_ptr + base + 128, mask=inside, other=0.0),
            factor,
        )
        a1 = product(
            tl.load(high_ptr + base + 192, mask=inside, other=0.0),
            tl.load(low_ptr + base + 192, mask=inside, other=0.0),
            factor,
        )
        sums = a0 + a1
        rest = a0 - a1
        tiles = first_tile + rows
        atom = tiles[:, None] * 256
        top = tl.maximum(
            residue_maxima(plus + sums, atom, M, TAIL, BB), residue_maxima(minus + rest, atom + 64, M, TAIL, BB)
        )
        top = tl.maximum(top, residue_maxima(plus - sums, atom + 128, M, TAIL, BB))
        top = tl.maximum(top, residue_maxima(minus - rest, atom + 192, M, TAIL, BB))
        better = (top > best) & inside
        best = tl.where(better, top, best)
        best_tile = tl.where(better, tiles[:, None], best_tile)
    largest = tl.max(best, axis=0)
    lowest = tl.min(tl.where(best == largest[None, :], best_tile, 0x7FFFFFFF), axis=0)
    out = (b * tl.num_programs(1) + chunk) * 8 + tl.arange(0, 8)
    if first_tile > 0:
        before = tl.load(top_ptr + out)
        lowest = tl.where(largest > before, lowest, tl.load(tile_ptr + out))
        largest = tl.maximum(largest, before)
    tl.store(top_ptr + out, largest)
    tl.store(tile_ptr + out, lowest)


@lru_cache(maxsize=16)
def hadamard_rank(n: int, seed: int, stream: int, device: torch.device) -> torch.Tensor:
    """Return the entry on each row of H, n for an unused row: int32 ``[p]``."""
    rank = torch.full((hadamard_order(n),), n, dtype=torch.int32, device=device)
    rank[hadamard_rows(n, seed, stream, device).long()] = torch.arange(n, dtype=torch.int32, device=device)
    return rank


class HadamardCorrelator:
    """Launch the transform kernels for one hadamard dictionary and batch, n in 33 … 2**16.

    Parameters and attributes as for :class:`~.correlate.DenseCorrelator`.
    """

    halves = True

    def __init__(self, n: int, M: int, seed: int, stream: int, B: int, device: torch.device) -> None:
        self.n, self.M, self.B = n, M, B
        self.stride = -(-n // 64) * 64
        self.order = hadamard_order(n)
        if self.order > MAX_ORDER:
            raise ValueError(f"hadamard correlation takes n up to {MAX_ORDER}, got {n}")
        self.rows = hadamard_rows(n, seed, stream, device)
        self.rank = hadamard_rank(n, seed, stream, device)
        self.tile_size = min(self.order, INNER)
        self.blocks = -(-M // self.order)
        self.keys = split_seed(seed)
        self.stream = signed32(stream)
        processors = multiprocessors(device)
        if self.order <= INNER:
            self.BB = min(self._widest(capability(device)[0]), max(16, triton.next_power_of_2(B)))
            self.warps = 8 if self.BB >= 64 else 4
            chunks = max(1, processors // -(-B // self.BB))
            self.per_chunk = -(-self.blocks // min(self.blocks, chunks))
            slots = -(-self.blocks // self.per_chunk)
        else:
            self.BB = 64
            self.group = max(1, min(self.blocks, SCRATCH_BYTES // (4 * B * self.order)))
            self.scratch = torch.empty(2, B, self.group, self.order, dtype=torch.float16, device=device)
            tiles = -(-self.group * self.order // (INNER * self.BB))
            chunks = max(1, 2 * processors // B)
            self.per_chunk = -(-tiles // min(tiles, chunks))
            slots = -(-tiles // self.per_chunk)
        self.top = torch.empty(B, slots, RESIDUES, dtype=torch.float32, device=device)
        self.tile = torch.empty(B, slots, RESIDUES, dtype=torch.int32, device=device)

    def _widest(self, major: int) -> int:
        """Return how many vectors per program fit the registers; four parts and signs gathered by rank take most."""
        if major < 9:
            return 32 if self.order == INNER else 64
        return 64 if self.order == INNER and self.n < INNER else 128

    def launch(self, residual: torch.Tensor, high: torch.Tensor, low: torch.Tensor) -> None:
        """Fill ``top`` and ``tile`` from the float16 parts ``[B, stride]`` of the residuals."""
        del residual  # the transform reads the float16 parts only
        if self.order > INNER:
            self._through_scratch(high, low)
            return
        direct_kernel[(-(-self.B // self.BB), self.top.shape[1])](
            high, low, self.rank, self.top, self.tile, self.B, self.M, self.n, self.stride, self.per_chunk,
            self.stream, *self.keys, FULL=self.n == self.order, TAIL=self.M % self.order != 0,
            PARTS=self.order // FACTOR, BB=self.BB, num_warps=self.warps, num_stages=1,
        )  # fmt: skip

    def _through_scratch(self, high: torch.Tensor, low: torch.Tensor) -> None:
        shared = 8 if self.B >= 64 else 1
        for first in range(0, self.blocks, self.group):
            blocks = min(self.group, self.blocks - first)
            z = self.scratch.reshape(2, -1)[:, : self.B * blocks * self.order]
            source, inner, signed = (high, low), self.order, True
            while inner > INNER:
                factor = min(FACTOR, inner // INNER)
                inner //= factor
                outer_kernel[(-(-self.B // shared), blocks, self.order // (64 * factor))](
                    *source, self.rank, z[0], z[1], self.B, self.n, self.stride, inner, self.order, first,
                    self.stream, *self.keys, SIGNED=signed, FULL=self.n == self.order, PO=factor, BO=max(16, factor),
                    VECTORS=shared, num_warps=8 if factor == FACTOR else 4, num_stages=1,
                )  # fmt: skip
                source, signed = (z[0], z[1]), False
            count = blocks * self.order // INNER
            inner_kernel[(self.B, self.top.shape[1])](
                z[0], z[1], self.top, self.tile, self.M, count, first * self.order // INNER, self.per_chunk,
                TAIL=self.M % self.order != 0, BB=self.BB, num_warps=4, num_stages=1,
            )  # fmt: skip


def correlator(
    kind: str, n: int, M: int, seed: int, stream: int, B: int, device: torch.device, passes: int = 1
) -> DenseCorrelator | HadamardCorrelator:
    """Return the engine for a dictionary: the transform for hadamard with n > 32, the dense kernel otherwise."""
    if kind == "hadamard" and n > SMALL_N:
        return HadamardCorrelator(n, M, seed, stream, B, device)
    return DenseCorrelator(kind, n, M, seed, stream, B, device, passes=passes)
