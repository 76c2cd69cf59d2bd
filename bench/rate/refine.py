"""Refined networks beside nncodec and our own unrefined files, at -0.1 dB from a network trained as long.

    python -m bench.harness.nncodec --make-env bench/cache/nncodec-env     # once
    python -m bench.rate.refine [--data DIR] [--images kodim03,kodim19] [--steps 2500] [--sparse kodim20] \
        [--low kodim03]

To each whole picture :func:`coinr.fit` fits a SIREN of 3 hidden layers of 64 (8000 steps). Two trainings start
from it, with equal batches and as many steps:

- The fp32 network is trained on by several optimizers at several learning rates. The best result counts; nncodec,
  ``auto`` and ``coinr.search`` code it.
- :func:`coinr.refine` (``thorough=True``) takes the optimizer and the learning rate that were best for the fp32
  network. It aims at the PSNR of that network less 0.1 dB.

Refinement uses the direct coder, and dictionaries too for pictures named by ``--sparse``. Pictures named by ``--low``
are also refined to small sizes, by both.

Everything measured is kept under ``bench/cache/refine``. Written are ``refine.csv`` (files on envelopes),
``refine.json`` (machine, versions, networks) and ``refine.md`` (the tables).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from torch import Tensor, nn
from torch.func import functional_call

import coinr
from bench.harness import coders, corpus, nncodec
from bench.harness.curves import bytes_at
from bench.harness.fitted import BATCH, Fitted
from bench.harness.measure import Bench, Row, source_version, tensors_hash
from bench.harness.results import write_json
from bench.harness.signals import pixels_of
from bench.harness.tables import write_rows
from coinr.errors import InputError
from coinr.files.state_dicts import read_state_dict_file, write_state_dict_file
from coinr.files.writing import write_atomic
from coinr.fitting.optimizers import OPTIMIZERS
from coinr.optimize.refine import refine
from coinr.optimize.refine.schedule import warmup_cosine
from coinr.runtime.denormals import denormals_as_zeros
from coinr.signals.image.signal import ImageSignal

CACHE = Path("bench/cache/refine")
IMAGES = ("kodim03", "kodim05", "kodim13", "kodim19", "kodim20", "kodim23")
LOSS = 0.1

#: Those that are refined by dictionaries, too.
SPARSE = ("kodim03", "kodim05", "kodim20", "kodim23")

#: Hidden layers and width, and steps of the fits.
SIZES, FIT_STEPS = (3, 64), 8000

#: Optimizers and learning rates that the fp32 network gets the best of; coinr.refine gets the same.
WAYS = (("muon", 1e-4), ("muon", 2e-4), ("adam", 1e-4))

#: Sizes at which dictionaries are compared with the direct coder: 1 and 1.5 bits a weight.
LOW = (1600, 2400)

#: Inputs and targets of chosen samples.
BatchOf = Callable[[Tensor], tuple[Tensor, Tensor]]

#: Names of coders; their files are absent where the score was not reached.
REFINED = ("direct, refined", "sparse, refined")

_CHUNK = 2048


def loss_of(network: nn.Module, batch_of: BatchOf, count: int) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """Return the mean squared error on random samples of ``count``, in the same order for every such function."""
    generator = torch.Generator().manual_seed(5)

    def loss(state_dict: Mapping[str, Tensor]) -> Tensor:
        total = torch.zeros(())
        for chosen in torch.randint(count, (BATCH,), generator=generator).split(_CHUNK):
            inputs, targets = batch_of(chosen)
            error = functional_call(network, dict(state_dict), (inputs,)) - targets
            total = total + error.square().sum() / (BATCH * targets.shape[1])
        return total

    return loss


@denormals_as_zeros()
def train_further(
    state_dict: Mapping[str, Tensor], loss: Callable[..., Tensor], optimizer: str, steps: int, rate: float
) -> OrderedDict[str, Tensor]:
    """Train the tensors for more steps without any noise, by an optimizer and the schedule of coinr.refine."""
    tensors = OrderedDict((name, tensor.clone().requires_grad_()) for name, tensor in state_dict.items())
    stacks = [tensor.detach()[None] for tensor in tensors.values()]
    moving = OPTIMIZERS[optimizer](stacks, rate)
    for step in range(steps):
        gradients = torch.autograd.grad(loss(tensors), list(tensors.values()))
        for stack, gradient in zip(stacks, gradients, strict=True):
            stack.grad = gradient[None]
        moving.param_groups[0]["lr"] = rate * warmup_cosine(step, step / steps)
        moving.step()
    return OrderedDict((name, tensor.detach()) for name, tensor in tensors.items())


def refine_version() -> str:
    """Return name of the code that makes refined files."""
    home = Path(coinr.__file__).parent
    return coders.ours_version() + source_version(
        *(home / "optimize" / "refine").glob("*.py"), home / "fitting" / "optimizers.py"
    )


def fp32(base: Fitted, steps: int) -> tuple[Fitted, str, float]:
    """Return the network trained further, the best over optimizers and learning rates, and these."""
    made = []
    for optimizer, rate in WAYS:
        path = CACHE / f"{base.name}-{tensors_hash(base.state_dict)}-{steps}-{optimizer}-{rate:g}.safetensors"
        if not path.exists():
            loss = loss_of(base.network(), base.signal.batch, base.signal.count)
            write_state_dict_file(path, train_further(base.state_dict, loss, optimizer, steps, rate))
        stored = read_state_dict_file(path)
        tensors = OrderedDict((name, stored[name]) for name in base.state_dict)
        made.append((replace(base, state_dict=tensors), optimizer, rate))
    return max(made, key=lambda way: way[0].evaluate(way[0].state_dict))


class Case:
    """A picture's base network, the one trained further, and files of both, evaluated against the latter."""

    def __init__(self, image: str, steps: int, data: Path | None) -> None:
        signal = ImageSignal(pixels_of(image, data))
        self.base = Fitted.of(image, signal, SIZES, FIT_STEPS, CACHE)
        self.full, self.optimizer, self.rate = fp32(self.base, steps)
        self.bench, self.steps = Bench(self.full, CACHE), steps  # type: ignore[arg-type]

    def encode_unrefined(self, environment: Path) -> list[Row]:
        """Encode nncodec, ``auto`` over tolerances, and ``coinr.search``, of the fp32 network."""
        rows = list(nncodec.rows(self.bench, environment))
        rows += coders.profile_rows(self.bench, "auto")
        search = partial(coinr.search, self.full.state_dict, self.full.evaluate, min_score=self.bench.original - LOSS)
        rows.append(self._row("search", f"loss={LOSS}", lambda: search().blob))
        return rows

    def encode_refined(self, profile: str, **goal: Any) -> list[Row]:
        """Encode the base network refined by a profile; none where training does not reach the score."""
        setting = ", ".join(f"{key}={value:g}" for key, value in goal.items()) or f"loss={LOSS}"
        goal = goal or {"min_score": self.bench.original - LOSS, "evaluate": self.base.evaluate}

        def encode() -> bytes:
            how = {"steps": self.steps, "optimizer": self.optimizer, "learning_rate": self.rate, "profile": profile}
            how["thorough"] = True
            loss = loss_of(self.base.network(), self.base.signal.batch, self.base.signal.count)
            return refine(self.base.state_dict, loss, **how, **goal).blob

        try:
            how = f"steps={self.steps}, {self.optimizer} {self.rate:g}"
            return [self._row(f"{profile}, refined", f"{setting}, {how}", encode, refine_version())]
        except InputError as error:
            print(f"{self.full.name}, {profile}: {error}", file=sys.stderr)
            return []

    def of_size(self, profile: str, size: int) -> Row:
        """Return the fp32 network by a profile, in a size."""
        encode = partial(coinr.encode_state_dict, self.full.state_dict, profile=profile, target_bytes=size)
        return self._row(profile, f"target_bytes={size}", encode)

    def _row(self, coder: str, setting: str, encode: Callable[[], bytes], version: str | None = None) -> Row:
        return self.bench.measure(coder, setting, version or coders.ours_version(), encode, coinr.decode_state_dict)


