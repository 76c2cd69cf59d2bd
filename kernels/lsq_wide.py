"""The update of ``lsq.py`` for long or few vectors: each is cut into parts of BN entries, one program a part.

Buffers are those of ``lsq.py``. Sums over a vector pass between kernels as one partial sum per part, added in a fixed
order, so results are deterministic. Steps of one iteration: pick, generate (a and Q^T a), orthogonalize (v = a - Q h
and Q^T v), finish (v - Q h, |v|^2, v . r), store (q, r, energy).
"""

from __future__ import annotations

import triton
import triton.language as tl

from .correlate import split_float16, split_scale
from .lsq import DEPENDENT, STOP
from .philox import entries_tile
from .select import best_atom


@triton.jit
def sum_parts(ptr, count, gap, PB: tl.constexpr):
    """Return the sum of ``count`` numbers ``gap`` apart, in a fixed order."""
    total = tl.zeros([PB], ptr.dtype.element_ty)
    for start in range(0, count, PB):
        parts = start + tl.arange(0, PB)
        total += tl.load(ptr + parts * gap, mask=parts < count, other=0.0)
    return tl.sum(total, axis=0)


@triton.jit
def sum_rows(ptr, columns, inside, count, gap, PB: tl.constexpr, KB: tl.constexpr):
    """Return, for each column, the sum of ``count`` rows ``gap`` apart: ``[KB]``."""
    total = tl.zeros([PB, KB], ptr.dtype.element_ty)
    for start in range(0, count, PB):
        parts = start + tl.arange(0, PB)
        mask = (parts < count)[:, None] & inside[None, :]
        total += tl.load(ptr + parts[:, None] * gap + columns[None, :], mask=mask, other=0.0)
    return tl.sum(total, axis=0)


@triton.jit(do_not_specialize=["slots", "k", "s", "parts", "M", "n", "order", "stream", "key0", "key1"])
def pick_kernel(
    residual_ptr,  # real [B, stride]
    top_ptr,  # float32 [B, slots]
    tile_ptr,  # int32 [B, slots]
    rows_ptr,
    energy_ptr,  # real [B, s + 1, parts]
    index_ptr,  # int32 [B, s]
    alive_ptr,  # int32 [B]
    pick_ptr,  # int32 [B]: the atom, -1 for a vector that has stopped
    square_ptr,  # float32 [B]: |a|^2
    stride,
    slots,
    k,
    s,
    parts,
    M,
    n,
    order,
    stream,
    key0,
    key1,
    KIND: tl.constexpr,
    BM: tl.constexpr,
    SLOTS: tl.constexpr,
    BK: tl.constexpr,
):
    """Select atom k of each vector."""
    b = tl.program_id(0).to(tl.int64)
    pick = tl.full([], -1, tl.int32)
    if tl.load(alive_ptr + b) != 0:
        atom, _, square, score = best_atom(
            residual_ptr + b * stride, top_ptr + b * slots, tile_ptr + b * slots, rows_ptr, index_ptr + b * s, k, slots,
            M, n, order, stream, key0, key1, KIND, BM, SLOTS, BK,
        )  # fmt: skip
        total = sum_parts(energy_ptr + b * (s + 1) * parts, parts, 1, 64)
        go = score > STOP * tl.sqrt(total)
        pick = tl.where(go, atom, -1)
        tl.store(alive_ptr + b, go.to(tl.int32))
        tl.store(square_ptr + b, square)
    tl.store(pick_ptr + b, pick)


