"""The scores of networks over samples of their signals."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from coinr.fitting.workers import Workers
from coinr.progress import steps
from coinr.signals.signal import Signal

# Points that a CPU takes at once: the activations of a network of width 256 stay in a core's cache.
_POINTS = 2048

# The same where a sample has many points. Handling a sample costs more there than a cache miss.
_POINTS_OF_RAYS = 8192

# How many times more samples a GPU takes at once.
_ON_GPU = 16


def chunk_size(signal: Signal) -> int:
    """Return the number of samples of a signal that one worker takes at once."""
    return _POINTS if signal.points == 1 else max(1, _POINTS_OF_RAYS // signal.points)


def evaluate(
    workers: Workers,
    networks: Sequence[nn.Module],
    signals: Sequence[Signal],
    indices: Sequence[Tensor | range],
    label: str | None = None,
) -> list[float]:
    """Return the score of each network on samples of its signal.

    Parameters
    ----------
    workers
        That run the networks.
    networks, signals
        One signal for each network.
    indices
        Samples of each signal: int64 [N] on its device, or a range.
    label
        Of the progress, which is only shown where it is given.
    """

    @torch.no_grad()
    def evaluate_chunk(unit: tuple[int, Tensor | range]) -> Tensor:
        k, chunk = unit
        if isinstance(chunk, range):  # made here: those of all samples would take more memory than a large picture
            chunk = torch.arange(chunk.start, chunk.stop, device=device)
        inputs, targets = signals[k].batch(chunk)
        return signals[k].partial_score(signals[k].predict(networks[k], inputs), targets)

    device = next(networks[0].parameters()).device
    units: list[tuple[int, Tensor | range]] = []
    for k, (signal, some) in enumerate(zip(signals, indices, strict=True)):
        size = chunk_size(signal) * (1 if device.type == "cpu" else _ON_GPU)
        units += [(k, some[start : start + size]) for start in range(0, len(some), size)]
    totals: dict[int, Tensor] = {}
    results = workers.map(evaluate_chunk, units)
    for (k, _), part in zip(units, results if label is None else steps(results, label, len(units)), strict=True):
        totals[k] = totals[k] + part if k in totals else part
    return [signal.score(totals[k]) for k, signal in enumerate(signals)]
