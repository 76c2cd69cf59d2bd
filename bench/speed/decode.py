"""How fast files are decoded, on one core, and how long the default profile takes to encode.

``python -m bench.speed.decode --out bench/results/decode_speed`` writes a JSON and a CSV; ``--json`` prints the JSON.
Times are CPU seconds of one thread (the median of the repeats), which equal wall time on an idle machine and stay
meaningful on a shared one; whole files are decoded, checksums and the way to tensors included. Encoding may use all
cores: its CPU time is that of all of them, and above what it takes on an idle machine; the wall time is given too, with
the load average it was measured under. constriction (``pip install '.[peers]'``) codes integers of the same error with
one fixed normal distribution in float, without adaptation or trellis.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

import coinr
from bench.harness.machine import machine
from bench.harness.results import write_csv, write_json
from bench.harness.timing import cpu_times
from coinr.codec.candidates import Candidate
from coinr.codec.coders import DICTIONARY, SPARSE, DictionaryParams, SparseParams
from coinr.codec.coders.sparse import SparseIntegers
from coinr.codec.distortion import NO_DISTORTION, DistortionLimit
from coinr.codec.format import container
from coinr.codec.format.tensor_table import Header, TensorRecord
from coinr.codec.options import EncodeOptions
from coinr.codec.quantize import direct, sparse
from coinr.codec.state_dict import Entry, read_state_dict
from coinr.codec.tensors import Cut, Layout
from coinr.engine import _C
from coinr.engine.threads import available_threads
from coinr.inputs.dtypes import BY_NAME

Row = dict[str, Any]

REPEATS = 7
SIRENS = ((3, 64), (3, 128))
BITS = (3, 4, 6, 8)
SIZES = (1 << 20, 1 << 22)

#: Dictionary files: kind, n, M, s and vectors.
DICTIONARIES = (
    ("gaussian", 64, 1 << 16, 26, 4096),
    ("gaussian", 128, 1 << 16, 53, 2048),
    ("hadamard", 256, 1 << 16, 64, 1024),
    ("gaussian", 256, 1 << 16, 109, 1024),
    ("rademacher", 1024, 1 << 16, 488, 64),
    ("hadamard", 1024, 1 << 16, 488, 64),
)

#: Codes of the sparse coder: kind, n, M, most atoms of a vector, vectors.
SPARSE_CODES = (
    ("hadamard", 64, 1 << 12, 8, 8192),
    ("hadamard", 256, 1 << 16, 24, 2048),
    ("hadamard", 256, 1 << 16, 64, 2048),
    ("gaussian", 256, 1 << 16, 128, 1024),
)

#: What is to be reached, and whether more or less of it.
TARGETS = {
    "(3,64)": ("seconds", 0.005, False),
    "direct": ("weights_per_second", 20e6, True),
    "s <= 64": ("weights_per_second", 5e6, True),
    "s > 64": ("entries_per_second", 0.5e9, True),
    "auto (3,128)": ("seconds", 5.0, False),
    "auto NeRF": ("seconds", 60.0, False),
}


def cpu_seconds(run: Callable[[], Any]) -> float:
    """Return the median CPU time of a call, after one that warms up."""
    run()
    return statistics.median(cpu_times(run, least=REPEATS))


def siren(layers: int, width: int) -> dict[str, torch.Tensor]:
    """Return a SIREN's state dict with its initial scales: a picture's, 2 inputs and 3 outputs."""
    return network([2] + [width] * (layers + 1) + [3], "layers.{}")


def network(widths: list[int], names: str) -> dict[str, torch.Tensor]:
    """Return layers with weights U(±√(6 / fan_in) / 30), the first U(±1 / fan_in)."""
    rng = np.random.default_rng(0)
    made = {}
    for k, (a, b) in enumerate(zip(widths, widths[1:], strict=False)):
        bound = 1 / a if k == 0 else math.sqrt(6 / a) / 30
        for name, shape in (("weight", (b, a)), ("bias", (b,))):
            made[f"{names.format(k)}.{name}"] = torch.from_numpy(rng.uniform(-bound, bound, shape).astype(np.float32))
    return made


def nerf() -> dict[str, torch.Tensor]:
    """Return nerf-pytorch's 8 x 256 network with view directions, 595 844 parameters.

    Weights are as spread as those of a trained one: Laplace, rows of different size, deviation √(1 / fan_in).
    """
    rng = np.random.default_rng(0)
    layers = [("pts_linears.0", 63, 256)]
    layers += [(f"pts_linears.{k}", 319 if k == 5 else 256, 256) for k in range(1, 8)]
    layers += [("views_linears.0", 283, 128), ("feature_linear", 256, 256), ("alpha_linear", 256, 1)]
    layers += [("rgb_linear", 128, 3)]
    made = {}
    for name, a, b in layers:
        rows = np.exp(0.4 * rng.standard_normal((b, 1)))
        weight = rows * rng.laplace(size=(b, a)) / math.sqrt(2 * a)
        made[f"{name}.weight"] = torch.from_numpy(weight.astype(np.float32))
        made[f"{name}.bias"] = torch.from_numpy((0.1 * rng.standard_normal(b)).astype(np.float32))
    return made


def file_of(layout: Layout, coded: Candidate) -> bytes:
    """Return a file that holds one tensor."""
    record = TensorRecord("w", layout, coded.coder, coded.params, len(coded.payload))
    return container.write(Header(0, (record,)), [coded.payload])


def measure_decoding(name: str, group: str, blob: bytes, weights: int, **more: Any) -> Row:
    """Measure one measurement of decoding a file."""
    seconds = cpu_seconds(lambda: coinr.decode_state_dict(blob))
    row = {"name": name, "group": group, "weights": weights, "bytes": len(blob), "bits": 8 * len(blob) / weights}
    row |= {"seconds": seconds, "weights_per_second": weights / seconds} | more
    if "entries" in more:
        row["entries_per_second"] = more["entries"] / seconds
    return row


def state_dicts() -> Iterator[Row]:
    """Yield small networks, default profile and the paper's."""
    for layers, width in SIRENS:
        sd = siren(layers, width)
        for profile in ("auto", "paper"):
            blob = coinr.encode_state_dict(sd, profile=profile)
            weights = sum(tensor.numel() for tensor in sd.values())
            yield measure_decoding(f"{profile} ({layers},{width})", f"({layers},{width})", blob, weights)


