"""All experiments together: everything that takes long by one process a core, then the tables that are gathered of it.

A task is a network through all codecs, an ablation or a whole experiment. Tasks share nothing but trained networks,
which come out the same whoever trains them, and what they measure is kept; so the experiments that make tables of
measured networks recall it.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import track

from bench.harness.corpus import Recipe
from bench.harness.results import write_json
from bench.paper import ablations, audio, experiments, images, occupancy
from bench.paper.codecs import all_rows
from bench.paper.context import Context

#: What is done in one process.
Task = Callable[[Context], None]

#: Experiments that are tasks, and those whose tables are gathered of measured networks.
WHOLE = ("figure1", "sparsity", "inric")
GATHERED = ("c1", "c2", "published", "figure5", "occupancy", "audio")

TABLES = ("c1_rows", "c2_rows", "occupancy_rows", "audio_rows")

# Networks wider than this take longest.
_WIDE = 64


def networks(context: Context) -> list[Recipe]:
    """Return networks that go through all codecs and that no table holds, the largest first."""
    found = [*occupancy.recipes(context), *audio.recipes(context)]
    found += [*images.recipes(context, "c1"), *images.recipes(context, "c2")]
    new = {recipe.name: recipe for recipe in found if not context.known(TABLES, recipe)}
    return sorted(new.values(), key=lambda recipe: recipe.sizes[0] * recipe.sizes[1] ** 2, reverse=True)


def tasks(context: Context) -> dict[str, Task]:
    """Return what is run side by side, by name, in the order in which it is begun: what takes longest first."""
    wide, narrow = OrderedDict[str, Task](), OrderedDict[str, Task]()
    for recipe in networks(context):
        (wide if recipe.sizes[1] > _WIDE else narrow)[recipe.name] = partial(_measure, recipe)
    parts = {f"ablations, {part.__name__.rpartition('.')[2]}": part.run for part in ablations.PARTS}
    whole = {name: partial(experiments.run, name) for name in WHOLE}
    return wide | parts | whole | narrow


def _measure(recipe: Recipe, context: Context) -> None:
    all_rows(context.point(recipe), context)


def run(context: Context, processes: int) -> None:
    """Run everything, at most one process a core, and write ``all.json``: seconds of every task and of the whole."""
    processes = min(processes, len(os.sched_getaffinity(0)))
    begin, empty = time.perf_counter(), not context.folder.exists()
    seconds = _side_by_side(tasks(context), context, processes)
    for name in GATHERED:
        start = time.perf_counter()
        experiments.run(name, replace(context, experiment=name, begin=start))
        seconds[f"tables, {name}"] = time.perf_counter() - start
    about = {
        "budget": vars(context.budget),
        "pictures": context.pictures,
        "processes": processes,
        "from_an_empty_cache": empty,
        "seconds": round(time.perf_counter() - begin, 1),
        "seconds_of_tasks": {name: round(value, 1) for name, value in seconds.items()},
    }
    write_json(context.out / "all.json", about)


def _side_by_side(named: dict[str, Task], context: Context, processes: int) -> dict[str, float]:
    """Run tasks, each process on a core of its own; what they print goes to files beside the cache. Seconds by name.

    The first task that fails ends the run, once those that were begun are done.
    """
    log = context.folder / "log"
    log.mkdir(parents=True, exist_ok=True)
    spawn = multiprocessing.get_context("spawn")
    cores = spawn.SimpleQueue()
    for core in sorted(os.sched_getaffinity(0))[:processes]:
        cores.put(core)
    with ProcessPoolExecutor(processes, spawn, initializer=_settle, initargs=(cores, log)) as pool:
        futures = {
            pool.submit(_time_task, task, replace(context, experiment=name)): name for name, task in named.items()
        }
        try:
            return {futures[future]: future.result() for future in _report_done(futures)}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _settle(cores: Any, log: Path) -> None:
    """Make a new process use one core, and write what it prints to a file."""
    core = cores.get()
    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = (log / f"core-{core}.txt").open("a", buffering=1)


def _time_task(task: Task, context: Context) -> float:
    begin = time.perf_counter()
    task(replace(context, begin=begin))
    return time.perf_counter() - begin


def _report_done(futures: dict[Future[float], str]) -> Iterable[Future[float]]:
    """Yield the futures as they are done, with a bar on a terminal, with a line each elsewhere."""
    if sys.stderr.isatty():
        yield from track(as_completed(futures), "all", total=len(futures))
        return
    for count, future in enumerate(as_completed(futures), 1):
        print(f"all: {futures[future]} done, {count} of {len(futures)}", flush=True)
        yield future
