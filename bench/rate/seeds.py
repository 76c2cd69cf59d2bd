"""How much the seed matters: bytes and error over 16 seeds, mean and standard deviation.

``python -m bench.rate.seeds`` writes ``bench/results/rate/seeds.csv`` (one row for each profile and network),
``seeds_all.csv`` (one for each file) and ``seeds.json`` (machine, settings). Bytes are those of whole files, the error
is ‖ŵ − w‖ / ‖w‖ over all floating-point tensors, the quality that of the decoded network. ``best`` is the smallest
file, which ``seeds=16`` keeps.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import coinr
from bench.harness import corpus
from bench.harness.results import plain, write_csv, write_json

RESULTS = Path(__file__).resolve().parents[1] / "results" / "rate"
NETWORKS = ("siren-2x32-kodim03", "siren-3x64-kodim03")
SEEDS = 16

#: Profiles and their options; the sparse one also held to a form that depends on the seed through its choice of atoms.
SETTINGS: dict[str, dict[str, Any]] = {
    "paper": {"profile": "paper"},
    "sparse": {"profile": "sparse"},
    "sparse, coarse": {"profile": "sparse", "form": "sparse", "tolerance": 6.0},
}


def error(decoded: Mapping[str, Tensor], original: Mapping[str, Tensor]) -> float:
    """Return relative error over all floating-point values of a network."""
    lossy = [name for name, tensor in original.items() if tensor.is_floating_point() or tensor.is_complex()]
    square = sum(float((decoded[name] - original[name]).abs().double().square().sum()) for name in lossy)
    return math.sqrt(square / sum(float(original[name].abs().double().square().sum()) for name in lossy))


def measure(entry: corpus.Entry, setting: str, seed: int) -> dict[str, Any]:
    """Measure one file: its size and what its network lost."""
    blob = coinr.encode_state_dict(entry.state_dict, seed, threads=1, **SETTINGS[setting])
    decoded = coinr.decode_state_dict(blob)
    return {
        "network": entry.name,
        "profile": setting,
        "seed": seed,
        "bytes": len(blob),
        "error": error(decoded, entry.state_dict),
        "quality_db": entry.evaluate(decoded),
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return mean and standard deviation over the seeds."""
    line = {key: rows[0][key] for key in ("network", "profile")} | {"seeds": len(rows)}
    for key in ("bytes", "error", "quality_db"):
        values = [row[key] for row in rows]
        line |= {f"{key} mean": statistics.fmean(values), f"{key} sd": statistics.stdev(values)}
    best = min(rows, key=lambda row: row["bytes"])
    line["bytes sd / mean"] = line["bytes sd"] / line["bytes mean"]
    return line | {"bytes best": best["bytes"], "bytes best / mean": best["bytes"] / line["bytes mean"]}


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS), help="names, with commas between")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows, lines = [], []
    for network in options.networks.split(","):
        entry = corpus.load(network)
        for setting in SETTINGS:
            rows += (made := [measure(entry, setting, seed) for seed in range(options.seeds)])
            lines.append(summary(made))
            print({key: plain(value) for key, value in lines[-1].items()}, flush=True)
    write_csv(RESULTS / "seeds.csv", lines)
    write_csv(RESULTS / "seeds_all.csv", rows)
    write_json(RESULTS / "seeds.json", {"seeds": options.seeds, "settings": SETTINGS})


if __name__ == "__main__":
    main()
