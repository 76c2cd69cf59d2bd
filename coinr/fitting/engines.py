"""Errors, gradients and scores of many samples of one or several signals."""

from __future__ import annotations

import functools
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from coinr.engine.threads import MOST
from coinr.errors import InputError
from coinr.fitting.stack import Stack
from coinr.progress import steps
from coinr.signals.signal import Signal

#: Points at which a CPU sees a network at once: the activations of a width up to 256 stay in a core's cache.
_POINTS = 2048

#: The same where a sample has many points, whose handling costs more than what leaves the cache.
_POINTS_OF_RAYS = 8192

_PREPARING = threading.Lock()

_A = TypeVar("_A")
_B = TypeVar("_B")


class Workers:
    """Threads that work on tensors, each single-threaded and without denormals; on a GPU the caller's own.

    Each chunk of samples belongs to one worker and the chunks' results are added in order: sums do not depend on the
    number of workers, and a chunk's activations stay in cache (at width 64 that takes a third off a step of 16384
    pixels). torch's own threads would meet at a barrier in every operation instead.
    """

    def __init__(self, device: torch.device, threads: int | None) -> None:
        count = 0 if device.type != "cpu" else min(threads or torch.get_num_threads(), MOST)
        self._pool = ThreadPoolExecutor(count, initializer=_prepare_thread) if count else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def run(self, function: Callable[[], _B]) -> _B:
        """Call a function where tensors are worked on."""
        return function() if self._pool is None else self._pool.submit(function).result()

    def map(self, function: Callable[[_A], _B], arguments: Iterable[_A]) -> Iterable[_B]:
        """The results of a function, in the order of its arguments."""
        return map(function, arguments) if self._pool is None else self._pool.map(function, arguments)


def _prepare_thread() -> None:
    with _PREPARING:
        usual = torch.get_num_threads()
        torch.set_num_threads(1)
        # besides this thread's, that set the number which new threads of the caller's start with
        restoring = threading.Thread(target=torch.set_num_threads, args=(usual,))
        restoring.start()
        restoring.join()
    torch.set_flush_denormal(True)  # see coinr.runtime.denormals


