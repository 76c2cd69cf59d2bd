"""Bits per pixel against PSNR on whole Kodak pictures: our files beside nncodec, JPEG and WebP.

    python -m bench.harness.nncodec --make-env bench/cache/nncodec-env     # once
    python -m bench.signals.kodak --data DIR [--images kodim03,kodim19] [--widths 40,64,96] [--steps 5000]

SIRENs of 4 hidden layers are fitted to every picture by :func:`coinr.fit`. The same networks are coded by ``auto``, by
:func:`coinr.search` and by nncodec (every setting where it loses 0.05 to 0.5 dB). A coder's curve is the upper hull,
over the logarithm of the rate, of its files of all networks and settings: networks of widths in between were not
fitted. JPEG and WebP are Pillow's, by qualities. Bytes are those of files; PSNR is that of the 8-bit picture that a
file decodes to.

Fits and measurements are kept under ``bench/cache/kodak``. Written are ``kodak.csv`` (the files of the curves),
``kodak.json`` (machine, versions, networks), ``kodak.md`` and ``kodak.png``.
"""

from __future__ import annotations

import argparse
import io
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.progress import track

import coinr
from bench.harness import coders, corpus, nncodec
from bench.harness.fitted import BATCH, Fitted
from bench.harness.measure import Bench, Row
from bench.harness.results import draw_figure, write_csv, write_json
from coinr.files.writing import write_atomic
from coinr.signals.image.signal import ImageSignal

CACHE = Path("bench/cache/kodak")
IMAGES = ("kodim03", "kodim13", "kodim19")
HIDDEN_LAYERS = 4

#: Losses in dB that ``coinr.search`` aims at, and those between which settings of the others count.
LOSSES = (0.1, 0.3)
LIMITS = (0.05, 0.5)

#: Rates in bits per pixel at which curves are compared, and qualities of the picture codecs.
RATES = (0.1, 0.15, 0.2, 0.3, 0.45, 0.6)
QUALITIES = range(1, 96, 2)
CODECS = ("JPEG", "WEBP")

#: (bits per pixel, PSNR in dB).
Curve = list[tuple[float, float]]


def encode_network(fitted: Fitted, environment: Path) -> list[Row]:
    """Encode files of a network."""
    bench = Bench(fitted, CACHE)  # type: ignore[arg-type]
    rows = list(nncodec.rows(bench, environment, LIMITS))
    rows = [row for row in rows if row.coder == "nncodec"] + list(coders.profile_rows(bench, "auto"))
    rows = [row for row in rows if LIMITS[0] <= row.loss_db <= LIMITS[1]]
    for loss in LOSSES:
        goal = bench.original - loss

        def encode(goal: float = goal) -> bytes:
            return coinr.search(fitted.state_dict, fitted.evaluate, min_score=goal).blob

        rows.append(bench.measure("search", f"loss={loss}", coders.ours_version(), encode, coinr.decode_state_dict))
    return rows


def pictures(signal: ImageSignal) -> Iterator[tuple[str, str, int, float]]:
    """Yield (codec, setting, bytes, PSNR) of the picture codecs."""
    whole = Image.fromarray(signal.image)
    for codec in CODECS:
        options: dict[str, Any] = {"optimize": True} if codec == "JPEG" else {"method": 6}
        for quality in QUALITIES:
            buffer = io.BytesIO()
            whole.save(buffer, codec, quality=quality, **options)
            shown = np.asarray(Image.open(buffer).convert("RGB"))
            yield codec, f"quality={quality}", len(buffer.getvalue()), coinr.psnr(signal.image, shown)


