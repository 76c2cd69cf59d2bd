"""Measures what a learned start brings to fits of other pictures, and to their files.

    python -m bench.signals.starts --data DIR [--sizes 3x32,3x64] [--learning-steps 400] [--photos]

A start is learned by MAML from Kodak's pictures 1 to 12, or with ``--photos`` from those of scikit-image: a portrait by
NASA, a rocket by SpaceX (both in the public domain), a cat by Stefan van der Walt and a cup by Rachel Michetti (both
CC0), each also turned by 90, 180 and 270 degrees. Each of 13 to 24 is fitted from it and from the usual weights, in 3,
100 and 1000 steps of 4096 pixels; pictures at full size. Without ``--photos`` the first size is also fitted in 3000
steps. The networks of 100 steps and more are coded by ``pack_signal`` at its default output error: relative to the
start, and without it. Rows are kept in ``bench/cache/starts``, so that a run that was stopped goes on. Writes
``bench/results/starts.csv`` with the PSNR of each picture, network and number of steps, ``starts_mean.csv`` with all
means, and ``starts.json`` with machine and versions; with ``--photos`` ``starts_photos_mean.csv`` alone.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch

import coinr
from bench.harness import corpus
from bench.harness.results import Kept, write_csv, write_json
from coinr.optimize.compress.evaluate import Evaluator

CACHE = Path("bench/cache/starts")
OUT = Path("bench/results")

#: Numbers of the pictures that starts are learned from, and of those that are fitted.
LEARNED, FITTED = range(1, 13), range(13, 25)

STEPS = (3, 100, 1000)

#: More steps, for networks of the first size and starts from Kodak's pictures.
LONG = 3000

#: Pictures of scikit-image that starts are learned from with ``--photos``.
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")

#: What the table of single pictures holds.
FIELDS = ("network", "picture", "steps", "usual", "start")

#: Steps from which networks are coded.
CODED = 100


@dataclass(frozen=True)
class Row:
    """A picture in one network and number of steps; sizes in bytes, 0 where networks are not coded.

    ``usual`` and ``start`` are PSNR in dB of fits. ``usual_bytes`` is the file of the former. ``plain_bytes`` and
    ``relative_bytes`` are files of the latter, without the start and relative to it. The last three are their PSNR.
    """

    network: str
    picture: str
    steps: int
    usual: float
    start: float
    usual_bytes: int
    plain_bytes: int
    relative_bytes: int
    usual_coded: float
    plain_coded: float
    relative_coded: float


def picture(number: int, data: Path) -> coinr.ImageSignal:
    """Return one of Kodak's pictures at full size."""
    return coinr.ImageSignal(coinr.read_image(data / "kodak" / f"kodim{number:02}.png"))


def photos() -> list[coinr.ImageSignal]:
    """Return the pictures of scikit-image, in four directions each."""
    pictures = [getattr(skimage.data, name)() for name in PHOTOS]
    return [coinr.ImageSignal(np.rot90(one, turns).copy()) for one in pictures for turns in range(4)]


def learned(size: tuple[int, int], steps: int, data: Path, of_photos: bool) -> coinr.Start:
    """Return the start of a network's size, learned once and kept."""
    path = CACHE / f"{'photos-' * of_photos}{size[0]}x{size[1]}-{steps}.start.coinr"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        signals = photos() if of_photos else [picture(number, data) for number in LEARNED]
        made = coinr.learn_start(
            signals, "siren", hidden_layers=size[0], width=size[1], steps=steps, device="cpu", threads=1, progress=False
        )
        made.save(path)
    return coinr.open_start(path)


def coded(network: torch.nn.Module, signal: coinr.ImageSignal, base: Any) -> tuple[int, float]:
    """Return bytes and PSNR of the file that ``pack_signal`` makes, relative to a base or None."""
    blob = coinr.pack_signal(network, signal, base=base, threads=1)
    decoded = coinr.decode_state_dict(blob, base=base)
    return len(blob), round(Evaluator(network, signal)(decoded), 3)


