"""Bits per pixel against PSNR on all Kodak pictures: our files beside nncodec, JPEG, WebP, AVIF and published points.

    python -m bench.harness.nncodec --make-env bench/cache/nncodec-env     # once
    python -m bench.signals.kodak --data DIR [--images kodim03,kodim19] [--widths 64,128]

SIRENs of 3 hidden layers are fitted to every picture by :func:`coinr.fit`, in ``STEPS`` steps of 4096 pixels.
:func:`coinr.search` and :func:`coinr.refine` make a picture file of each network for each of its rates, which is read
back from disk and rendered. nncodec codes the tensors of the same networks. JPEG, WebP and AVIF are
Pillow's, by qualities. Bytes are those of files; PSNR is that of the 8-bit picture that a file decodes to. The curve of
a coder is the upper hull, over the logarithm of the rate, of its files of both networks: networks of widths in between
were not fitted.

``--choices`` measures the files of ``CHOICES`` by which rates and steps of refinement were chosen, and fits of more
steps; it writes ``kodak_choices.csv`` and ``kodak_longer.csv``. ``--kept`` measures nothing and writes what is known.
Networks and measurements are kept under ``bench/cache/kodak24``. Written are ``kodak.csv`` (the files of the curves),
``kodak.json`` (machine, versions, networks), ``kodak.md`` and ``kodak.png``.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, features
from rich.progress import track

import coinr
from bench.harness import corpus, nncodec
from bench.harness.fitted import BATCH, Fitted
from bench.harness.measure import tensors_hash
from bench.harness.results import Kept, write_csv, write_json
from bench.signals import kodak_curves
from bench.signals.kodak_curves import RATES
from coinr.files.writing import write_atomic
from coinr.optimize.compress.evaluate import BatchLoss
from coinr.signal_files.api import signal_meta
from coinr.signals.image.signal import ImageSignal

CACHE = Path("bench/cache/kodak24")
IMAGES = tuple(f"kodim{k:02d}" for k in range(1, 25))
HIDDEN_LAYERS, SEED, OMEGA = 3, 0, 30.0

#: Steps of a fit, by width.
STEPS = {64: 8_000, 128: 8_000}

#: Rates in bits per pixel that files of each width are made for. At 0.2, networks of width 64 have most of their
#: quality, and refinement gains nothing. At 0.45, files of width 128 that are not refined are worse than those of width
#: 64 at 0.3.
SEARCHED = {64: (0.1, 0.2, 0.3), 128: (0.6,)}
REFINED: dict[int, tuple[float, ...]] = {64: (0.1,), 128: (0.45, 0.6)}

#: Steps of a refinement, and its optimizer.
REFINE_STEPS, REFINE_OPTIMIZER = 1000, "muon"

#: Picture, rates and steps of refinement by which the above were chosen.
CHOICES = ("kodim01",)
CHOICE_RATES = {64: (0.1, 0.2), 128: (0.45,)}
CHOICE_STEPS = (300, 1000)

#: Pictures, widths and steps of longer fits.
LONGER = (("kodim01", 64, 16_000), ("kodim01", 128, 12_000), ("kodim02", 128, 12_000), ("kodim03", 128, 12_000))
LONGER_RATES = {64: (0.2, 0.3), 128: (0.45, 0.6)}

#: The picture codecs: qualities and options; files above the rate are left out.
CODECS: dict[str, tuple[range, dict[str, Any]]] = {
    "JPEG": (range(1, 96, 2), {"optimize": True}),
    "WebP": (range(0, 96, 2), {"method": 6}),
    "AVIF": (range(1, 96, 5), {"speed": 6}),
}
HIGHEST = 1.05
PILLOW = version("pillow")

#: Steps of nncodec's matrices by width: eighths of an octave. Those of vectors are two octaves finer; one to four make
#: no difference, and without the trellis files are larger at equal PSNR.
NNCODEC_QP = {64: range(-144, -40, 4), 128: range(-96, -36, 4)}
NNCODEC_BELOW, NNCODEC_UNARY = 2 << nncodec.DENSITY, 10

#: Rates in bits per pixel between which files of nncodec count.
NNCODEC_RATES = (0.08, 0.75)

#: The dB that a listed file of nncodec gains at least on the one before.
NNCODEC_GAIN = 0.05

#: Columns of ``kodak.csv``. The setting of nncodec is its ``qp``, that of a picture codec its quality.
COLUMNS = ("image", "coder", "network", "setting", "rate", "bytes", "psnr")

File = Mapping[str, Any]


def kept_at(image: str, width: int, cache: Path = CACHE, steps: int | None = None) -> Path:
    """Return where a network is kept."""
    return cache / f"siren-{HIDDEN_LAYERS}x{width}-{image}{f'-{steps}' if steps else ''}.pt"


def train(image: str, signal: ImageSignal, width: int, cache: Path = CACHE, steps: int | None = None) -> dict[str, Any]:
    """Fit a network, or recall it: its state dict, history of (step, dB), PSNR, CPU seconds, steps and seed.

    ``steps`` are those of ``STEPS`` where they are not given.
    """
    path, count = kept_at(image, width, cache, steps), steps or STEPS[width]
    if not path.exists():
        begin = time.process_time()
        made = coinr.fit(
            signal, width=width, hidden_layers=HIDDEN_LAYERS, steps=count, threads=1, seed=SEED, progress=False
        )
        found = {
            "state_dict": made.network.state_dict(),
            "history": made.history,
            "psnr": made.score,
            "seconds": time.process_time() - begin,
            "steps": made.steps,
            "seed": SEED,
            "recipe": "coinr.fit defaults",
            "width": width,
            "config": str(made.network),
        }
        buffer = io.BytesIO()
        torch.save(found, buffer)
        cache.mkdir(parents=True, exist_ok=True)
        write_atomic(path, buffer.getvalue())
    stored: dict[str, Any] = torch.load(path, weights_only=True)
    return stored


def gain(history: list[tuple[int, float]], share: float) -> float:
    """Return the dB gained in the last share of a fit's steps, from the evaluation at or next before its begin."""
    begin = (1 - share) * history[-1][0]
    return history[-1][1] - [score for step, score in history if step <= begin][-1]


