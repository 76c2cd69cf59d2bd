"""Our pursuit beside public ones on the same dictionary and targets, one core, one run.

``python -m bench.speed.omp_peers --out bench/results/omp_peers`` writes a JSON, a CSV and plots. Every measurement runs
in a process of its own with one thread, and its time is CPU time (the median of the repeats that fit), which equals
wall time on an idle machine and stays meaningful on a shared one. Peers get the dictionary materialized and normalized,
and their Gram matrix counts where they need one; our time includes generating the dictionary. ``spams.omp`` selects by
residual reduction, so its supports differ: only its time and residual compare.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.harness.results import draw_figure, write_csv, write_json
from bench.harness.timing import cpu_times
from bench.speed.omp_shapes import SEED, SHAPES, atoms, targets, wrong_picks
from coinr.engine import _C, philox

LIMIT = 60.0  # seconds of one peer on one shape
ENOUGH = 1.5  # seconds after which no more repeats are made

OURS = ["coinr gaussian", "coinr rademacher", "coinr hadamard"]
PEERS = ["torch matmul + Cholesky", "omp-gpu naive", "omp-gpu v0", "spams", "sklearn omp", "sklearn gram"]


def torch_pursuit(D: Any, W: Any, s: int) -> Any:
    """Return plain batched pursuit: product with the stored dictionary, argmax, growing Cholesky factor.

    Args:
        D: float32 ``[n, M]``, unit columns.
        W: float32 ``[B, n]``.
        s: atoms per vector.

    Returns
    -------
        indices int64 ``[B, s]`` and residuals float32 ``[B, n]``.
    """
    import torch

    B, n = W.shape
    rows = torch.arange(B)
    chosen = torch.zeros(B, s, dtype=torch.long)
    A = torch.zeros(B, s, n)
    L = torch.zeros(B, s, s)
    product = torch.zeros(B, s, 1)
    scores = torch.empty(B, D.shape[1])
    residual = W.clone()
    for k in range(s):
        torch.matmul(residual, D, out=scores)
        best = scores.abs_().scatter_(1, chosen[:, :k], -1.0).argmax(1)
        chosen[:, k] = best
        atom = D[:, best].T
        if k:
            gram = torch.bmm(A[:, :k], atom[:, :, None])
            row = torch.linalg.solve_triangular(L[:, :k, :k], gram, upper=False)[:, :, 0]
            L[:, k, :k] = row
            L[:, k, k] = (1 - (row * row).sum(1)).clamp_min(1e-12).sqrt()
        else:
            L[:, 0, 0] = 1
        A[:, k] = atom
        product[rows, k, 0] = (atom * W).sum(1)
        x = torch.cholesky_solve(product[:, : k + 1], L[:, : k + 1, : k + 1])
        residual = W - torch.bmm(x.transpose(1, 2), A[:, : k + 1])[:, 0]
    return chosen, residual


Run = Callable[[], Any]
Energies = Callable[[Any], NDArray[np.float64]]


def ours(name: str, n: int, M: int, B: int, s: int) -> tuple[Run, Energies]:
    """Return our pursuit and how to read residual energies ``[B]`` from its result."""
    code, W = philox.KINDS[name.removeprefix("coinr ")], targets(n, B)
    return (lambda: _C.omp(W, code, M, SEED, 0, s, 1)), (lambda result: result[2][:, -1].astype(np.float64))


def peer(name: str, n: int, M: int, B: int, s: int) -> tuple[Run, Energies]:
    """Return a public pursuit on the stored ``gaussian`` dictionary, and a reader of residual energies."""
    W = targets(n, B)
    D = atoms("gaussian", n, M, 0, M).T.astype(np.float32)
    D /= np.maximum(np.linalg.norm(D, axis=0), 1e-12)

    def left(coefficients: Any) -> NDArray[np.float64]:  # coefficients [M, B]
        return np.asarray(((W.T - D @ coefficients) ** 2).sum(0), np.float64)

    if name in ("sklearn omp", "sklearn gram", "spams"):
        F, Y = np.asfortranarray(D), np.asfortranarray(W.T)
        if name == "spams":
            import spams

            return (
                lambda: spams.omp(Y, F, L=s, eps=0.0, lambda1=0.0, numThreads=1),
                lambda x: left(x.toarray()),
            )
        from sklearn.linear_model import orthogonal_mp, orthogonal_mp_gram

        if name == "sklearn omp":
            return (lambda: orthogonal_mp(F, Y, n_nonzero_coefs=s)), (lambda x: left(x.reshape(M, B)))
        return (lambda: orthogonal_mp_gram(F.T @ F, F.T @ Y, n_nonzero_coefs=s)), (lambda x: left(x.reshape(M, B)))
    import torch

    torch.set_num_threads(1)
    Dt, Wt = torch.from_numpy(D), torch.from_numpy(W)
    if name == "torch matmul + Cholesky":
        return (lambda: torch_pursuit(Dt, Wt, s)), (lambda x: (x[1].double() ** 2).sum(1).numpy())
    from orthogonal_matching_pursuit_gpu import run_omp

    algorithm = name.split()[-1]
    options = {"precompute": True, "tol": 0.0, "normalize": False, "fit_intercept": False}
    return (lambda: run_omp(Dt, Wt, s, alg=algorithm, **options)), (lambda x: left(x.numpy().T))


def peaks() -> dict[str, float]:
    """Return measured peaks of one core: float32 product (GFLOP/s), int8 product (GOP/s), copy (GB/s)."""
    import torch

    torch.set_num_threads(1)
    a, q = torch.randn(1024, 1024), torch.randint(-127, 128, (1024, 1024), dtype=torch.int8)
    block = np.zeros(1 << 27, np.uint8)

    def best(run: Run) -> float:
        return min(cpu_times(run, least=8))

    return {
        "sgemm": 2 * 1024**3 / best(lambda: a @ a) / 1e9,
        "int8": 2 * 1024**3 / best(lambda: torch._int_mm(q, q)) / 1e9,
        "copy": 2 * block.nbytes / best(block.copy) / 1e9,
    }


def work(name: str, n: int, M: int, B: int, s: int) -> dict[str, Any]:
    """Measure one implementation on one shape, in this process."""
    if name == "peaks":
        return peaks()
    run, energies = (ours if name in OURS else peer)(name, n, M, B, s)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    result = run()
    times = [time.process_time() - start]
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    times += cpu_times(run, least=0, enough=ENOUGH - times[0], most=14)
    W = targets(n, B)
    left = energies(result) / (W.astype(np.float64) ** 2).sum(1)
    out = {
        "seconds": float(np.median(times)),
        "spread": [min(times), max(times)],
        "repeats": len(times),
        "peak_mib": round(memory, 1),
        "residual_db": float(10 * np.log10(left.mean())),
    }
    if name in OURS:
        vectors = max(1, min(B, 200_000_000_000 // (2 * n * M * s)))
        short, inexact, worst = wrong_picks(W, name.removeprefix("coinr "), M, result[0], vectors)
        out |= {"checked": vectors, "wrong_picks": short, "inexact_vectors": inexact, "worst_shortfall": worst}
    return out


def measure(name: str, shape: tuple[int, int, int, int]) -> dict[str, Any]:
    """Measure the same in a process of its own, stopped after a while."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # spams ships an OpenBLAS whose kernels for newer cores are slower than its Haswell ones.
    environment = os.environ | threads | ({"OPENBLAS_CORETYPE": "Haswell"} if name == "spams" else {})
    command = [sys.executable, "-m", "bench.speed.omp_peers", "--worker", json.dumps([name, *shape])]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=2.5 * LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        return {"skipped": f"more than {LIMIT:.0f} s"}
    if done.returncode != 0:
        return {"skipped": (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1][:200]}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def too_large(name: str, n: int, M: int, B: int, s: int) -> str | None:
    """Return why a peer is not run on a shape: it needs a Gram matrix or a B x M x s array beyond this machine."""
    if name in ("omp-gpu naive", "omp-gpu v0", "spams", "sklearn gram") and M > 16384:
        return f"needs a Gram matrix of {4 * M * M / 2**30:.0f} GiB"
    if name == "omp-gpu v0" and 4 * B * s * M > 8 << 30:
        return f"needs {4 * B * s * M / 2**30:.0f} GiB for B x s x M"
    if name == "sklearn omp" and 2.0 * n * M * B * s / 5e9 > LIMIT:
        return f"more than {LIMIT:.0f} s"
    return None


