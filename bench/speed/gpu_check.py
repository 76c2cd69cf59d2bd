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
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("gaussian", "rademacher", "hadamard")
SEED, STREAM = 2**63 + 2026, 1
SHAPES = [  # n, M, B, s
    (64, 1024, 192, 16), (64, 4096, 192, 24), (64, 65536, 192, 20), (128, 4096, 384, 32), (128, 65536, 384, 48),
    (256, 4096, 1024, 64), (1024, 16384, 3, 256), (4096, 16384, 3, 512), (16384, 65536, 3, 64),
]  # fmt: skip
ODD = [(1, 7, 5, 1), (2, 37, 33, 2), (3, 301, 7, 3), (63, 777, 65, 20), (100, 999, 130, 30), (300, 5001, 17, 60)]
HEADLINE = (256, 65536, 4096)
TINY_SHAPES = [(64, 300, 3, 2), (300, 400, 2, 2)]
TINY_ODD = [(3, 37, 2, 2)]
TINY_HEADLINE = (256, 512, 4)


class Run:
    """The results so far, where they go, and how much time is left."""

    def __init__(self, out: Path, tiny: bool, budget: float) -> None:
        self.out, self.tiny, self.end = out, tiny, time.monotonic() + budget
        self.data: dict[str, Any] = {"steps": {}, "failures": []}
        out.mkdir(parents=True, exist_ok=True)

    def step(self, name: str, work: Callable[[], Any], reserve: float = 20) -> Any:
        """Run one step, keep its result or its error, and write the file."""
        started = time.monotonic()
        if self.end - started < reserve:
            self.data["steps"][name] = {"skipped": "out of time"}
            result = None
        else:
            try:
                result = work()
                self.data["steps"][name] = {"result": result, "seconds": round(time.monotonic() - started, 2)}
            except Exception as error:  # a later step may still tell something
                result = None
                self.data["failures"].append(f"{name}: {type(error).__name__}: {error}")
                self.data["steps"][name] = {"error": f"{type(error).__name__}: {error}"}
        self.write()
        print(f"{name}: {json.dumps(self.data['steps'][name])[:300]}", flush=True)
        return result

    def write(self) -> None:
        """Replace the JSON in one step."""
        temporary = self.out / "gpu_check.json.tmp"
        temporary.write_text(json.dumps(self.data, indent=1))
        os.replace(temporary, self.out / "gpu_check.json")


def start_building_extension() -> tuple[subprocess.Popen[bytes] | None, Path, str]:
    """Compile ``csrc`` in the background; the module goes to a temporary folder."""
    folder = Path(tempfile.mkdtemp())
    target = folder / f"_C{sysconfig.get_config_var('EXT_SUFFIX')}"
    if importlib.util.find_spec("pybind11") is None or shutil.which("g++") is None:
        return None, target, "pybind11 or g++ is not at hand"
    import pybind11

    includes = [f"-I{pybind11.get_include()}", f"-I{sysconfig.get_paths()['include']}", f"-I{ROOT / 'csrc'}"]
    sources = sorted(map(str, (ROOT / "csrc").glob("*/*.cpp")))
    flags = ["-O3", "-std=c++17", "-fPIC", "-shared", "-pthread", "-fno-fast-math", "-ffp-contract=off", "-w"]
    command = ["g++", *flags, "-fvisibility=hidden", *includes, *sources, "-o", str(target)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL), target, ""


def load(name: str, path: Path) -> Any:
    """Import one file as a module."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def time_call(work: Callable[[], Any], device: torch.device, repeats: int = 10, most: float = 4.0) -> dict[str, float]:
    """Measure median, least and most milliseconds of a call, by device events; the first calls do not count."""
    cuda = device.type == "cuda"
    for _ in range(3 if cuda else 0):
        work()
    times: list[float] = []
    stop = time.monotonic() + most
    while len(times) < repeats and (not times or time.monotonic() < stop):
        if cuda:
            before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            before.record()
            work()
            after.record()
            after.synchronize()
            times.append(before.elapsed_time(after))
        else:
            started = time.perf_counter()
            work()
            times.append(1e3 * (time.perf_counter() - started))
    return {"ms": float(np.median(times)), "least": min(times), "most": max(times), "repeats": len(times)}


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


def compile_ahead(count: int, limit: float) -> dict[str, Any]:
    """Fill Triton's cache from several processes at once: one after another the kernels take minutes to compile."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__).resolve()), "--warm"]
    running = [subprocess.Popen([*command, f"{i}/{count}"], stdout=subprocess.DEVNULL) for i in range(count)]
    stop = time.monotonic() + limit
    codes = []
    for process in running:
        try:
            codes.append(process.wait(max(0.1, stop - time.monotonic())))
        except subprocess.TimeoutExpired:
            process.kill()
            codes.append(-1)
    return {"processes": count, "codes": codes}


