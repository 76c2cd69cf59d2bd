"""Entries, synthesis and pursuits on the device against their references."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch

from bench.speed.gpu.reference import compare
from bench.speed.gpu.shapes import KINDS, SEED, STREAM


def check_entries(kernels: Any, rng: Any, device: torch.device, tiny: bool) -> dict[str, bool]:
    """Check that entries of every kind equal the NumPy reference."""
    sizes = (1, 3, 64, 300) if tiny else (1, 2, 3, 63, 64, 100, 128, 300, 1024, 16384)
    result = {}
    for kind in KINDS:
        for n in sizes:
            js = np.array([0, 1, 77, 12345, 2**24 - 1])
            made = kernels.entries(kind, n, 2**24, SEED, STREAM, torch.from_numpy(js).to(device)).cpu().numpy()
            result[f"{kind}-{n}"] = bool((made == rng.entries(kind, n, SEED, STREAM, js)).all())
    if not all(result.values()):
        raise AssertionError(f"entries differ: {[key for key, same in result.items() if not same]}")
    return result


def check_synthesis(kernels: Any, rng: Any, device: torch.device, native: Any) -> dict[str, Any]:
    """Check that weights made on the device have the bits that NumPy, and the extension where there is one, give."""
    generator, step, result = np.random.default_rng(0), float(np.float32(0.00123)), {"native": native is not None}
    for kind in KINDS:
        for n, M, B, s, bits in ((3, 7, 3, 3, 16), (64, 4096, 9, 24, 16), (300, 2**24, 5, 33, 32)):
            js = generator.integers(0, M, (B, s), np.int32)
            q = generator.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (B, s)).astype(np.int32)
            parts = torch.from_numpy(js).to(device), torch.from_numpy(q).to(device)
            made = kernels.synthesize(*parts, step, kind, n, M, SEED, STREAM).cpu().numpy()
            sums = [
                q[b].astype(np.int64) @ rng.entries(kind, n, SEED, STREAM, js[b]).astype(np.int64) for b in range(B)
            ]
            truth = np.stack(sums).astype(np.float32) * np.float32(step)
            same = bool((made.view(np.int32) == truth.view(np.int32)).all())
            if native is not None:
                host = native.synthesize(js, q, step, rng.KINDS[kind], n, M, SEED, STREAM, 1)
                same &= bool((host.view(np.int32) == made.view(np.int32)).all())
            if not same:
                raise AssertionError(f"synthesis differs: {kind}, n = {n}")
            result[f"{kind}-{n}"] = True
    return result


def check_pursuit(kernels: Any, device: torch.device, shape: tuple[int, ...], kind: str) -> dict[str, Any]:
    """Check one shape against the float64 pursuit."""
    n, M, B, s = shape
    W = torch.randn(min(B, 192), n, generator=torch.Generator().manual_seed(n + M)).to(device)
    indices, _, path = kernels.omp(W, kind, M, SEED, STREAM, s)
    atoms = kernels.entries(kind, n, M, SEED, STREAM, torch.arange(M, device=device))
    result = compare(W, atoms, indices, path, s)
    if not result["right"]:
        raise AssertionError(json.dumps(result))
    return result
