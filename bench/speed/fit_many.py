"""Fits of many pictures at once beside the same fits one after another.

    python -m bench.speed.fit_many [--data DIR] [--pictures 8] [--steps 300] [--rounds 5] [--device cpu]
    python -m bench.speed.fit_many --pictures 64 --size 2x32 --steps 60 --single-threads 1 --name fit_many_small

SIRENs, by default of 3 hidden layers of 64, 4096 pixels a step; Kodak pictures at half size from the data folder, else
crops of scikit-image's photos. The two take turns, round after round, and the ratio within a round counts. With
``--single-threads 1`` the fits one after another use one core, and the ratio times the cores should be below 1. Writes
``fit_many.json``, or under another ``--name`` (wall and CPU seconds of every round, machine and versions).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch
from PIL import Image
from rich.progress import track

import coinr
from bench.harness import corpus
from bench.harness.results import write_json

SHIPPED = ("astronaut", "coffee", "chelsea", "rocket")
BATCH = 4096

#: Where crops begin; the four corners come first.
CORNERS = [(y, x) for y in (0, 128) for x in (0, 192)]
BETWEEN = [(y, x) for y in (0, 43, 86, 128) for x in (0, 64, 128, 192) if (y, x) not in CORNERS]


def pictures(count: int, data: Path | None) -> list[np.ndarray]:
    """Return pictures of one size."""
    if data is not None:
        paths = sorted((data / "kodak").glob("*.png"))
        found = [np.asarray(Image.open(path).convert("RGB").reduce(2)) for path in paths]
        found = [image if image.shape[0] < image.shape[1] else image.transpose(1, 0, 2) for image in found]
    else:
        photos = [getattr(skimage.data, name)() for name in SHIPPED]
        places = [(photo, place) for some in (CORNERS, BETWEEN) for photo in photos for place in some]
        found = [photo[y : y + 128, x : x + 192] for photo, (y, x) in places]
    if len(found) < count:
        raise SystemExit(f"{count} pictures were asked for, {len(found)} are there")
    return [np.ascontiguousarray(image) for image in found[:count]]


def time_fits(run: Callable[[], list[coinr.Fit]], device: str) -> tuple[float, float, list[float]]:
    """Measure wall and CPU seconds, and the scores."""
    begin, cpu = time.perf_counter(), time.process_time()
    fits = run()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - begin, time.process_time() - cpu, [fit.score for fit in fits]


def main() -> None:
    """Measure, then write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    corpus.add_data_option(parser)
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", default="3x64", help="hidden layers x width")
    parser.add_argument("--single-threads", type=int, help="of the fits one after another; all by default")
    parser.add_argument("--name", default="fit_many", help="of the file")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    options = parser.parse_args()
    images = pictures(options.pictures, options.data)
    hidden, width = map(int, options.size.split("x"))
    settings: dict[str, Any] = {
        "width": width, "hidden_layers": hidden, "steps": options.steps, "batch": BATCH,
        "device": options.device, "progress": False,
    }  # fmt: skip
    alone = settings | {"threads": options.single_threads}
    coinr.fit(images[0], **settings | {"steps": 2})  # what only the first call does is in neither
    rounds = []
    for _ in track(range(options.rounds), "rounds", disable=not sys.stderr.isatty()):
        single = time_fits(lambda: [coinr.fit(image, **alone) for image in images], options.device)
        many = time_fits(lambda: coinr.fit_many(images, **settings), options.device)
        rounds.append({"single": single, "many": many, "ratio": many[0] / single[0], "cpu_ratio": many[1] / single[1]})
    last = rounds[-1]
    document = {
        "threads": torch.get_num_threads(), "single_threads": options.single_threads, "pictures": options.pictures,
        "size": list(images[0].shape), "settings": settings,
        "median_ratio": statistics.median(one["ratio"] for one in rounds),
        "median_cpu_ratio": statistics.median(one["cpu_ratio"] for one in rounds),
        "mean_psnr": {name: statistics.mean(last[name][2]) for name in ("single", "many")},
        "largest_difference_db": max(abs(a - b) for a, b in zip(last["single"][2], last["many"][2], strict=True)),
        "seconds": [{name: one[name][:2] for name in ("single", "many")} for one in rounds],
    }  # fmt: skip
    write_json(options.out / f"{options.name}.json", document)
    print(json.dumps({key: value for key, value in document.items() if key != "seconds"}, indent=1))


if __name__ == "__main__":
    main()
