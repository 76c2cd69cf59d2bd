"""Lossless coders on trained weights and on buffers: bytes and megabytes a second.

``python -m bench.rate.lossless_table`` writes ``bench/results/rate/lossless.csv`` and ``.json`` (machine). Rows are
whole networks of the cache of ``bench.harness.corpus`` (every floating-point tensor, also cast to float16 and bfloat16)
and made-up buffers. Brotli runs at its highest quality (5 beyond a mebibyte), on the raw bytes and on their byte
planes; the better of the two for each tensor is ``brotli_best``. ``coinr`` is what a file stores: the smaller of coders
0 and 5.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import brotli
import numpy as np
import torch
from torch import Tensor

from bench.harness import corpus
from bench.harness.arrays import entry_of
from bench.harness.results import write_csv, write_json
from coinr.codec.candidates import cost, lossless
from coinr.codec.coders import CODERS, EXACT, ExactParams
from coinr.codec.tensors import to_bytes
from coinr.inputs.dtypes import dtype_name
from coinr.inputs.tensors import tensor_to_array

RESULTS = Path(__file__).resolve().parents[1] / "results" / "rate"
CASTS = (torch.float32, torch.float16, torch.bfloat16)

# Beyond this many bytes Brotli's highest quality takes seconds: large rows are there for speed.
PATIENT_BYTES = 1 << 20


def networks() -> Iterator[tuple[str, list[Tensor]]]:
    """Yield trained networks, as they are and cast; complex ones as they are only."""
    for name in corpus.ready():
        tensors = [tensor for tensor in corpus.load(name).state_dict.values() if tensor.is_floating_point()]
        waves = [tensor for tensor in corpus.load(name).state_dict.values() if tensor.is_complex()]
        for dtype in CASTS:
            if not waves or dtype == torch.float32:
                yield f"{name} {dtype_name(dtype)}", [tensor.to(dtype) for tensor in tensors] + waves


def buffers() -> Iterator[tuple[str, list[Tensor]]]:
    """Yield what state dicts hold beside weights."""
    g = torch.Generator().manual_seed(0)
    axes = torch.meshgrid(*[torch.linspace(-1, 1, 48)] * 3, indexing="ij")
    yield "running variance float32", [torch.rand(512, generator=g) + 0.5]
    yield "coordinates of a grid float32", [torch.stack(axes, -1).reshape(-1, 3)]
    yield "frequencies float32", [2.0 ** torch.arange(10)]
    yield "counter int64", [torch.arange(1000)]
    yield "positions int64", [torch.arange(64)[:, None] - torch.arange(64) + 63]
    yield "labels int64", [torch.randint(0, 10, (2000,), generator=g)]
    yield "permutation int64", [torch.randperm(2000, generator=g)]
    yield "sorted offsets int32", [torch.randint(0, 10**6, (1000,), generator=g).sort()[0].int()]
    yield "quantized weights int8", [(torch.randn(128, 128, generator=g) * 20).round().clamp(-127, 127).to(torch.int8)]
    yield "noise uint8", [torch.randint(0, 256, (5000,), generator=g, dtype=torch.uint8)]
    yield "occupancy grid bool", [torch.stack(axes).norm(dim=0) < 0.7]
    yield "sparse mask bool", [torch.rand(128, 128, generator=g) < 0.05]
    yield "repeated block float32", [torch.randn(100, generator=g).repeat(40)]


def large() -> Iterator[tuple[str, list[Tensor]]]:
    """Yield tensors of some megabytes, for speed."""
    g = torch.Generator().manual_seed(1)
    for dtype in (*CASTS, torch.float64):
        yield f"2M normal numbers {dtype_name(dtype)}", [torch.randn(1024, 2048, generator=g).to(dtype)]
    yield "1M normal numbers complex64", [torch.randn(1024, 1024, generator=g, dtype=torch.complex64)]
    yield "4M bytes uint8", [torch.randint(0, 100, (4 << 20,), generator=g, dtype=torch.uint8)]
    yield "1M integers int64", [torch.randint(0, 10**6, (1 << 20,), generator=g)]
    yield "8M bools bool", [torch.rand(8 << 20, generator=g) < 0.3]


def brotli_sizes(tensor: Tensor) -> tuple[int, int]:
    """Return bytes of Brotli, raw and of byte planes."""
    raw = to_bytes(tensor_to_array(tensor)[0])
    quality = 11 if len(raw) <= PATIENT_BYTES else 5
    planes = np.frombuffer(raw, np.uint8).reshape(-1, tensor.dtype.itemsize).T.tobytes()
    first, second = (len(brotli.compress(data, quality=quality, lgwin=24)) for data in (raw, planes))
    return first, second


def measure(name: str, tensors: list[Tensor]) -> dict[str, Any]:
    """Measure one row of the table; what was coded is decoded and compared."""
    entries = [entry_of(tensor) for tensor in tensors]
    start = time.process_time()
    coded = [lossless(entry) for entry in entries]
    middle = time.process_time()
    for one, entry in zip(coded, entries, strict=True):
        payload = memoryview(one.payload)
        back = CODERS[one.coder].decode(payload, one.params, entry.layout, 0)
        assert to_bytes(back) == to_bytes(entry.array), name
    seconds = middle - start, time.process_time() - middle
    raw = sum(entry.layout.nbytes for entry in entries)
    plain, planes = zip(*map(brotli_sizes, tensors), strict=True)
    best = sum(map(min, plain, planes))
    ours = sum(map(cost, coded))
    return {
        "name": name,
        "tensors": len(entries),
        "raw": raw,
        "brotli_raw": sum(plain),
        "brotli_planes": sum(planes),
        "brotli_best": best,
        "exact": sum(len(EXACT.encode((entry.array, entry.dtype), ExactParams())) for entry in entries),
        "coinr": ours,
        "coinr / raw": round(ours / raw, 4),
        "coinr / brotli_raw": round(ours / sum(plain), 4),
        "coinr / brotli_best": round(ours / best, 4),
        "encode_mb_s": round(raw / 1e6 / seconds[0], 1) if raw > PATIENT_BYTES else "",
        "decode_mb_s": round(raw / 1e6 / seconds[1], 1) if raw > PATIENT_BYTES else "",
    }


def main() -> None:
    """Measure and write the table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    rows = []
    for kind in (networks, buffers, large):
        for name, tensors in kind():
            rows.append(measure(name, tensors))
            print(rows[-1]["name"], rows[-1]["coinr / brotli_raw"], rows[-1]["coinr / brotli_best"], flush=True)
    write_csv(RESULTS / "lossless.csv", rows)
    write_json(RESULTS / "lossless.json", {"rows": len(rows)})


if __name__ == "__main__":
    main()
