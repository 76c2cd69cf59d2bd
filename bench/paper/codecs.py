"""Every codec of the paper's tables on one trained network: whole files, read again, decoded and evaluated."""

from __future__ import annotations

import math
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import brotli
from torch import Tensor

import coinr
from bench.harness import coders, nncodec
from bench.harness.measure import Bench, Row, source_version
from bench.paper import inric
from bench.paper.context import Context, Point
from bench.rate import refine
from coinr.codec import baselines

#: The loss in dB at which codecs are compared.
LOSS = 0.1

#: What files of the paper's method are called: by the rule of coinr/codec/profiles/paper_rules.py, and by a choice of s
#: and M.
RULE, CHOSEN = "CoINR paper, rule", "CoINR paper"

#: Losses that refined files are made for.
REFINED = (0.1,)

#: Nonzeros tried as parts of n, and log2 M, where 2s < n is to be used as well as it can be.
PARTS = (0.25, 0.3, 0.35, 0.38, 0.41, 0.44, 0.47, 0.495)
ATOMS = (14, 16)

#: Tolerances of ``auto`` far from those that matter: for losses that are hardly there, and for losing all.
FAR = (2**-6, 2**-8, 2**-10, 2**3, 2**5, 2**7)

#: Losses in dB between which all settings of nncodec are measured.
AROUND = (0.04, 0.2)

# Widest and narrowest tolerance, and how near two tolerances are when the search for one ends.
_COARSEST, _FINEST, _ALIKE = 2.0, 2.0**-14, 1.02

# Learning rate of the fp32 network that is trained as long, by Adam.
_RATE = 2e-4

StateDict = OrderedDict[str, Tensor]


def fp32_brotli(sd: Mapping[str, Tensor]) -> bytes:
    """Return the float32 values in one Brotli stream at quality 11."""
    data: bytes = brotli.compress(baselines.encode(sd, "fp32"), quality=11)
    return data


def from_fp32_brotli(blob: bytes, like: Mapping[str, Tensor]) -> StateDict:
    """Return what :func:`fp32_brotli` coded; names and shapes of ``like``."""
    return baselines.decode(brotli.decompress(blob), method="fp32", like=like)


def coin_rows(bench: Bench) -> Iterator[Row]:
    """Yield COIN: fp16 as its authors store it (Dupont et al. 2021), and fp32 with Brotli, as in the paper's figure."""
    sd = bench.entry.state_dict
    decode = partial(baselines.decode, method="fp16", like=sd)
    version = _baselines_version()
    yield bench.measure("COIN, fp16", "", version, partial(baselines.encode, sd, "fp16"), decode)
    yield bench.measure(
        "COIN, fp32 + Brotli", "", version, partial(fp32_brotli, sd), partial(from_fp32_brotli, like=sd)
    )


def uniform_rows(bench: Bench) -> Iterator[Row]:
    """Yield uniform quantizers with Brotli: 16 bits are "INRIC" as the paper runs it, fewer are what it leaves out."""
    sd = bench.entry.state_dict
    for bits in range(6, 17):
        method = f"uniform{bits}"
        coder = "16-bit + Brotli" if bits == 16 else "b-bit + Brotli"
        decode = partial(baselines.decode, method=method, like=sd)
        yield bench.measure(coder, f"b={bits}", _baselines_version(), partial(baselines.encode, sd, method), decode)


def paper_rows(bench: Bench) -> Iterator[Row]:
    """Yield the published method: by our rule, and for each M over s, from the largest to one that loses too much."""
    yield _ours(bench, RULE, "", profile="paper")
    width = bench.entry.recipe.sizes[1]
    n = width * width if width < 50 else width
    for log in ATOMS:
        sparsities = sorted({math.floor(part * n) for part in PARTS}, reverse=True)
        for s in (s for s in sparsities if s >= 1 and 2 * s < n):
            row = _ours(bench, CHOSEN, f"M=2^{log} s={s}", profile="paper", s=s, M=1 << log)
            yield row
            if row.loss_db > LOSS:
                break


def composed_rows(bench: Bench) -> Iterator[Row]:
    """Yield the paper's method on the weights that COIN and INRIC decode, and with 8-bit values."""
    sd = bench.entry.state_dict
    of_coin = baselines.decode(baselines.encode(sd, "fp16"), method="fp16", like=sd)
    of_inric = inric.decode(bench.file("INRIC 8 bit").read_bytes(), sd)
    yield _ours(bench, "CoINR on COIN's weights", "", of_coin, profile="paper")
    yield _ours(bench, "CoINR on INRIC's weights", "", of_inric, profile="paper")
    yield _ours(bench, "CoINR, values of 8 bits", "", profile="paper", bits=8)


