"""A state dict of 100 million parameters in and out of files: seconds, and memory beside the largest tensor.

``python -m bench.speed.big`` writes ``bench/results/big.json``. The weights are those of a large scene: a hash grid as
one flat float16 tensor and one of two columns, whose scales fall from coarse to fine levels, and a small network. Each
direction runs in a process of its own, which is given the ``.safetensors`` or ``.coinr`` file by name.

Memory is that of the process less what it had before, after a first small file: ``anonymous`` is what it allocates, by
samples a millisecond apart. ``resident`` counts the mapped pages of the input too, which the system takes back when it
needs them. Seconds of CPU time count, as the machine may be shared: the load average says how much it was.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

import coinr
from bench.harness.memory import Memory
from bench.harness.results import write_json
from coinr.codec.state_dict_file import open_state_dict
from coinr.files.state_dicts import read_state_dict_file, write_state_dict_file

OUT = Path("bench/results/big.json")

# Levels of the hash grid, from coarse to fine.
LEVELS = 16


def make_scene(parameters: int) -> dict[str, torch.Tensor]:
    """Return about so many parameters: half in a flat table, half in rows of two, and a network."""
    generator = torch.Generator().manual_seed(0)
    entries = parameters // (4 * LEVELS)
    levels = [
        (torch.randn(entries, 2, generator=generator) * 10 ** (-3 * level / LEVELS)).half()
        for level in range(LEVELS)
        for _ in range(2)
    ]
    scene = {"grid.params": torch.cat(levels[::2]).reshape(-1), "embedding.weight": torch.cat(levels[1::2])}
    widths = (2 * LEVELS, 64, 64, 4)
    for layer, (columns, rows) in enumerate(zip(widths, widths[1:], strict=False)):
        scene[f"net.{layer}.weight"] = torch.randn(rows, columns, generator=generator) / columns**0.5
        scene[f"net.{layer}.bias"] = torch.randn(rows, generator=generator) / 10
    return scene


def _encode(source: Path, target: Path, effort: str, threads: int) -> None:
    coinr.save(target, read_state_dict_file(source), effort=effort, threads=threads)


def _decode(source: Path, target: Path) -> None:
    with open_state_dict(source) as file:
        write_state_dict_file(target, file)


def _take_one(source: Path) -> None:
    with open_state_dict(source) as file:
        assert file["net.0.weight"].shape == (64, 2 * LEVELS)


def run(step: str, source: Path, target: Path, effort: str, threads: int) -> dict[str, Any]:
    """Return seconds and memory of a step, in this process: encode, decode, or one (a small tensor is taken)."""
    steps = {
        "encode": lambda: _encode(source, target, effort, threads),
        "decode": lambda: _decode(source, target),
        "one": lambda: _take_one(source),
    }
    small = {f"net.{layer}.weight": torch.randn(64, 32) for layer in range(2)}
    with tempfile.TemporaryDirectory() as folder:
        coinr.save(Path(folder) / "small.coinr", small, effort=effort, threads=threads)
        _decode(Path(folder) / "small.coinr", Path(folder) / "small.safetensors")
    with Memory() as memory:
        wall, cpu = time.perf_counter(), time.process_time()
        steps[step]()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "wall_s": wall,
        "cpu_s": cpu,
        "load_average": os.getloadavg()[0],
        "anonymous_bytes": memory.anonymous,
        "resident_bytes": memory.resident,
    }


def measure(parameters: int, effort: str, threads: int) -> dict[str, Any]:
    """Return the results of all steps, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        original, coded, decoded = (Path(folder) / name for name in ("a.safetensors", "a.coinr", "b.safetensors"))
        scene = make_scene(parameters)
        count = sum(tensor.numel() for tensor in scene.values())
        largest = max(tensor.numel() * tensor.itemsize for tensor in scene.values())
        safetensors.torch.save_file(scene, original)
        del scene
        result: dict[str, Any] = {"parameters": count, "largest_tensor_bytes": largest, "effort": effort}
        result |= {"threads": threads, "input_bytes": original.stat().st_size}
        for step, source, target in (("encode", original, coded), ("decode", coded, decoded), ("one", coded, decoded)):
            command = [sys.executable, "-m", "bench.speed.big", "--step", step, str(source), str(target)]
            command += ["--effort", effort, "--threads", str(threads)]
            found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            found["anonymous_over_largest"] = found["anonymous_bytes"] / largest
            if step != "one":
                found["weights_per_second"] = count / found["wall_s"]
                found["weights_per_cpu_second"] = count / found["cpu_s"]
            result[step] = found
        result["coded_bytes"] = coded.stat().st_size
        result["relative_error"] = _relative_errors(original, decoded)
    return result


def _relative_errors(original: Path, decoded: Path) -> dict[str, float]:
    first, second = read_state_dict_file(original), read_state_dict_file(decoded)
    return {
        name: float((second[name].float() - first[name].float()).norm() / first[name].float().norm()) for name in first
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=int, default=100_000_000)
    parser.add_argument("--effort", default="fast")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument(
        "--step", nargs=3, metavar=("STEP", "SOURCE", "TARGET"), help="what this script calls itself for"
    )
    options = parser.parse_args()
    if options.step:
        step, source, target = options.step
        print(json.dumps(run(step, Path(source), Path(target), options.effort, options.threads)))
        return
    write_json(options.out, measure(options.parameters, options.effort, options.threads))
    print(options.out.read_text())


if __name__ == "__main__":
    main()