def rows(results: list[dict[str, Any]], peak: dict[str, float]) -> list[dict[str, Any]]:
    """Add counted work, shares of peak and ratios to every measurement."""
    results.sort(key=lambda row: SHAPES.index(tuple(row["shape"])))
    for row in results:
        if "seconds" not in row or "gflop" in row:
            continue
        n, M, B, s = row["shape"]
        # One product of every residual with the dictionary per atom: what a pursuit without shortcuts computes.
        row["gflop"] = 2 * n * M * B * s / 1e9
        row["stored_gbytes"] = 4 * n * M * s / 1e9
        row["share_of_sgemm"] = row["gflop"] / row["seconds"] / peak["sgemm"]
        row["share_of_int8"] = row["gflop"] / row["seconds"] / peak["int8"]
        if row["name"] in OURS:
            public = [
                r["seconds"] for r in results if r["shape"] == row["shape"] and r["name"] in PEERS and "seconds" in r
            ]
            row["times_fastest_peer"] = min(public) / row["seconds"] if public else None
    return results


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Time of every implementation on every shape, log axis."""
    with draw_figure(path, dpi=120, figsize=(11, 5.5), constrained_layout=True) as (figure, axes):
        shapes = list(dict.fromkeys(tuple(r["shape"]) for r in results))
        for name in [*PEERS, *OURS]:
            points = [
                (shapes.index(tuple(r["shape"])), r["seconds"]) for r in results if r["name"] == name and "seconds" in r
            ]
            if points:
                axes.plot(*zip(*points, strict=True), "o-" if name in OURS else "x--", label=name)
        axes.set_yscale("log")
        axes.set_xticks(range(len(shapes)), [f"n={n}\nM={M}\nB={B}\ns={s}" for n, M, B, s in shapes])
        axes.set_ylabel("CPU seconds, one core")
        axes.set_title("Orthogonal matching pursuit: time by shape")
        axes.grid(True, which="both", alpha=0.25)
        figure.legend(fontsize=8, loc="outside right upper")


def main() -> None:
    """Measure every implementation on every shape and write the results after each shape."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="prefix of the results")
    parser.add_argument("--shapes", default=",".join(map(str, range(len(SHAPES)))), help="which shapes, by number")
    parser.add_argument("--update", action="store_true", help="keep the stored results of other shapes")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(work(*json.loads(arguments.worker))))
        return
    peak = measure("peaks", (0, 0, 0, 0))
    print("peaks", peak, flush=True)
    numbers = [int(number) for number in arguments.shapes.split(",")]
    results: list[dict[str, Any]] = []
    if arguments.update:
        again = [list(SHAPES[number]) for number in numbers]
        stored = json.loads(arguments.out.with_suffix(".json").read_text())["results"]
        results = [row for row in stored if row["shape"] not in again]
    for number in numbers:
        shape = SHAPES[number]
        for name in [*OURS, *PEERS]:
            reason = too_large(name, *shape) if name in PEERS else None
            row = {"name": name, "shape": list(shape)} | ({"skipped": reason} if reason else measure(name, shape))
            results.append(row)
            print(row, flush=True)
        save(arguments.out, peak, rows(results, peak))


def save(out: Path | None, peak: dict[str, float], results: list[dict[str, Any]]) -> None:
    """Write ``out``.json, .csv and .png."""
    if out is None:
        return
    write_json(out.with_suffix(".json"), {"peaks": peak, "results": results}, extra={"simd": _C.simd_level()})
    fields = [
        "name", "n", "M", "B", "s", "seconds", "times_fastest_peer", "residual_db", "peak_mib", "gflop",
        "share_of_sgemm", "share_of_int8", "skipped",
    ]  # fmt: skip
    shaped = [row | dict(zip("nMBs", row["shape"], strict=True)) for row in results]
    write_csv(out.with_suffix(".csv"), shaped, fields)
    plot(results, out.with_suffix(".png"))


if __name__ == "__main__":
    main()
