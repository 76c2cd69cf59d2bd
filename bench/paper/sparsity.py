"""How many nonzeros s a network's hidden layers need: PSNR against s, the smallest s, its regression on the width.

Hidden layers (the square matrices) are replaced by their sparse codes, rows or, where width² ≤ 2048, flattened into one
vector; everything else is at 16 bit, as the values of the codes are. One pursuit at the largest s serves all smaller
ones, whose values are solved for again. Looked for is the smallest s within 0.1 dB of the network before coding. The
paper allows 2s < n; the curves go on beyond, so that it is seen what would be needed.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

import coinr
from bench.harness.arrays import layout_of, planes_of, tensor_of
from bench.harness.corpus import Recipe
from bench.harness.measure import source_version, tensors_hash
from bench.harness.results import Kept
from bench.paper import choices, lines
from bench.paper.context import Context, Point
from bench.paper.sparsity_plot import plot
from coinr.codec.coders import DICTIONARY, DictionaryParams, dictionary, uniform
from coinr.codec.profiles import paper, paper_rules
from coinr.codec.tensors import Cut, Layout
from coinr.engine import omp, philox

ATOMS = (1 << 12, 1 << 14, 1 << 16)

#: s as parts of n on the grid of the curves.
FRACTIONS = (0.25, 0.33, 0.38, 0.42, 0.46, 0.5, 0.58, 0.7)

LARGEST_FLAT = 2048
BOUND = 0.1  # dB

#: Of the networks of signals that are no picture of the budget.
OTHER_SIZES = (3, 64)


@dataclass(frozen=True)
class Job:
    """One pursuit: the hidden layers of a network, a cut of them, M atoms."""

    point: Point
    cut: Cut
    mode: str
    M: int

    @property
    def label(self) -> dict[str, Any]:
        """Return the columns that name it."""
        recipe = self.point.entry.recipe
        hidden, width = recipe.sizes
        names = {"signal": recipe.signal, "family": recipe.family, "hidden_layers": hidden, "width": width}
        return names | {"mode": self.mode, "M": self.M, "n": self.cut.n}

    @property
    def key(self) -> str:
        """Return names network, cut, M and the code that measures."""
        tensors = tensors_hash(self.point.entry.state_dict)
        return f"{self.point.entry.name} {tensors} {self.mode} {self.M} {_version()}"


@cache
def _version() -> str:
    """Return name of the code that measures; pursuits of every backend find the same."""
    parts = (lines, choices, omp, philox, paper, dictionary, uniform)
    return source_version(Path(__file__), *(Path(str(part.__file__)) for part in parts))


def cuts(width: int) -> dict[str, Cut]:
    """Return the paper's two ways to cut a hidden matrix: rows, and for small ones the whole."""
    flat = {"flattened": Cut(False, width * width)} if width * width <= LARGEST_FLAT else {}
    return {"standard": Cut(False, width)} | flat


def points(context: Context) -> Iterator[Callable[[], Point]]:
    """Yield networks, trained when called: pictures at all widths, then a photo, a sound and a shape."""
    for picture in context.pictures:
        for width in context.budget.widths:
            yield partial(context.siren, picture, 2 if width < paper_rules.TINY else 3, width)
    steps = context.budget.steps
    photo = "chelsea-half" if context.budget.half else "chelsea"
    sound, shape = ("bach", "lucy_128") if context.data else ("tones", "knot")
    yield partial(context.point, Recipe("siren", OTHER_SIZES, "picture", photo, steps, 4096, 2e-3))
    yield partial(context.point, Recipe("siren", OTHER_SIZES, "sound", sound, steps, 4096, 5e-4))
    yield partial(context.point, Recipe("gauss", OTHER_SIZES, "volume", shape, steps, 4096, 2e-3))


def hidden_names(sd: OrderedDict[str, Tensor], width: int) -> list[str]:
    """Return names of the square matrices of a width."""
    return [name for name, tensor in sd.items() if tuple(tensor.shape) == (width, width)]


def measure(job: Job) -> dict[str, Any]:
    """Measure the curve of a job, its smallest s, and the loss of 16 bit alone.

    Keys: ``curve`` of rows (s, loss_db, residual_db, quality_db), ``needed`` and ``crossing`` (both None where the
    largest s of the grid is not enough), ``crossing_of_codes`` for which only what the codes lose beyond 16 bit counts,
    ``loss_db_16_bit``, ``quality_before_db``.
    """
    sd, bench = job.point.entry.state_dict, job.point.bench
    n = job.cut.n
    names = hidden_names(sd, job.point.entry.recipe.sizes[1])
    layouts = {name: layout_of(sd[name]) for name in names}
    vectors = {name: job.cut.apply(planes_of(sd[name]), layouts[name]) for name in names}
    atoms = coinr.Dictionary("gaussian", n, job.M, 0)
    sizes = sorted(
        {max(1, min(paper_rules.largest_sparsity(n), round(f * n)) if f <= 0.5 else round(f * n)) for f in FRACTIONS}
    )
    stack = np.concatenate(list(vectors.values())).astype(np.float32)
    code = coinr.omp(stack, atoms, sizes[-1])
    supports = dict(zip(names, np.split(code.indices, len(names)), strict=True))
    exact, _ = choices.at_16_bit(sd)

    def loss(s: int) -> float:
        decoded = {name: _decoded(vectors[name], supports[name][:, :s], atoms, job, layouts[name]) for name in names}
        return bench.original - job.point.entry.evaluate(OrderedDict(exact, **decoded))

    losses = {s: loss(s) for s in sizes}
    needed = lines.smallest(losses, BOUND, loss)
    energy = code.path.sum(0)
    curve = [
        {
            "s": s,
            "loss_db": losses[s],
            "residual_db": 10 * math.log10(energy[s] / energy[0]),
            "quality_db": bench.original - losses[s],
        }
        for s in sorted(losses)
    ]
    coarse = bench.original - job.point.entry.evaluate(exact)
    return {
        "curve": curve,
        "needed": needed,
        "crossing": lines.crossing(losses, BOUND),
        "crossing_of_codes": lines.crossing({s: value - coarse for s, value in losses.items()}, BOUND),
        "loss_db_16_bit": coarse,
        "quality_before_db": bench.original,
    }


