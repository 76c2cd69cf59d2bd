"""Our profiles, the baselines and the entropy bounds, each as rows of measured files."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import coinr
from bench.harness.curves import LOSSES, climb
from bench.harness.measure import Bench, Row, source_version
from bench.harness.tables import DEFAULT
from coinr.codec import baselines
from coinr.codec.options import DEFAULT_EFFORT

#: b of the "b-bit + Brotli" family; a ReLU network keeps its quality below 6.
BITS = range(4, 17)

#: Dictionary sizes of the ``paper`` profile, as log2 M, and its s as parts of n.
PAPER_ATOMS = (14, 16)
PAPER_WIDTHS = (0.25, 0.29, 0.33, 0.36, 0.39, 0.41, 0.43, 0.45, 0.47, 0.49)

#: Relative errors that ``tolerance`` is tried at: octaves from the finest to the coarsest.
FINEST, OCTAVES = 2.0**-17, 24

#: The same for output errors, in dB.
FINEST_DB, OCTAVES_OF_OUTPUT, DB_OF_AN_OCTAVE = -140.0, 23, 20 * math.log10(2)


#: Parts of the package that no file of weights depends on.
BESIDE_THE_CODEC = {"cli", "fitting", "networks", "refine", "signal_files", "signals"}


@cache
def ours_version() -> str:
    """Return name of the codec's code as it is now."""
    home = Path(coinr.__file__).parent
    sources = [path for path in home.rglob("*.py") if BESIDE_THE_CODEC.isdisjoint(path.relative_to(home).parts)]
    return source_version(*sources, *home.glob("engine/_C*.so"))


def baseline_rows(bench: Bench) -> Iterator[Row]:
    """Yield fp16 and the b-bit uniform quantizers with Brotli, each through its decoder."""
    sd = bench.entry.state_dict
    version = source_version(Path(baselines.__file__))
    for method in ("fp16", *(f"uniform{bits}" for bits in BITS)):
        coder, setting = ("fp16", "") if method == "fp16" else ("b-bit + Brotli", f"b={method.removeprefix('uniform')}")
        encode = partial(baselines.encode, sd, method)
        yield bench.measure(coder, setting, version, encode, partial(baselines.decode, method=method, like=sd))


def _planes(sd: OrderedDict[str, Tensor]) -> dict[str, NDArray[np.float64]]:
    """Return the real numbers of every tensor, flat."""
    return {
        name: (torch.view_as_real(tensor) if tensor.is_complex() else tensor).double().numpy().ravel()
        for name, tensor in sd.items()
    }


def entropy_bytes(levels: NDArray[np.int64]) -> float:
    """Return bytes of integers under an ideal code for their own frequencies, which cost nothing to send."""
    counts = np.unique_counts(levels).counts
    return float(-(counts * np.log2(counts / levels.size)).sum() / 8)


def _quantized(bench: Bench, steps: dict[str, float]) -> tuple[float, OrderedDict[str, Tensor]]:
    """Return ideal bytes of all tensors rounded to multiples of their steps, and the rounded tensors."""
    size, decoded = 0.0, OrderedDict()
    for name, values in _planes(bench.entry.state_dict).items():
        like = bench.entry.state_dict[name]
        levels = np.rint(values / steps[name]).astype(np.int64)
        size += entropy_bytes(levels)
        real = torch.from_numpy((levels * steps[name]).astype(np.float32))
        if like.is_complex():
            decoded[name] = torch.view_as_complex(real.reshape(*like.shape, 2))
        else:
            decoded[name] = real.reshape(like.shape)
    return size, decoded


def _bound(bench: Bench, coder: str, setting: str, steps: dict[str, float]) -> Row:
    if (row := bench.known(coder, setting, "1")) is not None:
        return row
    size, decoded = _quantized(bench, steps)
    return bench.keep(bench.row(coder, setting, size, bench.entry.evaluate(decoded), (0.0, 0.0)), "1")


def bound_rows(bench: Bench) -> Iterator[Row]:
    """Yield what plain rounding needs with ideal order-0 entropy coding per tensor: bounds, not files.

    Frequencies, steps, names and shapes cost nothing here, which favors small tensors much. One absolute step for all
    tensors, then b bits per tensor.
    """
    planes = _planes(bench.entry.state_dict)
    rows: dict[str, Row] = {}

    def absolute(rung: int) -> float:
        power = -23 + rung / 4
        steps = dict.fromkeys(planes, 2.0**power)
        row = _bound(bench, "entropy bound, one step", f"step=2^{power:g}", steps)
        rows[row.setting] = row
        return row.loss_db

    climb(4 * 23, absolute)
    for bits in range(4, 17):
        top = 2 ** (bits - 1) - 1
        steps = {name: float(np.abs(values).max()) / top or 1.0 for name, values in planes.items()}
        row = _bound(bench, "entropy bound, b bits", f"b={bits}", steps)
        rows[f"b={bits}"] = row
    yield from rows.values()


