"""The second, deterministic reduction: from candidate groups to the best atom of each vector.

A correlation kernel leaves, per vector, (value, tile) for each chunk and each residue modulo 8. The atoms of the
winning group are generated again, one vector per program, and correlated in float32. Used atoms and zero atoms are
left out; ties go to the lowest index.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from ._checks import check_atoms, check_tensor
from .correlate import DenseCorrelator, prepare_kernel
from .hadamard import HadamardCorrelator, correlator
from .philox import KINDS, entries_tile


@triton.jit
def best_atom(
    residual_ptr,  # float32 or float64: this vector's residual
    top_ptr,  # float32 [slots]: this vector's candidates
    tile_ptr,  # int32 [slots]
    rows_ptr,
    used_ptr,  # int32 [used]: this vector's atoms so far
    used,
    slots,
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
    """Return the best atom, a . r and |a|^2 (index -1 and score -1 if no atom is left), and its score |a . r| / |a|.

    Searches every residue class that ties for the largest candidate in the first tile with it, so that equal candidates
    do not hide the lowest index.
    """
    places = tl.arange(0, SLOTS)
    top = tl.load(top_ptr + places, mask=places < slots, other=-2.0)
    tiles = tl.load(tile_ptr + places, mask=places < slots, other=0)
    largest = tl.max(top, axis=0)
    tile = tl.min(tl.where(top == largest, tiles, 0x7FFFFFFF), axis=0)
    ties = (top == largest) & (tiles == tile)
    score = tl.full([], -1.0, tl.float32)
    atom = tl.full([], -1, tl.int32)
    along = tl.full([], 0.0, tl.float32)
    square = tl.full([], 0.0, tl.float32)
    GROUP: tl.constexpr = BM // 8
    for residue in range(8):
        if tl.max((ties & (places % 8 == residue)).to(tl.int32), axis=0) > 0:
            atoms = tile * BM + residue + 8 * tl.arange(0, GROUP)
            dots = tl.zeros([GROUP], tl.float32)
            squares = tl.zeros([GROUP], tl.float32)
            for start in range(0, n, BK):
                offsets = start + tl.arange(0, BK)
                r = tl.load(residual_ptr + offsets, mask=offsets < n, other=0.0).to(tl.float32)
                a = entries_tile(atoms, start, n, order, rows_ptr, stream, key0, key1, KIND, GROUP, BK).to(tl.float32)
                dots += tl.sum(a * r[None, :], axis=1)
                squares += tl.sum(a * a, axis=1)
            taken = tl.zeros([GROUP], tl.int32)
            for start in range(0, used, 16):
                offsets = start + tl.arange(0, 16)
                before = tl.load(used_ptr + offsets, mask=offsets < used, other=-1)
                taken = tl.maximum(taken, tl.max((atoms[:, None] == before[None, :]).to(tl.int32), axis=1))
            usable = (atoms < M) & (squares > 0) & (taken == 0)
            scores = tl.where(usable, tl.abs(dots) / tl.sqrt(tl.maximum(squares, 1.0)), -1.0)
            here = tl.max(scores, axis=0)
            first = tl.min(tl.where(scores == here, atoms, 0x7FFFFFFF), axis=0)
            if (here > score) | ((here == score) & (here >= 0) & (first < atom)):
                score = here
                atom = first
                along = tl.sum(tl.where(atoms == first, dots, 0.0), axis=0)
                square = tl.sum(tl.where(atoms == first, squares, 0.0), axis=0)
    return atom, along, square, score


@triton.jit(do_not_specialize=["slots", "M", "n", "order", "stream", "key0", "key1"])
def select_kernel(
    residual_ptr,  # float32 [B, stride]
    top_ptr,  # float32 [B, slots]
    tile_ptr,  # int32 [B, slots]
    rows_ptr,
    index_ptr,  # int32 [B]
    value_ptr,  # float32 [B]
    stride,
    slots,
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
    """Set index[b] = the best atom of vector b, value[b] = a . r / |a|; -1 and 0 if all atoms are zero."""
    b = tl.program_id(0).to(tl.int64)
    atom, along, square, score = best_atom(
        residual_ptr + b * stride, top_ptr + b * slots, tile_ptr + b * slots, rows_ptr, index_ptr, 0, slots,
        M, n, order, stream, key0, key1, KIND, BM, SLOTS, BK,
    )  # fmt: skip
    tl.store(index_ptr + b, atom)
    tl.store(value_ptr + b, tl.where(score >= 0, along / tl.sqrt(tl.maximum(square, 1.0)), 0.0))


def group_step(n: int, group: int) -> int:
    """Return the entries per step of :func:`best_atom`, so that a step's tile has at most 4096 entries."""
    return max(16, min(triton.next_power_of_2(n), 4096 // group, 1024))


def correlate_argmax(R: torch.Tensor, kind: str, M: int, seed: int, stream: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the atom with the largest |a . r| / |a| for each residual, ties to the lowest index.

    Parameters
    ----------
    R
        float32 ``[B, n]``, contiguous, finite.
    kind
        ``gaussian``, ``rademacher`` or ``hadamard``.
    M
        number of atoms.
    seed
        the 64-bit key.
    stream
        32-bit stream number.

    Returns
    -------
    int32 ``[B]`` and the signed a . r / |a|, float32 ``[B]``; -1 and 0 where every atom is zero.

    Raises
    ------
    ValueError
        If an argument is out of range; the message says which.
    """
    check_tensor("R", R, torch.float32, (None, None))
    B, n = R.shape
    check_atoms(kind, n, M, seed, stream)
    index = torch.empty(B, dtype=torch.int32, device=R.device)
    value = torch.empty(B, dtype=torch.float32, device=R.device)
    if B == 0:
        return index, value
    engine = correlator(kind, n, M, seed, stream, B, R.device)
    residual = torch.empty(B, engine.stride, dtype=torch.float32, device=R.device)
    halves = torch.empty(2, B, engine.stride if engine.halves else 0, dtype=torch.float16, device=R.device)
    high, low = (halves[0], halves[1]) if engine.halves else (residual, residual)
    prepare(R, engine, torch.empty(B, 1, dtype=torch.float32, device=R.device), (residual, high, low))
    engine.launch(residual, high, low)
    slots = engine.top[0].numel()
    select_kernel[(B,)](
        residual, engine.top, engine.tile, engine.rows, index, value, engine.stride, slots, M, n, engine.order,
        engine.stream, *engine.keys, KIND=KINDS[kind], BM=engine.tile_size, SLOTS=triton.next_power_of_2(slots),
        BK=group_step(n, engine.tile_size // 8),
    )  # fmt: skip
    return index, value


def prepare(
    W: torch.Tensor,
    engine: DenseCorrelator | HadamardCorrelator,
    energy: torch.Tensor,
    out: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    """Fill the residual and its float16 parts ``[B, stride]`` from W ``[B, n]``; squared norms go to energy[:, 0]."""
    stride = engine.stride
    prepare_kernel[(len(W),)](
        W, *out, energy, W.shape[1], stride, energy.stride(0), HALVES=engine.halves,
        BN=min(1024, max(16, triton.next_power_of_2(stride))),
    )  # fmt: skip
