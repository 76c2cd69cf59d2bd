"""What the checks on a GPU compare with: a float64 pursuit and a plain float32 one, in torch on the same device."""

from __future__ import annotations

from typing import Any

import torch


def float64_pursuit(W: torch.Tensor, atoms: torch.Tensor, s: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return plain float64 pursuit on int8 atoms [M, n]: indices [B, s], -1 after a stop, and path [B, s + 1]."""
    B, n = W.shape
    target = W.double()
    scale = target.abs().amax(1, keepdim=True).clamp_min(1e-300)
    target = target / scale
    norms = atoms.double().square().sum(1).sqrt() if atoms.numel() < 1 << 28 else blockwise_norms(atoms)
    residual, basis = target.clone(), torch.zeros(B, s, n, dtype=torch.float64, device=W.device)
    indices = torch.full((B, s), -1, dtype=torch.int64, device=W.device)
    path = target.square().sum(1, keepdim=True).repeat(1, s + 1)
    running = path[:, 0] > 0
    rows = torch.arange(B, device=W.device)
    step = max(1, (1 << 28) // n)
    for k in range(s):
        parts = [residual @ atoms[first : first + step].double().T for first in range(0, len(atoms), step)]
        score = torch.cat(parts, 1).abs() / torch.where(norms > 0, norms, torch.inf)
        if k:
            score.scatter_(1, indices[:, :k].clamp_min(0), -1.0)
        best, pick = score.max(1)[0], (score == score.max(1, keepdim=True)[0]).int().argmax(1)
        running = running & (best > 1e-13 * path[:, 0].sqrt())
        fresh = atoms[pick].double()
        length = fresh.norm(dim=1)
        for _ in range(2):
            fresh = fresh - (basis[:, :k].transpose(1, 2) @ (basis[:, :k] @ fresh[:, :, None]))[:, :, 0]
        pivot = fresh.norm(dim=1)
        running = running & (pivot > 1e-7 * length)
        basis[rows[running], k] = fresh[running] / pivot[running, None]
        indices[rows[running], k] = pick[running]
        along = basis[:, : k + 1] @ target[:, :, None]
        residual = target - (basis[:, : k + 1].transpose(1, 2) @ along)[:, :, 0]
        path[:, k + 1 :] = residual.square().sum(1, keepdim=True)
    return indices, path * scale**2


def blockwise_norms(atoms: torch.Tensor) -> torch.Tensor:
    """Return norms of the rows of a large int8 matrix: float64 [M]."""
    return torch.cat([part.double().square().sum(1).sqrt() for part in atoms.split(1 << 12)])


def compare(W: torch.Tensor, atoms: torch.Tensor, mine: torch.Tensor, path: torch.Tensor, s: int) -> dict[str, Any]:
    """Return supports and energies against the float64 pursuit; the gap at each vector's first differing pick."""
    truth, energies = float64_pursuit(W, atoms, s)
    mine = mine.long()
    differing = (mine != truth).any(1).nonzero()[:, 0].tolist()
    worst, stops = 0.0, 0
    for b in differing:
        k = int((mine[b] != truth[b]).nonzero()[0, 0])
        if min(int(mine[b, k]), int(truth[b, k])) < 0:
            stops += int(energies[b, k] > 1e-9 * energies[b, 0])
            continue
        w, chosen = W[b].double(), atoms[truth[b, :k]].double().T
        residual = w - chosen @ torch.linalg.lstsq(chosen, w[:, None]).solution[:, 0] if k else w
        two = atoms[torch.stack([mine[b, k], truth[b, k]])].double()
        scores = (two @ residual).abs() / two.norm(dim=1)
        worst = max(worst, float((scores[1] - scores[0]).abs() / scores.max()))
    floor = 1e-9 * energies[:, :1]
    energy = ((path.double() - energies).abs() / torch.maximum(energies, floor))[:, -1].max().item()
    share = len(differing) / len(W)
    limit = 1.0 if W.shape[1] <= 3 else max(0.01, 1 / len(W))  # in three dimensions many atoms tie exactly
    right = worst <= 1e-5 and stops == 0 and share <= limit and (energy <= 1e-3)
    return {"right": right, "differing": share, "worst_gap": worst, "false_stops": stops, "energy": energy}


def torch_omp(W: torch.Tensor, atoms: torch.Tensor, s: int) -> torch.Tensor:
    """Run a plain batched pursuit in torch: matmul, argmax, incremental Cholesky factor; float32 atoms [M, n]."""
    B = len(W)
    L = torch.zeros(B, s, s, device=W.device)
    picked = torch.empty(B, s, dtype=torch.int64, device=W.device)
    chosen = torch.empty(B, s, W.shape[1], device=W.device)
    residual, rows = W, torch.arange(B, device=W.device)
    for k in range(s):
        picked[:, k] = (residual @ atoms.T).abs().argmax(1)
        chosen[:, k] = atoms[picked[:, k]]
        gram = chosen[:, : k + 1] @ chosen[:, k, :, None]
        if k:
            row = torch.linalg.solve_triangular(L[:, :k, :k], gram[:, :k], upper=False)[:, :, 0]
            L[:, k, :k] = row
            L[rows, k, k] = (gram[:, k, 0] - row.square().sum(1)).clamp_min(1e-12).sqrt()
        else:
            L[:, 0, 0] = gram[:, 0, 0].sqrt()
        x = torch.cholesky_solve((chosen[:, : k + 1] @ W[:, :, None]), L[:, : k + 1, : k + 1])
        residual = W - (chosen[:, : k + 1].transpose(1, 2) @ x)[:, :, 0]
    return picked
