"""A learned dictionary as yardstick for the seeded one, at equal M and s: residual, loss, and bytes with its cost.

Learned on the very rows that are coded, the dictionary has to be sent; learned on those of other networks it would be
known to the decoder. Those start from the same weights as the one that is coded, so networks that start from others
stand beside. With as many atoms as rows a dictionary of its own rows holds the rows themselves.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import coinr
from bench.paper.ablations import ksvd
from bench.paper.ablations.figures import Panel, draw, lines_of
from bench.paper.ablations.hidden import Hidden, combined, residual_db
from bench.paper.ablations.streams import Code, enumerate_code, read_enumeration
from bench.paper.context import Context, Point
from coinr.codec import baselines
from coinr.codec.coders.symbols import largest
from coinr.codec.profiles.paper import solve

ATOMS = (128, 256, 512)
SPARSITIES = (4, 8, 16, 24)
OTHERS = 4  # networks to learn from, at most
OWN = "learned on its own rows"
ITERATIONS = 20
TRAINED_AT = 8  # s during learning
VALUE_BITS = 16
DICTIONARY_BITS = (8, 16)


def sent(D: ksvd.Array, bits: int) -> tuple[int, ksvd.Array]:
    """Return bytes of a dictionary as b-bit integers with Brotli, and the dictionary read back from them."""
    method = f"uniform{bits}"
    tensor = OrderedDict(dictionary=torch.from_numpy(D.astype(np.float32)))
    blob = baselines.encode(tensor, method)
    return len(blob), baselines.decode(blob, method, tensor)["dictionary"].double().numpy()


def encode_code(indices: ksvd.Support, values: ksvd.Array, M: int) -> tuple[int, ksvd.Support, ksvd.Array]:
    """Encode supports and 16-bit values by the ``sparse`` profile's coder, and read both back; indices of -1 go."""
    step = np.abs(values).max() / largest(VALUE_BITS)
    q = np.where(indices < 0, 0, np.rint(values / step)).astype(np.int32)
    atoms = indices.copy()
    for row in atoms:
        free = np.setdiff1d(np.arange(M), row)
        row[row < 0] = free[: (row < 0).sum()]
    code = Code(atoms.astype(np.int32), q, M, VALUE_BITS)
    data = enumerate_code(code)
    back, integers = read_enumeration(data, code)
    return 4 + len(data), back.astype(np.int64), integers * step  # and the step


def _learned(point: Point, hidden: Hidden, D: ksvd.Array, source: str, free: bool) -> Iterator[dict[str, Any]]:
    """Yield rows of one dictionary: ``free``, as the decoder knows it, or not counted and sent with 8 and 16 bit."""
    W, M = hidden.vectors, len(D)
    for s in SPARSITIES:
        indices, values = ksvd.pursue(W, D, s)
        choices: list[tuple[str, int, ksvd.Array]] = [("known", 0, D)] if free else [("not counted", 0, D)]
        if not free:
            choices += [(f"{bits} bit", *sent(D, bits)) for bits in DICTIONARY_BITS]
        for cost, size, used in choices:
            own = values if used is D else ksvd.least_squares(W, used, indices)
            code_bytes, back, amounts = encode_code(indices, own, M)
            yield _row(point, hidden, source, cost, M, s, code_bytes, size, ksvd.rebuilt(used, back, amounts))


def _seeded(point: Point, hidden: Hidden, M: int) -> Iterator[dict[str, Any]]:
    """Yield rows of the seeded dictionary, which costs nothing."""
    dictionary = coinr.Dictionary("gaussian", hidden.cut.n, M, 0)
    pursuit = hidden.pursue(dictionary, max(SPARSITIES))
    for s in SPARSITIES:
        indices = np.ascontiguousarray(pursuit.indices[:, :s])
        code_bytes, back, amounts = encode_code(indices.astype(np.int64), solve(hidden.vectors, indices, dictionary), M)
        vectors = combined(back.astype(np.int32), amounts, dictionary)
        yield _row(point, hidden, "seeded", "known", M, s, code_bytes, 0, vectors)


def _row(
    point: Point, hidden: Hidden, source: str, cost: str, M: int, s: int, code: int, dictionary: int, vectors: Any
) -> dict[str, Any]:
    matrices = {name: hidden.state_dict[name] for name in hidden.names}
    return {
        "network": point.entry.name,
        "dictionary": source,
        "dictionary_sent": cost,
        "M": M,
        "s": s,
        "B": len(hidden.vectors),
        "residual_db": residual_db(hidden.vectors, vectors),
        "loss_db": point.bench.original - point.entry.evaluate(hidden.with_vectors(vectors)),
        "code_bytes": code,
        "dictionary_bytes": dictionary,
        "hidden_bytes": code + dictionary,
        "hidden_bytes_16_bit_brotli": len(baselines.encode(matrices, "uniform16")),
    }


def run(context: Context) -> None:
    """Write ``ablation_learned``."""
    points = [context.siren(picture, 3, 64) for picture in context.pictures]
    vectors = [Hidden.of(point).vectors for point in points]
    apart = [Hidden.of(context.siren(picture, 3, 64, seed=1)).vectors for picture in context.pictures[:OTHERS]]
    rows: list[dict[str, Any]] = []
    for k, point in enumerate(context.track(points, "learned dictionary, pictures")):
        sources = [
            (OWN, [vectors[k]]),
            ("learned on others' rows", [part for i, part in enumerate(vectors) if i != k][:OTHERS]),
            ("learned on others' rows of another start", [part for i, part in enumerate(apart) if i != k]),
        ]
        for M in ATOMS:
            rows += _seeded(point, Hidden.of(point), M)
            for source, rest in sources:
                if rest:
                    D, _ = ksvd.learn(np.concatenate(rest), M, TRAINED_AT, ITERATIONS)
                    rows += _learned(point, Hidden.of(point), D, source, free=source != OWN)
    context.write("ablation_learned", rows, iterations=ITERATIONS, s_while_learning=TRAINED_AT)
    plot(rows, context.out / "ablation_learned.png")


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw residual over s and over bytes, for each network."""
    panels = []
    for name in dict.fromkeys(row["network"] for row in rows):
        # with as many atoms as rows the dictionary is the rows: nothing to draw
        own = [row for row in rows if row["network"] == name and (row["dictionary"] != OWN or row["M"] < row["B"])]
        first = [row for row in own if row["dictionary_sent"] in ("known", "not counted")]

        def at_s(row: Any) -> str:
            return f"{row['dictionary']}, M = {row['M']}"

        def with_cost(row: Any) -> str:
            counted = "" if row["dictionary_bytes"] == 0 else f", sent at {row['dictionary_sent']}"
            return f"{at_s(row)}{counted}"

        counted = [
            row
            for row in own
            if row["M"] in (ATOMS[0], ATOMS[-1])
            and row["dictionary_sent"] == ("8 bit" if row["dictionary"] == OWN else "known")
        ]
        panels += [
            Panel(name, "nonzeros s of each vector", "residual of hidden matrices, dB",
                  lines_of(first, at_s, "s", "residual_db"), paired=True),
            Panel(name, "bytes of the hidden matrices, dictionary included where it is sent",
                  "residual of hidden matrices, dB", lines_of(counted, with_cost, "hidden_bytes", "residual_db"),
                  log_x=True, paired=True),
        ]  # fmt: skip
    draw(path, "learned (K-SVD) against seeded dictionaries", panels)