def _chunk(signal: Signal) -> int:
    """Samples of a signal that one worker takes at once."""
    return _POINTS if signal.points == 1 else max(1, _POINTS_OF_RAYS // signal.points)


def judge(
    workers: Workers,
    networks: Sequence[nn.Module],
    signals: Sequence[Signal],
    indices: Sequence[Tensor],
    label: str | None = None,
) -> list[float]:
    """The score of each network over the samples ``indices`` of its signal; with progress under ``label``."""

    @torch.no_grad()
    def part(unit: tuple[int, Tensor]) -> Tensor:
        k, chunk = unit
        inputs, wanted = signals[k].batch(chunk)
        return signals[k].partial_score(signals[k].predict(networks[k], inputs), wanted)

    # what a CPU's cache can hold is little for a GPU
    times = 1 if indices[0].device.type == "cpu" else 16
    units = [
        (k, chunk) for k, signal in enumerate(signals) for chunk in torch.split(indices[k], _chunk(signal) * times)
    ]
    tallies: dict[int, Tensor] = {}
    results = workers.map(part, units)
    for (k, _), tally in zip(units, results if label is None else steps(results, label, len(units)), strict=True):
        tallies[k] = tallies[k] + tally if k in tallies else tally
    return [signal.score(tallies[k]) for k, signal in enumerate(signals)]


class Engine(ABC):
    """Gradients of a stack of networks.

    Parameters
    ----------
    networks : sequence of nn.Module
        K networks, whose trained tensors are ``stack``.
    signals : sequence of Signal
        One for each network, on its device.
    mixed : bool
        Whether to multiply matrices in half precision.
    """

    def __init__(self, networks: Sequence[nn.Module], signals: Sequence[Signal], stack: Stack, mixed: bool) -> None:
        self.networks, self.signals, self.stack, self.mixed = networks, signals, stack, mixed

    def autocast(self) -> torch.autocast:
        """The context in which networks are called."""
        return torch.autocast(self.stack.tensors[0].device.type, torch.float16, enabled=self.mixed)

    @abstractmethod
    def load(self, block: Sequence[Tensor]) -> None:
        """Take the samples of the next steps: for each signal int64 [steps, batch]."""

    @abstractmethod
    def gradient(self, step: int, factor: Tensor) -> Tensor:
        """Set ``grad`` of the stack to that of ``factor`` times each network's mean squared error in a loaded step.

        Returns
        -------
        Tensor
            The errors, float32 [K].
        """


class Separate(Engine):
    """Each network by itself, in chunks of samples.

    On a CPU this takes 0.8 of the time of one batched computation (:func:`torch.func.vmap`) of 8 SIRENs of width 64:
    the activations of a chunk of one network stay in cache.
    """

    def __init__(
        self, networks: Sequence[nn.Module], signals: Sequence[Signal], stack: Stack, mixed: bool, workers: Workers
    ) -> None:
        super().__init__(networks, signals, stack, mixed)
        self._workers = workers
        self._block: Sequence[Tensor] = ()

    def load(self, block: Sequence[Tensor]) -> None:
        """As :meth:`Engine.load`."""
        self._block = block

    def gradient(self, step: int, factor: Tensor) -> Tensor:
        """As :meth:`Engine.gradient`."""

        def part(unit: tuple[int, Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
            k, chunk = unit
            signal, samples = self.signals[k], self._block[k].shape[1]
            inputs, wanted = signal.batch(chunk)
            with self.autocast():
                error = signal.squared_error(self.networks[k], inputs, wanted)
            error = error / (samples * signal.out_features)
            return error.detach(), torch.autograd.grad(error * factor, self.stack.parameters[k])

        on_cpu = factor.device.type == "cpu"
        units = [
            (k, chunk)
            for k, (signal, rows) in enumerate(zip(self.signals, self._block, strict=True))
            for chunk in (torch.split(rows[step], _chunk(signal)) if on_cpu else [rows[step]])
        ]
        parts: list[list[tuple[Tensor, tuple[Tensor, ...]]]] = [[] for _ in self.signals]
        for (k, _), result in zip(units, self._workers.map(part, units), strict=True):
            parts[k].append(result)
        sums = [[functools.reduce(torch.add, column) for column in zip(*(g for _, g in p), strict=True)] for p in parts]
        for stacked, column in zip(self.stack.tensors, zip(*sums, strict=True), strict=True):
            stacked.grad = torch.stack(column)
        return torch.stack([functools.reduce(torch.add, [error for error, _ in p]) for p in parts])


class Batched(Engine):
    """All networks in one batched computation, for a GPU: each operation is one launch for all of them."""

    def __init__(self, networks: Sequence[nn.Module], signals: Sequence[Signal], stack: Stack, mixed: bool) -> None:
        super().__init__(networks, signals, stack, mixed)
        if any(type(n) is not type(networks[0]) or _config(n) != _config(networks[0]) for n in networks):
            raise InputError("the networks must be of one kind and configuration")
        fixed = [
            {name: t.detach() for name, t in (*n.named_parameters(), *n.named_buffers()) if name not in stack.names}
            for n in networks
        ]
        self._fixed = {name: torch.stack([tensors[name] for tensors in fixed]) for name in fixed[0]}
        self._samples: list[tuple[Tensor | None, Tensor, Tensor]] = []

    @staticmethod
    def suits(signals: Sequence[Signal]) -> bool:
        """Whether the error is that of the network's values alone, without a renderer in between."""
        plain = Signal.predict, Signal.squared_error
        return all((type(s).predict, type(s).squared_error) == plain for s in signals)

    def load(self, block: Sequence[Tensor]) -> None:
        """As :meth:`Engine.load`."""
        sizes = sorted({rows.shape[1] for rows in block})
        self._samples = []
        for size in sizes:
            members = [k for k, rows in enumerate(block) if rows.shape[1] == size]
            pairs = [self.signals[k].batch(block[k].reshape(-1)) for k in members]
            inputs, wanted = (
                torch.stack([t.unflatten(0, (-1, size)) for t in column], 1) for column in zip(*pairs, strict=True)
            )
            whole = len(members) == len(block)
            self._samples.append(
                (None if whole else torch.tensor(members, dtype=torch.int64, device=inputs.device), inputs, wanted)
            )

    def gradient(self, step: int, factor: Tensor) -> Tensor:
        """As :meth:`Engine.gradient`."""
        errors = torch.zeros(len(self.networks), dtype=torch.float32, device=factor.device)
        for members, inputs, wanted in self._samples:
            trained = dict(zip(self.stack.names, self.stack.tensors, strict=True))
            state = trained | self._fixed
            if members is not None:
                state = {name: tensor[members] for name, tensor in state.items()}
            with self.autocast():
                values = vmap(self._call)(state, inputs[step])
            error = (values - wanted[step]).square().mean((1, 2))
            errors = error if members is None else errors.index_add(0, members, error)
        gradients = torch.autograd.grad((errors * factor).sum(), self.stack.tensors)
        for stacked, gradient in zip(self.stack.tensors, gradients, strict=True):
            stacked.grad = gradient
        return errors.detach()

    def _call(self, state: dict[str, Tensor], inputs: Tensor) -> Tensor:
        out: Tensor = functional_call(self.networks[0], state, (inputs,))
        return out


def _config(network: nn.Module) -> object:
    """What tells equal networks of coinr from others; other modules are only compared by type and shapes."""
    return getattr(network, "config", None)
