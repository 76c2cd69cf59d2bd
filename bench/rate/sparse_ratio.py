"""The ``sparse`` profile beside the ``paper`` profile and the direct coder, at 0.1 dB of loss.

    python -m bench.rate.sparse_ratio [--networks a,b] [--out bench/results/rate]

``sparse``, ``direct`` and ``paper`` by tolerance, from the weights alone (``paper`` by s, too: its files of one M are
one envelope), and ``sparse`` and ``direct`` by ``coinr.search`` with the network's metric. Writes ``sparse_ratio.csv``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

import coinr
from bench.harness import coders, corpus
from bench.harness.curves import bytes_at
from bench.harness.measure import Bench
from bench.harness.results import write_csv, write_json

LOSS = 0.1
NETWORKS = "siren-2x32-kodim03,siren-3x64-kodim03,siren-3x128-kodim03"


def ratios(bench: Bench) -> dict[str, Any]:
    """Return bytes at the loss, and ratios."""
    rows = [*coders.profile_rows(bench, "sparse", 8), *coders.profile_rows(bench, "direct", 8)]
    rows += coders.paper_rows(bench)
    names = dict.fromkeys(row.coder for row in rows)
    sizes = {name: bytes_at([row.point for row in rows if row.coder == name], LOSS) for name in names}
    for profile in ("sparse", "direct"):
        sizes[f"search, {profile}"] = float(_search_bytes(bench, profile))
    papers = [size for name, size in sizes.items() if name.startswith("paper") and size]
    line: dict[str, Any] = {"network": bench.entry.name}
    for ours, direct in (("sparse", "direct"), ("search, sparse", "search, direct")):
        mine = sizes[ours]
        assert mine is not None
        line |= {
            f"{ours} / paper M=2^14": _ratio(mine, sizes["paper M=2^14"]),
            f"{ours} / best paper": _ratio(mine, min(papers, default=None)),
            f"{ours} / {direct}": _ratio(mine, sizes[direct]),
        }
    return line | {f"{name} bytes": size and round(size) for name, size in sizes.items()}


def _ratio(mine: float, other: float | None) -> float | None:
    return mine / other if other else None


def _search_bytes(bench: Bench, profile: str) -> float:
    sd, evaluate = bench.entry.state_dict, bench.entry.evaluate
    row = bench.measure(
        f"search, {profile}",
        f"loss={LOSS:g}",
        coders.ours_version(),
        lambda: coinr.search(sd, evaluate, min_score=bench.original - LOSS, profile=profile).blob,
        coinr.decode_state_dict,
    )
    return row.bytes


def main() -> None:
    """Measure, and write the table after each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=NETWORKS, help="names, with commas between, of trained ones")
    parser.add_argument("--out", type=Path, default=Path("bench/results/rate"))
    parser.add_argument("--cache", type=Path, default=corpus.CACHE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    for name in options.networks.split(","):
        lines.append(ratios(Bench(corpus.load(name, cache=options.cache), options.cache)))
        print(lines[-1], flush=True)
        write_csv(options.out / "sparse_ratio.csv", lines)
        write_json(options.out / "sparse_ratio.json", {"code": coders.ours_version()})


if __name__ == "__main__":
    main()
