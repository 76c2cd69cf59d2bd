"""How closely ``coinr.search`` meets scores and sizes, and what that takes.

    python -m bench.rate.search_table [--networks a,b] [--out bench/results/rate]

Each trained network of the corpus is searched for a loss of 0.1 and 0.5 dB, and for 0.6 and 0.8 of the bytes that
``auto`` takes without options. ``own_seconds`` and ``own_cpu_seconds`` leave the calls of the network's metric out.
Writes ``search.csv`` and ``search.json``, and the trade-off curve of each first search as a picture.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import coinr
from bench.harness import corpus
from bench.harness.coders import ours_version
from bench.harness.results import plain, write_csv, write_json

LOSSES = (0.1, 0.5)
SHARES = (0.6, 0.8)


class Metric:
    """A network's metric that counts its calls and the time they take."""

    def __init__(self, entry: corpus.Entry) -> None:
        self.entry, self.calls, self.seconds, self.cpu = entry, 0, 0.0, 0.0

    def __call__(self, state_dict: Mapping[str, Any]) -> float:
        """Return the score."""
        begin, cpu = time.perf_counter(), time.process_time()
        score = self.entry.evaluate(state_dict)
        self.calls += 1
        self.seconds += time.perf_counter() - begin
        self.cpu += time.process_time() - cpu
        return score


def search_network(entry: corpus.Entry, **target: Any) -> tuple[dict[str, Any], coinr.SearchResult]:
    """Return one search as a row, and what it found."""
    metric = Metric(entry)
    begin, cpu = time.perf_counter(), time.process_time()
    found = coinr.search(entry.state_dict, metric, **target)
    wall, used = time.perf_counter() - begin, time.process_time() - cpu
    decoded = entry.evaluate(coinr.decode_state_dict(found.blob))
    assert decoded == found.score, (decoded, found.score)
    (name, value), *_ = target.items()
    met = found.score - value if name == "min_score" else len(found.blob) / value - 1
    row = {
        "network": entry.name,
        "asked": name,
        "value": value,
        "bytes": len(found.blob),
        "score": found.score,
        "above": met,
        "calls": metric.calls,
        "own_seconds": wall - metric.seconds,
        "own_cpu_seconds": used - metric.cpu,
    }
    return {key: plain(value) for key, value in row.items()}, found


def main() -> None:
    """Search, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", help="names, with commas between; all that are trained by default")
    parser.add_argument("--out", type=Path, default=Path("bench/results/rate"))
    parser.add_argument("--cache", type=Path, default=corpus.CACHE)
    options = parser.parse_args()
    torch.set_num_threads(2)
    rows = []
    for name in options.networks.split(",") if options.networks else corpus.ready(options.cache):
        entry = corpus.load(name, cache=options.cache)
        full, size = entry.evaluate(entry.state_dict), len(coinr.encode_state_dict(entry.state_dict))
        for loss in LOSSES:
            row, found = search_network(entry, min_score=full - loss)
            rows.append(row)
            if loss == LOSSES[0]:
                found.plot(options.out / f"search-{name}.png")
        for share in SHARES:
            rows.append(search_network(entry, target_bytes=int(share * size))[0])
        for row in rows[-len(LOSSES) - len(SHARES) :]:
            print(json.dumps(row), flush=True)
        write_csv(options.out / "search.csv", rows)
    threads = {"threads": torch.get_num_threads()}
    write_json(options.out / "search.json", {"code": ours_version(), "rows": rows}, extra=threads)


if __name__ == "__main__":
    main()