def matrices() -> Iterator[tuple[int, Entry]]:
    """Yield square matrices of both sizes, normal with rows and columns of different size, and bits a weight."""
    for size in SIZES:
        rng = np.random.default_rng(size)
        side = math.isqrt(size)
        scales = np.exp(0.3 * rng.standard_normal((side, 1)) + 0.3 * rng.standard_normal(side))
        tensor = torch.from_numpy((scales * rng.standard_normal((side, side))).astype(np.float32))
        for bits in BITS:
            yield bits, read_state_dict({"w": tensor})[0]


def direct_files() -> Iterator[Row]:
    """Yield the direct coder on large tensors, and the dense form of the sparse coder on one of them."""
    for bits, entry in matrices():
        power = float(np.square(entry.planes).mean())
        error = math.sqrt(power) * 2.0**-bits
        limit = DistortionLimit(error, error)
        (coded,) = direct.candidates(entry, limit, EncodeOptions(threads=1))
        size = entry.planes.size
        yield measure_decoding(f"direct {size} at {bits} bits", "direct", file_of(entry.layout, coded), size)
        peer = constriction(entry, error)
        if peer is not None:
            yield peer | {"name": f"constriction {size} at {bits} bits"}
        if size == SIZES[0] and bits == 4:
            (dense,) = sparse.candidates(
                entry, limit, EncodeOptions(threads=1, profile_options={"n": 64, "form": "dense"})
            )
            yield measure_decoding(f"dense {size} at {bits} bits", "dense", file_of(entry.layout, dense), size)


def constriction(entry: Entry, error: float) -> Row | None:
    """Return the peer decoding integers of about the same error; None where it is not installed."""
    if importlib.util.find_spec("constriction") is None:
        return None
    from constriction import stream

    step = error * math.sqrt(12)
    q = np.rint(entry.planes.reshape(-1) / step).astype(np.int32)
    most = int(np.abs(q).max())
    model = stream.model.QuantizedGaussian(-most - 1, most + 1, 0.0, float(q.std()))
    coder = stream.stack.AnsCoder()
    coder.encode_reverse(q, model)
    words = coder.get_compressed()
    seconds = cpu_seconds(lambda: stream.stack.AnsCoder(words).decode(model, q.size))
    return {
        "group": "peer",
        "weights": q.size,
        "bytes": words.nbytes,
        "bits": 8 * words.nbytes / q.size,
        "seconds": seconds,
        "weights_per_second": q.size / seconds,
    }


