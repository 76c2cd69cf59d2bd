"""PSNR over CPU time of ``coinr encode`` with its defaults, of an earlier state, and of plain PyTorch with Adam.

    python -m bench.signals.fit_recipe [--data DIR] [--before CHECKOUT] [--only default,adam] [--steps 1000,2000]

All fit SIRENs to six photos at full size, one core: two of scikit-image, four of Kodak with the data folder (also
COINR_DATA). All but ``adam`` are the whole command, starting Python included. ``default`` runs at its own steps and at
those given. ``before`` is another checkout, built, at its own steps. ``budget`` is ``--target-bytes`` with the bytes of
``before``. ``adam`` is a loop of plain PyTorch at the learning rate 1e-3 with coding, a SIREN (3, 64). Writes
``fit_recipe.csv`` (one row a fit; rows that are there are not made again), and summary, machine and versions to
``fit_recipe.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import coinr
from bench.harness import corpus
from bench.harness.results import read_csv, write_csv, write_json
from bench.harness.signals import pixels_of
from coinr.signals.image.signal import ImageSignal
from coinr.signals.sampling import score_of

WIDTH, HIDDEN_LAYERS, BATCH, RATE = 64, 3, 4096, 1e-3

SHIPPED = ("astronaut", "chelsea")
KODAK = ("kodim01", "kodim08", "kodim15", "kodim19")


@dataclass(frozen=True)
class Row:
    """One fit and its file: CPU seconds of all, dB before and after coding."""

    method: str
    version: str
    picture: str
    steps: int
    cpu_seconds: float
    psnr: float
    bytes: int
    psnr_coded: float


def encode(pixels: np.ndarray, checkout: Path, chosen: Sequence[str]) -> dict[str, Any]:
    """Return the result of ``coinr encode`` of a checkout with chosen options, and its CPU seconds as ``cpu``."""
    with tempfile.TemporaryDirectory() as folder:
        Image.fromarray(pixels).save(f"{folder}/photo.png")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "coinr", "encode", f"{folder}/photo.png", *chosen, "--threads", "1", "--json"],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(checkout)},
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return json.loads(done.stdout) | {"cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


def version_of(checkout: Path) -> str:
    """Return ``coinr`` and the commit of a checkout."""
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=checkout, check=True, stdout=subprocess.PIPE, text=True)
    return f"coinr {done.stdout.strip()}"


def run_command(method: str, picture: str, pixels: np.ndarray, checkout: Path, chosen: Sequence[str]) -> Row:
    """Return the row of one command."""
    out = encode(pixels, checkout, chosen)
    steps = out["steps"] if "steps" in out else sum(step.get("steps", 0) for step in out["report"])
    return Row(
        method,
        version_of(checkout),
        picture,
        steps,
        round(out["cpu"], 2),
        round(out["psnr_before_coding"], 3),
        out["bytes"],
        round(out["psnr"], 3),
    )


def run_adam(picture: str, pixels: np.ndarray, steps: int) -> Row:
    """Return the row of a loop as a tutorial has it: Linear, sine, autograd, Adam, cosine decay, random pixels."""
    begin = time.process_time()
    signal, generator = ImageSignal(pixels), torch.Generator().manual_seed(0)
    network = coinr.Siren(2, signal.out_features, WIDTH, HIDDEN_LAYERS, generator=generator)
    *sines, last = (layer for layer in network.layers if isinstance(layer, torch.nn.Linear))
    inputs, targets = signal.batch(torch.arange(signal.count))
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * step / steps)) / 2
        chosen = torch.randint(signal.count, (BATCH,), generator=generator)
        x = inputs[chosen]
        for layer in sines:
            x = torch.sin(30 * layer(x))
        optimizer.zero_grad()
        (last(x) - targets[chosen]).square().mean().backward()
        optimizer.step()
    blob = coinr.pack_signal(network, signal)
    seconds = time.process_time() - begin
    scores = [round(score_of(one, signal), 3) for one in (network, coinr.load_network(blob))]
    return Row("adam", f"torch {torch.__version__}", picture, steps, round(seconds, 2), scores[0], len(blob), scores[1])


def crossing(rows: Sequence[Row], target: Row) -> tuple[float, float]:
    """Return CPU seconds and bytes at which the curve of ``rows`` has the quality of ``target`` after coding.

    Both are interpolated linearly in dB between fits, and not beyond them: NaN then.
    """
    curve = sorted(rows, key=lambda row: row.psnr_coded)
    if not curve or not curve[0].psnr_coded <= target.psnr_coded <= curve[-1].psnr_coded:
        return math.nan, math.nan
    quality = [row.psnr_coded for row in curve]
    columns = [row.cpu_seconds for row in curve], [float(row.bytes) for row in curve]
    seconds, size = (float(np.interp(target.psnr_coded, quality, column)) for column in columns)
    return seconds, size


def summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return for each picture the default over the earlier one, at own steps and at equal quality, budgets, and means.

    Ratios at equal quality are None where the curve of the default does not reach it. Means are geometric, and those of
    decibels arithmetic.
    """
    found: list[dict[str, Any]] = []
    for target in (row for row in rows if row.method == "before"):
        curve = [row for row in rows if (row.method, row.picture) == ("default", target.picture)]
        seconds, size = crossing(curve, target)
        own = next((row for row in curve if row.steps == ImageSignal.recipe.steps), None)
        budget = next((row for row in rows if (row.method, row.picture) == ("budget", target.picture)), None)
        found.append(
            {
                "picture": target.picture,
                "command_time_ratio": own and own.cpu_seconds / target.cpu_seconds,
                "command_bytes_ratio": own and own.bytes / target.bytes,
                "psnr_change": own and own.psnr_coded - target.psnr_coded,
                "time_ratio": None if math.isnan(seconds) else seconds / target.cpu_seconds,
                "bytes_ratio": None if math.isnan(size) else size / target.bytes,
                "budget_time_ratio": budget and budget.cpu_seconds / target.cpu_seconds,
                "budget_psnr_change": budget and budget.psnr_coded - target.psnr_coded,
            }
        )
    means: dict[str, float | None] = {}
    for name in ("psnr_change", "budget_psnr_change"):
        values = [float(one[name]) for one in found if one[name] is not None]
        means[name] = statistics.fmean(values) if values else None
    for name in ("command_time_ratio", "command_bytes_ratio", "time_ratio", "bytes_ratio", "budget_time_ratio"):
        values = [float(one[name]) for one in found if one[name] is not None]
        means[name] = statistics.geometric_mean(values) if values else None
    return [*found, {"picture": "mean", **means}]


