"""PSNR of fits by Muon with four and five steps of its iteration.

    python -m bench.signals.newton_schulz [--pictures astronaut,chelsea] [--seeds 2] [--steps 3000]

Fits SIRENs (3, 64) to whole photos at the defaults, Muon by torch's operations. Writes ``newton_schulz.csv`` (one row a
fit), and machine and versions to ``newton_schulz.json``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any
from unittest import mock

import torch

import coinr
from bench.harness import corpus
from bench.harness.results import write_csv, write_json
from bench.harness.signals import pixels_of
from coinr.fitting import optimizers


class TorchMuon(optimizers.Muon):
    """Muon by torch's operations, whose number of steps can be changed."""

    def __init__(self, params: list[torch.Tensor], lr: float) -> None:
        super().__init__(params, lr)
        self.native = False


def psnr(picture: str, data: Path | None, seed: int, steps: int, iterations: int) -> float:
    """Return the PSNR of one fit."""
    with (
        mock.patch.object(optimizers, "_ITERATIONS", iterations),
        mock.patch.dict(optimizers.OPTIMIZERS, {"muon": TorchMuon}),
    ):
        pixels = pixels_of(picture, data)
        return coinr.fit(pixels, width=64, hidden_layers=3, steps=steps, seed=seed, threads=1, progress=False).score


def main() -> None:
    """Fit, then write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    corpus.add_data_option(parser)
    parser.add_argument("--pictures", default="astronaut,chelsea", help="names of Kodak, or of scikit-image's photos")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for picture in options.pictures.split(","):
        for seed in range(options.seeds):
            for iterations in (5, 4):
                found = psnr(picture, options.data, seed, options.steps, iterations)
                rows.append({"picture": picture, "seed": seed, "steps": options.steps, "iterations": iterations})
                rows[-1]["psnr"] = round(found, 3)
                print(rows[-1], flush=True)
    write_csv(options.out / "newton_schulz.csv", rows)
    write_json(options.out / "newton_schulz.json", {"rows": len(rows)})


if __name__ == "__main__":
    main()
