"""Sensitivity of a network's output to errors of single tensors; ``default_errors.py`` is made from it.

    python -m bench.rate.sensitivity [--out bench/results/rate/sensitivity.csv]

For each trained network of the corpus and each of its tensors, two numbers are measured. The sensitivity is the
relative rise of the squared error of the output by a mean squared error of 1 in that tensor alone, for each of its
numbers. Normal noise small enough to be in the linear range shows it (seed 1, mean of two draws). The other number is
the noise, relative to the others', that would have an equal effect.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from bench.harness import corpus
from bench.harness.results import write_csv, write_json

# Relative rises between which noise is in the linear range.
_LEAST, _MOST = 0.003, 0.3


def _rise(entry: corpus.Entry, name: str, noise: float) -> float:
    """Return mean relative rise of the squared error, over two draws."""
    clean = 10 ** (-entry.evaluate(entry.state_dict) / 10)
    tensor = entry.state_dict[name]
    plain = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    generator = torch.Generator().manual_seed(1)
    rises = []
    for _ in range(2):
        moved = plain + noise * torch.randn(plain.shape, generator=generator)
        moved = torch.view_as_complex(moved) if tensor.is_complex() else moved
        rises.append(10 ** (-entry.evaluate(entry.state_dict | {name: moved}) / 10) / clean - 1)
    return sum(rises) / len(rises)


def rows(entry: corpus.Entry) -> list[dict[str, Any]]:
    """Return one row a tensor."""
    found = []
    for name, tensor in entry.state_dict.items():
        count = tensor.numel() * (2 if tensor.is_complex() else 1)
        if count < 2:
            continue
        size = float((tensor.abs().double().square().sum() / count).sqrt())
        noise = size / 32
        for _ in range(12):
            rise = _rise(entry, name, noise)
            if _LEAST < rise < _MOST:
                break
            noise *= 3 if rise <= _LEAST else 1 / 3
        sensitivity = rise / noise**2 / count if rise > 0 else float("nan")
        found.append(
            {
                "network": entry.name,
                "tensor": name,
                "shape": "x".join(map(str, tensor.shape)),
                "rms": f"{size:.5g}",
                "sensitivity_per_number": f"{sensitivity:.4g}",
                "equal_effect_noise": f"{sensitivity**-0.5:.4g}",
                "rise": f"{rise:.3g}",
            }
        )
    return found


def main() -> None:
    """Measure what is in the cache; write CSV and, beside it, machine and versions as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("bench/results/rate/sensitivity.csv"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: list[dict[str, Any]] = []
    for name in corpus.ready():
        found += rows(corpus.load(name))
        print(name, flush=True)
    write_csv(options.out, found)
    write_json(options.out.with_suffix(".json"), {})


if __name__ == "__main__":
    main()
