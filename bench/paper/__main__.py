"""Run the paper's experiments, and write their tables and figures.

    python -m bench.paper EXPERIMENT [--data DIR] [--out bench/results/paper] [--budget quick|full]
                          [--images 1-24] [--seeds k]

Experiments: figure1, sparsity, c1, c2, published, figure5, ablations, occupancy, audio, inric; ``all`` runs as many
processes as ``--threads``, each on a core.
Networks are trained once and kept under ``bench/cache/paper``, as is everything measured of them: a run that was
stopped goes on where it was. Networks that the tables of c1, c2, occupancy and audio hold already, by the same budget,
are not measured again without ``--again``; their column ``code`` tells which sources of ours made the files. nncodec is
measured where its environment is (``python -m bench.harness.nncodec``).
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

import torch

from bench.harness import corpus
from bench.paper.context import BUDGETS, CACHE, Context
from bench.paper.experiments import EXPERIMENTS, run


def numbers(text: str) -> tuple[int, ...]:
    """Return numbers of pictures: ``1-24``, ``3,19``, ``1-4,20``."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        try:
            found += range(int(first), int(last if dash else first) + 1)
        except ValueError:
            raise argparse.ArgumentTypeError(f"numbers as 3,19 or 1-24, not {text!r}") from None
    if not found or not set(found) <= set(range(1, 25)):
        raise argparse.ArgumentTypeError(f"numbers from 1 to 24, not {text!r}")
    return tuple(found)


def main() -> None:
    """Run the given experiment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=[*EXPERIMENTS, "all"])
    corpus.add_data_option(parser)
    parser.add_argument("--out", type=Path, default=Path("bench/results/paper"))
    parser.add_argument("--budget", choices=BUDGETS, default="quick")
    parser.add_argument("--images", type=numbers, help="numbers of Kodak pictures; the budget's by default")
    parser.add_argument("--seeds", type=int, help="seeds of the networks with error bars; the budget's by default")
    parser.add_argument("--again", action="store_true", help="measure anew what the tables hold already")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    budget = BUDGETS[options.budget]
    if options.images:
        budget = replace(budget, images=options.images)
    if options.seeds:
        budget = replace(budget, seeds=options.seeds)
    context = Context(options.data, options.out, budget, options.cache, options.experiment, options.again)
    if options.experiment != "all":
        run(options.experiment, context)
        return
    from bench.paper import together  # imports every experiment

    together.run(context, options.threads)


if __name__ == "__main__":
    main()