def _dictionary_shares(blob: bytes) -> dict[str, float]:
    """Return shares of tensors, weights and bytes coded in a dictionary; ``wide``: of more atoms than entries."""
    tensors = [tensor for tensor in coinr.inspect(blob).tensors if tensor["coder"] != "tied"]
    shares = {}
    for kind, chosen in (
        ("dictionary", [t for t in tensors if t.get("M")]),
        ("wide_dictionary", [t for t in tensors if t.get("M") and t["M"] > t["n"]]),
    ):
        shares[f"{kind}_tensors"] = len(chosen) / len(tensors)
        shares[f"{kind}_weights"] = _weights(chosen) / _weights(tensors)
        shares[f"{kind}_bytes"] = sum(t["bytes"] for t in chosen) / sum(t["bytes"] for t in tensors)
    return shares


def _weights(tensors: list[dict[str, Any]]) -> int:
    return sum(math.prod(t["shape"]) for t in tensors)


def _ours(bench: Bench, coder: str, setting: str, **options: Any) -> Row:
    encode = partial(coinr.encode_state_dict, bench.entry.state_dict, **options)
    return bench.measure(coder, setting, ours_version(), encode, coinr.decode_state_dict, _dictionary_shares)


def profile_rows(bench: Bench, profile: str, per_octave: int = 4) -> Iterator[Row]:
    """Yield one of our profiles over a grid of tolerances, fine where the loss matters."""
    rows: dict[str, Row] = {}

    def measure(rung: int) -> float:
        tolerance = FINEST * 2.0 ** (rung / per_octave)
        row = _ours(bench, profile, f"tolerance={tolerance:.4g}", profile=profile, tolerance=tolerance)
        rows[row.setting] = row
        return row.loss_db

    climb(per_octave * OCTAVES, measure)
    yield from rows.values()


def auto_name(effort: str) -> str:
    """Return the name of ``auto`` at an effort; at the default one it has no other."""
    return "auto" if effort == DEFAULT_EFFORT else f"auto {effort}"


def effort_rows(bench: Bench, effort: str, per_octave: int = 4) -> Iterator[Row]:
    """Yield ``auto`` at an effort over a grid of output errors, fine where the loss matters; then as it comes."""
    rows: dict[str, Row] = {}

    def measure(rung: int) -> float:
        level = FINEST_DB + rung * DB_OF_AN_OCTAVE / per_octave
        setting = f"output_error_db={level:.4g}"
        rows[setting] = _ours(bench, auto_name(effort), setting, effort=effort, output_error_db=level)
        return rows[setting].loss_db

    climb(per_octave * OCTAVES_OF_OUTPUT, measure)
    yield from rows.values()
    yield _ours(bench, auto_name(effort) + DEFAULT, "", effort=effort)


def paper_rows(bench: Bench) -> Iterator[Row]:
    """Yield the published method at several M: by tolerance, and with s a part of the width of the hidden layers."""
    width = bench.entry.recipe.sizes[1]
    for log in PAPER_ATOMS:
        coder = f"paper M=2^{log}"
        rows: dict[str, Row] = {}

        def measure(rung: int, coder: str = coder, log: int = log, rows: dict[str, Row] = rows) -> float:
            tolerance = FINEST * 2.0 ** (rung / 2)
            setting = f"tolerance={tolerance:.4g}"
            row = _ours(bench, coder, setting, profile="paper", tolerance=tolerance, M=1 << log)
            rows[setting] = row
            return row.loss_db

        climb(2 * OCTAVES, measure)
        yield from rows.values()
        n = width * width if width < 50 else width
        for s in sorted({math.floor(part * n) for part in PAPER_WIDTHS}):
            if s >= 1 and 2 * s < n:
                yield _ours(bench, coder, f"s={s}", profile="paper", s=s, M=1 << log)


def search_rows(bench: Bench) -> Iterator[Row]:
    """Yield ``coinr.search`` with the network's own metric, one file for each loss of the tables."""
    search: Callable[..., Any] = coinr.search
    sd, entry = bench.entry.state_dict, bench.entry
    for loss in LOSSES:
        calls = [0]

        def metric(tensors: Any, calls: list[int] = calls) -> float:
            calls[0] += 1
            return entry.evaluate(tensors)

        def encode(loss: float = loss, metric: Callable[[Any], float] = metric) -> bytes:
            blob: bytes = search(sd, metric, min_score=bench.original - loss).blob
            return blob

        def extra(blob: bytes, calls: list[int] = calls) -> dict[str, float]:
            return _dictionary_shares(blob) | {"evaluations": float(calls[0])}

        yield bench.measure("search", f"loss={loss:g}", ours_version(), encode, coinr.decode_state_dict, extra)
