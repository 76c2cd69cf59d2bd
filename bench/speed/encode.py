"""CPU time, bytes and error of every effort beside nncodec, for networks of 2 307 to 10 million parameters.

``python -m bench.speed.encode --out bench/results/encode_speed`` writes a JSON and a CSV; ``--json`` prints the JSON.
Times are CPU seconds of one thread, the least of the repeats, of whole calls: from state dict to bytes and back.
nncodec runs in a process of its own, with its trellis and the step of all tensors at which its error in the rows is
nearest to ours, see :func:`error`. Networks are fresh SIRENs, and the layout of a NeRF with the spread of a trained
one.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import math
import os
import pstats
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

import coinr
from bench.harness import nncodec
from bench.harness.machine import machine
from bench.harness.results import write_csv, write_json
from bench.harness.timing import cpu_times
from bench.speed.decode import nerf, siren
from coinr.codec.effort import EFFORTS
from coinr.engine import _C

Row = dict[str, Any]
StateDict = Mapping[str, Tensor]

#: The networks by name.
NETWORKS: dict[str, Callable[[], StateDict]] = {
    "SIREN (2, 32)": lambda: siren(2, 32),
    "SIREN (3, 64)": lambda: siren(3, 64),
    "SIREN (3, 128)": lambda: siren(3, 128),
    "NeRF 8 x 256": nerf,
    "SIREN (4, 1024)": lambda: siren(4, 1024),
    "SIREN (4, 1580)": lambda: siren(4, 1580),
}

PEER = "nncodec"

# Repeats of a measurement: so many parameters in all, within these bounds; one of the slowest effort.
_PARAMETERS, _FEWEST, _MOST = 1 << 22, 1, 15

#: The network and effort whose time is split up.
PROFILED = ("SIREN (2, 32)", "fast")

# Relative errors of rows below this one, such as those of lossless storage, count as this one.
_LEAST_ERROR = 1e-7

# Octaves of the steps among which that of equal error is looked for, and rows of each tensor that are coded for that.
_OCTAVES, _ROWS = (-18, -4), 32


def count(sd: StateDict) -> int:
    """Return the number of parameters."""
    return sum(tensor.numel() for tensor in sd.values())


def repeats(sd: StateDict) -> int:
    """Return how often a measurement is repeated."""
    return max(_FEWEST, min(_MOST, _PARAMETERS // count(sd)))


def error(decoded: StateDict, sd: StateDict) -> float:
    """Return the geometric mean over weights of the relative errors of their rows; a vector is one row.

    Where it is equal, coders that share errors among rows in different ways need about as many bits.
    """
    logs = 0.0
    for name, tensor in sd.items():
        rows = len(tensor) if tensor.ndim > 1 else 1
        exact = tensor.double().reshape(rows, -1)
        errors = (decoded[name].double().reshape(rows, -1) - exact).norm(dim=1)
        logs += tensor.numel() / rows * float((errors / exact.norm(dim=1)).clamp_min(_LEAST_ERROR).log().sum())
    return math.exp(logs / count(sd))


def ours(sd: StateDict, effort: str) -> Row:
    """Measure one effort."""
    blobs: list[bytes] = []
    least = 1 if effort == "best" else repeats(sd)
    times = cpu_times(lambda: blobs.append(coinr.encode_state_dict(sd, effort=effort)), least=least)
    blob = blobs[0]
    return {
        "coder": effort,
        "encode_seconds": min(times),
        "decode_seconds": min(cpu_times(lambda: coinr.decode_state_dict(blob), least=repeats(sd))),
        "bytes": len(blob),
        "error": error(coinr.decode_state_dict(blob), sd),
    }


def _setting(qp: int) -> nncodec.Setting:
    return nncodec.Setting(qp, qp, True, 10)


def peers(sd: StateDict, like: float) -> Row:
    """Measure nncodec at the setting whose error is nearest to ``like``."""
    few = {name: tensor[:_ROWS] for name, tensor in sd.items()}
    settings = [_setting(qp) for qp in range(*(octave << nncodec.DENSITY for octave in _OCTAVES))]
    off = [error(nncodec.from_arrays(coded.arrays, few), few) for coded in nncodec.code(few, settings)]
    best = min(range(len(off)), key=lambda k: abs(math.log(off[k] / like)))
    made = list(nncodec.code(sd, [settings[best]] * repeats(sd)))
    return {
        "coder": PEER,
        "encode_seconds": min(coded.encode_cpu for coded in made),
        "decode_seconds": min(coded.decode_cpu for coded in made),
        "bytes": len(made[0].blob),
        "error": error(nncodec.from_arrays(made[0].arrays, sd), sd),
    }


def measure(names: list[str], coders: list[str]) -> Iterator[Row]:
    """Yield a row for each network and coder; times over nncodec's where it runs."""
    for name in names:
        sd = NETWORKS[name]()
        rows = [ours(sd, effort) for effort in coders if effort != PEER]
        peer = peers(sd, rows[-1]["error"]) if PEER in coders else None
        for row in [*rows, peer] if peer else rows:
            ratios = (
                {f"{key}_ratio": row[f"{key}_seconds"] / peer[f"{key}_seconds"] for key in ("encode", "decode")}
                if peer
                else {}
            )
            yield {"network": name, "parameters": count(sd), **row, **ratios}


def split(calls: int = 100) -> dict[str, float]:
    """Return shares of the time of one encoding: native code, NumPy, torch and Brotli, and our Python by folder."""
    sd, effort = NETWORKS[PROFILED[0]](), PROFILED[1]
    profile = cProfile.Profile(time.process_time)
    coinr.encode_state_dict(sd, effort=effort)
    profile.enable()
    for _ in range(calls):
        coinr.encode_state_dict(sd, effort=effort)
    profile.disable()
    home, shares = Path(coinr.__file__).parent, dict[str, float]()
    for (file, _, name), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        place = _place(Path(file), name, home)
        shares[place] = shares.get(place, 0.0) + own
    total = sum(shares.values())
    return {place: own / total for place, own in sorted(shares.items(), key=lambda item: -item[1])}


def _place(file: Path, name: str, home: Path) -> str:
    if file.is_relative_to(home):
        return "/".join(file.relative_to(home).parts[:2]).removesuffix(".py")
    text = f"{file} {name}"
    for word, place in (
        ("coinr.engine._C", "native code"),
        ("torch", "torch"),
        ("numpy", "NumPy"),
        ("brotli", "Brotli"),
    ):
        if word in text:
            return place
    return "Python itself"


def main() -> None:
    """Measure the given networks, and write or print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="prefix of the results")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--only", choices=NETWORKS, action="append", help="measure only this (may be given again)")
    parser.add_argument("--coder", choices=[*EFFORTS, PEER], action="append", help="the same for coders")
    arguments = parser.parse_args()
    os.environ |= {"COINR_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    torch.set_num_threads(1)
    results = []
    with threadpool_limits(1):
        for row in measure(arguments.only or list(NETWORKS), arguments.coder or [*EFFORTS, PEER]):
            results.append(row)
            print(row, file=sys.stderr, flush=True)
    report = {
        "machine": machine() | {"simd": _C.simd_level(), PEER: nncodec.VERSION},
        "results": results,
        "profile": split(),
    }
    if arguments.out:
        write_json(arguments.out.with_suffix(".json"), report)
        write_csv(arguments.out.with_suffix(".csv"), results)
    if arguments.json:
        print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
