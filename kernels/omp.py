"""Batched orthogonal matching pursuit on the device, without host synchronization between iterations.

Each iteration is one correlation (``correlate.py`` or ``hadamard.py``) and one update: ``lsq.py``, one program per
vector, or ``lsq_wide.py``, many programs per vector. A vector that stops early is masked on the device. The second
call with the same shape and dictionary records a CUDA graph, later calls replay it: at small shapes a launch costs
more than the kernel it starts.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

import torch
import triton

from ._checks import check_atoms, check_tensor, multiprocessors
from .hadamard import correlator
from .lsq import solve_kernel, update_kernel
from .lsq_wide import finish_kernel, generate_kernel, orthogonalize_kernel, pick_kernel, store_kernel
from .philox import KINDS
from .select import group_step, prepare

WORKSPACE_BYTES = 1 << 30
KEPT_BYTES = 256 << 20
DOUBLE_BYTES = 128 << 20  # a float64 basis up to this size, beyond it a float32 one
KEPT_PLANS = 4
NARROW_N = 1024
PART = 256
LONG_PART = 1024  # for n > 2**22: a grid has at most 65535 programs along its second axis


class Pursuit:
    """Hold the buffers and launch the kernels for pursuits of B vectors with s atoms in one dictionary.

    Parameters
    ----------
    kind, n, M, seed, stream
        The dictionary.
    B, s
        Vectors, and atoms per vector, both at least 1.
    device
        Where it runs.
    wide
        Cut each vector into parts; by default for n > 1024 and where the vectors are too few to fill the device.
    """

    def __init__(
        self,
        kind: str,
        n: int,
        M: int,
        seed: int,
        stream: int,
        B: int,
        s: int,
        device: torch.device,
        *,
        wide: bool | None = None,
    ) -> None:
        self.kind, self.n, self.M, self.B, self.s, self.device = kind, n, M, B, s, device
        self.engine = correlator(kind, n, M, seed, stream, B, device, passes=s)
        stride = self.engine.stride
        self.wide = (n > NARROW_N or (n > PART and multiprocessors(device) > 4 * B)) if wide is None else wide
        self.part = PART if n <= 1 << 22 else LONG_PART
        self.parts = triton.cdiv(stride, self.part) if self.wide else 1
        real = torch.float64 if 8 * B * s * stride <= DOUBLE_BYTES else torch.float32
        self.W = torch.empty(B, n, dtype=torch.float32, device=device)
        self.residual = torch.empty(B, stride, dtype=real, device=device)
        halves = torch.empty(2, B, stride if self.engine.halves else 0, dtype=torch.float16, device=device)
        self.high, self.low = (halves[0], halves[1]) if self.engine.halves else (self.residual, self.residual)
        self.basis = torch.empty(B, s, stride, dtype=real, device=device)
        self.triangle = torch.empty(B, s, s, dtype=real, device=device)
        self.along = torch.empty(B, s, dtype=real, device=device)
        self.index = torch.empty(B, s, dtype=torch.int32, device=device)
        self.value = torch.empty(B, s, dtype=real, device=device)
        self.energy = torch.empty(B, s + 1, self.parts, dtype=real, device=device)
        self.alive = torch.empty(B, dtype=torch.int32, device=device)
        if self.wide:
            self.pick = torch.empty(B, dtype=torch.int32, device=device)
            self.square = torch.empty(B, dtype=torch.float32, device=device)
            self.v = torch.empty(B, stride, dtype=real, device=device)
            self.partial = torch.empty(2, B, self.parts, s, dtype=real, device=device)
            self.sums = torch.empty(B, self.parts, 2, dtype=real, device=device)
        self.calls = 0
        self.graph: torch.cuda.CUDAGraph | None = None

    @staticmethod
    def bytes_per_vector(n: int, s: int) -> int:
        """Return the bytes of workspace per vector, without the scratch of the correlation."""
        return 8 * s * (n + 64 + s) + 64 * (n + 64)

    def launch(self) -> None:
        """Launch all kernels of one pursuit, from ``W`` to ``index``, ``value`` and ``energy``."""
        prepare(self.W, self.engine, self.energy.view(self.B, -1), (self.residual, self.high, self.low))
        self.energy[:, 0, 1:] = 0
        self.index.fill_(-1)
        self.alive.fill_(1)
        for k in range(self.s):
            self.engine.launch(self.residual, self.high, self.low)
            if self.wide:
                self._update_wide(k)
            else:
                self._update(k)
        solve_kernel[(self.B,)](
            self.triangle, self.along, self.index, self.value, self.s, BS=triton.next_power_of_2(self.s)
        )

    def _selection(self) -> dict[str, int]:
        slots = self.engine.top[0].numel()
        return {
            "KIND": KINDS[self.kind], "BM": self.engine.tile_size, "SLOTS": triton.next_power_of_2(slots),
            "BK": group_step(self.n, self.engine.tile_size // 8),
        }  # fmt: skip

    def _update(self, k: int) -> None:
        e = self.engine
        width = max(16, triton.next_power_of_2(e.stride))
        update_kernel[(self.B,)](
            self.residual, self.high, self.low, e.top, e.tile, e.rows, self.basis, self.triangle, self.along,
            self.index, self.energy, self.alive, e.stride, e.top[0].numel(), k, self.s, self.M, self.n, e.order,
            e.stream, *e.keys, HALVES=e.halves, KB=max(1, min(16, 4096 // width)), BN=width, **self._selection(),
        )  # fmt: skip

    def _update_wide(self, k: int) -> None:
        e, grid = self.engine, (self.B, self.parts)
        sizes = (e.stride, k, self.s, self.parts)
        steps = {"KB": 4096 // self.part, "BN": self.part}
        pick_kernel[(self.B,)](
            self.residual, e.top, e.tile, e.rows, self.energy, self.index, self.alive, self.pick, self.square,
            e.stride, e.top[0].numel(), k, self.s, self.parts, self.M, self.n, e.order, e.stream, *e.keys,
            **self._selection(),
        )  # fmt: skip
        generate_kernel[grid](
            e.rows, self.pick, self.basis, self.v, self.partial[0], *sizes, self.n, e.order, e.stream, *e.keys,
            KIND=KINDS[self.kind], **steps,
        )  # fmt: skip
        orthogonalize_kernel[grid](
            self.pick, self.basis, self.v, self.partial[0], self.partial[1], self.triangle, *sizes, **steps
        )
        finish_kernel[grid](
            self.pick, self.basis, self.v, self.residual, self.partial[1], self.triangle, self.sums, *sizes, **steps
        )
        store_kernel[grid](
            self.pick, self.square, self.basis, self.v, self.residual, self.high, self.low, self.sums, self.triangle,
            self.along, self.index, self.alive, self.energy, *sizes, HALVES=e.halves, BN=self.part,
        )  # fmt: skip

    def run(self, W: torch.Tensor, *, graph: bool = True) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return new tensors: indices, values and path of the rows of W, which must be scaled to about 1."""
        self.W.copy_(W)
        self.calls += 1
        if self.graph is not None and graph:
            self.graph.replay()
        elif graph and self.calls > 1 and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            captured = torch.cuda.CUDAGraph()
            with torch.cuda.graph(captured, capture_error_mode="thread_local"):
                self.launch()
            captured.replay()
            self.graph = captured
        else:
            self.launch()
        return self.index.clone(), self.value.clone(), self.energy.sum(dim=2)