@triton.jit(do_not_specialize=["k", "s", "parts", "n", "order", "stream", "key0", "key1"])
def generate_kernel(
    rows_ptr,
    pick_ptr,  # int32 [B]
    basis_ptr,  # real [B, s, stride]
    v_ptr,  # real [B, stride]
    partial_ptr,  # real [B, parts, s]
    stride,
    k,
    s,
    parts,
    n,
    order,
    stream,
    key0,
    key1,
    KIND: tl.constexpr,
    KB: tl.constexpr,
    BN: tl.constexpr,
):
    """Set v = the selected atom, partial = this part's share of Q^T v; grid (B, parts)."""
    b = tl.program_id(0).to(tl.int64)
    part = tl.program_id(1)
    pick = tl.load(pick_ptr + b)
    if pick >= 0:
        atoms = tl.zeros([1], tl.int32) + pick
        entries = entries_tile(atoms, part * BN, n, order, rows_ptr, stream, key0, key1, KIND, 1, BN)
        v = tl.sum(entries, axis=0).to(v_ptr.dtype.element_ty)
        offsets = part * BN + tl.arange(0, BN)
        tl.store(v_ptr + b * stride + offsets, v, mask=offsets < stride)
        for start in range(0, k, KB):
            rows = start + tl.arange(0, KB)
            mask = (rows < k)[:, None] & (offsets < stride)[None, :]
            q = tl.load(basis_ptr + (b * s + rows)[:, None] * stride + offsets[None, :], mask=mask, other=0.0)
            tl.store(partial_ptr + (b * parts + part) * s + rows, tl.sum(q * v[None, :], axis=1), mask=rows < k)


@triton.jit
def subtract_projection(
    v, offsets, b, part, basis_ptr, partial_ptr, triangle_ptr, stride, k, s, parts, ADD: tl.constexpr, KB: tl.constexpr
):
    """Return v - Q h on this part, where h is the sum of the partials; part 0 stores (ADDs) h in column k of R."""
    for start in range(0, k, KB):
        rows = start + tl.arange(0, KB)
        inside = rows < k
        h = sum_rows(partial_ptr + b * parts * s, rows, inside, parts, s, 16, KB)
        mask = inside[:, None] & (offsets < stride)[None, :]
        q = tl.load(basis_ptr + (b * s + rows)[:, None] * stride + offsets[None, :], mask=mask, other=0.0)
        v -= tl.sum(q * h[:, None], axis=0)
        if part == 0:
            column = triangle_ptr + (b * s + k) * s + rows
            if ADD:
                h += tl.load(column, mask=inside, other=0.0)
            tl.store(column, h, mask=inside)
    return v


@triton.jit(do_not_specialize=["k", "s", "parts"])
def orthogonalize_kernel(
    pick_ptr,  # int32 [B]
    basis_ptr,  # real [B, s, stride]
    v_ptr,  # real [B, stride]
    partial_ptr,  # real [B, parts, s]: Q^T a
    again_ptr,  # real [B, parts, s]: Q^T v
    triangle_ptr,  # real [B, s, s]
    stride,
    k,
    s,
    parts,
    KB: tl.constexpr,
    BN: tl.constexpr,
):
    """Set v = a - Q h and the partial sums of Q^T v; grid (B, parts)."""
    b = tl.program_id(0).to(tl.int64)
    part = tl.program_id(1)
    if tl.load(pick_ptr + b) >= 0:
        offsets = part * BN + tl.arange(0, BN)
        v = tl.load(v_ptr + b * stride + offsets, mask=offsets < stride, other=0.0)
        v = subtract_projection(
            v, offsets, b, part, basis_ptr, partial_ptr, triangle_ptr, stride, k, s, parts, False, KB
        )
        tl.store(v_ptr + b * stride + offsets, v, mask=offsets < stride)
        for start in range(0, k, KB):
            rows = start + tl.arange(0, KB)
            mask = (rows < k)[:, None] & (offsets < stride)[None, :]
            q = tl.load(basis_ptr + (b * s + rows)[:, None] * stride + offsets[None, :], mask=mask, other=0.0)
            tl.store(again_ptr + (b * parts + part) * s + rows, tl.sum(q * v[None, :], axis=1), mask=rows < k)


