"""Fitting a coordinate network to a signal."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from coinr.errors import CoinrError, InputError
from coinr.images import check_image, pixel_coordinates, psnr, render_image, to_device
from coinr.networks import Siren

#: Pixels whose gradient is computed at once on a CPU: the activations of a width up to 256 stay in a core's cache.
_CHUNK = 2048

#: Pixels on which progress is judged; the whole picture is rendered once, at the end.
_JUDGED = 16384

#: How often progress is judged in one fit.
_JUDGEMENTS = 20

_T = TypeVar("_T")
_Progress = Callable[[int, int, Tensor], None]


@dataclass(frozen=True)
class Fit:
    """What :func:`fit_image` returns.

    Attributes
    ----------
    network : nn.Module
        The fitted network, on the device it was fitted on.
    psnr : float
        PSNR in dB of ``render_image(network, H, W)`` against the whole image.
    history : list of (int, float)
        (steps done, PSNR in dB), before 8-bit rounding and on a fixed random choice of at most 16384 pixels.
    seconds : float
        Wall-clock seconds of the training loop.
    """

    network: nn.Module
    psnr: float
    history: list[tuple[int, float]] = field(repr=False)
    seconds: float


def fit_image(
    image: Any,
    network: nn.Module | None = None,
    *,
    width: int = 64,
    hidden_layers: int = 3,
    steps: int = 8000,
    batch: int = 4096,
    learning_rate: float = 2e-3,
    seed: int = 0,
    device: str | torch.device | None = None,
    threads: int | None = None,
    time_budget: float | None = None,
    progress: bool | None = None,
) -> Fit:
    """Return a network fitted to ``image``: its squared error minimised by Adam with a cosine decay to zero.

    Each step draws ``batch`` pixels at random, with replacement; pictures of at most ``batch`` pixels are taken whole
    in every step. The best weights seen at any of 20 evenly spaced judgements are the ones returned. Equal arguments
    give equal weights on one device and release of torch, on a CPU for every number of threads, unless
    ``time_budget`` ended the fit.

    Parameters
    ----------
    image : array
        uint8, or floating in [0, 1]; [H, W, 3] or [H, W].
    network : nn.Module, optional
        Trained in place: maps float32 [N, 2] coordinates (see :mod:`coinr.images`) to [N, 3] or [N, 1] values in
        [-1, 1]. If absent, a :class:`~coinr.Siren` of ``hidden_layers`` and ``width`` with weights drawn from ``seed``.
    steps, batch : int
        Steps of Adam, and pixels in each.
    learning_rate : float
        Of the first step.
    seed : int
        Seed of the initial weights and of the choice of pixels, 0 .. 2^64 - 1.
    device : str or torch.device, optional
        Where to fit; that of ``network`` if one is given, otherwise CUDA if there is a device, else the CPU.
    threads : int, optional
        Chunks of 2048 pixels worked on at the same time on a CPU; torch's number of threads if absent.
    time_budget : float, optional
        Seconds after which the fit ends; the learning rate decays so that it has reached zero by then.
    progress : bool, optional
        Show a progress bar on stderr; if absent, only when stderr is a terminal.

    Raises
    ------
    InputError
        If an argument is out of range, or ``network`` gives another shape than the image needs.
    CoinrError
        If the fit diverged, so that no finite weights were ever seen.
    """
    array = check_image(image)
    _check_arguments(steps, batch, learning_rate, seed, time_budget, threads)
    height, width_px = array.shape[:2]
    channels = 1 if array.ndim == 2 else 3
    if network is None:
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        network = Siren(2, channels, width, hidden_layers, generator=torch.Generator().manual_seed(seed))
    if device is not None:
        to_device(network, device)
    where = next((p.device for p in network.parameters() if p.requires_grad), None)
    if where is None:
        raise InputError("the network has no parameter to fit")
    with torch.no_grad():
        shape = list(network(torch.zeros(2, 2, device=where)).shape)
    if shape != [2, channels]:
        raise InputError(f"the network must give [N, {channels}] for [N, 2] coordinates, got {shape} for N = 2")

    array32 = array.copy() if array.dtype == np.uint8 else array.astype(np.float32)
    pixels = torch.from_numpy(array32).reshape(-1, channels).to(where)
    task = _Task(network, pixels, height, width_px)
    begin = time.perf_counter()
    with _bar(progress, steps) as report:
        history = _train(task, steps, batch, learning_rate, seed, threads, time_budget, report)
    seconds = time.perf_counter() - begin
    return Fit(network, psnr(array, render_image(network, height, width_px)), history, seconds)


def _check_arguments(
    steps: int, batch: int, learning_rate: float, seed: int, time_budget: float | None, threads: int | None
) -> None:
    for name, count in {"steps": steps, "batch": batch, "threads": 1 if threads is None else threads}.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise InputError(f"{name} must be an integer >= 1, got {count!r}")
    if not 0 < learning_rate < math.inf:
        raise InputError(f"learning_rate must be positive and finite, got {learning_rate!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**64:
        raise InputError(f"seed must be an integer in 0 .. 2^64 - 1, got {seed!r}")
    if time_budget is not None and not time_budget > 0:
        raise InputError(f"time_budget must be positive, got {time_budget!r}")


@dataclass(frozen=True)
class _Task:
    """A network and the pixels it shall show: uint8 or floating [P, C], row-major, on the network's device."""

    network: nn.Module
    pixels: Tensor
    height: int
    width: int

    def squared_error(self, indices: Tensor) -> Tensor:
        """Return the sum of squared errors, targets in [-1, 1], over the pixels ``indices``."""
        target = self.pixels[indices].to(torch.float32)
        target = target / 127.5 - 1 if self.pixels.dtype == torch.uint8 else target * 2 - 1
        out: Tensor = self.network(pixel_coordinates(indices, self.height, self.width))
        return (out - target).square().sum()


