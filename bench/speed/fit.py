"""Gradients and steps of a fit: the extension beside torch's operations, and beside ``torch.compile``.

    python -m bench.speed.fit [--widths 16,32,64,128,256,512] [--threads 1,2] [--no-compile] [--seconds 3]

One gradient of the mean squared error of a SIREN on 4 096 samples, two coordinates and three values. ``ours`` is what a
fit calls, ``autograd`` a loss of the caller's on ``network(x)``. ``torch`` is the network as one writes it, with
``nn.Linear``, ``torch.sin`` and autograd; ``folded`` multiplies the frequency into the weights first, as this package
does where torch computes; ``compiled`` is that through ``torch.compile``. A step is a gradient and a step of Muon, both
by the extension or both by torch. All take turns in one process, and the least time counts: CPU time on one core, wall
time on several. The share is of the rate of fused multiply-adds that one core was measured to reach. Writes
``fit_speed.csv`` and ``fit_speed.json``.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.harness.results import write_csv, write_json
from coinr.engine import _C
from coinr.fitting.fused_gradients import FusedGradients
from coinr.fitting.optimizers import Muon
from coinr.fitting.stack import Stack
from coinr.fitting.workers import Workers
from coinr.networks import Siren
from coinr.signals.image.signal import ImageSignal

HIDDEN_LAYERS = {16: 2, 32: 2}  # of all other widths 3
SAMPLES, RATE = 4096, 1e-3

#: Twelve independent chains of sixteen lanes keep every unit of multiplication busy.
PEAK = """
typedef float V __attribute__((vector_size(64)));
#define EACH(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11)
#define START(i) V a##i = c * (float)i;
#define STEP(i) a##i = a##i * b + c;
#define KEEP(i) asm volatile("" : "+v"(a##i));
#define SUM(i) s += a##i[0];
float peak(long n) {
    const V b = (V){} + 0.999f, c = (V){} + 0.001f;
    float s = 0;
    EACH(START)
    for (long k = 0; k < n; ++k) { EACH(STEP) EACH(KEEP) }
    EACH(SUM)
    return s;
}
"""


def fma_peak() -> float | None:
    """Return the measured rate of one core in multiplications and additions a second; None without a compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "peak.c"), Path(folder, "peak.so")
        source.write_text(PEAK)
        flags = ["-O3", "-march=native", "-mprefer-vector-width=512", "-ffp-contract=fast", "-shared", "-fPIC"]
        if subprocess.run([compiler, *flags, "-o", library, source], check=False).returncode:
            return None
        peak = ctypes.CDLL(str(library)).peak
        peak.restype, peak.argtypes = ctypes.c_float, [ctypes.c_long]
        rounds = 1_000_000
        peak(rounds)
        least = min(_timed(lambda: peak(rounds), time.process_time) for _ in range(20))
    return 2 * 12 * 16 * rounds / least


def _timed(run: Callable[[], Any], clock: Callable[[], float]) -> float:
    start = clock()
    run()
    return clock() - start


def least_times(runs: dict[str, Callable[[], Any]], clock: Callable[[], float], seconds: float) -> dict[str, float]:
    """Return the least time of each call; they take turns for about so many seconds each."""
    least = {}
    for name, run in runs.items():
        run()
        least[name] = _timed(run, clock)
    rounds = max(5, min(400, int(seconds / max(least.values()))))
    for _ in range(rounds):
        for name, run in runs.items():
            least[name] = min(least[name], _timed(run, clock))
    return least


def measure(width: int, threads: int, compiled: bool, seconds: float, peak: float | None) -> dict[str, Any]:
    """Return the times of a width in milliseconds, their ratios and the share of the peak."""
    hidden = HIDDEN_LAYERS.get(width, 3)
    generator = torch.Generator().manual_seed(0)
    network, other = (Siren(2, 3, width, hidden, generator=generator) for _ in range(2))
    image = torch.randint(0, 256, (64, 64, 3), generator=generator, dtype=torch.uint8).numpy()
    signal, one = ImageSignal(image), torch.ones((), dtype=torch.float32)
    chosen = torch.randint(SAMPLES, (1, SAMPLES), generator=generator)
    x, y = signal.batch(chosen[0])
    count = sum(p.numel() for p in network.parameters())
    plain_parameters = list(other.parameters())
    stacked = [p.detach()[None].clone() for p in plain_parameters]
    ours_optimizer, other_optimizer = None, Muon(stacked, RATE)
    other_optimizer.native = False

    def loss(values: Tensor) -> Tensor:
        return (values - y).square().mean()

    def plain(forward: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss(forward(x)), plain_parameters)

    def textbook(x: Tensor) -> Tensor:
        *sines, last = other.layers
        for layer in sines:
            x = torch.sin(other.omega * layer(x))
        out: Tensor = last(x)
        return out

    def plain_step() -> None:
        for tensor, gradient in zip(stacked, plain(textbook), strict=True):
            tensor.grad = gradient[None]
        other_optimizer.step()

    with Stack([network]) as stack, Workers(torch.device("cpu"), threads) as workers:
        programs = FusedGradients.programs_of([network], [signal], stack)
        assert programs is not None
        gradients = FusedGradients([network], [signal], stack, programs, workers)
        gradients.load([chosen])
        ours_optimizer = Muon(stack.tensors, RATE)

        def step() -> None:
            gradients.compute(0, one)
            ours_optimizer.take_native_step(threads)

        runs: dict[str, Callable[[], Any]] = {
            "ours": lambda: gradients.compute(0, one),
            "autograd": lambda: torch.autograd.grad(loss(network(x)), list(network.parameters())),
            "torch": lambda: plain(textbook),
            "folded": lambda: plain(other.plain_forward),
            "step": step,
            "torch_step": plain_step,
        }
        if compiled:
            torch.compiler.reset()  # each width is compiled anew, and there is a limit
            faster = torch.compile(other.plain_forward, fullgraph=True)
            runs["compiled"] = lambda: plain(faster)
        clock = time.process_time if threads == 1 else time.perf_counter
        least = least_times(runs, clock, seconds)
    row: dict[str, Any] = {"width": width, "hidden_layers": hidden, "threads": threads}
    row |= {f"{name}_ms": 1000 * value for name, value in least.items()}
    row |= {f"{name}_ratio": least[name] / least["ours"] for name in ("torch", "folded", "compiled") if name in least}
    row |= {"autograd_ratio": least["torch"] / least["autograd"], "step_ratio": least["torch_step"] / least["step"]}
    if peak is not None:
        row["peak_share"] = 6 * SAMPLES * count / least["ours"] / (peak * threads)
    return row


def integers(text: str) -> list[int]:
    """Return comma-separated integers."""
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Measure, then write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=integers, default=[16, 32, 64, 128, 256, 512])
    parser.add_argument("--threads", type=integers, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=3.0, help="of each kind of call")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    options = parser.parse_args()
    compiled = not options.no_compile and bool(shutil.which("g++")) and importlib.util.find_spec("triton") is not None
    peak, rows = fma_peak(), []
    for threads in options.threads:
        torch.set_num_threads(threads)
        for width in options.widths:
            rows.append(measure(width, threads, compiled, options.seconds, peak))
            print(rows[-1], file=sys.stderr, flush=True)
    write_csv(options.out / "fit_speed.csv", rows)
    found = {"simd": _C.simd_level(), "fma_peak": peak, "load": os.getloadavg()[0], "samples": SAMPLES}
    write_json(options.out / "fit_speed.json", found)


if __name__ == "__main__":
    main()
