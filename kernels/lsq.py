"""Least squares on the device by orthogonalization (QR): adds one atom per call to the support of every vector.

With q_1 … q_k an orthonormal basis of the support, A = Q R and the residual is r = w - Q Q^T w. A new atom a gives
v = a - Q Q^T a (block Gram-Schmidt, repeated where v lost length: Giraud, Langou and Rozloznik, 2005), q = v / |v|,
y_k = q . r, r <- r - y_k q; after the last atom R x = y gives the values. A vector that has stopped keeps its
residual.

Buffers called real are float64 if the basis is small, else float32. The error of r is that of Q times |w|; in float32
it would change selections when |r| has fallen to about 1e-3 |w|.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .correlate import split_float16, split_scale
from .philox import entries_tile
from .select import best_atom

# A vector stops when its best normalized correlation is at most STOP * |w|, or |v|^2 <= DEPENDENT * |a|^2.
STOP = tl.constexpr(1e-6)
DEPENDENT = tl.constexpr(1e-11)


@triton.jit
def project(v, basis_ptr, column_ptr, k, stride, ADD: tl.constexpr, KB: tl.constexpr, BN: tl.constexpr):
    """Return v without its components along rows 0 … k - 1 of the basis; store (ADD) these in the column."""
    offsets = tl.arange(0, BN)
    for start in range(0, k, KB):
        rows = start + tl.arange(0, KB)
        inside = rows < k
        q = tl.load(
            basis_ptr + rows.to(tl.int64)[:, None] * stride + offsets[None, :],
            mask=inside[:, None] & (offsets < stride)[None, :],
            other=0.0,
        )  # [KB, BN]
        h = tl.sum(q * v[None, :], axis=1)
        v -= tl.sum(q * h[:, None], axis=0)
        if ADD:
            h += tl.load(column_ptr + rows, mask=inside, other=0.0)
        tl.store(column_ptr + rows, h, mask=inside)
    return v


@triton.jit(do_not_specialize=["slots", "k", "s", "M", "n", "order", "stream", "key0", "key1"])
def update_kernel(
    residual_ptr,  # real [B, stride]
    high_ptr,  # float16 [B, stride] if HALVES
    low_ptr,
    top_ptr,  # float32 [B, slots]
    tile_ptr,  # int32 [B, slots]
    rows_ptr,
    basis_ptr,  # real [B, s, stride]: q_k
    triangle_ptr,  # real [B, s, s]: column k of R in row k
    along_ptr,  # real [B, s]: y
    index_ptr,  # int32 [B, s]
    path_ptr,  # real [B, s + 1]
    alive_ptr,  # int32 [B]
    stride,
    slots,
    k,
    s,
    M,
    n,
    order,
    stream,
    key0,
    key1,
    KIND: tl.constexpr,
    HALVES: tl.constexpr,
    BM: tl.constexpr,
    SLOTS: tl.constexpr,
    BK: tl.constexpr,
    KB: tl.constexpr,
    BN: tl.constexpr,
):
    """Select atom k of vector b and add it to the basis, one vector per program, n <= BN."""
    b = tl.program_id(0).to(tl.int64)
    path = path_ptr + b * (s + 1)
    energy = tl.load(path + k)
    alive = tl.load(alive_ptr + b)
    if alive != 0:
        residual = residual_ptr + b * stride
        index = index_ptr + b * s
        atom, _, square, score = best_atom(
            residual, top_ptr + b * slots, tile_ptr + b * slots, rows_ptr, index, k, slots,
            M, n, order, stream, key0, key1, KIND, BM, SLOTS, BK,
        )  # fmt: skip
        alive = (score > STOP * tl.sqrt(tl.load(path))).to(tl.int32)
        if alive != 0:
            offsets = tl.arange(0, BN)
            inside = offsets < stride
            atoms = tl.zeros([1], tl.int32) + atom
            entries = entries_tile(atoms, 0, n, order, rows_ptr, stream, key0, key1, KIND, 1, BN)
            v = tl.sum(entries, axis=0).to(basis_ptr.dtype.element_ty)  # [BN]
            basis = basis_ptr + b * s * stride
            column = triangle_ptr + (b * s + k) * s
            v = project(v, basis, column, k, stride, False, KB, BN)
            length = tl.sum(v * v, axis=0)
            if length < 0.5 * square:
                tl.debug_barrier()
                v = project(v, basis, column, k, stride, True, KB, BN)
                length = tl.sum(v * v, axis=0)
            alive = (length > DEPENDENT * square).to(tl.int32)
            if alive != 0:
                norm = tl.sqrt(length)
                q = v / norm
                r = tl.load(residual + offsets, mask=inside, other=0.0)
                y = tl.sum(q * r, axis=0)
                r -= y * q
                energy = tl.sum(r * r, axis=0)
                tl.store(basis + k.to(tl.int64) * stride + offsets, q, mask=inside)
                tl.store(residual + offsets, r, mask=inside)
                if HALVES:
                    high, low = split_float16(r, split_scale(energy.to(tl.float32)))
                    tl.store(high_ptr + b * stride + offsets, high, mask=inside)
                    tl.store(low_ptr + b * stride + offsets, low, mask=inside)
                tl.store(column + k, norm)
                tl.store(along_ptr + b * s + k, y)
                tl.store(index + k, atom)
        tl.store(alive_ptr + b, alive)
    tl.store(path + k + 1, energy)


@triton.jit(do_not_specialize=["s"])
def solve_kernel(
    triangle_ptr,  # real [B, s, s]: column k of R in row k
    along_ptr,  # real [B, s]
    index_ptr,  # int32 [B, s]
    value_ptr,  # real [B, s]
    s,
    BS: tl.constexpr,
):
    """Set value[b] = R^-1 y on the support, 0 elsewhere, by columns from the last one."""
    b = tl.program_id(0).to(tl.int64)
    places = tl.arange(0, BS)
    picked = (tl.load(index_ptr + b * s + places, mask=places < s, other=-1) >= 0).to(tl.int32)
    count = tl.sum(picked, axis=0)
    y = tl.load(along_ptr + b * s + places, mask=places < count, other=0.0)
    for step in range(0, count):
        k = count - 1 - step
        column = tl.load(triangle_ptr + (b * s + k) * s + places, mask=places <= k, other=0.0)
        here = places == k
        x = tl.sum(tl.where(here, y, 0.0), axis=0) / tl.sum(tl.where(here, column, 0.0), axis=0)
        y = tl.where(here, x, y - x * column)
    tl.store(value_ptr + b * s + places, tl.where(places < count, y, 0.0), mask=places < s)
