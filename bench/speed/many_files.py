"""State dicts in files, packed into a folder by all cores, against one process: rates, CPU time, and memory on the way.

Run: python -m bench.speed.many_files   (three minutes on two quiet cores; writes bench/results/many_files.json)

Shares are of cores times the rate of one process: by wall time, which needs a quiet machine, and by CPU time without
that of starting processes, which needs none.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import coinr
from bench.harness.results import write_json
from coinr.engine.threads import available_threads
from coinr.many.models import PackModel
from coinr.many.run import RunOptions, Work, run

OUT = Path(__file__).parents[1] / "results" / "many_files.json"


def make_files(folder: Path, count: int) -> list[Path]:
    """Write copies of eight SIRENs (2, 32) with noise of a hundredth of each tensor's deviation."""
    nets = [coinr.Siren(2, 3, 32, 2, generator=torch.Generator().manual_seed(k)).state_dict() for k in range(8)]
    noise = torch.Generator().manual_seed(8)
    paths = []
    for k in range(count):
        net = nets[k % len(nets)]
        copy = {name: t + 0.01 * t.std() * torch.randn(t.shape, generator=noise) for name, t in net.items()}
        paths.append(folder / f"{k:05d}.pt")
        torch.save(copy, paths[-1])
    return paths


def memory_of(pid: int) -> float:
    """Return the resident memory of a process, in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def children() -> list[int]:
    """Return the processes that this one started."""
    pid = os.getpid()
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def one_process(paths: list[Path], folder: Path) -> dict[str, float]:
    """Pack files by one thread of a process that has packed some before."""
    work = Work(PackModel())
    work.task.prepare()
    folder.mkdir()
    for path in paths[:50]:
        work((path, folder / path.name))
    wall, cpu = time.perf_counter(), time.process_time()
    for path in paths:
        work((path, folder / path.name))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"files": len(paths), "wall_ms_a_file": 1e3 * wall / len(paths), "cpu_ms_a_file": 1e3 * cpu / len(paths)}


def all_cores(paths: list[Path], folder: Path) -> dict[str, Any]:
    """Pack files by a process a core, and take the memory of all ten times on the way."""
    begin, memory = time.perf_counter(), []
    cpu, before, first = time.process_time(), children_seconds(), 0.0
    for number, result in enumerate(run(PackModel(), paths, folder, RunOptions()), 1):
        assert result.ok, result.error
        first = first or time.perf_counter()
        if number % max(1, len(paths) // 10) == 0:
            sizes = [memory_of(pid) for pid in children()]
            memory.append({"files": number, "this_mib": memory_of(os.getpid()), "largest_worker_mib": max(sizes)})
    end = time.perf_counter()
    return {
        "files": len(paths),
        "wall_ms_a_file": 1e3 * (end - first) / (len(paths) - 1),
        "seconds_to_the_first": first - begin,
        "cpu_seconds_of_workers": children_seconds() - before,
        "cpu_seconds_of_this_process": time.process_time() - cpu,
        "memory": memory,
    }


def children_seconds() -> float:
    """Return the CPU seconds of all processes that this one started and that have ended."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000, help="how many files to pack")
    parser.add_argument("--out", type=Path, default=OUT, help="where to write the results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        paths = make_files(folder / "in", arguments.files)
        before = one_process(paths[: arguments.files // 10], folder / "one")
        start = all_cores(paths[: available_threads()], folder / "start")
        many = all_cores(paths, folder / "many")
        after = one_process(paths[: arguments.files // 10], folder / "two")
    cores = available_threads()
    wall, cpu = ((before[name] + after[name]) / 2 for name in ("wall_ms_a_file", "cpu_ms_a_file"))
    spent = {
        name: 1e3 * (many[name] - start[name]) / (arguments.files - cores)
        for name in ("cpu_seconds_of_workers", "cpu_seconds_of_this_process")
    }
    found = {
        "cores": cores,
        "load": os.getloadavg()[0],
        "one_process": [before, after],
        "all_cores": many,
        "start_cpu_seconds_of_workers": start["cpu_seconds_of_workers"],
        "cpu_ms_a_file": {name.removeprefix("cpu_seconds_of_"): value for name, value in spent.items()},
        "share_of_cores_times_single": wall / many["wall_ms_a_file"] / cores,
        "share_by_cpu_time": cpu / sum(spent.values()),
    }
    write_json(arguments.out, found)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