def _decoded(vectors: Any, support: Any, atoms: coinr.Dictionary, job: Job, layout: Layout) -> Tensor:
    """Return a hidden layer through the dictionary coder with 16-bit values on a given support."""
    support = np.ascontiguousarray(support)
    params = DictionaryParams(job.cut, "gaussian", job.M, support.shape[1])
    quantized = DICTIONARY.quantize(support, paper.solve(vectors, support, atoms), params)
    assert quantized is not None, "weights of a trained network have normal float32 steps"
    payload = DICTIONARY.encode(quantized, params)
    return tensor_of(DICTIONARY.decode(memoryview(payload), params, layout, 0), layout)


def smallest_row(label: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Return a row of ``sparsity_smallest.csv``: ``s`` is empty where 2s < n is not enough; ``s_needed`` is enough."""
    needed, n = found["needed"], label["n"]
    return label | {
        "s": needed if needed and needed <= paper_rules.largest_sparsity(n) else None,
        "s_needed": needed,
        "s_needed_over_n": needed / n if needed else None,
        "s_crossing": found["crossing"],
        "s_crossing_of_codes": found["crossing_of_codes"],
        "s_of_the_rule": paper_rules.sparsity(paper_rules.RULES[paper_rules.LATEST], n, label["M"], None),
        "loss_db_16_bit": found["loss_db_16_bit"],
        "quality_before_db": found["quality_before_db"],
    }


def fits(table: list[dict[str, Any]], pictures: list[str]) -> list[dict[str, Any]]:
    """Return lines of the pictures' needed s on n by mode and M, and whether the picture matters beside the width.

    In ``standard`` mode n is the width. ``picture_F`` and ``picture_p`` are of an analysis of variance of s / n, with
    s not rounded, over the widths at which every picture has one; ``spread_percent`` is the widths' mean of
    (largest - smallest) / mean.
    """
    found = []
    for mode, M in sorted({(row["mode"], row["M"]) for row in table}):
        chosen = [r for r in table if (r["mode"], r["M"]) == (mode, M) and r["signal"] in pictures and r["s_needed"]]
        fitted = lines.line([r["n"] for r in chosen], [r["s_needed"] for r in chosen])
        if fitted is None:
            continue
        row: dict[str, Any] = {"mode": mode, "M": M, "against": "n", "points": fitted.points}
        row["points_with_2s_below_n"] = sum(r["s"] is not None for r in chosen)
        for name in ("slope", "intercept"):
            low, high = getattr(fitted, f"{name}_interval") or (None, None)
            row |= {name: getattr(fitted, name), f"{name}_low": low, f"{name}_high": high}
        found.append(row | {"r2": fitted.r2} | _by_picture(chosen, pictures))
    return found


def _by_picture(chosen: list[dict[str, Any]], pictures: list[str]) -> dict[str, Any]:
    by_n: dict[int, dict[str, float]] = {}
    for row in chosen:
        by_n.setdefault(row["n"], {})[row["signal"]] = row["s_crossing"] / row["n"]
    whole = np.array([[found[name] for name in pictures] for found in by_n.values() if len(found) == len(pictures)])
    if not len(whole) or len(pictures) < 2:
        return {"picture_F": None, "picture_p": None, "spread_percent": None}
    F, p = lines.second_factor(whole) or (None, None)
    spread = float(((whole.max(1) - whole.min(1)) / whole.mean(1)).mean())
    return {"picture_F": F, "picture_p": p, "spread_percent": 100 * spread}


def run(context: Context) -> None:
    """Write ``sparsity.csv`` (curves), ``sparsity_smallest.csv``, ``sparsity_fit.csv`` and ``sparsity.png``."""
    log = Kept(context.folder / "sparsity" / "rows.jsonl")
    curves, table = [], []
    for train in context.track(list(points(context)), "network"):
        point = train()
        for mode, cut in cuts(point.entry.recipe.sizes[1]).items():
            for M in ATOMS:
                job = Job(point, cut, mode, M)
                found = log.recall(job.key, partial(measure, job))
                curves += [job.label | row for row in found["curve"]]
                table.append(smallest_row(job.label, found))
    regressions = fits(table, context.pictures)
    context.write("sparsity", curves, bound_db=BOUND, values_and_the_rest_at_bits=16, dictionary="gaussian, seed 0")
    context.write("sparsity_smallest", table)
    context.write("sparsity_fit", regressions)
    plot(curves, table, context.pictures, context.out / "sparsity.png")