def auto_rows(bench: Bench) -> Iterator[Row]:
    """Yield ``auto`` over tolerances, some of them far from what quality needs, and where codecs are compared."""
    for tolerance in FAR:
        yield _ours(bench, "auto", f"tolerance={tolerance:.4g}", profile="auto", tolerance=tolerance)
    yield from coders.profile_rows(bench, "auto")
    yield from closing_rows(bench, "auto")


def closing_rows(bench: Bench, profile: str) -> Iterator[Row]:
    """Yield a profile at tolerances that close in on the loss at which codecs are compared."""
    fine, coarse = _FINEST, _COARSEST
    tolerance = 0.15
    while coarse / fine > _ALIKE:
        row = _ours(bench, profile, f"tolerance={tolerance:.4g}", profile=profile, tolerance=tolerance)
        yield row
        fine, coarse = (tolerance, coarse) if row.loss_db <= LOSS else (fine, tolerance)
        tolerance = _between(fine, coarse, tolerance, row.loss_db)


def _between(fine: float, coarse: float, tolerance: float, loss: float) -> float:
    """Return the next tolerance: a loss goes about with its square, and never outside what is known."""
    guess = tolerance * math.sqrt(LOSS / loss) if loss > 0 else math.sqrt(fine * coarse)
    return guess if fine * _ALIKE**0.25 < guess < coarse / _ALIKE**0.25 else math.sqrt(fine * coarse)


def search_rows(bench: Bench) -> Iterator[Row]:
    """Yield ``coinr.search`` with the network's own metric."""
    sd, evaluate = bench.entry.state_dict, bench.entry.evaluate
    least = bench.original - LOSS
    version = coders.ours_version()

    def encode() -> bytes:
        return coinr.search(sd, evaluate, min_score=least).blob

    yield bench.measure("search", f"loss={LOSS:g}", version, encode, coinr.decode_state_dict)


def refined_rows(point: Point, context: Context) -> Iterator[Row]:
    """Yield ``auto`` refined with the signal at hand, and the fp32 network trained as long without noise."""
    bench, steps = point.bench, context.budget.refine_steps
    entry = bench.entry
    inputs, targets = point.samples.inputs, point.samples.targets
    loss_fn = refine.loss_of(entry.network(), lambda chosen: (inputs[chosen], targets[chosen]), len(inputs))
    version = refine.refine_version()
    for loss in REFINED:

        def encode(loss: float = loss) -> bytes:
            goal = {"min_score": bench.original - loss, "evaluate": entry.evaluate}
            return coinr.refine(entry.state_dict, loss_fn, steps=steps, thorough=True, progress=False, **goal).blob  # type: ignore[arg-type]

        yield bench.measure("auto, refined", f"loss={loss:g} steps={steps}", version, encode, coinr.decode_state_dict)
    longer = partial(_train_longer, entry, loss_fn, steps)
    decode = partial(baselines.decode, method="fp32", like=entry.state_dict)
    yield bench.measure("fp32, trained as long", f"steps={steps}", version, longer, decode)


def _train_longer(entry: Any, loss_fn: Callable[..., Tensor], steps: int) -> bytes:
    return baselines.encode(refine.train_further(entry.state_dict, loss_fn, "adam", steps, _RATE), "fp32")


def all_rows(point: Point, context: Context) -> list[Row]:
    """Return every codec on a network."""
    bench = point.bench
    rows = [*coin_rows(bench), *uniform_rows(bench), *inric.rows(point, context.budget), *paper_rows(bench)]
    rows += [*composed_rows(bench), *closing_rows(bench, "sparse"), *auto_rows(bench), *search_rows(bench)]
    rows += refined_rows(point, context)
    if (nncodec.ENVIRONMENT / "bin" / "python").exists():
        rows += [row for row in nncodec.rows(bench, limits=AROUND) if row.coder == "nncodec"]
    else:
        print(f"no nncodec: python -m bench.harness.nncodec --make-env {nncodec.ENVIRONMENT}", file=sys.stderr)
    return rows


def decoded(point: Point, codec: str) -> Mapping[str, Tensor]:
    """Return the tensors of the file that a codec wrote last."""
    like = point.entry.state_dict
    decode = {
        "COIN, fp32 + Brotli": partial(from_fp32_brotli, like=like),
        "16-bit + Brotli": partial(baselines.decode, method="uniform16", like=like),
        "INRIC 8 bit": partial(inric.decode, like=like),
    }.get(codec, coinr.decode_state_dict)
    return decode(point.bench.file(codec).read_bytes())


def _ours(bench: Bench, coder: str, setting: str, weights: StateDict | None = None, **options: Any) -> Row:
    encode = partial(coinr.encode_state_dict, weights or bench.entry.state_dict, **options)
    return bench.measure(coder, setting, coders.ours_version(), encode, coinr.decode_state_dict)


@cache
def _baselines_version() -> str:
    return source_version(Path(baselines.__file__), Path(__file__))
