"""Refinement without the signal beside ``search`` and beside refinement with the signal, at equal goals.

    python -m bench.rate.distill [--data DIR] [--steps 1000] [--networks a,b]

Networks are those of :mod:`bench.harness.crops`. Goals are output errors of -50 and -30 dB of the output's range, and
a loss of 0.1 dB of the network's own score.

- ``search`` and the distillation get the goal itself: the output error, or the score.
- The refinement with the signal gets the score that an independent error of this size leaves: it is free to change
  the output, also for the better.

Output errors and scores in the table are those of all samples. Everything measured is kept under ``bench/cache/crops``.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

import coinr
from bench.harness import corpus, crops
from bench.harness.crops import Crop
from bench.harness.results import Kept, write_csv, write_json
from coinr.errors import InputError

#: Output errors in dB, and the loss of the score in dB.
ERRORS, LOSS = (-50, -30), 0.1

# Tensors of the largest network that is also refined thoroughly: more take minutes and gigabytes.
_THOROUGH = 8


class Case:
    """A network with what it shows, and the files of one goal each."""

    def __init__(self, crop: Crop, steps: int) -> None:
        self.crop, self.steps = crop, steps
        self.state = crop.state_dict
        self._original = crop.values(self.state)
        self._range = float(self._original.max() - self._original.min())
        self.full = crop.evaluate(self.state)

    def squared_error(self, state: Any) -> float:
        """Return the squared output error over the squared range."""
        error = (self.crop.values(state) - self._original) / self._range
        return float(error.double().square().mean())

    def score_left(self, output_error_db: float) -> float:
        """Return the score that an independent error of this size leaves."""
        power = 4.0 if self.crop.kind == "picture" else float(self.crop.samples.targets.double().square().mean())
        error = power * 10 ** (-self.full / 10) + self._range**2 * 10 ** (output_error_db / 10)
        return 10 * math.log10(power / error)

    def files(self, level: float | None) -> dict[str, Callable[[], bytes]]:
        """Return what makes the file of each way, of an output error or, with None, of the loss of the score."""
        score = self.full - LOSS if level is None else self.score_left(level)
        by_score = {"min_score": score, "evaluate": self.crop.evaluate}
        goal: dict[str, Any] = by_score if level is None else {"output_error_db": level}
        network, inputs = self.crop.network, self.crop.samples.inputs
        if level is None:
            search = partial(coinr.search, self.state, self.crop.evaluate, min_score=score)
        else:  # linear in the squared error, as losses of a score are
            allowed = 10 ** (level / 10)
            search = partial(coinr.search, self.state, lambda sd: -self.squared_error(sd) / allowed, min_score=-1.0)
        thorough = {
            "distilled, thorough": lambda: coinr.refine(network, inputs, steps=self.steps, thorough=True, **goal).blob
        }
        return (thorough if len(self.state) <= _THOROUGH else {}) | {
            "search": lambda: search().blob,
            "distilled": lambda: coinr.refine(network, inputs, steps=self.steps, **goal).blob,
            "refined with the signal": lambda: (
                coinr.refine(self.state, self.crop.loss(), steps=self.steps, **by_score).blob
            ),
        }

    def row(self, goal: str, way: str, encode: Callable[[], bytes]) -> dict[str, Any]:
        """Return a line of the table."""
        begin = time.process_time()
        try:
            blob = encode()
        except InputError as error:
            print(f"{self.crop.name}, {goal}, {way}: {error}", file=sys.stderr)
            return {"network": self.crop.name, "goal": goal, "way": way}
        seconds = time.process_time() - begin
        decoded = coinr.decode_state_dict(blob)
        return {
            "network": self.crop.name,
            "goal": goal,
            "way": way,
            "bytes": len(blob),
            "output_error_db": 10 * math.log10(self.squared_error(decoded)),
            "loss_db": self.full - self.crop.evaluate(decoded),
            "cpu_seconds": seconds,
        }


def main() -> None:
    """Measure, and write the table after each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    corpus.add_data_option(parser)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--networks", default="", help="some, by name; all by default")
    parser.add_argument("--cache", type=Path, default=crops.CACHE)
    parser.add_argument("--out", type=Path, default=Path("bench/results/rate/distill"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    kept = Kept(options.cache / "distill.jsonl")
    rows: list[dict[str, Any]] = []
    scores: dict[str, float] = {}
    chosen = [
        one for one in crops.recipes(options.data) if one.name in options.networks.split(",") or not options.networks
    ]
    for recipe in track(chosen, "distill", disable=not sys.stderr.isatty()):
        case = Case(crops.load(recipe, options.data, options.cache), options.steps)
        scores[recipe.name] = case.full
        for level in (*ERRORS, None):
            goal = f"output error {level} dB" if level is not None else f"score -{LOSS} dB"
            for way, encode in case.files(level).items():
                key = f"{recipe.name} {goal} {way} {options.steps}"
                rows.append(kept.recall(key, partial(case.row, goal, way, encode)))
                print(json.dumps(rows[-1]), flush=True)
        write_csv(options.out.with_suffix(".csv"), rows)
        write_json(options.out.with_suffix(".json"), {"steps": options.steps, "scores_db": scores, "rows": len(rows)})


if __name__ == "__main__":
    main()
