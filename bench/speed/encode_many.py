"""CPU time of ``encode_state_dicts`` for each small network, beside that of one call each.

    python -m bench.speed.encode_many [--networks 1000] [--rounds 3] [--threads N]

SIRENs of 2 hidden layers of 32 with random weights, at two efforts. CPU seconds of this process and of those that it
starts count, so the result holds on a busy machine. That of a network is the difference between ``--networks`` and
twice as many, so starting the processes is not in it; ``start`` holds the seconds of that. The rate is then ``ratio``
times cores, while this process's own share leaves a core to the others. Writes ``encode_many.json``.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

import coinr
from bench.harness.results import write_json
from coinr.engine.threads import available_threads

HIDDEN_LAYERS, WIDTH = 2, 32
EFFORTS = ("fast", "default")


def networks(count: int) -> list[coinr.Siren]:
    """Return SIRENs with random weights."""
    generators = (torch.Generator().manual_seed(seed) for seed in range(count))
    return [coinr.Siren(2, 3, WIDTH, HIDDEN_LAYERS, generator=generator) for generator in generators]


def time_single(sds: list[coinr.Siren], effort: str) -> float:
    """Return CPU seconds of a network in one call each, with one thread."""
    begin = time.process_time()
    for sd in sds:
        coinr.encode_state_dict(sd, effort=effort, threads=1)
    return (time.process_time() - begin) / len(sds)


def time_many(sds: list[coinr.Siren], effort: str, threads: int) -> tuple[float, float]:
    """Return CPU seconds of this process and of those that it started, which have ended."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.process_time()
    for _ in coinr.encode_state_dicts(sds, effort=effort, threads=threads):
        pass
    own, after = time.process_time() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return own, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(count: int, effort: str, threads: int) -> dict[str, Any]:
    """Return CPU milliseconds of a network, alone and among many, and CPU seconds of the start."""
    sds = networks(2 * count)
    single = time_single(sds[: max(1, count // 2)], effort)
    some, all_of_them = time_many(sds[:count], effort, threads), time_many(sds, effort, threads)
    own, other = ((b - a) / count for a, b in zip(some, all_of_them, strict=True))
    return {
        "single_ms": 1e3 * single,
        "own_ms": 1e3 * own,
        "others_ms": 1e3 * other,
        "ratio": single / (own + other),
        "start": sum(some) - count * (own + other),
    }


def main() -> None:
    """Measure, then write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    options = parser.parse_args()
    threads = available_threads(options.threads)
    coinr.encode_state_dict(networks(1)[0])  # what only the first call does is in neither
    rounds: dict[str, list[dict[str, Any]]] = {effort: [] for effort in EFFORTS}
    for _ in track(range(options.rounds), "rounds", disable=not sys.stderr.isatty()):
        for effort in EFFORTS:
            rounds[effort].append(measure(options.networks, effort, threads))
    medians = {
        effort: {key: statistics.median(one[key] for one in found) for key in found[0]}
        for effort, found in rounds.items()
    }
    about = {"width": WIDTH, "hidden_layers": HIDDEN_LAYERS, "networks": options.networks, "processes": threads}
    write_json(options.out / "encode_many.json", {**about, "medians": medians, "rounds": rounds})
    print(json.dumps(medians, indent=1))


if __name__ == "__main__":
    main()
