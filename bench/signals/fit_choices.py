"""First frequency, learning rate and the optimizer of the last layer, by PSNR and bytes after equal steps.

    python -m bench.signals.fit_choices --data DIR [--pictures kodim03,kodim13@48] [--steps 3000] [--variants 0,1,2,3]

Fits SIRENs to pictures with variants below and codes them by the default. ``kodim13@48`` is the middle of Kodak 13,
48 x 48 pixels. ``adam`` in the column ``last_layer`` is what :func:`coinr.fit` does; with ``muon`` that optimizer
moves the last layer, too. Writes
``fit_choices.csv`` (one row a fit; rows that are there are not made again), and machine and versions to
``fit_choices.json``.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor

import coinr
from bench.harness import corpus
from bench.harness.results import read_csv, write_csv, write_json
from bench.harness.signals import pixels_of
from coinr.fitting import optimizers
from coinr.signals.image.signal import ImageSignal
from coinr.signals.sampling import score_of

#: First frequency, learning rate and the optimizer of the last layer.
VARIANTS = (
    (30.0, 1e-3, "adam"),
    (45.0, 1e-3, "adam"),
    (30.0, 7e-4, "adam"),
    (45.0, 7e-4, "adam"),
    (45.0, 1e-3, "muon"),
    (45.0, 1.5e-3, "muon"),
)


@dataclass(frozen=True)
class Choice:
    """What is fitted, and how."""

    picture: str
    size: str
    steps: int
    first_omega: float
    learning_rate: float
    last_layer: str
    seed: int


@dataclass(frozen=True)
class Row(Choice):
    """One fit: dB before and after coding; no seconds where it was part of a command."""

    psnr: float
    bytes: int
    psnr_coded: float
    cpu_seconds: float | None


def any_matrix(tensor: Tensor) -> tuple[int, ...] | None:
    """Return the shape of matrices that Muon moves where it moves wide ones, too; else None."""
    return tuple(tensor.shape[1:]) if tensor.ndim == 3 and min(tensor.shape[1:]) > 1 else None


def middle_of(picture: str, data: Path | None) -> np.ndarray:
    """Return the pixels of a picture, or those in the middle of it."""
    name, _, side = picture.partition("@")
    pixels = pixels_of(name, data)
    if not side:
        return pixels
    top, left = ((length - int(side)) // 2 for length in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top:, left:][: int(side), : int(side)])


def run(choice: Choice, data: Path | None) -> Row:
    """Return the row of one fit."""
    signal = ImageSignal(middle_of(choice.picture, data))
    hidden, width = map(int, choice.size.split("x"))
    generator = torch.Generator().manual_seed(choice.seed)
    omega = choice.first_omega
    network = coinr.Siren(2, signal.out_features, width, hidden, first_omega=omega, generator=generator)
    shape = any_matrix if choice.last_layer == "muon" else optimizers._matrix_shape
    begin = time.process_time()
    with mock.patch.object(optimizers, "_matrix_shape", shape):
        fitted = coinr.fit(
            signal,
            network,
            steps=choice.steps,
            learning_rate=choice.learning_rate,
            seed=choice.seed,
            threads=1,
            progress=False,
        )
    seconds = time.process_time() - begin
    blob = coinr.pack_signal(fitted.network, signal)
    coded = score_of(coinr.load_network(blob), signal)
    return Row(
        **asdict(choice),
        psnr=round(fitted.score, 3),
        bytes=len(blob),
        psnr_coded=round(coded, 3),
        cpu_seconds=round(seconds, 2),
    )


def main() -> None:
    """Fit what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    corpus.add_data_option(parser)
    parser.add_argument("--pictures", default="astronaut,chelsea", help="names of Kodak, or of scikit-image's photos")
    parser.add_argument("--size", default="3x64", help="hidden layers x width")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--variants", default="0,1", help="numbers of VARIANTS")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("bench/results/fit_choices"), help="the files without suffix")
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = options.out.with_suffix(".csv")
    rows = [Row(**row) for row in read_csv(path)] if path.exists() else []
    known = {tuple(asdict(row).values())[: len(Choice.__dataclass_fields__)] for row in rows}
    for picture in options.pictures.split(","):
        for variant in (VARIANTS[int(number)] for number in options.variants.split(",")):
            choice = Choice(picture, options.size, options.steps, *variant, options.seed)
            if tuple(asdict(choice).values()) not in known:
                rows.append(run(choice, options.data))
                print(rows[-1], flush=True)
                write_csv(path, [asdict(row) for row in rows])
    write_json(options.out.with_suffix(".json"), {"rows": len(rows)})


if __name__ == "__main__":
    main()
