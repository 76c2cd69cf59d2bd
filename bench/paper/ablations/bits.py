"""Bits of the quantized values: with everything else at 16 bit, and as the ``paper`` profile's own option.

The option rounds biases and uncoded tensors to the same number of bits, and leaves a tensor out of the dictionary
where the plain integers are shorter; with few bits nothing is left of the method.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import coinr
from bench.harness.coders import ours_version
from bench.harness.measure import Row
from bench.paper.ablations.figures import Panel, draw, lines_of
from bench.paper.ablations.hidden import Hidden
from bench.paper.context import Context, Point
from coinr.codec import baselines
from coinr.codec.profiles import paper_rules

ATOMS = 1 << 14
BITS = tuple(range(4, 17))
FRACTIONS = (0.33, 0.37, 0.41, 0.45, 0.485)  # of n: s
FIXED = 0.41  # of n: the s of the profile's rows
LOSS = 0.1  # dB


def _by_value(point: Point) -> Iterator[tuple[int, int, Row]]:
    """Yield s, bits and the file whose hidden matrices have such values, the rest at 16 bit."""
    hidden, version = Hidden.of(point), ours_version()
    n = hidden.cut.n
    sparsities = sorted({max(1, min(paper_rules.largest_sparsity(n), round(part * n))) for part in FRACTIONS})
    dictionary = coinr.Dictionary("gaussian", n, ATOMS, 0)
    code = hidden.pursue(dictionary, sparsities[-1])
    for s in sparsities:
        indices = np.ascontiguousarray(code.indices[:, :s])
        for bits in BITS:
            encode = partial(_file, hidden, indices, dictionary, bits)
            setting = f"M={ATOMS} s={s} bits={bits}"
            yield s, bits, point.bench.measure("ablation bits", setting, version, encode, coinr.decode_state_dict)


def _file(hidden: Hidden, indices: NDArray[np.int32], dictionary: coinr.Dictionary, bits: int) -> bytes:
    return hidden.file(indices, dictionary, bits)[0]


def _by_profile(point: Point) -> Iterator[tuple[int, int, Row]]:
    """Yield the same by the profile's option, at one s."""
    s = round(FIXED * point.entry.recipe.sizes[1])
    for bits in BITS:
        encode = partial(coinr.encode_state_dict, point.entry.state_dict, profile="paper", M=ATOMS, s=s, bits=bits)
        yield s, bits, point.bench.measure(
            "ablation paper bits", f"M={ATOMS} s={s} bits={bits}", ours_version(), encode, coinr.decode_state_dict,
            _in_dictionary,
        )  # fmt: skip


def _in_dictionary(blob: bytes) -> dict[str, float]:
    """Return how many tensors of a file are coded in a dictionary."""
    return {"dictionary_tensors": float(sum(bool(tensor.get("M")) for tensor in coinr.inspect(blob).tensors))}


def _rows(point: Point) -> Iterator[dict[str, Any]]:
    brotli = len(baselines.encode(point.entry.state_dict, "uniform16"))
    for which, found in (("values", _by_value(point)), ("profile", _by_profile(point))):
        for s, bits, row in found:
            yield {
                "network": point.entry.name,
                "rounded": which,
                "M": ATOMS,
                "s": s,
                "bits": bits,
                "bytes": int(row.bytes),
                "ratio_to_16_bit_brotli": row.bytes / brotli,
                "loss_db": row.loss_db,
                **row.extra,
            }


def best(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each network's smallest file within 0.1 dB: with any bits, and with 16."""
    table = []
    for network in dict.fromkeys(row["network"] for row in rows):
        for which, allowed in (("any", BITS), ("16", (16,))):
            own = [row for row in rows if row["network"] == network and row["rounded"] == "values"]
            good = [row for row in own if row["loss_db"] <= LOSS and row["bits"] in allowed]
            if good:
                table.append({"allowed_bits": which} | min(good, key=lambda row: row["bytes"]))
    return table


def run(context: Context) -> None:
    """Write ``ablation_bits``."""
    rows: list[dict[str, Any]] = []
    for picture in context.track(context.pictures, "value bits, pictures"):
        rows += _rows(context.siren(picture, 3, 64))
    context.write("ablation_bits", rows, best_within_0_1_db=best(rows))
    plot(rows, context.out / "ablation_bits.png")


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw loss over bits of a value and over bytes."""

    def label(row: Any) -> str:
        return f"s = {row['s']}" if row["rounded"] == "values" else f"s = {row['s']}, everything (profile)"

    panels = []
    for name in dict.fromkeys(row["network"] for row in rows):
        own = [row for row in rows if row["network"] == name]
        dashed = frozenset(label(row) for row in own if row["rounded"] == "profile")
        panels += [
            Panel(name, "bits of a value", "loss of PSNR, dB", lines_of(own, label, "bits", "loss_db"),
                  symlog_y=0.01, level=LOSS, dashed=dashed),
            Panel(name, "bytes of the file", "loss of PSNR, dB", lines_of(own, label, "bytes", "loss_db"),
                  symlog_y=0.01, level=LOSS, dashed=dashed),
        ]  # fmt: skip
    draw(path, f"bits of the values: gaussian, M = {ATOMS}, rows of (3, 64)", panels)