@triton.jit(do_not_specialize=["k", "s", "parts"])
def finish_kernel(
    pick_ptr,  # int32 [B]
    basis_ptr,  # real [B, s, stride]
    v_ptr,  # real [B, stride]
    residual_ptr,  # real [B, stride]
    again_ptr,  # real [B, parts, s]
    triangle_ptr,  # real [B, s, s]
    sums_ptr,  # real [B, parts, 2]: |v|^2 and v . r
    stride,
    k,
    s,
    parts,
    KB: tl.constexpr,
    BN: tl.constexpr,
):
    """Project v again, and set this part's share of |v|^2 and v . r; grid (B, parts)."""
    b = tl.program_id(0).to(tl.int64)
    part = tl.program_id(1)
    if tl.load(pick_ptr + b) >= 0:
        offsets = part * BN + tl.arange(0, BN)
        v = tl.load(v_ptr + b * stride + offsets, mask=offsets < stride, other=0.0)
        v = subtract_projection(v, offsets, b, part, basis_ptr, again_ptr, triangle_ptr, stride, k, s, parts, True, KB)
        r = tl.load(residual_ptr + b * stride + offsets, mask=offsets < stride, other=0.0)
        tl.store(v_ptr + b * stride + offsets, v, mask=offsets < stride)
        out = sums_ptr + (b * parts + part) * 2
        tl.store(out, tl.sum(v * v, axis=0))
        tl.store(out + 1, tl.sum(v * r, axis=0))


@triton.jit(do_not_specialize=["k", "s", "parts"])
def store_kernel(
    pick_ptr,  # int32 [B]
    square_ptr,  # float32 [B]
    basis_ptr,  # real [B, s, stride]
    v_ptr,  # real [B, stride]
    residual_ptr,  # real [B, stride]
    high_ptr,  # float16 [B, stride] if HALVES
    low_ptr,
    sums_ptr,  # real [B, parts, 2]
    triangle_ptr,  # real [B, s, s]
    along_ptr,  # real [B, s]
    index_ptr,  # int32 [B, s]
    alive_ptr,  # int32 [B]
    energy_ptr,  # real [B, s + 1, parts]
    stride,
    k,
    s,
    parts,
    HALVES: tl.constexpr,
    BN: tl.constexpr,
):
    """Store row k of the basis, the new residual and its energy; grid (B, parts).

    The float16 parts are scaled by the energy before this atom; only a fall by 2**10 in one step would lose a bit.
    """
    b = tl.program_id(0).to(tl.int64)
    part = tl.program_id(1)
    pick = tl.load(pick_ptr + b)
    now = energy_ptr + (b * (s + 1) + k) * parts
    energy = tl.load(now + part)
    if pick >= 0:
        length = sum_parts(sums_ptr + b * parts * 2, parts, 2, 64)
        if length > DEPENDENT * tl.load(square_ptr + b):
            offsets = part * BN + tl.arange(0, BN)
            inside = offsets < stride
            norm = tl.sqrt(length)
            y = sum_parts(sums_ptr + b * parts * 2 + 1, parts, 2, 64) / norm
            q = tl.load(v_ptr + b * stride + offsets, mask=inside, other=0.0) / norm
            r = tl.load(residual_ptr + b * stride + offsets, mask=inside, other=0.0) - y * q
            energy = tl.sum(r * r, axis=0)
            tl.store(basis_ptr + (b * s + k) * stride + offsets, q, mask=inside)
            tl.store(residual_ptr + b * stride + offsets, r, mask=inside)
            if HALVES:
                high, low = split_float16(r, split_scale(sum_parts(now, parts, 1, 64).to(tl.float32)))
                tl.store(high_ptr + b * stride + offsets, high, mask=inside)
                tl.store(low_ptr + b * stride + offsets, low, mask=inside)
            if part == 0:
                tl.store(triangle_ptr + (b * s + k) * s + k, norm)
                tl.store(along_ptr + b * s + k, y)
                tl.store(index_ptr + b * s + k, pick)
        else:
            if part == 0:
                tl.store(alive_ptr + b, 0)
    tl.store(now + parts + part, energy)
