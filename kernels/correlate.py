"""Fused generation and correlation: the best groups of atoms for every residual, without a B × M array.

The residual is cut into r = high + low, two float16 numbers of 11 bits each; atoms are small integers, exact in
float16, so two products on the matrix units that share one float32 accumulator give a . r to float32 rounding.
For each tile of BM atoms and each vector only eight maxima are kept, each with its tile: one for each residue of the
atom index modulo 8, because those atoms lie in one thread and the reduction needs no exchange. ``select.py`` then
finds the atom inside the winning group in float32, lowest index first. For n <= 32, where equal and opposite atoms are
common, the products are float32, so that ties are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from ._checks import capability, multiprocessors, signed32, split_seed
from .philox import GAUSSIAN, KINDS, counts, entries_tile, inverse_norms, rows_for, sign_bits, stored_dictionary

SMALL_N = 32
GENERATED_LIMIT = 32 << 20
RESIDUES = 8


@triton.jit
def float16_tile(
    dict_ptr, atoms, start, stride, stream, key0, key1, KIND: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr
):
    """Return entries ``start … start + BK`` of each atom: float16 ``[BM, BK]``, built from bits without a conversion.

    0x3C00 is 1.0 and 0x8000 its sign; 0x6400 | v is 1024 + v for v < 1024, so ``(v ^ 0x80) | 0x6400`` is 1152 + v
    for the int8 v. KIND 0 loads the entries from int8 ``[M, stride]``.
    """
    if KIND == 0:
        offsets = start + tl.arange(0, BK)
        raw = tl.load(dict_ptr + atoms.to(tl.int64)[:, None] * stride + offsets[None, :])
        bits = raw.to(tl.uint8, bitcast=True).to(tl.uint16) ^ 0x6480
        return bits.to(tl.float16, bitcast=True) - 1152.0
    elif KIND == GAUSSIAN:
        values = counts(atoms.to(tl.uint32), start, stream, key0, key1, BM, BK)
        return (values | 0x6400).to(tl.uint16).to(tl.float16, bitcast=True) - 1028.0
    else:
        bits = sign_bits(atoms.to(tl.uint32), start, stream, key0, key1, KIND, BM, BK)
        return ((bits << 15) | 0x3C00).to(tl.uint16).to(tl.float16, bitcast=True)


@triton.jit
def update_maxima(
    acc, atoms, inverse_ptr, tile, best, best_tile, SCALED: tl.constexpr, BB: tl.constexpr, BM: tl.constexpr
):
    """Update the running maxima and their tiles, both ``[BB, 8]``, with |acc| ``[BB, BM]`` of one tile."""
    if SCALED:
        acc *= tl.load(inverse_ptr + atoms)[None, :]
    top = tl.max(tl.reshape(tl.abs(acc), [BB, BM // 8, 8]), axis=1)  # [BB, 8]
    better = top > best
    return tl.where(better, top, best), tl.where(better, tile, best_tile)


@triton.jit(do_not_specialize=["B", "M", "n", "order", "tiles_per_chunk", "stream", "key0", "key1"])
def correlate_kernel(
    residual_ptr,  # float32 or float64 [B, stride], zero from n on
    high_ptr,  # float16 [B, stride]
    low_ptr,  # float16 [B, stride]
    dict_ptr,  # int8 [M, stride] for KIND 0
    inverse_ptr,  # float32 [M] if SCALED
    rows_ptr,  # int32 [n] for hadamard
    top_ptr,  # float32 [B, chunks, 8]
    tile_ptr,  # int32 [B, chunks, 8]
    B,
    M,
    n,
    order,
    stride,
    tiles_per_chunk,
    stream,
    key0,
    key1,
    KIND: tl.constexpr,
    SCALED: tl.constexpr,
    SINGLE: tl.constexpr,
    RESIDENT: tl.constexpr,
    BB: tl.constexpr,
    BM: tl.constexpr,
    BK: tl.constexpr,
):
    """Set top[b, chunk, j % 8] = max over the chunk's atoms j of |a_j . r_b| / |a_j| (no norm unless SCALED).

    Grid (vector tiles, chunks). RESIDENT: one K step covers n, and the residual tile stays in shared memory for the
    whole chunk. SINGLE: float32 products, any kind. Places beyond M repeat atom M - 1; ``select.py`` treats equal
    values as ties and finds the lowest index.
    """
    rows = tl.program_id(0).to(tl.int64) * BB + tl.arange(0, BB)
    chunk = tl.program_id(1)
    inside = (rows < B)[:, None]
    base = rows[:, None] * stride + tl.arange(0, BK)[None, :]
    best = tl.full([BB, 8], -1.0, tl.float32)
    best_tile = tl.zeros([BB, 8], tl.int32)
    first = chunk * tiles_per_chunk
    last = tl.minimum(first + tiles_per_chunk, (M + BM - 1) // BM)
    if SINGLE:
        residual = tl.load(residual_ptr + base, mask=inside, other=0.0).to(tl.float32)
        for tile in range(first, last):
            atoms = tl.minimum(tile * BM + tl.arange(0, BM), M - 1)
            entries = entries_tile(atoms, 0, n, order, rows_ptr, stream, key0, key1, KIND, BM, BK).to(tl.float32)
            acc = tl.dot(residual, tl.trans(entries), input_precision="ieee")
            best, best_tile = update_maxima(acc, atoms, inverse_ptr, tile, best, best_tile, SCALED, BB, BM)
    elif RESIDENT:
        high = tl.load(high_ptr + base, mask=inside, other=0.0)
        low = tl.load(low_ptr + base, mask=inside, other=0.0)
        for tile in range(first, last):
            atoms = tl.minimum(tile * BM + tl.arange(0, BM), M - 1)
            entries = tl.trans(float16_tile(dict_ptr, atoms, 0, stride, stream, key0, key1, KIND, BM, BK))
            acc = tl.dot(low, entries)
            acc = tl.dot(high, entries, acc)
            best, best_tile = update_maxima(acc, atoms, inverse_ptr, tile, best, best_tile, SCALED, BB, BM)
    else:
        for tile in range(first, last):
            atoms = tl.minimum(tile * BM + tl.arange(0, BM), M - 1)
            acc = tl.zeros([BB, BM], tl.float32)
            for start in range(0, stride, BK):
                high = tl.load(high_ptr + base + start, mask=inside, other=0.0)
                low = tl.load(low_ptr + base + start, mask=inside, other=0.0)
                entries = tl.trans(float16_tile(dict_ptr, atoms, start, stride, stream, key0, key1, KIND, BM, BK))
                acc = tl.dot(low, entries, acc)
                acc = tl.dot(high, entries, acc)
            best, best_tile = update_maxima(acc, atoms, inverse_ptr, tile, best, best_tile, SCALED, BB, BM)
    out = (rows[:, None] * tl.num_programs(1) + chunk) * 8 + tl.arange(0, 8)[None, :]
    tl.store(top_ptr + out, best, mask=inside)
    tl.store(tile_ptr + out, best_tile, mask=inside)


@triton.jit
def split_float16(values, scale):
    """Return the float16 high and low part of ``values * scale``; together 22 bits."""
    scaled = (values * scale).to(tl.float32)
    high = scaled.to(tl.float16)
    return high, (scaled - high.to(tl.float32)).to(tl.float16)


@triton.jit
def split_scale(energy):
    """Return the power of two that scales a vector of squared norm ``energy`` to a norm in 2**10 … 2**11 (1 for 0)."""
    exponent = (tl.sqrt(energy).to(tl.int32, bitcast=True) >> 23) & 0xFF
    field = tl.minimum(tl.maximum(264 - exponent, 1), 254)
    return tl.where(energy > 0, (field << 23).to(tl.float32, bitcast=True), 1.0)


@triton.jit(do_not_specialize=["n"])
def prepare_kernel(
    w_ptr,  # float32 [B, n]
    residual_ptr,  # float32 or float64 [B, stride]
    high_ptr,  # float16 [B, stride], or unused
    low_ptr,
    energy_ptr,  # float32 or float64, one every energy_stride
    n,
    stride,
    energy_stride,
    HALVES: tl.constexpr,
    BN: tl.constexpr,
):
    """Set residual = w padded with zeros, energy = |w|^2, and the float16 parts of the residual."""
    b = tl.program_id(0).to(tl.int64)
    total = tl.zeros([BN], tl.float32)
    for start in range(0, stride, BN):
        offsets = start + tl.arange(0, BN)
        w = tl.load(w_ptr + b * n + offsets, mask=offsets < n, other=0.0)
        tl.store(residual_ptr + b * stride + offsets, w, mask=offsets < stride)
        total += w * w
    energy = tl.sum(total, axis=0)
    tl.store(energy_ptr + b * energy_stride, energy)
    if HALVES:
        scale = split_scale(energy)
        for start in range(0, stride, BN):
            offsets = start + tl.arange(0, BN)
            w = tl.load(w_ptr + b * n + offsets, mask=offsets < n, other=0.0)
            high, low = split_float16(w, scale)
            tl.store(high_ptr + b * stride + offsets, high, mask=offsets < stride)
            tl.store(low_ptr + b * stride + offsets, low, mask=offsets < stride)


@dataclass(frozen=True)
class Tiling:
    """Hold the tile sizes of the dense kernel; ``resident`` and ``single`` as in :func:`correlate_kernel`."""

    BB: int
    BM: int
    BK: int
    single: bool
    resident: bool
    warps: int
    stages: int


def tiling(kind: str, n: int, B: int, stored: bool, major: int) -> Tiling:
    """Return the tiling for a shape on compute capability ``major``; tests check shared memory and registers.

    For few vectors the tile is small, and generation dominates. From capability 9 on, the residual tile stays in shared
    memory if n <= 256; below 9 it is read again for each tile of atoms.
    """
    vectors = max(16, triton.next_power_of_2(B))
    if n <= SMALL_N:
        return Tiling(min(vectors, 32), 128, max(16, triton.next_power_of_2(n)), True, False, 4, 1)
    words = 128 if kind == "rademacher" and not stored else 64
    if major < 9:
        return Tiling(min(vectors, 128), 64, words if n > 64 else 64, False, False, 8 if vectors > 64 else 4, 1)
    if vectors < 64:
        return Tiling(vectors, 128, words if n > 64 else 64, False, False, 4, 2)
    if n <= 128:
        return Tiling(min(vectors, 256), 128, 64 if n <= 64 else 128, False, True, 8, 2)
    if n <= 256:
        return Tiling(min(vectors, 128), 128, 256, False, True, 8, 2)
    return Tiling(min(vectors, 256 if stored else 128), 128, words, False, False, 8, 2)


class DenseCorrelator:
    """Launch :func:`correlate_kernel` for one dictionary and batch; hold its norms and candidate buffers.

    Parameters
    ----------
    kind, n, M, seed, stream
        The dictionary.
    B
        Vectors per launch.
    device
        Where it runs.
    stored
        Generate the entries once into an int8 scratch of at most 32 MiB and load them in every pass. By default
        (None) that is done where the scratch fits and ``passes`` is at least 2.
    passes
        How often :meth:`launch` will be called.
    shape
        Overrides the tiling.
    """

    def __init__(
        self,
        kind: str,
        n: int,
        M: int,
        seed: int,
        stream: int,
        B: int,
        device: torch.device,
        *,
        stored: bool | None = None,
        passes: int = 1,
        shape: Tiling | None = None,
    ) -> None:
        padded = -(-n // 64) * 64
        if stored is None:
            stored = passes > 1 and n > SMALL_N and padded * M <= GENERATED_LIMIT
        self.tiling = shape or tiling(kind, n, B, stored, capability(device)[0])
        t = self.tiling
        self.kind, self.n, self.M, self.B = kind, n, M, B
        self.stride = -(-n // t.BK) * t.BK
        self.tile_size = t.BM
        self.halves = not t.single
        self.rows, self.order = rows_for(kind, n, seed, stream, device)
        self.scaled = kind == "gaussian"
        self.inverse = (
            inverse_norms(n, M, seed, stream, device)
            if self.scaled
            else torch.empty(1, dtype=torch.float32, device=device)
        )
        self.stored = stored
        self.dictionary = self.inverse.view(torch.int8)
        if stored:
            self.dictionary = stored_dictionary(kind, n, M, seed, stream, device, self.stride)
        tiles, vector_tiles = -(-M // t.BM), -(-B // t.BB)
        chunks = max(1, multiprocessors(device) // vector_tiles)
        self.tiles_per_chunk = -(-tiles // min(tiles, chunks))
        self.chunks = -(-tiles // self.tiles_per_chunk)
        self.grid = (vector_tiles, self.chunks)
        self.top = torch.empty(B, self.chunks, RESIDUES, dtype=torch.float32, device=device)
        self.tile = torch.empty(B, self.chunks, RESIDUES, dtype=torch.int32, device=device)
        self.keys = split_seed(seed)
        self.stream = signed32(stream)

    def launch(self, residual: torch.Tensor, high: torch.Tensor, low: torch.Tensor) -> None:
        """Fill ``top`` and ``tile`` for residuals ``[B, stride]`` and their float16 parts."""
        t = self.tiling
        correlate_kernel[self.grid](
            residual, high, low, self.dictionary, self.inverse, self.rows, self.top, self.tile,
            self.B, self.M, self.n, self.order, self.stride, self.tiles_per_chunk, self.stream, *self.keys,
            KIND=0 if self.stored else KINDS[self.kind], SCALED=self.scaled, SINGLE=t.single, RESIDENT=t.resident,
            BB=t.BB, BM=t.BM, BK=t.BK, num_warps=t.warps, num_stages=t.stages,
        )  # fmt: skip