def measure(case: Case, sparse: bool, low: bool, environment: Path) -> list[Row]:
    """Measure all files of a picture."""
    rows = case.encode_unrefined(environment)
    for profile in ("direct", "sparse") if sparse else ("direct",):
        rows += case.encode_refined(profile)
    for size in LOW if low else ():
        for profile in ("direct", "sparse"):
            rows += [case.of_size(profile, size), *case.encode_refined(profile, target_bytes=size)]
    return rows


def summary(image: str, case: Case, rows: list[Row]) -> dict[str, Any]:
    """Return bytes at the loss that is compared at, and ratios."""
    points = {coder: [row.point for row in rows if row.coder == coder] for coder in {row.coder for row in rows}}
    found = {coder: bytes_at(points[coder], LOSS) for coder in ("nncodec", "auto", "search")}
    found |= dict.fromkeys(REFINED)
    found |= {row.coder: row.bytes for row in rows if row.coder in REFINED and row.setting.startswith("loss=")}
    theirs = found["nncodec"]
    assert theirs is not None
    scores = {"base dB": case.base.evaluate(case.base.state_dict), "fp32 dB": case.bench.original}
    sizes = {f"{coder} bytes": size and round(size) for coder, size in found.items()}
    ratios = {f"{coder} / nncodec": size and size / theirs for coder, size in found.items() if coder != "nncodec"}
    return {"image": image} | scores | sizes | ratios


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return Markdown."""
    listed = list(rows)
    lines = [list(listed[0]), ["---"] * len(listed[0])]
    lines += [[_cell(value) for value in row.values()] for row in listed]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def low_table(rows: Iterable[Row], original: Mapping[str, float]) -> str:
    """Return quality of every small file, a line for each picture and size."""
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        size = row.setting.partition(",")[0]
        if size.startswith("target_bytes="):
            line = lines.setdefault((row.network, size), {"network": row.network, "fp32 dB": original[row.network]})
            line |= {"bytes at most": size.partition("=")[2], f"{row.coder} dB": row.quality}
    return table(lines.values()) if lines else ""


def main() -> None:
    """Measure, then write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    corpus.add_data_option(parser)
    parser.add_argument("--images", default=",".join(IMAGES), help="Kodak names, or photos of scikit-image")
    parser.add_argument("--sparse", default=",".join(SPARSE), help="those that are refined by dictionaries, too")
    parser.add_argument("--low", default="", help="those that are coded in small sizes too")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--environment", type=Path, default=nncodec.ENVIRONMENT)
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    CACHE.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    lines, original, begin = [], {}, time.process_time()
    for image in track(options.images.split(","), "refine", disable=not sys.stderr.isatty()):
        case = Case(image, options.steps, options.data)
        sparse, low = (image in names.split(",") for names in (options.sparse, options.low))
        found = measure(case, sparse, low, options.environment)
        rows += found
        original[case.full.name] = case.bench.original
        lines.append(summary(image, case, found) | {"optimizer": f"{case.optimizer} {case.rate:g}"})
        print(json.dumps(lines[-1]), flush=True)
        write(options.out, rows, lines, original, options.steps, time.process_time() - begin)


def write(
    out: Path, rows: list[Row], lines: list[dict[str, Any]], original: Mapping[str, float], steps: int, seconds: float
) -> None:
    """Write the three files, after every picture."""
    write_rows(out / "refine.csv", rows)
    write_json(out / "refine.json", {"steps": steps, "cpu_seconds": seconds, "summary": lines})
    ratios = [ratio for line in lines if (ratio := line["direct, refined / nncodec"]) is not None]
    text = (
        f"# Refinement\n\nMade by `python -m bench.rate.refine`; machine in `refine.json`. SIRENs (3, 64), {steps} "
        f"more steps on both sides; bytes at -{LOSS} dB from the fp32 network.\n\n{table(lines)}\n"
        f"Direct, refined / nncodec: mean {sum(ratios) / max(len(ratios), 1):.3f} of the {len(ratios)} of {len(lines)} "
        "pictures whose score was reached.\n"
    )
    small = low_table(rows, original)
    if small:
        text += f"\n## Small files, direct coder and dictionaries\n\n{small}"
    write_atomic(out / "refine.md", text.encode())


if __name__ == "__main__":
    main()
