"""Compile beside the run: the C++ extension, and the Triton kernels of all pursuits and networks."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from bench.speed.gpu import networks
from bench.speed.gpu.shapes import KINDS, ODD, SEED, SHAPES, STREAM

ROOT = Path(__file__).resolve().parents[3]


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


def compile_ahead(script: Path, count: int, limit: float) -> dict[str, Any]:
    """Fill Triton's cache from several processes at once: one after another the kernels take minutes to compile.

    ``script`` with ``--warm I/COUNT`` calls :func:`warm`.
    """
    command = [sys.executable, "-W", "ignore", str(script), "--warm"]
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
    """Run this process's share of all pursuits and networks once, so that their kernels are compiled."""
    mine, count = map(int, share.split("/"))
    work = [(shape, kind) for shape in (*SHAPES, *ODD) for kind in KINDS]
    for (n, M, B, s), kind in work[mine::count]:
        for vectors in {B, min(B, 192)}:
            kernels.omp(torch.randn(vectors, n, device=device), kind, M, SEED, STREAM, s)
    for networks_shape, kind in networks.CASES[mine::count]:
        networks.check_networks(kernels, device, networks_shape, kind)
    torch.cuda.synchronize(device)
