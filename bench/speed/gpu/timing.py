"""Times of pursuits and correlation passes beside the device's own ceilings and public peers."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import torch

from bench.speed.gpu.reference import torch_omp
from bench.speed.gpu.run import time_call
from bench.speed.gpu.shapes import KINDS, SEED, STREAM


def peaks(device: torch.device, tiny: bool) -> dict[str, Any]:
    """Measure ceilings: matmuls per dtype (operations per second), a copy (bytes per second), launch floors (ms)."""
    size, result = (64 if tiny else 8192), {}
    for dtype in (torch.float16, torch.float32):
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        ms = time_call(lambda a=a, b=b: a @ b, device)["ms"]
        result[f"matmul_{str(dtype)[6:]}_per_s"] = 2 * size**3 / ms * 1e3
    source = torch.randn(1 << (10 if tiny else 28), device=device)
    target = torch.empty_like(source)
    result["copy_bytes_per_s"] = 8 * source.numel() / time_call(lambda: target.copy_(source), device)["ms"] * 1e3
    if device.type == "cuda":
        one, count = torch.zeros(1, device=device), 100
        graph = torch.cuda.CUDAGraph()
        one.add_(1)
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            for _ in range(count):
                one.add_(1)
        result["graph_kernel_ms"] = time_call(graph.replay, device)["ms"] / count
        result["launch_ms"] = time_call(lambda: [one.add_(1) for _ in range(count)], device)["ms"] / count
    return result


def time_shape(kernels: Any, device: torch.device, shape: tuple[int, ...], peak: dict[str, Any]) -> dict[str, Any]:
    """Measure whole pursuits of each kind and of the peers on one shape: milliseconds, operations, launch floor."""
    n, M, B, s = shape
    W = torch.randn(B, n, generator=torch.Generator().manual_seed(1)).to(device)
    result: dict[str, Any] = {"n": n, "M": M, "B": B, "s": s, "dense_operations": 2 * n * M * B * s}
    for kind in KINDS:
        row = time_call(lambda kind=kind: kernels.omp(W, kind, M, SEED, STREAM, s), device)
        row["share_of_matmul_float32"] = result["dense_operations"] / row["ms"] * 1e3 / peak["matmul_float32_per_s"]
        if "graph_kernel_ms" in peak:
            row["launch_floor_ms"] = (2 * s + 2) * peak["graph_kernel_ms"]
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            kernels.omp(W, kind, M, SEED, STREAM, s)
            row["peak_bytes"] = torch.cuda.max_memory_allocated() - before
        result[kind] = row
    atoms = kernels.entries("gaussian", n, M, SEED, STREAM, torch.arange(M, device=device)).float()
    atoms /= atoms.norm(dim=1, keepdim=True).clamp_min(1e-20)
    result["torch_omp"] = time_call(lambda: torch_omp(W, atoms, s), device, repeats=5)
    for name, work in peers(atoms, W, s).items():
        try:
            result[name] = time_call(work, device, repeats=3) if callable(work) else {"missing": work}
        except Exception as error:  # a peer's failure is a result
            result[name] = {"error": f"{type(error).__name__}: {error}"[:200]}
    return result


def peers(atoms: torch.Tensor, W: torch.Tensor, s: int) -> dict[str, Any]:
    """Return public GPU pursuits on the same dictionary (columns of unit norm), or why they are missing."""
    try:
        omp = importlib.import_module("orthogonal_matching_pursuit_gpu.omp").run_omp
    except ImportError as cause:
        return {"orthogonal-matching-pursuit-gpu": str(cause)}
    X = atoms.T.contiguous()
    common = {"normalize": False, "fit_intercept": False}
    return {
        "orthogonal-matching-pursuit-gpu naive": lambda: omp(X, W, s, precompute=False, alg="naive", **common),
        "orthogonal-matching-pursuit-gpu v0": lambda: omp(X, W, s, precompute=True, alg="v0", **common),
    }


def time_headline(device: torch.device, shape: tuple[int, int, int], peak: dict[str, Any]) -> dict[str, Any]:
    """Measure one correlation pass per kind: matrix operations against the measured matmul, and the dense roofline.

    Dense kernels execute two float16 products (high and low part), so 4 n M B operations.
    """
    correlate, hadamard, select = (
        importlib.import_module(f"kernels.{name}") for name in ("correlate", "hadamard", "select")
    )
    n, M, B = shape
    W = torch.randn(B, n, generator=torch.Generator().manual_seed(2)).to(device)
    executed = 4 * n * M * B
    result: dict[str, Any] = {"n": n, "M": M, "B": B, "executed_operations": executed}
    result["dense_roofline_ms"] = 2 * n * M * B / peak["matmul_float16_per_s"] * 1e3
    tilings: dict[str, Any] = {"default": None}
    if device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 9:
        tilings |= {
            "resident-128x64": correlate.Tiling(128, 64, 256, False, True, 8, 2),
            "streamed-256x64": correlate.Tiling(256, 64, 128, False, False, 8, 1),
            "streamed-128x128": correlate.Tiling(128, 128, 128, False, False, 8, 2),
        }
    makers: dict[str, Callable[[], Any]] = {}
    for kind in ("rademacher", "gaussian"):
        for stored in (False, True):
            for name, shape_ in tilings.items():
                label = f"{kind}-{'stored' if stored else 'generated'}-{name}"
                makers[label] = lambda kind=kind, stored=stored, shape_=shape_: correlate.DenseCorrelator(
                    kind, n, M, SEED, STREAM, B, device, stored=stored, shape=shape_
                )
    makers["hadamard"] = lambda: hadamard.HadamardCorrelator(n, M, SEED, STREAM, B, device)
    for label, make in makers.items():
        try:
            engine = make()
            residual = torch.empty(B, engine.stride, device=device)
            parts = torch.empty(2, B, engine.stride, dtype=torch.float16, device=device)
            arrays = (residual, parts[0], parts[1])
            select.prepare(W, engine, torch.empty(B, 1, device=device), arrays)
            row = time_call(lambda engine=engine, arrays=arrays: engine.launch(*arrays), device)
        except Exception as error:  # one tiling may not fit this device
            result[label] = {"error": f"{type(error).__name__}: {error}"[:200]}
            continue
        if label == "hadamard":
            row["below_dense_roofline"] = row["ms"] < result["dense_roofline_ms"]
        else:
            row["share_of_matmul_float16"] = executed / row["ms"] * 1e3 / peak["matmul_float16_per_s"]
        result[label] = row
    return result


def resources(device: torch.device) -> dict[str, Any]:
    """Return registers and spills of every kernel that was compiled in this process."""
    rows: dict[str, Any] = {}
    for module_name in ("philox", "correlate", "hadamard", "select", "lsq", "lsq_wide", "omp", "synthesize", "mlp"):
        module = sys.modules[f"kernels.{module_name}"]
        for name, kernel in vars(module).items():
            if not name.endswith("_kernel") or not hasattr(kernel, "device_caches"):
                continue
            for made in kernel.device_caches[device.index or 0][0].values():
                row = {"registers": made.n_regs, "spills": made.n_spills, "shared": made.metadata.shared}
                worst = rows.setdefault(name, {"variants": 0, "registers": 0, "spills": 0, "shared": 0})
                worst["variants"] += 1
                for key, value in row.items():
                    worst[key] = max(worst[key], value)
    return rows
