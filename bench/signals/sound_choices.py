"""Learning rates of sounds, by SNR and bytes after equal steps.

    python -m bench.signals.sound_choices SOUND ... [--size 3x128] [--steps 3000] [--seed 0]

Fits SIRENs to sound files by ``VARIANTS`` and codes them by the default. The learning rate and the share of the first
layer were chosen on the first two sounds in the results, a cello of the data folder and ``service-login.oga`` of
Debian's sound-theme-freedesktop. The others only report: ``Front_Center.wav`` of Debian's alsa-utils, and
``alarm-clock-elapsed.oga``. Writes ``sound_choices.csv``, one row a fit; rows that are there are not made again.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any
from unittest import mock

import torch

import coinr
from bench.harness.results import read_csv, write_csv
from coinr.fitting import optimizers
from coinr.signals.sampling import score_of

#: Learning rate, and the first frequency above which the first layer moves more slowly than the others.
VARIANTS = {"before": (5e-4, math.inf), "default": (1e-3, 45.0)}

#: What is equal in rows of one fit.
KEYS = ("sound", "network", "steps", "variant", "seed")


def run(path: Path, key: dict[str, Any]) -> dict[str, Any]:
    """Return the row of one fit."""
    hidden_layers, width = map(int, key["network"].split("x"))
    rate, fastest = VARIANTS[key["variant"]]
    signal = coinr.open_signal(path)
    begin = time.process_time()
    with mock.patch.object(optimizers, "_FASTEST", fastest):
        fitted = coinr.fit(
            signal,
            width=width,
            hidden_layers=hidden_layers,
            steps=key["steps"],
            learning_rate=rate,
            seed=key["seed"],
            threads=1,
            progress=False,
        )
    seconds = time.process_time() - begin
    blob = coinr.pack_signal(fitted.network, signal)
    coded = score_of(coinr.load_network(blob), signal)
    return key | {"bytes": len(blob), "snr": round(coded, 2), "cpu_seconds": round(seconds, 1)}


def main() -> None:
    """Fit what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", nargs="+", type=Path, help="files")
    parser.add_argument("--size", default="3x128", help="hidden layers x width")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("bench/results/sound_choices.csv"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = read_csv(options.out) if options.out.exists() else []
    for path in options.sounds:
        for variant in VARIANTS:
            values = (path.stem, options.size, options.steps, variant, options.seed)
            key = dict(zip(KEYS, values, strict=True))
            if not any(all(row[name] == value for name, value in key.items()) for row in rows):
                rows.append(run(path, key))
                print(rows[-1], flush=True)
                write_csv(options.out, rows)


if __name__ == "__main__":
    main()
