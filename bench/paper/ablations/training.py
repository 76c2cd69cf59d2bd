"""Sparsity by training (section 3.2 of the paper): an L1 penalty and pruning, on pictures and on occupancy.

Every variant is coded by ``auto``, by 16-bit + Brotli and by a stream with a mask for the zeros. Losses are against
the trained network; one that was given the further steps of the pruned ones, and smaller networks of the same training,
stand beside.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

import coinr
from bench.harness import corpus
from bench.harness.coders import ours_version
from bench.harness.measure import source_version, tensors_hash
from bench.paper.ablations import masked, pruning
from bench.paper.ablations.figures import Panel, draw, lines_of
from bench.paper.context import Context, Point
from coinr.codec import baselines
from coinr.files.state_dicts import read_state_dict_file, write_state_dict_file

#: λ of the penalty, see :func:`pruning.fit`.
LAMBDAS = (0.03, 0.1, 0.3)
WEIGHTS = (0.2, 0.4, 0.6, 0.8)  # shares of hidden weights
NEURONS = (0.125, 0.25, 0.5)  # shares of each layer's neurons
SMALLER = (32, 48)  # widths

State = OrderedDict[str, Tensor]


@dataclass(frozen=True)
class Variant:
    """A way to make a network sparse, its strength (λ or a share), and what makes it."""

    way: str
    strength: float
    make: Callable[[], State]


def gauss_recipe(context: Context) -> corpus.Recipe:
    """Return the occupancy network, trained on random batches of all voxels, evaluated on a fixed choice of them.

    Seed 1 gives it a name of its own, apart from networks trained otherwise.
    """
    signal = "lucy" if context.data else "knot"
    return corpus.Recipe("gauss", (3, 128), "shape", signal, max(1, context.budget.steps // 2), 4096, 2e-3, 1)


def _variants(point: Point) -> Iterator[Variant]:
    """Yield all variants of a trained network; each is made on demand."""
    recipe, sd = point.entry.recipe, point.entry.state_dict
    steps = max(1, recipe.steps // 4)

    def trained(start: Callable[[], Mapping[str, Tensor]], **options: Any) -> State:
        most: dict[str, Any] = {"steps": steps, "rate": recipe.learning_rate / 4} | options
        network = point.entry.network()
        return pruning.fit(network, start(), point.samples, batch=recipe.batch, seed=recipe.seed, **most)

    def pruned(share: float) -> State:
        masks = pruning.kept_weights(sd, share)
        return trained(lambda: pruning.apply_masks(sd, masks), masks=masks)

    def narrowed(share: float) -> State:
        return trained(lambda: pruning.without_neurons(sd, share))

    yield Variant("trained", 0.0, lambda: sd)
    yield Variant("trained further", 0.0, lambda: trained(lambda: sd))
    for strength in LAMBDAS:
        whole: dict[str, Any] = {"steps": recipe.steps, "rate": recipe.learning_rate, "l1": strength}
        yield Variant("L1 penalty", strength, partial(trained, partial(_untrained, recipe), **whole))
    for share in WEIGHTS:
        yield Variant("weights pruned", share, partial(pruned, share))
    for share in NEURONS:
        yield Variant("neurons pruned", share, partial(narrowed, share))


def _untrained(recipe: corpus.Recipe) -> State:
    """Return the tensors that training started from."""
    return OrderedDict(corpus.untrained(recipe).state_dict())


def _recall(path: Path, make: Callable[[], State]) -> State:
    """Return what was made before, or is made and saved now; in the order in which it is made."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_state_dict_file(path, make())
    return OrderedDict(read_state_dict_file(path))


def _tensors(point: Point, variant: Variant, folder: Path) -> State:
    """Return a variant's tensors; its file is named by the network's tensors and this code."""
    version = source_version(Path(pruning.__file__), Path(__file__))
    name = f"{point.entry.name}-{variant.way}-{variant.strength:g}-{tensors_hash(point.entry.state_dict)}-{version}"
    stored = _recall(folder / f"{name.replace(' ', '-')}.safetensors", variant.make)
    return OrderedDict((key, stored[key]) for key in point.entry.state_dict)


Coding = tuple[str, Callable[[], bytes], Callable[[bytes], Mapping[str, Tensor]]]


def _codings(sd: State) -> list[Coding]:
    return [
        ("auto", partial(coinr.encode_state_dict, sd), coinr.decode_state_dict),
        (
            "16 bit + Brotli",
            partial(baselines.encode, sd, "uniform16"),
            partial(baselines.decode, method="uniform16", like=sd),
        ),
        ("mask + 16 bit + Brotli", partial(masked.encode, sd), partial(masked.decode, like=sd)),
    ]


