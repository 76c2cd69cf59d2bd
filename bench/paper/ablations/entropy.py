"""Brotli against adaptive entropy coders, on the very same integers: of sparse codes, and of plain quantization."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import coinr
from bench.harness.coders import entropy_bytes
from bench.harness.results import draw_figure
from bench.paper.ablations.hidden import Hidden
from bench.paper.ablations.streams import STREAMS, Code, ideal_bytes
from bench.paper.context import Context, Point
from coinr.codec import baselines
from coinr.codec.coders.levels import NO_STEPS, LevelForm, scale_code
from coinr.codec.coders.symbols import largest
from coinr.codec.effort import BEST
from coinr.codec.profiles.paper import solve
from coinr.codec.quantize.forms import Quantized, smallest_form

ATOMS = 1 << 16
FRACTION = 0.41  # of n: s
SPARSE_BITS = (16, 10)
DIRECT_BITS = (6, 8, 10, 12)

_NORMAL = 4  # the shape that contexts start from: coinr.codec.coders.levels.SHAPES[4] is a normal distribution


def code_of(hidden: Hidden, M: int, s: int, bits: int) -> Code:
    """Return the paper's code of the hidden vectors, in order of selection, with one step for all matrices."""
    dictionary = coinr.Dictionary("gaussian", hidden.cut.n, M, 0)
    indices = np.ascontiguousarray(hidden.pursue(dictionary, s).indices)
    assert indices.min() >= 0, "a pursuit that stopped early"
    values = solve(hidden.vectors, indices, dictionary)
    step = np.abs(values).max() / largest(bits)
    return Code(indices, np.rint(values / step).astype(np.int32), M, bits)


def adaptive(levels: NDArray[np.int32]) -> bytes:
    """Return integers ``[rows, columns]`` by the adaptive coder of the ``direct`` profile, read back and compared."""
    scale = scale_code(float(np.abs(levels).mean()))
    form = LevelForm(0, _NORMAL, scale)
    data, form = smallest_form(Quantized(levels, NO_STEPS, NO_STEPS, form, 1.0, 0.0, 0.0), BEST)
    decoded, _ = form.decode(data, *levels.shape)
    assert np.array_equal(decoded, levels)
    return form.write() + data


def _sparse_rows(hidden: Hidden, network: str) -> Iterator[dict[str, Any]]:
    n = hidden.cut.n
    s = max(1, round(FRACTION * n))
    for bits in SPARSE_BITS:
        code = code_of(hidden, ATOMS, s, bits)
        about = {"network": network, "integers": f"sparse code, {bits} bit", "M": ATOMS, "s": s, "bits": bits}
        sizes: dict[str, float] = {}
        for coding, (encode, decode) in STREAMS.items():
            data = encode(code)
            assert code.same(*decode(data, code)), coding
            sizes[coding] = len(data)
        sets, values = ideal_bytes(code)
        sizes["log2 C(M, s) + order-0 entropy"] = sets + values
        for coding, size in sizes.items():
            row = about | {"coding": coding, "bytes": size, "bits_per_weight": 8 * size / hidden.weights}
            yield row | ({"set_bytes": sets, "value_bytes": values} if coding.startswith("log2") else {})


def _direct_rows(hidden: Hidden, network: str) -> Iterator[dict[str, Any]]:
    """Yield the hidden matrices as they are, one step each."""
    matrices = {name: hidden.state_dict[name] for name in hidden.names}
    for bits in DIRECT_BITS:
        brotli = baselines.encode(matrices, f"uniform{bits}")
        decoded = baselines.decode(brotli, f"uniform{bits}", matrices)
        ours, bound = 0, 0.0
        for name, tensor in matrices.items():
            step = np.float32(tensor.abs().max().item() / largest(bits))
            levels = np.rint(decoded[name].double().numpy() / np.float64(step)).astype(np.int32)
            ours += 4 + len(adaptive(levels))  # and the step
            bound += entropy_bytes(levels.astype(np.int64).ravel())
        for coding, size in (
            ("best layout + Brotli", len(brotli)),
            ("adaptive (direct profile)", ours),
            ("order-0 entropy", bound),
        ):
            yield {
                "network": network,
                "integers": f"direct, {bits} bit",
                "bits": bits,
                "coding": coding,
                "bytes": size,
                "bits_per_weight": 8 * size / hidden.weights,
            }


def _rows(point: Point) -> Iterator[dict[str, Any]]:
    hidden = Hidden.of(point)
    yield from _sparse_rows(hidden, point.entry.name)
    yield from _direct_rows(hidden, point.entry.name)


def run(context: Context) -> None:
    """Write ``ablation_entropy``."""
    rows: list[dict[str, Any]] = []
    for picture in context.track(context.pictures, "entropy, pictures"):
        rows += _rows(context.siren(picture, 3, 64))
    context.write("ablation_entropy", rows, bytes_are="of the hidden matrices' integers, every stream read back")
    plot(rows, context.out / "ablation_entropy.png")


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw bars of bits per hidden weight: a panel for each network, a group for each kind of integers."""
    networks = list(dict.fromkeys(row["network"] for row in rows))
    codings = list(dict.fromkeys(row["coding"] for row in rows))
    size = (8 * len(networks), 7)
    with draw_figure(path, 1, len(networks), figsize=size, squeeze=False, layout="constrained") as (figure, grid):
        for axes, network in zip(grid.flat, networks, strict=True):
            own = [row for row in rows if row["network"] == network]
            groups = list(dict.fromkeys(row["integers"] for row in own))
            ticks, place = [], 0.0
            for group in groups:
                members = [row for row in own if row["integers"] == group]
                ticks.append(place + (len(members) - 1) / 2)
                for row in members:
                    color = f"C{codings.index(row['coding'])}"
                    axes.barh(place, row["bits_per_weight"], color=color, label=row["coding"])
                    axes.text(row["bits_per_weight"], place, f" {row['bits_per_weight']:.2f}", va="center", fontsize=8)
                    place += 1
                place += 0.8
            axes.set_yticks(ticks, groups)
            axes.invert_yaxis()
            axes.margins(x=0.12)
            axes.set(title=network, xlabel="bits per hidden weight")
            axes.grid(True, axis="x", alpha=0.25)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        once = dict(zip(labels, handles, strict=True))
        figure.legend(once.values(), once.keys(), fontsize=9, loc="outside lower center", ncols=4)
        figure.suptitle("the same integers by several entropy coders")