class Case:
    """One network of a picture, and the files of it."""

    def __init__(
        self, image: str, signal: ImageSignal, width: int, cache: Path = CACHE, steps: int | None = None
    ) -> None:
        trained = train(image, signal, width, cache, steps)
        tensors = trained["state_dict"]
        self.image, self.signal, self.width, self.trained = image, signal, width, trained
        self.fitted = Fitted(
            f"siren-{HIDDEN_LAYERS}x{width}-{image}", signal, HIDDEN_LAYERS, width, tensors, trained["seconds"]
        )
        self._kept = Kept(cache / "files" / f"{self.fitted.name}-{tensors_hash(tensors)}.jsonl")
        self._files = cache / "files"
        self._all = f"all {SEARCHED[width]} {REFINED[width]} {REFINE_STEPS} {REFINE_OPTIMIZER} {NNCODEC_QP[width]}"
        network = self.fitted.network()
        self._network = network
        self._options: dict[str, Any] = {"meta": signal_meta(network, signal), "canonical": True}

    def files(self, environment: Path) -> list[File]:
        """Return the files of all coders: nncodec's hull, and ours."""

        def measure() -> list[File]:
            found = self.by_nncodec(environment)
            found += [self.search(rate) for rate in SEARCHED[self.width]]
            return found + [self.refine(rate, REFINE_STEPS) for rate in REFINED[self.width]]

        found: list[File] = self._kept.recall(self._all, measure)
        return found

    def is_measured(self) -> bool:
        """Return whether all files are known."""
        return self._all in self._kept

    def search(self, rate: float) -> File:
        """Return the file of a rate by :func:`coinr.search`."""

        def encode(size: int) -> bytes:
            return coinr.search(
                self.fitted.state_dict, self.fitted.evaluate, target_bytes=size, progress=False, **self._options
            ).blob

        return self._ours("search", "", rate, encode)

    def refine(self, rate: float, steps: int) -> File:
        """Return the file of a rate by :func:`coinr.refine`."""

        def encode(size: int) -> bytes:
            loss = BatchLoss(self._network, self.signal, BATCH, SEED).of_state_dict
            how: dict[str, Any] = {"steps": steps, "optimizer": REFINE_OPTIMIZER, "progress": False, "seed": SEED}
            return coinr.refine(self.fitted.state_dict, loss, target_bytes=size, **how, **self._options).blob

        return self._ours("refine", f"{REFINE_OPTIMIZER}, steps={steps}", rate, encode)

    def _ours(self, coder: str, setting: str, rate: float, encode: Callable[[int], bytes]) -> File:
        size = int(rate * self.signal.count / 8)

        def measure() -> File:
            begin = time.process_time()
            blob = encode(size)
            seconds = time.process_time() - begin
            path = self._files / f"{self.fitted.name}-{coder}-{rate:g}.coinr"
            write_atomic(path, blob)
            psnr = coinr.psnr(self.signal.image, coinr.open_image(path.read_bytes()).render())
            return {"bytes": path.stat().st_size, "psnr": psnr, "cpu_seconds": round(seconds, 2)}

        found = self._kept.recall(f"{coder} {setting} {size}", measure)
        return self._row(coder, setting, rate, found)

    def by_nncodec(self, environment: Path) -> list[File]:
        """Return the files of nncodec on its hull."""
        settings = [nncodec.Setting(qp, qp - NNCODEC_BELOW, True, NNCODEC_UNARY) for qp in NNCODEC_QP[self.width]]
        found = self._kept.recall("nncodec " + repr(settings), lambda: list(self._code(settings, environment)))
        rows = [self._row("nncodec", one["setting"], None, one) for one in found]
        return kodak_curves.hull(rows)

    def _code(self, settings: list[nncodec.Setting], environment: Path) -> Iterator[File]:
        for setting, coded in zip(settings, nncodec.code(self.fitted.state_dict, settings, environment), strict=True):
            size = len(coded.blob)
            if NNCODEC_RATES[0] <= 8 * size / self.signal.count <= NNCODEC_RATES[1]:
                psnr = self.fitted.evaluate(nncodec.from_arrays(coded.arrays, self.fitted.state_dict))
                yield {"setting": setting.text, "bytes": size, "psnr": psnr, "cpu_seconds": round(coded.encode_cpu, 3)}

    def _row(self, coder: str, setting: str, rate: float | None, found: Mapping[str, Any]) -> File:
        at = {"image": self.image, "coder": coder, "network": f"{HIDDEN_LAYERS}x{self.width}", "setting": setting}
        bpp = 8 * found["bytes"] / self.signal.count
        return at | {"rate": rate} | {key: found[key] for key in ("bytes", "psnr", "cpu_seconds")} | {"bpp": bpp}