def warm(kernels: Any, device: torch.device, share: str) -> None:
    """Run this process's share of all pursuits once, so that their kernels are compiled."""
    mine, count = map(int, share.split("/"))
    work = [(shape, kind) for shape in (*SHAPES, *ODD) for kind in KINDS]
    for (n, M, B, s), kind in work[mine::count]:
        for vectors in {B, min(B, 192)}:
            kernels.omp(torch.randn(vectors, n, device=device), kind, M, SEED, STREAM, s)
    torch.cuda.synchronize(device)


def check_pursuit(kernels: Any, device: torch.device, shape: tuple[int, ...], kind: str) -> dict[str, Any]:
    """Check one shape against the float64 pursuit."""
    n, M, B, s = shape
    W = torch.randn(min(B, 192), n, generator=torch.Generator().manual_seed(n + M)).to(device)
    indices, _, path = kernels.omp(W, kind, M, SEED, STREAM, s)
    atoms = kernels.entries(kind, n, M, SEED, STREAM, torch.arange(M, device=device))
    result = importlib.import_module("gpu_reference").compare(W, atoms, indices, path, s)
    if not result["right"]:
        raise AssertionError(json.dumps(result))
    return result


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
    torch_omp = importlib.import_module("gpu_reference").torch_omp
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
    for module_name in ("philox", "correlate", "hadamard", "select", "lsq", "lsq_wide", "omp", "synthesize"):
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


def draw(data: dict[str, Any], path: Path) -> str:
    """Return milliseconds per shape, ours and torch's, on log axes."""
    try:
        import matplotlib
    except ImportError:
        return "matplotlib is not at hand"
    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [step["result"] for name, step in data["steps"].items() if name.startswith("time ") and "result" in step]
    names = [key for key in (*KINDS, "torch_omp") if any(key in row for row in rows)]
    figure, axes = pyplot.subplots(figsize=(9, 4.5))
    for name in names:
        axes.plot(range(len(rows)), [row[name]["ms"] for row in rows], marker="o", label=name)
    labels = [f"{row['n']},{row['M']}\n{row['B']},{row['s']}" for row in rows]
    axes.set_xticks(range(len(rows)), labels, fontsize=7)
    axes.set_yscale("log")
    axes.set_ylabel("ms per pursuit")
    axes.set_xlabel("n, M / B, s")
    axes.set_title(data["machine"]["device"])
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    return path.name


def machine(device: torch.device) -> dict[str, Any]:
    """Return what this runs on."""
    import triton

    cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if cuda else "CPU, Triton's interpreter",
        "capability": torch.cuda.get_device_capability(device) if cuda else None,
        "torch": torch.__version__,
        "triton": triton.__version__,
        "numpy": np.__version__,
        "python": sys.version.split()[0],
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
    }


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
    sys.path[:0] = [str(ROOT), str(ROOT / "bench")]
    kernels = importlib.import_module("kernels")
    usable, reason = kernels.available()
    if not usable:
        parser.error(reason)
    device = kernels.device()
    if options.warm:
        warm(kernels, device, options.warm)
        return 0
    torch.backends.cuda.matmul.allow_tf32 = False
    rng = load("reference_rng", ROOT / "coinr/engine/philox.py")
    run = Run(options.out, options.tiny, options.budget)
    run.data["machine"] = machine(device)
    building, extension, why = start_building_extension()

    shapes, odd = (TINY_SHAPES, TINY_ODD) if options.tiny else (SHAPES, ODD)
    if device.type == "cuda":
        run.step("compile", lambda: compile_ahead(min(8, os.cpu_count() or 1), 150))
    run.step("entries", lambda: check_entries(kernels, rng, device, options.tiny))
    run.step("synthesis", lambda: check_synthesis(kernels, rng, device, None))
    for shape in (*odd, *shapes):
        for kind in KINDS:
            run.step(
                f"pursuit {kind} {shape}",
                lambda shape=shape, kind=kind: check_pursuit(kernels, device, shape, kind),
                150,
            )
    peak = run.step("peaks", lambda: peaks(device, options.tiny))
    if peak:
        headline = TINY_HEADLINE if options.tiny else HEADLINE
        run.step("headline", lambda: time_headline(device, headline, peak))
        for shape in shapes:
            run.step(f"time {shape}", lambda shape=shape: time_shape(kernels, device, shape, peak))
    if device.type == "cuda":
        run.step("resources", lambda: resources(device), 2)
    if building is not None:
        try:
            why = "" if building.wait(max(1.0, run.end - time.monotonic() - 10)) == 0 else "the compiler failed"
        except subprocess.TimeoutExpired:
            building.kill()
            why = "the compiler needed too long"
    if why:
        run.data["steps"]["synthesis on CPU and GPU"] = {"missing": why}
    else:
        compare_native = lambda: check_synthesis(kernels, rng, device, load("_C", extension))  # noqa: E731
        run.step("synthesis on CPU and GPU", compare_native, 2)
    run.step("plot", lambda: draw(run.data, options.out / "gpu_check.png"), 2)
    print(f"{len(run.data['failures'])} failures", *run.data["failures"], sep="\n")
    return 1 if run.data["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
