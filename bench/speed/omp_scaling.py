"""How the time of a pursuit grows with n, M, B and threads.

``python -m bench.speed.omp_scaling --out bench/results/omp_scaling`` writes a JSON and a plot with log axes. Times
against n, M and B are CPU time of one core (median of repeats); the gain of the second core is wall time, beside that
of a float32 product.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.harness.results import draw_figure, write_json
from bench.harness.timing import cpu_times
from bench.speed.omp_shapes import SEED, SHAPES, targets
from coinr.engine import _C, philox

SWEEPS: dict[str, list[tuple[int, int, int, int]]] = {
    "n": [(n, 4096, 96, 16) for n in (32, 64, 128, 256, 512, 1024, 2048)],
    "M": [(128, M, 96, 16) for M in (256, 1024, 4096, 16384, 65536, 262144)],
    "B": [(128, 4096, B, 16) for B in (1, 4, 16, 64, 256, 1024)],
}


def seconds(shape: tuple[int, int, int, int], kind: str) -> float:
    """Return median CPU seconds of one pursuit on one core."""
    n, M, B, s = shape
    W = targets(n, B)
    times = cpu_times(lambda: _C.omp(W, philox.KINDS[kind], M, SEED, 0, s, 1), least=3, enough=0.3, most=9)
    return float(np.median(times))


def gain(run: Any) -> float:
    """Return median wall time with one thread over that with two, in turns for a second and at least seven rounds."""
    times: dict[int, list[float]] = {1: [], 2: []}
    while len(times[1]) < 7 or sum(times[1]) < 1:
        for threads, of_threads in times.items():
            start = time.perf_counter()
            run(threads)
            of_threads.append(time.perf_counter() - start)
    return float(np.median(times[1]) / np.median(times[2]))


def product(threads: int) -> None:
    """Multiply float32 matrices."""
    torch.set_num_threads(threads)
    a = torch.ones(2048, 2048)
    a @ a


def plot(sweeps: dict[str, Any], path: Path) -> None:
    """Time against n, M and B."""
    with draw_figure(path, 1, 3, dpi=120, figsize=(13, 4), constrained_layout=True, sharey=True) as (_, panels):
        for axes, (variable, rows) in zip(panels, sweeps.items(), strict=True):
            x = [row["shape"]["nMBs".index(variable)] for row in rows]
            for kind in philox.KINDS:
                axes.loglog(x, [row[kind] for row in rows], "o-", label=kind, base=2)
            axes.loglog(x, [rows[-1]["gaussian"] * value / x[-1] for value in x], "k:", label="linear")
            axes.set_xlabel(variable)
            fixed = [f"{name}={n}" for name, n in zip("nMBs", rows[0]["shape"], strict=True) if name != variable]
            axes.set_title(", ".join(fixed))
            axes.grid(True, alpha=0.3)
        panels[0].set_ylabel("CPU seconds, one core")
        panels[0].legend()


def gains() -> dict[str, float]:
    """Return what the second core brings to a float32 product and to pursuits."""
    found = {"sgemm": gain(product)}
    for n, M, B, s in SHAPES:
        for kind in philox.KINDS:
            W = targets(n, B)

            def run(threads: int, W: Any = W, kind: str = kind, M: int = M, s: int = s) -> None:
                _C.omp(W, philox.KINDS[kind], M, SEED, 0, s, threads)

            found[f"{kind} {(n, M, B, s)}"] = gain(run)
    return found


def main() -> None:
    """Measure, then write ``--out``.json and .png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="prefix of the results")
    parser.add_argument("--gains", action="store_true", help="measure the second core only; keep the other results")
    arguments = parser.parse_args()
    report_path = arguments.out.with_suffix(".json")
    if arguments.gains:
        report = json.loads(report_path.read_text())
    else:
        sweeps = {
            variable: [{"shape": shape} | {kind: seconds(shape, kind) for kind in philox.KINDS} for shape in shapes]
            for variable, shapes in SWEEPS.items()
        }
        report = {"sweeps": sweeps}
        plot(sweeps, arguments.out.with_suffix(".png"))
    report.pop("machine", None)
    report["gain_of_second_core"] = gains()
    # Other work on the machine takes the second core away: gains mean nothing beside a load of more than one.
    report["load_average"] = os.getloadavg()[0]
    write_json(report_path, report, extra={"simd": _C.simd_level()})
    print(json.dumps(report["gain_of_second_core"], indent=1))


if __name__ == "__main__":
    main()
