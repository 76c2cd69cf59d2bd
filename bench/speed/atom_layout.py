"""Which popcount makes the entries of a ``gaussian`` atom: speed of generation and residual of a pursuit, together.

    python -m bench.speed.atom_layout --out bench/results/atom_layout.json

Popcounts of 8, 16 and 32 bits (16, 8 and 4 entries a Philox call) against true normal atoms: mean residual energy in
dB of 64 normal vectors after n / 4 atoms, M = 8 n, over several dictionaries; entries per second on one core.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.harness.machine import machine
from coinr.files.writing import write_atomic

SIZES = (64, 65, 66, 129, 283, 319)
BITS = (8, 16, 32)
SEEDS = 8
VECTORS = 64


def pursue(atoms: NDArray[np.float64], W: NDArray[np.float64], s: int) -> float:
    """Residual energy over energy, in dB, after s atoms (columns of ``atoms``) for each row of W."""
    unit = atoms / np.linalg.norm(atoms, axis=0)
    residual, basis = W.copy(), np.zeros((len(W), s, W.shape[1]))
    for k in range(s):
        fresh = unit[:, np.abs(residual @ unit).argmax(1)].T
        for _ in range(2):
            fresh = fresh - np.einsum("bkn,bk->bn", basis[:, :k], np.einsum("bkn,bn->bk", basis[:, :k], fresh))
        basis[:, k] = fresh / np.linalg.norm(fresh, axis=1, keepdims=True)
        residual -= basis[:, k] * (residual * basis[:, k]).sum(1, keepdims=True)
    return float(10 * np.log10((residual**2).sum() / (W**2).sum()))


def residuals() -> list[dict[str, Any]]:
    """Mean and standard deviation over dictionaries, for each n and kind of entry."""
    rows = []
    for n in SIZES:
        found: dict[str, list[float]] = {str(bits): [] for bits in BITS} | {"normal": []}
        for seed in range(SEEDS):
            generator = np.random.default_rng(seed)
            W = generator.standard_normal((VECTORS, n))
            for bits in BITS:
                atoms = generator.binomial(bits, 0.5, (n, 8 * n)) - bits / 2
                found[str(bits)].append(pursue(atoms, W, n // 4))
            found["normal"].append(pursue(generator.standard_normal((n, 8 * n)), W, n // 4))
        for entry, values in found.items():
            rows.append({"n": n, "M": 8 * n, "entry": entry, "db": np.mean(values), "sd": np.std(values, ddof=1)})
    return rows


def speeds() -> dict[str, float]:
    """Median entries per second on one core, by popcount."""
    source = Path(__file__).with_suffix(".cpp")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "atom_layout"
        subprocess.run(["g++", "-O3", "-march=native", "-std=c++17", str(source), "-o", str(program)], check=True)
        lines = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout.splitlines()
    rates = np.median([[float(value) for value in line.split()] for line in lines], axis=0)
    return {str(bits): float(rate) for bits, rate in zip(BITS, rates, strict=True)}


def main(arguments: list[str] | None = None) -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("bench/results/atom_layout.json"))
    options = parser.parse_args(arguments)
    result = {"machine": machine(), "entries_per_second": speeds(), "residual": residuals()}
    write_atomic(options.out, json.dumps(result, indent=1).encode() + b"\n")
    print(json.dumps(result["entries_per_second"]))
    for row in result["residual"]:
        print(f"n {row['n']:4d}  {row['entry']:>6}  {row['db']:.3f} dB  (sd {row['sd']:.3f})")


if __name__ == "__main__":
    main()