def dictionary_files() -> Iterator[Row]:
    """Yield files of the paper's coder (Rice-coded sets, Brotli) and of the sparse coder, with random codes."""
    rng = np.random.default_rng(1)
    for kind, n, M, s, B in DICTIONARIES:
        layout, cut = Layout(BY_NAME["float32"], (B, n)), Cut(False, n)
        atoms = np.sort(np.stack([rng.choice(M, s, replace=False) for _ in range(B)]), 1).astype(np.int32)
        params = DictionaryParams(cut, kind, M, s, 0, 16, True)
        q = np.clip(np.rint(rng.standard_normal((B, s)) * 6000), -32767, 32767).astype(np.int32)
        payload = DICTIONARY.encode((atoms, q, 2.0**-20), params)
        candidate = Candidate(DICTIONARY.id, params, payload, NO_DISTORTION)
        yield dictionary_row(f"paper {kind} n={n} M={M} s={s}", n, s, B, layout, candidate)
    for kind, n, M, s, B in SPARSE_CODES:
        layout, cut = Layout(BY_NAME["float32"], (B, n)), Cut(False, n)
        counts = rng.integers(s // 2, s, B, np.int32, endpoint=True)
        atoms = np.concatenate([np.sort(rng.choice(M, count, replace=False)) for count in counts]).astype(np.int32)
        q = (rng.integers(1, 12, atoms.size) * rng.choice((-1, 1), atoms.size)).astype(np.int32)
        params = SparseParams(cut, kind, M, s, 2.0**-6)
        payload = SPARSE.encode(SparseIntegers(counts, atoms, q), params)
        name = f"sparse {kind} n={n} M={M} s<={s}"
        candidate = Candidate(SPARSE.id, params, payload, NO_DISTORTION)
        yield dictionary_row(name, n, int(counts.mean()), B, layout, candidate)


def dictionary_row(name: str, n: int, s: int, B: int, layout: Layout, coded: Candidate) -> Row:
    """Return one measurement of a dictionary code; s its mean number of atoms."""
    group = "s <= 64" if s <= 64 else "s > 64"
    return measure_decoding(name, group, file_of(layout, coded), n * B, entries=n * s * B)


def measure_encoding() -> Iterator[Row]:
    """Measure the default profile: CPU and wall time of one call."""
    for name, sd in (("auto (3,128)", siren(3, 128)), ("auto NeRF", nerf())):
        start, wall = time.process_time(), time.perf_counter()
        blob = coinr.encode_state_dict(sd)
        weights = sum(tensor.numel() for tensor in sd.values())
        yield {
            "name": f"encode {name}",
            "group": name,
            "weights": weights,
            "bytes": len(blob),
            "bits": 8 * len(blob) / weights,
            "seconds": time.process_time() - start,
            "wall_seconds": time.perf_counter() - wall,
            "load": os.getloadavg()[0],
        }


GROUPS: dict[str, Callable[[], Iterator[Row]]] = {
    "networks": state_dicts,
    "direct": direct_files,
    "dictionary": dictionary_files,
    "encode": measure_encoding,
}


def with_target(row: Row) -> Row:
    """Return the row with its target and whether it is reached, where there is one."""
    if row["group"] not in TARGETS:
        return row
    what, bound, more = TARGETS[row["group"]]
    return row | {"target": f"{what} {'>=' if more else '<='} {bound:g}", "reached": (row[what] >= bound) == more}


def save(out: Path, report: dict[str, Any]) -> None:
    """Write the machine to ``out``.json and the results to ``out``.csv."""
    write_json(out.with_suffix(".json"), {"machine": report["machine"]})
    write_csv(out.with_suffix(".csv"), report["results"])


def main() -> None:
    """Measure the given groups, and write or print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="prefix of the results")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--only", choices=GROUPS, action="append", help="measure only this (may be given again)")
    arguments = parser.parse_args()
    results, cores = [], available_threads()
    for group in arguments.only or GROUPS:
        threads = cores if group == "encode" else 1
        os.environ["COINR_THREADS"] = str(threads)
        torch.set_num_threads(threads)
        with threadpool_limits(threads):
            for row in map(with_target, GROUPS[group]()):
                results.append(row)
                print({key: row[key] for key in row if key != "group"}, file=sys.stderr, flush=True)
    where = machine() | {"simd": _C.simd_level()}
    if importlib.util.find_spec("constriction") is not None:
        where["versions"]["constriction"] = version("constriction")
    report = {"machine": where, "results": results}
    if arguments.out:
        save(arguments.out, report)
    if arguments.json:
        print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
