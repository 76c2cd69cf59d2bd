"""Signals in files, each fitted and stored as a coinr file."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coinr.errors import InputError
from coinr.inputs.arguments import checked
from coinr.many.run import Result, RunOptions, run

if TYPE_CHECKING:
    from coinr.signals.signal import Signal
    from coinr.starts.start import Start


@dataclass
class EncodeSignal:
    """Fit a network to the signal in a file and store it.

    Parameters
    ----------
    reading : mapping
        Arguments of :func:`coinr.open_signal`.
    network : mapping
        Arguments of the new network: ``kind``, ``width``, ``hidden_layers``; none with a start or a budget.
    fitting : mapping
        Arguments of :func:`coinr.fit`, with ``seed``.
    budget : mapping, optional
        Arguments of :func:`coinr.compress`, which then decides the network, unless a start does.
    start : path, optional
        A file of a start. It is read once in each process.
    codec : mapping
        Arguments of :func:`coinr.pack_signal`.
    """

    reading: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    fitting: Mapping[str, Any] = field(default_factory=dict)
    budget: Mapping[str, Any] | None = None
    start: Path | None = None
    codec: Mapping[str, Any] = field(default_factory=dict)

    suffix = ".coinr"

    def settings(self) -> dict[str, Any]:
        """Return all that decides a file; a start by its hash."""
        start = None if self.start is None else self._start().hash
        parts = {name: dict(getattr(self, name)) for name in ("reading", "network", "fitting", "codec")}
        for part in parts.values():
            part.pop("threads", None)
        budget = None if self.budget is None else {**self.budget, "fitting": _without_threads(self.budget["fitting"])}
        return {"task": "encode", **parts, "budget": budget, "start": start}

    def prepare(self) -> None:
        """Import what a fit needs, and read the start."""
        import coinr.fitting
        import coinr.signal_files.api  # noqa: F401

        self._loaded = None if self.start is None else self._start()

    def __call__(self, source: Path, output: Path) -> dict[str, Any]:
        """Fit, encode, write and measure one signal."""
        from coinr.signal_files.api import load_network
        from coinr.signals.open_signal import open_signal
        from coinr.signals.sampling import score_of

        signal = open_signal(source, **self.reading)
        start = getattr(self, "_loaded", None) or (None if self.start is None else self._start())
        blob = self._encode(signal, start)
        score = score_of(load_network(blob, start=start), signal)
        output.write_bytes(blob)
        notes = {"notes": list(signal.notes)} if signal.notes else {}
        return {"score": float(score), "metric": signal.metric, **notes}

    def _encode(self, signal: Signal, start: Start | None) -> bytes:
        from coinr.fitting import fit, new_network
        from coinr.optimize.compress import compress
        from coinr.signal_files.api import pack_signal

        codec = dict(self.codec)
        if self.budget is not None:
            codec.pop("seed", None)
            return compress(signal, self.network.get("kind"), start=start, **self.budget, **codec).blob
        if start is not None:
            return pack_signal(fit(signal, start=start, **self.fitting).network, signal, start=start, **codec)
        network = new_network(signal, **self.network, seed=self.fitting.get("seed", 0))
        return pack_signal(fit(signal, network, **self.fitting).network, signal, **codec)

    def _start(self) -> Start:
        from coinr.starts.start import open_start

        assert self.start is not None
        return open_start(self.start)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_loaded"}


def _without_threads(fitting: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fitting.items() if name != "threads"}


@checked
def encode(
    items: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    network: str | None = None,
    width: int | None = None,
    hidden_layers: int | None = None,
    seed: int = 0,
    fitting: Mapping[str, Any] | None = None,
    start: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    time_limit: float | None = None,
    retries: int = 0,
    shard: tuple[int, int] | None = None,
    resume: bool = True,
    **codec: Any,
) -> Generator[Result, None, None]:
    """Encode the signals in many files, each as a file in a folder, in a process a core; yield what becomes of each.

    A file that fails does not stop the others. The folder gets ``manifest.jsonl`` with a line for every file made, and
    ``failures.jsonl`` where some failed. An output is made again only if it, its source or the settings have changed,
    so a run that was ended goes on with the same call. Closing the generator ends the processes.

    Parameters
    ----------
    items : iterable of path
        Files and folders as for :func:`coinr.open_signal`. Outputs are named by :func:`~coinr.many.names.output_names`.
    out : path
        The folder; it is made if there is none.
    network, width, hidden_layers
        As for :func:`coinr.fitting.new_network`: the kind and the sizes. By default those that suit each signal.
    seed : int
        Of the fits and of the dictionaries.
    fitting : mapping, optional
        Arguments of :func:`coinr.fit`, such as ``{"steps": 1000}``.
    start : path, optional
        A file of a start, as for :func:`coinr.fit` and :func:`coinr.pack_signal`; it decides the network.
    jobs, time_limit, retries, shard, resume
        As for :class:`~coinr.many.run.RunOptions`.
    **codec
        As for :func:`coinr.pack_signal`.

    Yields
    ------
    Result
        Of each item, in the order in which they are finished.

    Raises
    ------
    InputError
        At once, if an option is out of range or a file is given twice. While iterating, if the folder cannot be used.
    BackendError
        If no process can be started.
    """
    task = encode_task(network, width, hidden_layers, seed, fitting, start, codec)
    options = RunOptions(jobs, time_limit, retries, shard, resume)
    return run(task, [Path(item) for item in items], Path(out), options)


def encode_task(
    network: str | None,
    width: int | None,
    hidden_layers: int | None,
    seed: int,
    fitting: Mapping[str, Any] | None,
    start: str | os.PathLike[str] | None,
    codec: Mapping[str, Any],
) -> EncodeSignal:
    """Return the task of :func:`encode`, whose errors of options it raises."""
    from coinr.codec.options import EncodeOptions
    from coinr.codec.profiles.tasks import check_options

    check_options(EncodeOptions.from_arguments({**codec, "seed": seed}))
    chosen = {"kind": network, "width": width, "hidden_layers": hidden_layers}
    if start is not None and set(chosen.values()) != {None}:
        raise InputError("start decides the network: it goes without network, width, hidden_layers")
    return EncodeSignal(
        network={} if start is not None else chosen,
        fitting={"seed": seed, **(fitting or {})},
        start=None if start is None else Path(os.path.abspath(start)),
        codec={"seed": seed, **codec},
    )
