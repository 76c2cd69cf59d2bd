"""Correctness and speed of the Triton kernels on a GPU, in one call of under eight minutes.

    python bench/speed/gpu_check.py --out results        # on a machine with a CUDA device
    python bench/speed/gpu_check.py --tiny \
        --out results # anywhere, tiny shapes in Triton's interpreter: shows that it runs

Needs torch, triton and numpy only. ``coinr.engine._C`` is built beside it with g++ and pybind11 where those are at
hand, and public GPU peers are timed where they can be imported; what is missing is reported as missing. Correctness
comes first, and the JSON is written after every step, so a run that is cut off leaves what it had. A PNG is drawn where
matplotlib can be imported. The float64 reference is a pursuit in plain torch on the same device, on the materialized
dictionary.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.speed.gpu import build, checks, networks, plot, shapes, timing  # noqa: E402
from bench.speed.gpu.run import Run, machine  # noqa: E402


def main() -> int:
    """Run every step; 0 if nothing failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="tiny shapes; in Triton's interpreter without a GPU")
    parser.add_argument("--out", type=Path, default=ROOT / "bench/results", help="folder for the JSON and the PNG")
    parser.add_argument("--budget", type=float, default=440, help="seconds after which no step starts")
    parser.add_argument("--warm", metavar="I/COUNT", help="compile a share of the kernels and stop (used by itself)")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        if not options.tiny:
            parser.error("no CUDA device; --tiny runs in Triton's interpreter")
        os.environ["TRITON_INTERPRET"] = "1"
        torch.set_num_threads(1)
    kernels = importlib.import_module("kernels")
    usable, reason = kernels.available()
    if not usable:
        parser.error(reason)
    device = kernels.device()
    if options.warm:
        build.warm(kernels, device, options.warm)
        return 0
    torch.backends.cuda.matmul.allow_tf32 = False
    rng = build.load("reference_rng", ROOT / "coinr/engine/philox.py")
    run = Run(options.out, options.tiny, options.budget)
    run.data["machine"] = machine(device)
    building, extension, why = build.start_building_extension()

    whole, odd = (shapes.TINY_SHAPES, shapes.TINY_ODD) if options.tiny else (shapes.SHAPES, shapes.ODD)
    if device.type == "cuda":
        run.step("compile", lambda: build.compile_ahead(Path(__file__).resolve(), min(8, os.cpu_count() or 1), 150))
    run.step("entries", lambda: checks.check_entries(kernels, rng, device, options.tiny))
    run.step("synthesis", lambda: checks.check_synthesis(kernels, rng, device, None))
    for shape in (*odd, *whole):
        for kind in shapes.KINDS:
            run.step(
                f"pursuit {kind} {shape}",
                lambda shape=shape, kind=kind: checks.check_pursuit(kernels, device, shape, kind),
                150,
            )
    for shape, kind in networks.TINY_CASES if options.tiny else networks.CASES:
        run.step(
            f"networks {kind} {shape}",
            lambda shape=shape, kind=kind: networks.check_networks(kernels, device, shape, kind),
            120,
        )
    for shape in networks.TINY_SHAPES if options.tiny else networks.SHAPES:
        run.step(f"time networks {shape}", lambda shape=shape: networks.time_networks(kernels, device, shape), 120)
    peak = run.step("peaks", lambda: timing.peaks(device, options.tiny))
    if peak:
        headline = shapes.TINY_HEADLINE if options.tiny else shapes.HEADLINE
        run.step("headline", lambda: timing.time_headline(device, headline, peak))
        for shape in whole:
            run.step(f"time {shape}", lambda shape=shape: timing.time_shape(kernels, device, shape, peak))
    if device.type == "cuda":
        run.step("resources", lambda: timing.resources(device), 2)
    if building is not None:
        try:
            why = "" if building.wait(max(1.0, run.end - time.monotonic() - 10)) == 0 else "the compiler failed"
        except subprocess.TimeoutExpired:
            building.kill()
            why = "the compiler needed too long"
    if why:
        run.data["steps"]["synthesis on CPU and GPU"] = {"missing": why}
    else:
        compare_native = lambda: checks.check_synthesis(kernels, rng, device, build.load("_C", extension))  # noqa: E731
        run.step("synthesis on CPU and GPU", compare_native, 2)
    run.step("plot", lambda: plot.draw(run.data, options.out / "gpu_check.png"), 2)
    print(f"{len(run.data['failures'])} failures", *run.data["failures"], sep="\n")
    return 1 if run.data["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