def main() -> None:
    """Make the rows that are missing, and the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    corpus.add_data_option(parser)
    parser.add_argument("--before", type=Path, help="checkout of an earlier commit, built")
    parser.add_argument("--only", default="before,default,budget,adam", help="methods, with commas between")
    parser.add_argument("--steps", default="3000", help="of `default` beside its own, and of `adam`")
    parser.add_argument("--pictures", help="names, with commas between; all by default")
    parser.add_argument("--out", type=Path, default=Path("bench/results/fit_recipe"), help="the files without suffix")
    options = parser.parse_args()
    torch.set_num_threads(1)
    here, steps = Path(__file__).parents[2], [int(count) for count in options.steps.split(",") if count]
    path = options.out.with_suffix(".csv")
    rows = [Row(**row) for row in read_csv(path)] if path.exists() else []
    names = options.pictures.split(",") if options.pictures else [*SHIPPED, *(KODAK if options.data else ())]
    for name in names:
        pixels = pixels_of(name, options.data)
        own = ImageSignal(pixels).recipe.steps
        work: list[tuple[str, int | None]] = [("before", None)] if options.before else []
        work += [("default", count) for count in sorted({*steps, own})]
        work += [("budget", None), *(("adam", count) for count in steps)]
        for method, count in work:
            known = any((r.method, r.picture) == (method, name) and count in (None, r.steps) for r in rows)
            if known or method not in options.only.split(","):
                continue
            if method == "adam":
                rows.append(run_adam(name, pixels, count or own))
            else:
                chosen = [] if count is None else ["--steps", str(count)]
                if method == "budget":
                    most = next((r.bytes for r in rows if (r.method, r.picture) == ("before", name)), None)
                    if most is None:
                        parser.error(f"budget takes the bytes of before, and {name} has no such row: give --before")
                    chosen = ["--target-bytes", str(most)]
                checkout = options.before if method == "before" else here
                rows.append(run_command(method, name, pixels, checkout, chosen))
            print(rows[-1], flush=True)
            write_csv(path, [asdict(row) for row in rows])
    write_json(options.out.with_suffix(".json"), {"summary": summary(rows)})


if __name__ == "__main__":
    main()