def encode_variant(point: Point, way: str, strength: float, sd: State, whole: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each coding of a variant with these tensors; ``whole`` weights count as its full size."""
    weights = [sd[name] for name in pruning.matrices(sd)]
    left = sum(int((tensor != 0).sum()) for tensor in weights)
    about = {
        "network": point.entry.name,
        "way": way,
        "strength": strength,
        "zeros": 1 - left / whole,
        "zeros_first_layer": pruning.zeros(sd, pruning.matrices(sd)[:1]),
        "zeros_hidden_layers": pruning.zeros(sd, pruning.matrices(sd)[1:-1]),
        "zeros_last_layer": pruning.zeros(sd, pruning.matrices(sd)[-1:]),
        "dead_neurons": pruning.dead_neurons(sd),
    }
    coders = source_version(Path(baselines.__file__), Path(masked.__file__))
    version = f"{ours_version()} {coders} {tensors_hash(sd)}"
    for coding, encode, decode in _codings(sd):
        coder, setting = f"ablation training, {coding}", f"{way} {strength:g}"
        row = point.bench.known(coder, setting, version)
        if row is None:
            blob = encode()
            found = point.entry.scores(decode(blob))
            quality = next(iter(found.values()))
            row = point.bench.keep(point.bench.row(coder, setting, len(blob), quality, (0.0, 0.0), **found), version)
        fp32 = point.bench.original
        yield about | {"coding": coding, "bytes": int(row.bytes), **row.extra, "loss_db": fp32 - row.extra["psnr"]}


def _whole(point: Point) -> int:
    return sum(point.entry.state_dict[name].numel() for name in pruning.matrices(point.entry.state_dict))


def _smaller_networks(context: Context, picture: str, point: Point) -> Iterator[dict[str, Any]]:
    """Yield rows of narrower networks, trained as the whole one."""
    for width in SMALLER:
        other = context.siren(picture, 3, width)
        for row in encode_variant(other, "smaller network", width, other.entry.state_dict, _whole(point)):
            yield row | {"network": point.entry.name, "loss_db": point.bench.original - row["psnr"]}


def run(context: Context) -> None:
    """Write ``ablation_training``."""
    points: list[tuple[str | None, Point]] = [(picture, context.siren(picture, 3, 64)) for picture in context.pictures]
    points.append((None, context.point(gauss_recipe(context))))
    jobs = [(picture, point, variant) for picture, point in points for variant in _variants(point)]
    rows: list[dict[str, Any]] = []
    sparse: dict[float, list[tuple[str, State]]] = {strength: [] for strength in LAMBDAS}
    for picture, point, variant in context.track(jobs, "sparse training, variants"):
        sd = _tensors(point, variant, context.folder / "ablations")
        rows += encode_variant(point, variant.way, variant.strength, sd, _whole(point))
        if picture and variant.way == "L1 penalty":
            sparse[variant.strength].append((point.entry.name, sd))
    for picture, point in points:
        if picture:
            rows += _smaller_networks(context, picture, point)
    context.write("ablation_training", rows, zeros_in_common=_in_common(sparse))
    plot(rows, context.out / "ablation_training.png")


def _in_common(sparse: Mapping[float, list[tuple[str, State]]]) -> list[dict[str, Any]]:
    """Return how far the zeros of two pictures' networks, which start alike, fall on the same weights."""
    table = []
    for strength, found in sparse.items():
        for i, (one, a) in enumerate(found):
            for other, b in found[:i]:
                both, chance = pruning.overlap(a, b)
                table.append(
                    {
                        "networks": [other, one],
                        "lambda": strength,
                        "zero_in_both": both,
                        "zero_in_both_by_chance": chance,
                    }
                )
    return table


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw quality over the share of zeros of 16-bit networks, and over bytes in each one's best coding."""
    panels = []
    for name in dict.fromkeys(row["network"] for row in rows):
        own = [row for row in rows if row["network"] == name]
        plain = [row for row in own if row["coding"] == "16 bit + Brotli"]
        score = "iou" if "iou" in own[0] else "psnr"
        unit = "IoU at 0.5" if score == "iou" else "PSNR, dB"
        panels += [
            Panel(name, "share of zeros among all weights", f"{unit}, at 16 bit",
                  lines_of(plain, lambda row: row["way"], "zeros", score)),
            Panel(name, "bytes of the file", unit,
                  lines_of([row for row in own if row["coding"] != "16 bit + Brotli"],
                           lambda row: f"{row['way']}, {row['coding'].partition(' ')[0]}", "bytes", score),
                  log_x=True, paired=True),
        ]  # fmt: skip
    draw(path, "sparsity by training: L1 penalty and pruning", panels)
