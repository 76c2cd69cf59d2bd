"""What a refinement costs beside its training steps, by default and ``thorough``, and what the files are then.

    python -m bench.speed.refine_cost [--data DIR] [--image kodim03] [--width 64] [--fit-steps 1000] [--steps 500]

:func:`coinr.fit` fits a SIREN of 3 hidden layers to a picture; refinements start from it, with equal batches, and
keep its PSNR less ``--loss`` dB. Seconds are of CPU, on one thread; those of a step are the difference between
refinements of 10 and of all steps without any wish. Written is ``refine_cost.json``.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import torch

from bench.harness import corpus
from bench.harness.fitted import Fitted
from bench.harness.results import write_json
from bench.harness.signals import pixels_of
from bench.rate.refine import CACHE, loss_of
from coinr.optimize.refine import Refined, refine
from coinr.signals.image.signal import ImageSignal

_LAYERS = 3


def main() -> None:
    """Measure, then write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    corpus.add_data_option(parser)
    parser.add_argument("--image", default="kodim03", help="a Kodak name, or a photo of scikit-image")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--fit-steps", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--loss", type=float, default=0.3)
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    CACHE.mkdir(parents=True, exist_ok=True)
    signal = ImageSignal(pixels_of(options.image, options.data))
    base = Fitted.of(options.image, signal, (_LAYERS, options.width), options.fit_steps, CACHE)
    before = base.evaluate(base.state_dict)

    def run(steps: int, **wish: Any) -> tuple[Refined, float]:
        """Return what a refinement gives, and its seconds of CPU."""
        loss = loss_of(base.network(), signal.batch, signal.count)
        begin = time.process_time()
        made = refine(base.state_dict, loss, steps=steps, optimizer="muon", **wish)
        return made, time.process_time() - begin

    (_, few), (_, more) = run(10), run(options.steps)
    step = (more - few) / (options.steps - 10)
    rows = []
    # second derivatives last: what memory was used at most is never less again
    for thorough, steps in ((False, 10), (False, options.steps), (True, options.steps)):
        wish = {"min_score": before - options.loss, "evaluate": base.evaluate, "thorough": thorough}
        made, seconds = run(steps, **wish)
        row = {"thorough": thorough, "steps": steps, "bytes": len(made.blob), "psnr": made.score}
        row |= {"cpu_seconds": seconds, "own_steps": seconds / step - steps}
        row["memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(row), flush=True)
        rows.append(row)
    document = {
        "image": options.image,
        "hidden_layers": _LAYERS,
        "width": options.width,
        "psnr": before,
        "loss": options.loss,
    }
    document |= {"cpu_seconds_of_a_step": step, "refinements": rows}
    write_json(options.out / "refine_cost.json", document)


if __name__ == "__main__":
    main()