def _train(
    task: _Task,
    steps: int,
    batch: int,
    learning_rate: float,
    seed: int,
    threads: int | None,
    time_budget: float | None,
    report: _Progress,
) -> list[tuple[int, float]]:
    """Train ``task.network`` in place, leave its best weights in it and return the history."""
    count, device = len(task.pixels), task.pixels.device
    generator = torch.Generator(device).manual_seed(seed)
    judged = torch.randperm(count, generator=generator, device=device)[:_JUDGED]
    whole = torch.arange(count, device=device) if count <= batch else None
    parameters = [p for p in task.network.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, learning_rate)
    history: list[tuple[int, float]] = []
    best, best_weights = -math.inf, [p.detach().clone() for p in parameters]
    begin = time.perf_counter()
    with _Workers(task, parameters, threads) as workers:
        for step in itertools.count():
            elapsed = time.perf_counter() - begin
            done = max(step / steps, 0.0 if time_budget is None else elapsed / time_budget)
            if step * _JUDGEMENTS // steps > (step - 1) * _JUDGEMENTS // steps or done >= 1:
                value = workers.judge(judged)
                history.append((step, value))
                if value > best:
                    best, best_weights = value, [p.detach().clone() for p in parameters]
            if done >= 1:
                break
            optimiser.param_groups[0]["lr"] = learning_rate * (1 + math.cos(math.pi * done)) / 2
            indices = torch.randint(count, (batch,), generator=generator, device=device) if whole is None else whole
            error = workers.gradient(indices)
            workers.run(optimiser.step)
            report(step + 1, steps, error)
    if best == -math.inf:
        raise CoinrError(f"the fit diverged; try a learning rate below {learning_rate:g}")
    with torch.no_grad():
        for parameter, weights in zip(parameters, best_weights, strict=True):
            parameter.copy_(weights)
    return history


def _decibel(error: float) -> float:
    """Return the PSNR of a mean squared error of values in [-1, 1]."""
    if not math.isfinite(error):
        return -math.inf
    return math.inf if error == 0 else 10 * math.log10(4 / error)


class _Workers:
    """Works on many pixels of a task in fixed chunks, several chunks at a time on a CPU.

    Each chunk belongs to one single-threaded worker and the chunks' results are added in order: sums do not depend on
    the number of workers, and a chunk's activations stay in cache (at width 64 that takes a third off a step of 16384
    pixels). torch's own threads would meet at a barrier in every operation instead.
    """

    def __init__(self, task: _Task, parameters: list[nn.Parameter], threads: int | None) -> None:
        self._task = task
        self._parameters = parameters
        count = 0 if task.pixels.device.type != "cpu" else threads or torch.get_num_threads()
        self._pool = ThreadPoolExecutor(count, initializer=_one_thread) if count else None

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def gradient(self, indices: Tensor) -> Tensor:
        """Set every parameter's ``grad`` and return the mean squared error (0-dim), over the pixels ``indices``."""
        scale = 1 / (len(indices) * self._task.pixels.shape[1])

        def part(chunk: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
            loss = self._task.squared_error(chunk) * scale
            return loss.detach(), torch.autograd.grad(loss, self._parameters)

        errors, gradients = zip(*self._map(part, indices), strict=True)
        for parameter, parts in zip(self._parameters, zip(*gradients, strict=True), strict=True):
            parameter.grad = functools.reduce(torch.add, parts)
        return torch.stack(errors).sum()

    def judge(self, indices: Tensor) -> float:
        """Return the PSNR in dB over the pixels ``indices``, -inf if it is not a number."""

        @torch.no_grad()
        def part(chunk: Tensor) -> float:
            return float(self._task.squared_error(chunk))

        total: float = sum(self._map(part, indices))
        return _decibel(total / (len(indices) * self._task.pixels.shape[1]))

    def run(self, function: Callable[[], object]) -> None:
        """Call a function where tensors are worked on: single-threaded on a CPU."""
        if self._pool is None:
            function()
        else:
            self._pool.submit(function).result()

    def _map(self, part: Callable[[Tensor], _T], indices: Tensor) -> list[_T]:
        if self._pool is None:
            return [part(indices)]
        return list(self._pool.map(part, torch.split(indices, _CHUNK)))


def _one_thread() -> None:
    torch.set_num_threads(1)


@contextlib.contextmanager
def _bar(progress: bool | None, steps: int) -> Iterator[_Progress]:
    """Give a function (step, steps, error) that shows progress on stderr, or one that does nothing."""
    if not (sys.stderr.isatty() if progress is None else progress):
        yield lambda step, steps, error: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    smooth = math.nan
    columns = (TextColumn("fit"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[psnr]}"))
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        row = bar.add_task("fit", total=steps, psnr="")

        def report(step: int, steps: int, error: Tensor) -> None:
            nonlocal smooth
            if step % 10 and step < steps:  # reading the error waits for a GPU
                return
            smooth = float(error) if math.isnan(smooth) else 0.7 * smooth + 0.3 * float(error)
            bar.update(row, completed=step, psnr=f"{_decibel(smooth):.2f} dB")

        yield report
