"""CPU seconds of whole commands that read files: start, imports and output included.

``python -m bench.speed.latency`` writes ``bench/results/latency.json``. Each command runs several times in a process of
its own, on one core, with the bytecode of all modules in place as after an installation; the least user and system time
counts. Files hold networks with random weights: what decoding and rendering take does not depend on the weights.
``PNG`` does: the picture is a smooth one.

``--before FOLDER`` measures the checkout of another commit there too, whose extension is built.
"""

from __future__ import annotations

import argparse
import compileall
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

import coinr
from bench.harness.results import write_json
from coinr.networks import network_meta

OUT = Path("bench/results/latency.json")

_ONE_CORE = dict.fromkeys(("COINR_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def make_files(folder: Path) -> None:
    """Write a picture of 768 x 512 pixels, five seconds of sound and 128³ voxels."""
    generator = torch.Generator().manual_seed(0)
    for name, network, meta in (
        ("picture", coinr.Siren(2, 3, 64, 3, generator=generator), {"image": [512, 768]}),
        ("sound", coinr.Siren(1, 1, 64, 3, first_omega=3000, generator=generator), {"audio": [5 * 44100, 44100]}),
        ("shape", coinr.Siren(3, 1, 64, 3, generator=generator), {"shape": [128, 128, 128]}),
    ):
        state = {key: value.detach() for key, value in network.state_dict().items()}
        blob = coinr.encode_state_dict(state, meta={**meta, **network_meta(network)})
        (folder / f"{name}.coinr").write_bytes(blob)


#: What is measured, by name: the words of the command; names of files are in the folder.
COMMANDS = {
    "coinr --help": ["--help"],
    "coinr info": ["info", "picture.coinr"],
    "coinr verify": ["verify", "picture.coinr"],
    "coinr unpack to .npz": ["unpack", "picture.coinr", "-o", "out.npz"],
    "coinr unpack to .safetensors": ["unpack", "picture.coinr", "-o", "out.safetensors"],
    "coinr unpack to .pt": ["unpack", "picture.coinr", "-o", "out.pt"],
    "coinr decode, 768 x 512 pixels to .png": ["decode", "picture.coinr", "-o", "out.png"],
    "coinr decode, 5 s of sound to .wav": ["decode", "sound.coinr", "-o", "out.wav"],
    "coinr decode, 128³ voxels to .npy": ["decode", "shape.coinr", "-o", "out.npy"],
}


def cpu_seconds(words: list[str], folder: Path, checkout: Path, repeats: int) -> float:
    """Return the least user and system time of a command of a checkout."""
    environment = {**os.environ, **_ONE_CORE, "PYTHONPATH": str(checkout)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    best = float("inf")
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "coinr", *words]
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best


def measure(checkouts: dict[str, Path], repeats: int) -> list[dict[str, Any]]:
    """Return a row for each command, with seconds by checkout."""
    for checkout in checkouts.values():
        compileall.compile_dir(checkout / "coinr", quiet=1)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder)
        for command, words in COMMANDS.items():
            seconds = {key: round(cpu_seconds(words, folder, path, repeats), 3) for key, path in checkouts.items()}
            rows.append({"command": command, **seconds})
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure all commands and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="a checkout of another commit")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    checkouts = {"seconds": Path.cwd()}
    if arguments.before:
        checkouts["seconds_before"] = arguments.before.resolve()
    write_json(arguments.out, {"repeats": arguments.repeats, "commands": measure(checkouts, arguments.repeats)})


if __name__ == "__main__":
    main()
