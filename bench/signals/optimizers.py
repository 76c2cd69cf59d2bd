"""Compares optimizers of :func:`coinr.fit` at equal CPU time, on SIRENs of two photos.

    python -m bench.signals.optimizers [--data DIR] [--sizes 2x32,3x64,3x128] [--seconds 6,12,16]
    python -m bench.signals.optimizers --data DIR --rates 5e-4,7e-4,1e-3,1.4e-3 --whole \
        --pictures kodim03,kodim13,kodim19 \
        --sizes 3x64,4x96 --seconds 45,100 --out bench/results/learning_rates

CPU seconds of a step are measured first, for all methods by turns, on one thread; every method then gets as many steps
as fit into the seconds of its size, so that the dB of a row depend on its seed and not on what else the machine does.
Pictures are Kodak's 03 and 19 from the data folder (also COINR_DATA), else scikit-image's coffee cup and astronaut, at
half size unless ``--whole``. With ``--rates``, the default optimizer at these learning rates takes the place of the
methods. Writes ``optimizers.csv``, or under another name by ``--out`` (one row a fit; rows that are there are not made
again), and beside it ``.json`` (with machine and versions) and ``.md`` (with means over pictures and seeds).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torch import Tensor, nn
from torch.optim import Optimizer

import coinr
from bench.harness import corpus
from bench.harness.results import write_csv, write_json
from bench.harness.signals import pixels_of
from coinr.files.writing import write_atomic
from coinr.fitting import fit, optimizers
from coinr.signals.image.signal import ImageSignal


def warm(inner: Callable[[list[Tensor], float], Optimizer], steps: int) -> Callable[[list[Tensor], float], Optimizer]:
    """Return the optimizer with a learning rate that grows over its first steps."""

    class Warm(Optimizer):
        def __init__(self, tensors: list[Tensor], lr: float) -> None:
            super().__init__(tensors, {"lr": lr})
            self._inner, self._done = inner(tensors, lr), 0

        def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
            self._done += 1
            rate = self.param_groups[0]["lr"] * min(1.0, self._done / steps)
            self._inner.param_groups[0]["lr"] = rate
            self._inner.step()

    return Warm


CANDIDATES = {
    **optimizers.OPTIMIZERS,
    **{f"{name} warm": warm(optimizers.OPTIMIZERS[name], 200) for name in ("adam", "soap")},
}


@dataclass(frozen=True)
class Method:
    """An optimizer with its learning rate and batch; ``finish`` is the share of the time that L-BFGS gets."""

    optimizer: str
    learning_rate: float
    batch: int = 4096
    finish: float = 0.0


METHODS = (
    Method("adam", 2e-3),
    Method("muon", 2e-3),
    Method("muon", 3e-3),
    Method("soap", 3e-3),
    Method("adam warm", 3e-3),
    Method("adam", 2e-3, finish=0.5),
)

#: L-BFGS sees every pixel many times: only for networks of at most this width.
TINY = 32


@dataclass(frozen=True)
class Row:
    """One fit: size as 3x64, dB over the whole picture."""

    size: str
    picture: str
    seed: int
    optimizer: str
    learning_rate: float
    batch: int
    finish: float
    milliseconds: float
    steps: int
    psnr: float
    cpu_seconds: float
    whole: bool = False


def pictures(names: Sequence[str], data: Path | None, whole: bool) -> dict[str, ImageSignal]:
    """Return photos, at half size unless ``whole``."""
    found = {name: Image.fromarray(pixels_of(name, data)) for name in names}
    return {name: ImageSignal(np.asarray(photo if whole else photo.reduce(2))) for name, photo in found.items()}


def _siren(size: str, seed: int) -> coinr.Siren:
    hidden, width = map(int, size.split("x"))
    return coinr.Siren(2, 3, width, hidden, generator=torch.Generator().manual_seed(seed))


def _fit(signal: ImageSignal, size: str, method: Method, steps: int, seed: int) -> coinr.Fit:
    return fit(
        signal,
        _siren(size, seed),
        steps=steps,
        batch=method.batch,
        learning_rate=method.learning_rate,
        optimizer=method.optimizer,
        seed=seed,
        threads=1,
        progress=False,
    )


def seconds_of_a_step(signal: ImageSignal, size: str, methods: Sequence[Method]) -> dict[tuple[str, int], float]:
    """Return CPU seconds of a step for each optimizer and batch: a low quantile of the time between steps."""
    pairs = {(m.optimizer, m.batch): m for m in methods}
    taken: dict[tuple[str, int], list[float]] = {pair: [] for pair in pairs}
    inner = dict(optimizers.OPTIMIZERS)
    for _ in track(range(3), f"timing {size}", disable=not sys.stderr.isatty()):
        for pair, method in pairs.items():
            stamps: list[float] = []

            def make(tensors: list[Tensor], lr: float, name: str = pair[0], stamps: list[float] = stamps) -> Optimizer:
                made = inner[name](tensors, lr)
                made.register_step_post_hook(lambda *_: stamps.append(time.process_time()))
                return made

            with mock.patch.dict(optimizers.OPTIMIZERS, {pair[0]: make}):
                _fit(signal, size, method, 100, 0)  # a fifth of the steps is evaluated
            taken[pair].append(float(np.quantile(np.diff(stamps), 0.25)))
    return {pair: statistics.median(values) for pair, values in taken.items()}


def lbfgs(network: nn.Module, signal: ImageSignal, calls: int) -> None:
    """Improve a network by L-BFGS on all pixels until it has seen them ``calls`` times."""
    optimizer = torch.optim.LBFGS(
        network.parameters(), max_iter=calls, max_eval=calls, history_size=50, line_search_fn="strong_wolfe"
    )
    chunks = [signal.batch(chunk) for chunk in torch.split(torch.arange(signal.count), 2048)]

    def closure() -> float:
        optimizer.zero_grad()
        total = 0.0
        for inputs, targets in chunks:
            error = signal.squared_error(network, inputs, targets) / (signal.count * signal.out_features)
            error.backward()
            total += error.item()
        return total

    optimizer.step(closure)


def run(
    signal: ImageSignal, size: str, picture: str, method: Method, cost: float, seconds: float, seed: int, whole: bool
) -> Row:
    """Return one fit of ``seconds``, of which a step takes ``cost``."""
    steps = max(20, round(seconds * (1 - method.finish) / cost))
    begin = time.process_time()
    fitted = _fit(signal, size, method, steps, seed)
    score = fitted.score
    if method.finish:
        lbfgs(fitted.network, signal, max(1, round(seconds * method.finish / (cost * signal.count / method.batch))))
        score = coinr.psnr(signal.image, coinr.render_image(fitted.network, signal.height, signal.width))
    return Row(
        size,
        picture,
        seed,
        **asdict(method),
        milliseconds=round(cost * 1e3, 3),
        steps=steps,
        psnr=round(score, 3),
        cpu_seconds=round(time.process_time() - begin, 1),
        whole=whole,
    )


def summary(rows: Sequence[Row], name: str, how: str) -> str:
    """Return a Markdown table for each size: dB of each method; ``how`` is what the command was given."""
    lines = [
        "# Optimizers at equal CPU time",
        "",
        f"Made by `python -m bench.signals.optimizers{how}`; machine in `{name}.json`.",
    ]
    for size in dict.fromkeys(row.size for row in rows):
        mine = [row for row in rows if row.size == size]
        lines += ["", f"## SIREN {size}, {mine[0].steps * mine[0].milliseconds / 1e3:.0f} CPU seconds a fit", ""]
        lines += ["| optimizer | learning rate | batch | ms a step | " + " | ".join(_cells(mine)) + " | mean |"]
        lines += ["|---" * (lines[-1].count("|") - 1) + "|"]
        for method in dict.fromkeys((r.optimizer, r.learning_rate, r.batch, r.finish) for r in mine):
            of_it = {f"{r.picture}, seed {r.seed}": r for r in mine if _key(r) == method}
            name = method[0] + (", then L-BFGS" if method[3] else "")
            values = [f"{of_it[cell].psnr:.2f}" if cell in of_it else "" for cell in _cells(mine)]
            mean = statistics.mean(r.psnr for r in of_it.values())
            cost = next(iter(of_it.values())).milliseconds
            lines += [f"| {name} | {method[1]:g} | {method[2]} | {cost:.1f} | {' | '.join(values)} | {mean:.2f} |"]
    return "\n".join(lines) + "\n"


def _key(row: Row) -> tuple[str, float, int, float]:
    return row.optimizer, row.learning_rate, row.batch, row.finish


def _cells(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(f"{row.picture}, seed {row.seed}" for row in rows))


def write(out: Path, rows: Sequence[Row], how: str) -> None:
    """Write all three files."""
    listed = [asdict(row) for row in rows]
    write_csv(out.with_suffix(".csv"), listed)
    write_json(out.with_suffix(".json"), {"rows": listed})
    write_atomic(out.with_suffix(".md"), summary(rows, out.name, how).encode())


def read_stored(out: Path) -> list[Row]:
    """Return the rows that are there."""
    path = out.with_suffix(".json")
    return [Row(**row) for row in json.loads(path.read_text())["rows"]] if path.exists() else []


def main() -> None:
    """Fit what is missing and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    corpus.add_data_option(parser)
    parser.add_argument("--sizes", default="2x32,3x64,3x128", help="hidden layers x width, with commas between")
    parser.add_argument("--seconds", default="6,12,16", help="CPU seconds of a fit for each size")
    parser.add_argument("--pictures", help="names of Kodak, or of scikit-image's photos")
    parser.add_argument("--whole", action="store_true", help="pictures at their full size")
    parser.add_argument("--rates", help="learning rates of the default optimizer")
    parser.add_argument("--seeds", type=int, default=1, help="seeds 0 .. this - 1")
    parser.add_argument("--out", type=Path, default=Path("bench/results/optimizers"), help="the files without suffix")
    options = parser.parse_args()
    torch.set_num_threads(1)
    seconds = dict(zip(options.sizes.split(","), map(float, options.seconds.split(",")), strict=True))
    names = options.pictures or ("kodim03,kodim19" if options.data else "coffee,astronaut")
    signals, rows = pictures(names.split(","), options.data, options.whole), read_stored(options.out)
    flags = {name: getattr(options, name) for name in ("rates", "pictures", "sizes", "seconds", "seeds", "out")}
    how = " --whole" * options.whole
    how += "".join(f" --{name} {value}" for name, value in flags.items() if value != parser.get_default(name))
    given = [Method("muon", float(rate)) for rate in options.rates.split(",")] if options.rates else METHODS
    with mock.patch.dict(optimizers.OPTIMIZERS, CANDIDATES):
        for size, budget in seconds.items():
            tiny = int(size.split("x")[1]) <= TINY
            methods = [m for m in given if tiny or not m.finish]
            costs = {(r.optimizer, r.batch): r.milliseconds / 1e3 for r in rows if r.size == size}
            if not costs.keys() >= {(m.optimizer, m.batch) for m in methods}:
                costs = seconds_of_a_step(next(iter(signals.values())), size, methods) | costs
            work = [(p, m, seed) for seed in range(options.seeds) for m in methods for p in signals]
            for picture, method, seed in track(work, size, disable=not sys.stderr.isatty()):
                if any(
                    (r.size, r.picture, r.seed, r.whole) == (size, picture, seed, options.whole)
                    and _key(r) == astuple(method)
                    for r in rows
                ):
                    continue
                cost = costs[method.optimizer, method.batch]
                rows.append(run(signals[picture], size, picture, method, cost, budget, seed, options.whole))
                print(rows[-1], flush=True)
                write(options.out, rows, how)


if __name__ == "__main__":
    main()