def pictures(image: str, signal: ImageSignal, cache: Path = CACHE) -> list[File]:
    """Return the files of the picture codecs, up to a rate."""
    kept = Kept(cache / "files" / f"{image}.jsonl")
    rows = []
    for codec, (qualities, options) in CODECS.items():
        for quality in qualities:
            setting = ", ".join(f"{key}={value}" for key, value in ({"quality": quality} | options).items())
            key = f"{codec} {setting} Pillow {PILLOW}"
            found = kept.recall(key, partial(_save, signal, codec, quality))
            bpp = 8 * found["bytes"] / signal.count
            if bpp > HIGHEST:
                break
            about = {"image": image, "coder": codec, "network": "", "setting": setting, "rate": None}
            rows.append(about | found | {"bpp": bpp})
    return rows


def _save(signal: ImageSignal, codec: str, quality: int) -> File:
    buffer, begin = io.BytesIO(), time.process_time()
    Image.fromarray(signal.image).save(buffer, codec, quality=quality, **CODECS[codec][1])
    seconds = time.process_time() - begin
    shown = np.asarray(Image.open(buffer).convert("RGB"))
    psnr = coinr.psnr(signal.image, shown)
    return {"bytes": len(buffer.getvalue()), "psnr": psnr, "cpu_seconds": round(seconds, 3)}


def measure(image: str, signal: ImageSignal, cases: list[Case], environment: Path) -> list[File]:
    """Return the files of a picture on the curves of their coders."""
    ours = [file for case in cases for file in case.files(environment)]
    theirs = [file for file in ours if file["coder"] == "nncodec"]
    plain = pictures(image, signal)
    rows = [row for codec in CODECS for row in kodak_curves.hull(r for r in plain if r["coder"] == codec)]
    theirs = kodak_curves.thin(kodak_curves.hull(theirs), NNCODEC_GAIN)
    return rows + theirs + [file for file in ours if file["coder"] != "nncodec"]


def describe(case: Case) -> dict[str, Any]:
    """Return how a network was trained, its PSNR, and the dB gained in the last quarter and twentieth of the steps."""
    trained = case.trained
    return {
        "name": case.fitted.name,
        "parameters": case.fitted.parameters,
        "psnr": case.fitted.evaluate(case.fitted.state_dict),
        "steps": trained["steps"],
        "seed": trained["seed"],
        "cpu_seconds": trained["seconds"],
        "gain_last_quarter": gain(trained["history"], 0.25),
        "gain_last_twentieth": gain(trained["history"], 0.05),
    }


def summarize(networks: list[dict[str, Any]], files: list[File]) -> list[dict[str, Any]]:
    """Return what all networks of a size have in common: means over the pictures."""
    found = []
    for name in dict.fromkeys(one["name"].rpartition("-")[0] for one in networks):
        of = [one for one in networks if one["name"].startswith(name + "-")]
        numbers = ("psnr", "cpu_seconds", "gain_last_quarter", "gain_last_twentieth")
        found.append(
            {"networks": name, "count": len(of), "steps": of[0]["steps"], "parameters": of[0]["parameters"]}
            | {f"mean_{key}": statistics.mean(one[key] for one in of) for key in numbers}
            | {"largest_gain_last_twentieth": max(one["gain_last_twentieth"] for one in of)}
            | {"psnr": " ".join(f"{one['psnr']:.2f}" for one in of)}
        )
    seconds = {coder: 0.0 for coder in dict.fromkeys(file["coder"] for file in files)}
    for file in files:
        seconds[file["coder"]] += file["cpu_seconds"]
    return [*found, {"cpu_seconds_of_listed_files": seconds}]