_plans: OrderedDict[tuple[object, ...], Pursuit] = OrderedDict()
_plans_lock = threading.Lock()


def _plan(kind: str, n: int, M: int, seed: int, stream: int, B: int, s: int, device: torch.device) -> Pursuit:
    """Return a pursuit; one with a small workspace is kept for its thread and CUDA stream."""
    if device.type != "cuda" or B * Pursuit.bytes_per_vector(n, s) > KEPT_BYTES:
        return Pursuit(kind, n, M, seed, stream, B, s, device)
    place = (threading.get_ident(), torch.cuda.current_stream(device).cuda_stream)
    key = (kind, n, M, seed, stream, B, s, device, *place)
    with _plans_lock:
        found = _plans.pop(key, None)
        plan = found or Pursuit(kind, n, M, seed, stream, B, s, device)
        _plans[key] = plan
        while len(_plans) > KEPT_PLANS:
            _plans.popitem(last=False)
    return plan


def _power_of_two(exponent: torch.Tensor) -> torch.Tensor:
    """Return 2 ** exponent, exact, for int64 exponents of normal float64 numbers."""
    return ((exponent + 1023) << 52).view(torch.float64)


def omp(
    W: torch.Tensor, kind: str, M: int, seed: int, stream: int, s: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Approximate each row w of W by at most s atoms: ``argmin |w - A x|^2 subject to |x|_0 <= s``, greedily.

    Parameters
    ----------
    W
        float32 ``[B, n]``, contiguous, finite.
    kind
        ``gaussian``, ``rademacher`` or ``hadamard`` (n up to 2**16).
    M
        number of atoms.
    seed
        the 64-bit key.
    stream
        32-bit stream number.
    s
        atoms per vector, ``0 … min(n, M)``.

    Returns
    -------
    Indices int32 ``[B, s]`` in order of selection, -1 after an early stop; values float32 ``[B, s]`` that multiply
    the raw integer atoms; path float32 ``[B, s + 1]``, the squared residual norm after 0 … s atoms.

    Raises
    ------
    ValueError
        If an argument is out of range; the message says which.

    Y. C. Pati, R. Rezaiifar, P. S. Krishnaprasad, "Orthogonal matching pursuit", Asilomar 1993; J. A. Tropp,
    A. C. Gilbert, "Signal recovery from random measurements via orthogonal matching pursuit", 2007.
    """
    check_tensor("W", W, torch.float32, (None, None))
    B, n = W.shape
    check_atoms(kind, n, M, seed, stream)
    if not 0 <= s <= min(n, M):
        raise ValueError(f"s must lie in 0 … min(n, M) = {min(n, M)}, got {s}")
    index = torch.empty(B, s, dtype=torch.int32, device=W.device)
    value = torch.empty(B, s, dtype=torch.float32, device=W.device)
    path = torch.empty(B, s + 1, dtype=torch.float32, device=W.device)
    if B == 0:
        return index, value, path
    exponent = (W.abs().amax(dim=1).double().view(torch.int64) >> 52) - 1023
    exponent = torch.where(exponent < -1000, 0, exponent)[:, None]
    scaled = (W.double() * _power_of_two(-exponent)).float()
    if s == 0:
        path[:, 0] = scaled.double().square().sum(dim=1) * _power_of_two(2 * exponent)[:, 0]
        return index, value, path
    block = min(B, max(1, WORKSPACE_BYTES // Pursuit.bytes_per_vector(n, s)))
    for first in range(0, B, block):
        rows = slice(first, min(first + block, B))
        plan = _plan(kind, n, M, seed, stream, rows.stop - first, s, W.device)
        index[rows], found, energy = plan.run(scaled[rows])
        value[rows] = (found.double() * _power_of_two(exponent[rows])).float()
        path[rows] = (energy.double() * _power_of_two(2 * exponent[rows])).float()
    return index, value, path