def hull(files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the files on the upper hull of PSNR over the logarithm of the rate, as far as it rises, by size."""
    best: list[dict[str, Any]] = []
    for file in sorted(files, key=lambda file: (file["bpp"], -file["psnr"])):
        if best and file["psnr"] <= best[-1]["psnr"]:
            continue
        while len(best) > 1 and _slope(best[-2], best[-1]) <= _slope(best[-1], file):
            best.pop()
        best.append(file)
    return best


def _slope(one: dict[str, Any], other: dict[str, Any]) -> float:
    rise: float = other["psnr"] - one["psnr"]
    return rise / math.log(other["bpp"] / one["bpp"])


def at(curve: Curve, rate: float) -> float | None:
    """Return PSNR at a rate, linear in its logarithm; None outside the curve."""
    if not curve or not curve[0][0] <= rate <= curve[-1][0]:
        return None
    rates, scores = zip(*curve, strict=True)
    return float(np.interp(math.log(rate), np.log(rates), scores))


def curves(files: list[dict[str, Any]]) -> dict[str, dict[str, Curve]]:
    """Return by coder and picture."""
    found: dict[str, dict[str, Curve]] = {}
    for file in files:
        found.setdefault(file["coder"], {}).setdefault(file["image"], []).append((file["bpp"], file["psnr"]))
    return found


def table(found: Mapping[str, Mapping[str, Curve]], image: str | None = None) -> str:
    """Return Markdown: PSNR at rates, of a picture or the mean of all where each has one."""
    text = "| coder | " + " | ".join(f"{rate:g} bpp" for rate in RATES) + " |\n" + "| --- " * (len(RATES) + 1) + "|\n"
    for coder, of in found.items():
        cells = []
        for rate in RATES:
            scores = [at(curve, rate) for name, curve in of.items() if image in (None, name)]
            cells.append("–" if None in scores else f"{np.mean([s for s in scores if s is not None]):.2f}")
        text += f"| {coder} | " + " | ".join(cells) + " |\n"
    return text


def plot(path: Path, found: Mapping[str, Mapping[str, Curve]], images: list[str]) -> None:
    """Draw curves of every picture side by side."""
    with draw_figure(path, 1, len(images), figsize=(4.2 * len(images), 4), squeeze=False) as (figure, axes):
        for axis, image in zip(axes[0], images, strict=True):
            for coder, of in found.items():
                curve = [point for point in of[image] if point[0] <= 1]
                axis.plot(*zip(*curve, strict=True), "--" if coder in CODECS else "o-", markersize=3, label=coder)
            axis.set(title=image, xlabel="bits per pixel", xscale="log", ylabel="PSNR, dB")
            axis.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
            axis.tick_params(axis="x", which="minor", labelbottom=False)
            axis.grid(alpha=0.3)
        axes[0][0].legend()
        figure.tight_layout()


def measure(image: str, signal: ImageSignal, fits: list[Fitted], environment: Path) -> list[dict[str, Any]]:
    """Measure files of a picture: all of the picture codecs, and those of networks on the hulls of their coders."""
    plain = [
        {"image": image, "coder": codec, "network": "", "setting": setting, "bytes": size, "psnr": psnr}
        for codec, setting, size, psnr in pictures(signal)
    ]
    files: list[dict[str, Any]] = []
    for fitted in fits:
        for row in encode_network(fitted, environment):
            of = {"image": image, "coder": row.coder, "network": fitted.name, "setting": row.setting}
            files.append(of | {"bytes": int(row.bytes), "psnr": row.quality})
    for file in plain + files:
        file["bpp"] = 8 * file["bytes"] / signal.count
    names = dict.fromkeys(file["coder"] for file in files)
    return plain + [file for name in names for file in hull([file for file in files if file["coder"] == name])]


def write(out: Path, files: list[dict[str, Any]], networks: list[dict[str, Any]], steps: int) -> None:
    """Write the four files."""
    rows = [file | {"psnr": round(file["psnr"], 4), "bpp": round(file["bpp"], 5)} for file in files]
    write_csv(out / "kodak.csv", rows)
    write_json(out / "kodak.json", {"networks": networks})
    found, images = curves(files), list(dict.fromkeys(file["image"] for file in files))
    shown = ", ".join(images)
    text = (
        "# Kodak, bits per pixel against PSNR\n\nMade by `python -m bench.signals.kodak`; machine and networks in "
        f"`kodak.json`, files in `kodak.csv`. Whole pictures: {shown}; fits of {steps} steps of {BATCH} pixels.\n\n"
        f"## Mean PSNR\n\n{table(found)}"
    )
    for image in images:
        text += f"\n## {image}\n\n{table(found, image)}"
    write_atomic(out / "kodak.md", text.encode())
    plot(out / "kodak.png", found, images)


def main() -> None:
    """Measure, then write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    corpus.add_data_option(parser, needed=True)
    parser.add_argument("--images", default=",".join(IMAGES), help="names of Kodak pictures")
    parser.add_argument("--widths", default="40,64,96", help="of the networks' layers")
    parser.add_argument("--steps", type=int, default=5000, help="of every fit")
    parser.add_argument("--environment", type=Path, default=nncodec.ENVIRONMENT)
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    options = parser.parse_args()
    data = options.data
    torch.set_num_threads(1)
    CACHE.mkdir(parents=True, exist_ok=True)
    files: list[dict[str, Any]] = []
    networks: list[dict[str, Any]] = []
    for image in track(options.images.split(","), "kodak", disable=not sys.stderr.isatty()):
        signal = ImageSignal(coinr.read_image(data / "kodak" / f"{image}.png"))
        sizes = [(HIDDEN_LAYERS, int(width)) for width in options.widths.split(",")]
        fits = [Fitted.of(image, signal, size, options.steps, CACHE) for size in sizes]
        networks += [
            {
                "name": one.name,
                "parameters": one.parameters,
                "psnr": one.evaluate(one.state_dict),
                "seconds": one.seconds,
            }
            for one in fits
        ]
        files += measure(image, signal, fits, options.environment)
        write(options.out, files, networks, options.steps)


if __name__ == "__main__":
    main()