def _short(value: str | float) -> str | float:
    """Return a PSNR with three digits behind the point, or what is particular to a setting."""
    return round(value, 3) if isinstance(value, float) else value.split(",")[0].split(" ")[0].rpartition("=")[2]


def write(out: Path, files: list[File], networks: list[dict[str, Any]]) -> None:
    """Write the four files."""
    shown = ("setting", "psnr")
    write_csv(out / "kodak.csv", [file | {key: _short(file[key]) for key in shown} for file in files], COLUMNS)
    found, others = kodak_curves.curves(files), kodak_curves.published()
    summary = summarize(networks, files)
    settings: dict[str, Any] = {
        "seed": SEED,
        "first_omega": OMEGA,
        "refine_steps": REFINE_STEPS,
        "refine_optimizer": REFINE_OPTIMIZER,
    }
    settings |= {"batch": BATCH, "pillow": PILLOW, "avif": features.version("avif")}
    write_json(out / "kodak.json", {"settings": settings, "summary": summary})
    count = len({file["image"] for file in files})
    some = kodak_curves.with_rate(files, RATES[-1])
    text = (
        "# Kodak, bits per pixel against PSNR\n\nMade by `python -m bench.signals.kodak`; machine and networks in "
        f"`kodak.json`, files in `kodak.csv`. {count} whole pictures, {len(networks)} networks.\n\n"
        f"## Mean PSNR\n\n{kodak_curves.table(found, others)}"
    )
    if 0 < len(some) < len(files):
        mean = kodak_curves.table(kodak_curves.curves(some), {})
        text += f"\n## Mean PSNR of the {len({file['image'] for file in some})} pictures with both networks\n\n{mean}"
    write_atomic(out / "kodak.md", text.encode())
    kodak_curves.plot(out / "kodak.png", files, others)


def choices(data: Path, widths: list[int], out: Path) -> None:
    """Measure files refined by fewer and more steps, and fits of more steps."""
    rows: list[File] = []
    for image in CHOICES:
        signal = read(data, image)
        for case in (Case(image, signal, width) for width in widths):
            for rate in CHOICE_RATES[case.width]:
                rows += [case.search(rate), *(case.refine(rate, steps) for steps in CHOICE_STEPS)]
                write_csv(out / "kodak_choices.csv", rows)
    rows = [row for image, width, steps in LONGER for row in longer(data, image, width, steps)]
    write_csv(out / "kodak_longer.csv", rows)


def longer(data: Path, image: str, width: int, steps: int) -> Iterator[File]:
    """Yield the PSNR of a network of the usual and of more steps, and of its files by search."""
    signal = read(data, image)
    for case in (Case(image, signal, width), Case(image, signal, width, steps=steps)):
        about = {"network": case.fitted.name, "steps": case.trained["steps"]}
        files = {f"psnr_at_{rate}": round(case.search(rate)["psnr"], 3) for rate in LONGER_RATES[width]}
        yield about | {"psnr": case.trained["psnr"], "cpu_seconds": round(case.trained["seconds"], 1)} | files


def read(data: Path, image: str) -> ImageSignal:
    """Return a picture that is fitted from the first frequency ``OMEGA``."""
    signal = ImageSignal(coinr.read_image(data / "kodak" / f"{image}.png"))
    signal.recipe = replace(signal.recipe, options={"siren": {"first_omega": OMEGA}})
    return signal


def main() -> None:
    """Measure, then write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    corpus.add_data_option(parser, needed=True)
    parser.add_argument("--images", default=",".join(IMAGES), help="names of Kodak pictures")
    parser.add_argument("--widths", default=",".join(map(str, STEPS)), help="of the networks' layers")
    parser.add_argument("--kept", action="store_true", help="leave out networks of which files are missing")
    parser.add_argument("--choices", action="store_true", help="measure by what the settings were chosen")
    parser.add_argument("--environment", type=Path, default=nncodec.ENVIRONMENT)
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    widths = [int(width) for width in options.widths.split(",")]
    if options.choices:
        choices(options.data, widths, options.out)
        return
    files: list[File] = []
    networks: list[dict[str, Any]] = []
    for image in track(options.images.split(","), "kodak", disable=not sys.stderr.isatty()):
        signal = read(options.data, image)
        trained = [width for width in widths if not options.kept or kept_at(image, width).exists()]
        cases = [case for width in trained if (case := Case(image, signal, width)).is_measured() or not options.kept]
        if not cases:
            continue
        networks += [describe(case) for case in cases]
        files += measure(image, signal, cases, options.environment)
        write(options.out, files, networks)


if __name__ == "__main__":
    main()
