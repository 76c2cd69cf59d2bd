"""Weights from integer codes, with the bits of the NumPy reference: float32(sum of q_k a_k) * step.

The sum is computed in integers: int32 if a bound proves that to be enough, else int64. It is converted once and
multiplied once, each rounded to nearest even. No addition follows the product, so no fused multiply-add can occur.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from ._checks import check_atoms, check_tensor, signed32, split_seed
from .philox import KINDS, entries_tile, rows_for

LARGEST_ENTRY = {"gaussian": 4, "rademacher": 1, "hadamard": 1}
SMALLEST_NORMAL = 2.0**-126
LARGEST = torch.finfo(torch.float32).max


@triton.jit(do_not_specialize=["s", "n", "order", "stream", "key0", "key1"])
def synthesize_kernel(
    index_ptr,  # int32 [B, s]
    q_ptr,  # int32 [B, s]
    rows_ptr,
    out_ptr,  # float32 [B, n]
    s,
    n,
    order,
    stream,
    key0,
    key1,
    step,
    KIND: tl.constexpr,
    WIDE: tl.constexpr,
    KB: tl.constexpr,
    BN: tl.constexpr,
):
    """Set out[b] = float32(sum_k q[b, k] A[:, index[b, k]]) * step; grid (B, parts of BN entries)."""
    b = tl.program_id(0).to(tl.int64)
    start = tl.program_id(1) * BN
    total = tl.zeros([BN], tl.int64 if WIDE else tl.int32)
    for first in range(0, s, KB):
        places = first + tl.arange(0, KB)
        atoms = tl.load(index_ptr + b * s + places, mask=places < s, other=0)
        q = tl.load(q_ptr + b * s + places, mask=places < s, other=0)
        values = entries_tile(atoms, start, n, order, rows_ptr, stream, key0, key1, KIND, KB, BN)
        if WIDE:
            total += tl.sum(values.to(tl.int64) * q.to(tl.int64)[:, None], axis=0)
        else:
            total += tl.sum(values * q[:, None], axis=0)
    offsets = start + tl.arange(0, BN)
    tl.store(out_ptr + b * n + offsets, total.to(tl.float32) * step, mask=offsets < n)


def synthesize(
    indices: torch.Tensor, q: torch.Tensor, step: float, kind: str, n: int, M: int, seed: int, stream: int
) -> torch.Tensor:
    """Return float32(sum_k q[b, k] A[:, indices[b, k]]) * step: float32 ``[B, n]``, equal bits on every backend.

    Parameters
    ----------
    indices
        int32 ``[B, s]``, each in ``0 … M - 1``, contiguous.
    q
        int32 ``[B, s]``; 0 contributes nothing.
    step
        a normal float32.
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

    Raises
    ------
    ValueError
        If an index, the step or another argument is out of range, or if a weight overflows float32.
    """
    check_atoms(kind, n, M, seed, stream)
    check_tensor("indices", indices, torch.int32, (None, None))
    check_tensor("q", q, torch.int32, tuple(indices.shape))
    if q.device != indices.device:
        raise ValueError(f"q must be on {indices.device} like indices, got {q.device}")
    if not (SMALLEST_NORMAL <= abs(step) <= LARGEST and float(torch.tensor(step, dtype=torch.float32)) == step):
        raise ValueError(f"step must be a normal float32, got {step!r}")
    B, s = indices.shape
    out = torch.empty(B, n, dtype=torch.float32, device=indices.device)
    if B == 0:
        return out
    if s == 0:
        return out.zero_()
    wide = q.to(torch.int64).abs()
    low, high, largest, weight = torch.stack([indices.amin(), indices.amax(), wide.amax(), wide.sum(1).amax()]).tolist()
    if low < 0 or high >= M:
        raise ValueError(f"indices must lie in 0 … {M - 1}, got {low} … {high}")
    bound = weight * LARGEST_ENTRY[kind]
    rows, order = rows_for(kind, n, seed, stream, indices.device)
    key0, key1 = split_seed(seed)
    # A grid has at most 65535 programs along its second axis.
    width = min(128 if n <= 1 << 22 else 1024, max(16, triton.next_power_of_2(n)))
    synthesize_kernel[(B, triton.cdiv(n, width))](
        indices, q, rows, out, s, n, order, signed32(stream), key0, key1, step,
        KIND=KINDS[kind], WIDE=bound >= 1 << 31, KB=2048 // width if width > 128 else 16, BN=width,
    )  # fmt: skip
    if bound * abs(step) > LARGEST and not bool(torch.isfinite(out).all()):
        raise ValueError(f"a weight overflows float32: step {step!r}, sums up to {bound}, q up to {largest}")
    return out