def measure(size: tuple[int, int], number: int, steps: int, start: coinr.Start, data: Path) -> Row:
    """Fit a picture from both starts, and code what came of it."""
    signal = picture(number, data)
    common = {"steps": steps, "device": "cpu", "threads": 1, "progress": False}
    usual = coinr.fit(signal, "siren", hidden_layers=size[0], width=size[1], **common)
    near = coinr.fit(signal, start=start, **common)
    files = [(0, 0.0)] * 3
    if steps >= CODED:
        cases = (usual, None), (near, None), (near, start.arrays)
        files = [coded(fitted.network, signal, base) for fitted, base in cases]
    name = f"({size[0]}, {size[1]})"
    scores = round(usual.score, 3), round(near.score, 3)
    sizes, after = zip(*files, strict=True)
    return Row(name, f"kodim{number:02}", steps, *scores, *sizes, *after)


def rows(sizes: Sequence[tuple[int, int]], learning_steps: int, data: Path, of_photos: bool) -> Iterator[Row]:
    """Yield all rows, made where they are missing."""
    kept = Kept(CACHE / "rows.jsonl")
    for size in sizes:
        start = learned(size, learning_steps, data, of_photos)
        longer = size == sizes[0] and not of_photos
        for steps in (*STEPS, LONG) if longer else STEPS:
            for number in FITTED:
                key = f"{size} {number} {steps} {start.hash}"
                arguments = size, number, steps, start, data
                yield Row(**kept.recall(key, lambda arguments=arguments: asdict(measure(*arguments))))


def means(made: Sequence[Row]) -> list[dict[str, Any]]:
    """Return means over the pictures of each network and number of steps, and on how many the start is ahead."""
    lines = []
    for network, steps in dict.fromkeys((row.network, row.steps) for row in made):
        mine = [row for row in made if (row.network, row.steps) == (network, steps)]
        gains = [row.start - row.usual for row in mine]
        line = {"network": network, "steps": steps, "pictures": len(mine)}
        line |= {"usual": _mean([row.usual for row in mine]), "start": _mean([row.start for row in mine])}
        line |= {"gain": _mean(gains), "least_gain": round(min(gains), 3), "ahead": sum(gain > 0 for gain in gains)}
        for name in ("usual_bytes", "plain_bytes", "relative_bytes"):
            line[name] = round(statistics.mean(getattr(row, name) for row in mine))
        for name in ("usual_coded", "plain_coded", "relative_coded"):
            line[name] = _mean([getattr(row, name) for row in mine])
        lines.append(line)
    return lines


def _mean(values: Sequence[float]) -> float:
    return round(statistics.mean(values), 3)


def sizes_in(text: str) -> tuple[tuple[int, int], ...]:
    """Return sizes of networks from ``3x32,3x64``: hidden layers and width."""
    pairs = [part.split("x") for part in text.split(",")]
    return tuple((int(layers), int(width)) for layers, width in pairs)


def main() -> None:
    """Measure what is missing and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    corpus.add_data_option(parser, needed=True)
    parser.add_argument("--sizes", type=sizes_in, default=((3, 32), (3, 64)), help="hidden layers x width, several")
    parser.add_argument("--learning-steps", type=int, default=400, help="of MAML")
    parser.add_argument("--photos", action="store_true", help="learn from pictures of scikit-image")
    options = parser.parse_args()
    torch.set_num_threads(1)
    name = "starts_photos" if options.photos else "starts"
    made = []
    for row in rows(options.sizes, options.learning_steps, options.data, options.photos):
        made.append(row)
        if not options.photos:
            write_csv(OUT / "starts.csv", [asdict(one) for one in made], FIELDS)
            write_json(OUT / "starts.json", {"learning_steps": options.learning_steps})
        write_csv(OUT / f"{name}_mean.csv", means(made))


if __name__ == "__main__":
    main()
