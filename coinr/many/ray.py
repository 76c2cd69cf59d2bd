"""Signals in many files, encoded by Ray Data on a cluster: the task of :func:`coinr.many.encode`, in actors."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

from coinr.errors import BackendError
from coinr.many.manifest import Row
from coinr.many.names import output_names
from coinr.many.pool import Pool
from coinr.many.remote_folder import RemoteFolder
from coinr.many.run import Result, RunOptions, Task, Work, failure_of, settings_of
from coinr.many.signals import encode_task
from coinr.runtime.optional import import_optional


def encode(
    items: Iterable[Any],
    out: str,
    *,
    address: str | None = None,
    jobs: int | None = None,
    gpus: float = 0.0,
    time_limit: float | None = None,
    retries: int = 0,
    resume: bool = True,
    **options: Any,
) -> Generator[Result, None, None]:
    """Encode the signals in many files on a Ray cluster; yield what becomes of each as :func:`coinr.many.encode` does.

    Parameters
    ----------
    items : iterable of path, or ray.data.Dataset
        Files and folders that every machine can read; of a dataset, its column ``"path"``.
    out : str
        A folder that every machine can write: a path, or an address that fsspec knows.
    address : str, optional
        Of the cluster, by default that of the environment, or this machine; not needed where Ray is initialized.
    jobs, gpus
        Actors, each with one core, by default as many as there are; and the share of a GPU for each.
    time_limit, retries, resume, **options
        As for :func:`coinr.many.encode`; a start is a file that every machine can read.

    Raises
    ------
    CoinrError
        DependencyError if Ray is not installed; others as of :func:`coinr.many.encode`.
    """
    of_fit = {name: options.pop(name, None) for name in ("network", "width", "hidden_layers", "fitting", "start")}
    task = encode_task(**of_fit, seed=options.pop("seed", 0), codec=options)
    return run(task, items, out, RunOptions(jobs, time_limit, retries, None, resume), address, gpus)


def run(
    task: Task, items: Any, out: str, options: RunOptions, address: str | None, gpus: float
) -> Generator[Result, None, None]:
    """Yield what becomes of each item of a task, as soon as it is known; arguments as of :func:`encode`."""
    ray, data = import_optional("ray", "ray"), import_optional("ray.data", "ray")
    if not ray.is_initialized():
        ray.init(address=address, log_to_driver=False)
    if isinstance(items, data.Dataset):
        items = [row["path"] for row in items.iter_rows()]
    paths = [Path(os.path.abspath(item)) for item in items]
    names, folder, settings = output_names(paths, task.suffix), RemoteFolder(out), settings_of(task)
    known = {name: row for name, row in folder.begin().items() if options.resume and row.get("settings") == settings}
    jobs = options.jobs or int(ray.cluster_resources().get("CPU", 1))
    rows = [{"source": str(p), "file": n, "known": json.dumps(known.get(n))} for p, n in zip(paths, names, strict=True)]
    dataset = data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _Encoder,
        batch_size=1,
        compute=data.ActorPoolStrategy(size=min(jobs, len(rows))),
        fn_constructor_args=(task, settings, folder, options),
        num_cpus=1,
        num_gpus=gpus,
    )
    for found in dataset.iter_rows():
        ok, resumed, row = bool(found["ok"]), bool(found["resumed"]), json.loads(found["row"])
        if not resumed:
            folder.append("manifest.jsonl" if ok else "failures.jsonl", row)
        yield Result(found["source"], found["file"], ok, resumed, row, None if ok else BackendError(row["error"]))


class _Encoder:
    """An actor. A process of its own works for it, which a limit can end and which loads once what the task needs."""

    def __init__(self, task: Task, settings: Any, folder: RemoteFolder, options: RunOptions) -> None:
        self._pool = Pool(Work(task), 1, options.time_limit, options.retries, threads=1)
        self._settings, self._folder = settings, folder

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Return the row of an item. Its errors are rows, too: another would end the whole run."""
        source, name, known, begin = (
            Path(batch["source"][0]),
            str(batch["file"][0]),
            batch["known"][0],
            time.monotonic(),
        )
        try:
            ok, resumed, row = self._encode(source, name, json.loads(known))
        except Exception as error:
            ok, resumed, row = False, False, failure_of(source, error, time.monotonic() - begin)
        return {"source": [str(source)], "file": [name], "ok": [ok], "resumed": [resumed], "row": [json.dumps(row)]}

    def _encode(self, source: Path, name: str, known: Row | None) -> tuple[bool, bool, Row]:
        if known is not None and self._folder.made(source, known):
            return True, True, known
        with tempfile.TemporaryDirectory() as place:
            part = Path(place) / Path(name).name
            [outcome] = self._pool.map([(source, part)])
            if outcome.error is not None:
                return False, False, failure_of(source, outcome.error, outcome.seconds)
            self._folder.publish(part, name)
        row = {"source": str(source), "file": name, "seconds": round(outcome.seconds, 3), **outcome.value}
        return True, False, {**row, "settings": self._settings}
