"""Measures every coder on every network of the corpus, and writes tables and plots.

    python -m bench.rate [--data DIR] [--out bench/results/rate] [--networks a,b] [--profiles auto,paper] [--only plots]

Networks that are not trained yet are trained first. Everything measured is kept under ``bench/cache/rate``, so a run
that was stopped goes on where it was; measurements of our codec are made again when its code has changed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

import coinr
from bench.harness import coders, corpus, nncodec, tables
from bench.harness.measure import Bench, Row
from bench.harness.results import write_csv, write_json
from bench.rate import plots
from coinr.codec.effort import EFFORTS
from coinr.codec.profiles.tasks import PROFILES

ALL_PROFILES = ("search", "auto", "direct", "sparse", "paper", "uniform")

Job = Callable[[Bench], Iterator[Row]]


def jobs(profiles: list[str], environment: Path, per_octave: int) -> dict[str, Job]:
    """Return what measures each coder, by its name; those that are not here are named on stderr and left out."""
    found: dict[str, Job] = {"baselines": coders.baseline_rows, "bounds": coders.bound_rows}
    if (environment / "bin" / "python").exists():
        found["nncodec"] = lambda bench: nncodec.rows(bench, environment)
    else:
        print(f"no nncodec: python -m bench.harness.nncodec --make-env {environment}", file=sys.stderr)
    for name in profiles:
        if name == "search" and hasattr(coinr, "search"):
            found[name] = coders.search_rows
        elif name == "paper":
            found[name] = coders.paper_rows
        elif name == "auto":
            for effort in EFFORTS:
                found[coders.auto_name(effort)] = partial(coders.effort_rows, effort=effort, per_octave=per_octave)
        elif name in PROFILES:
            found[name] = partial(coders.profile_rows, profile=name, per_octave=per_octave)
        else:
            print(f"not in this checkout: {name}", file=sys.stderr)
    return found


def measure(
    entries: list[corpus.Entry], todo: dict[str, Job], cache: Path, save: Callable[[list[Row], dict[str, str]], None]
) -> None:
    """Measure all coders on all networks.

    ``save`` is given all rows, and what failed with its error, after every network: a coder that fails on a network is
    left out there, named on stderr and in ``results.json``.
    """
    rows: list[Row] = []
    failures: dict[str, str] = {}
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task("measuring", total=len(entries) * len(todo))
        for entry in entries:
            bench = Bench(entry, cache)
            for name, job in todo.items():
                progress.update(bar, description=f"{entry.name}: {name}")
                try:
                    rows += list(job(bench))
                except Exception as error:
                    failures[f"{entry.name}: {name}"] = f"{type(error).__name__}: {error}"
                    print(f"{entry.name}: {name} failed: {error}", file=sys.stderr)
                progress.advance(bar)
            save(rows, failures)
            if not sys.stderr.isatty():
                print(f"{entry.name}: done", flush=True)


def describe(entry: corpus.Entry) -> dict[str, Any]:
    """Return what the results say of a network."""
    recipe = entry.recipe
    return {
        "parameters": entry.parameters,
        "scores": entry.scores(entry.state_dict),
        "training_seconds": entry.info["seconds"],
        "steps": recipe.steps,
        "batch": recipe.batch,
        "learning_rate": recipe.learning_rate,
        "seed": recipe.seed,
    }


def write(rows: list[Row], failures: dict[str, str], networks: dict[str, Any], out: Path) -> None:
    """Write ``curves``, ``summary``, ``bd_rate``, ``default`` (``.csv``) and ``results.json``."""
    curves = tables.by_coder(rows)
    summary = tables.summary(curves)
    tables.write_rows(out / "curves.csv", rows)
    write_csv(out / "summary.csv", summary)
    write_csv(out / "bd_rate.csv", tables.bd_rates(curves, rows))
    if defaults := tables.at_default(rows, curves):
        write_csv(out / "default.csv", defaults)
    peers = {name: version(name) for name in ("safetensors", "scipy")} | {"nncodec": nncodec.VERSION}
    report = {
        "networks": networks,
        "medians_at_0.1_db": tables.medians(summary),
        "rows_that_lose": sum(bool(row["loses"]) for row in summary),
        "rows": len(summary),
        "failures": failures,
    }
    write_json(out / "results.json", report, extra={"threads": torch.get_num_threads(), "also": peers})


def main() -> None:
    """Train, measure, tabulate and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    corpus.add_data_option(parser)
    parser.add_argument("--out", type=Path, default=Path("bench/results/rate"))
    parser.add_argument("--networks", help="names, with commas between; all by default")
    parser.add_argument("--profiles", default=",".join(ALL_PROFILES), help="of ours, with commas between; search too")
    parser.add_argument("--only", choices=["plots"], help="draw the tables that are there")
    parser.add_argument("--per-octave", type=int, default=8, help="errors tried per factor of two")
    parser.add_argument("--nncodec", type=Path, default=nncodec.ENVIRONMENT, help="its environment")
    parser.add_argument("--cache", type=Path, default=corpus.CACHE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.only != "plots":
        data = options.data
        names = options.networks.split(",") if options.networks else corpus.names(data)
        recipes = [recipe for recipe in corpus.recipes(data) if recipe.name in names]
        entries = [corpus.build(recipe, data, options.cache) for recipe in recipes]
        networks = {entry.name: describe(entry) for entry in entries}
        todo = jobs([name for name in options.profiles.split(",") if name], options.nncodec, options.per_octave)
        measure(entries, todo, options.cache, lambda rows, failed: write(rows, failed, networks, options.out))
    stored = json.loads((options.out / "results.json").read_text())
    measured = tables.by_coder(tables.read_rows(options.out / "curves.csv"))
    plots.plot_all(measured, stored["networks"], options.out)
    for key, value in stored["medians_at_0.1_db"].items():
        print(f"median at 0.1 dB: {key} {value:.3f}")
    print(f"rows that lose: {stored['rows_that_lose']} of {stored['rows']}")
    if stored["failures"]:
        raise SystemExit(f"failed: {', '.join(stored['failures'])}")


if __name__ == "__main__":
    main()
