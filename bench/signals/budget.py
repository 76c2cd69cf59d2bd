"""Measures how closely :func:`coinr.compress` meets budgets, and what refinement gains it.

    python -m bench.signals.budget --data DIR [--steps 1000] [--batch 4096]

Kodak's 03, 05, 13, 19, 20 and 23 at half size, none of them among those that the table was measured with: two sizes in
bits per pixel and one PSNR for each, on one thread. Then one of the sizes with refinement, beside a fit that is given
the same steps in all. Rows are kept in ``bench/cache/budget_met``, so that a run that was stopped goes on. Writes
``bench/results/budget.csv`` and ``.json`` (with machine, versions and every step that was taken) and ``.md``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import coinr
from bench.harness import corpus
from bench.harness.results import Kept, write_csv, write_json
from coinr.files.writing import write_atomic
from coinr.signals.image.signal import ImageSignal

CACHE = Path("bench/cache/budget_met")
OUT = Path("bench/results/budget")

PICTURES = ("kodim03", "kodim05", "kodim13", "kodim19", "kodim20", "kodim23")

#: Name of the argument, wanted value, and whether it is what refinement is measured with.
BUDGETS = (("target_bpp", 0.4), ("target_bpp", 1.0), ("min_score", 24.0))
REFINED = ("target_bpp", 0.4)


@dataclass(frozen=True)
class Row:
    """One file. ``off`` is by how much the budget was missed: relative for a size, in dB for a PSNR."""

    picture: str
    budget: str
    wanted: float
    refine: bool
    steps: int
    batch: int
    network: str
    parameters: int
    bytes: int
    bpp: float
    psnr: float
    off: float
    fits: int
    cpu_seconds: float
    report: list[dict[str, Any]]


def picture(name: str, data: Path) -> ImageSignal:
    """Return a picture at half size."""
    whole = coinr.read_image(data / "kodak" / f"{name}.png")
    return ImageSignal(np.asarray(Image.fromarray(whole).reduce(2)))


def measure(name: str, signal: ImageSignal, budget: str, wanted: float, refine: bool, steps: int, batch: int) -> Row:
    """Measure one file and how it was come by."""
    begin = time.process_time()
    made = coinr.compress(
        signal,
        refine=refine,
        thorough=refine,
        steps=steps,
        progress=False,
        fitting={"batch": batch, "threads": 1, "device": "cpu"},
        threads=1,
        **{budget: wanted},
    )
    seconds = time.process_time() - begin
    shown = coinr.open_file(made.blob).render()
    psnr = coinr.psnr(signal.image, shown)
    bpp = 8 * made.bytes / signal.count
    network = made.network
    return Row(
        name,
        budget,
        wanted,
        refine,
        steps,
        batch,
        f"{network.hidden_layers} x {network.width}",
        sum(p.numel() for p in network.parameters()),
        made.bytes,
        round(bpp, 4),
        round(psnr, 3),
        round(psnr - wanted if budget == "min_score" else bpp / wanted - 1, 4),
        sum(step.name.endswith("fit") for step in made.report),
        round(seconds, 1),
        [{"step": step.name, **step.numbers} for step in made.report],
    )


def rows(data: Path, steps: int, batch: int) -> Iterator[Row]:
    """Yield all rows, made where they are missing."""
    work = [(budget, wanted, False, steps) for budget, wanted in BUDGETS]
    # refinement takes half as many steps again
    work += [(*REFINED, True, steps), (*REFINED, False, steps + steps // 2)]
    kept = Kept(CACHE / "rows.jsonl")
    for budget, wanted, refine, count in work:
        for name in PICTURES:
            key = f"{name} {budget} {wanted:g} {count}x{batch}{' refined' * refine}"
            arguments = name, picture(name, data), budget, wanted, refine, count, batch
            yield Row(**kept.recall(key, lambda arguments=arguments: asdict(measure(*arguments))))


def summary(made: list[Row]) -> str:
    """Return a Markdown table for each budget, and one of refinement."""
    lines = ["# One budget", "", "Made by `python -m bench.signals.budget`; machine in `budget.json`.", ""]
    steps = made[0].steps
    for budget, wanted in BUDGETS:
        mine = [r for r in made if (r.budget, r.wanted, r.refine, r.steps) == (budget, wanted, False, steps)]
        if not mine:
            continue
        unit = "dB" if budget == "min_score" else "of the size"
        lines += [f"## {budget} = {wanted:g}, fits of {steps} steps of {mine[0].batch} pixels", ""]
        lines += [f"| picture | network | fits | bytes | bpp | PSNR | off, {unit} | CPU s |", "|---" * 8 + "|"]
        for r in mine:
            off = f"{r.off:+.3f}" if budget == "min_score" else f"{100 * r.off:+.2f} %"
            lines.append(
                f"| {r.picture} | {r.network} | {r.fits} | {r.bytes} | {r.bpp:.4f} | {r.psnr:.2f} | {off} "
                f"| {r.cpu_seconds:.0f} |"
            )
        lines.append("")
    pairs = [
        (r, other)
        for r in made
        for other in made
        if r.refine and not other.refine and other.steps > r.steps and other.picture == r.picture
    ]
    if pairs:
        lines += [f"## Refinement at {REFINED[0]} = {REFINED[1]:g}, equal steps in all", ""]
        lines += ["| picture | fit and refinement | refined file alone | longer fit |", "|---|---|---|---|"]
        for r, other in pairs:
            alone = next(step["score"] for step in r.report if step["step"] == "refine")
            lines.append(f"| {r.picture} | {r.psnr:.2f} dB | {alone:.2f} dB | {other.psnr:.2f} dB |")
        gain = statistics.mean(r.psnr - other.psnr for r, other in pairs)
        lines += ["", f"Mean gain of fit and refinement over the longer fit: {gain:+.2f} dB."]
    return "\n".join(lines).rstrip() + "\n"


def write(made: list[Row]) -> None:
    """Write all three files."""
    rows = [asdict(row) for row in made]
    write_csv(OUT.with_suffix(".csv"), rows, [f.name for f in fields(Row) if f.name != "report"])
    write_json(OUT.with_suffix(".json"), {"rows": rows})
    write_atomic(OUT.with_suffix(".md"), summary(made).encode())


def main() -> None:
    """Measure what is missing and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    corpus.add_data_option(parser, needed=True)
    parser.add_argument("--steps", type=int, default=1000, help="of a fit")
    parser.add_argument("--batch", type=int, default=4096, help="pixels of a step")
    options = parser.parse_args()
    torch.set_num_threads(1)
    made: list[Row] = []
    for row in rows(options.data, options.steps, options.batch):
        made.append(row)
        write(made)


if __name__ == "__main__":
    main()
