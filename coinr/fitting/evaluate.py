"""The scores of networks over samples of their signals."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from coinr.fitting.workers import Workers
from coinr.progress import steps
from coinr.signals.grid_score import BLOCK, GridScore
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


class Scorer:
    """Scores of networks on samples of their signals, while the networks are trained.

    Parameters
    ----------
    workers
        That run the networks.
    networks, signals
        One signal for each network.
    """

    def __init__(self, workers: Workers, networks: Sequence[nn.Module], signals: Sequence[Signal]) -> None:
        self._workers, self._networks, self._signals = workers, networks, signals
        self._on_grids = [GridScore.of(network, signal) for network, signal in zip(networks, signals, strict=True)]
        self._device = next(networks[0].parameters()).device

    def scores(self, indices: Sequence[Tensor | range], label: str | None = None) -> list[float]:
        """Return the score of each network.

        Parameters
        ----------
        indices
            Samples of each signal: int64 [N] on its device, or a range.
        label
            Of the progress, which is only shown where it is given.
        """
        by_chunks: list[tuple[int, Tensor | range]] = []
        by_blocks: list[tuple[int, Tensor | range]] = []
        for k, (signal, some) in enumerate(zip(self._signals, indices, strict=True)):
            if self._on_grids[k] is not None:
                by_blocks += [(k, some[start : start + BLOCK]) for start in range(0, len(some), BLOCK)]
                continue
            size = chunk_size(signal) * (1 if self._device.type == "cpu" else _ON_GPU)
            by_chunks += [(k, some[start : start + size]) for start in range(0, len(some), size)]
        units = [*by_chunks, *by_blocks]
        results = chain(self._workers.map(self._of_chunk, by_chunks), map(self._of_block, by_blocks))
        totals: dict[int, Tensor] = {}
        for (k, _), part in zip(units, results if label is None else steps(results, label, len(units)), strict=True):
            totals[k] = totals[k] + part if k in totals else part
        return [signal.score(totals[k]) for k, signal in enumerate(self._signals)]

    @torch.no_grad()
    def _of_chunk(self, unit: tuple[int, Tensor | range]) -> Tensor:
        """Return the partial score of samples that one worker takes."""
        k, signal = unit[0], self._signals[unit[0]]
        inputs, targets = signal.batch(self._numbers(unit[1]))
        return signal.partial_score(signal.predict(self._networks[k], inputs), targets)

    def _of_block(self, unit: tuple[int, Tensor | range]) -> Tensor:
        """Return the partial score of samples that the extension's threads share."""
        found = self._on_grids[unit[0]]
        assert found is not None
        return found.partial_score(self._numbers(unit[1]), self._workers.count)

    def _numbers(self, some: Tensor | range) -> Tensor:
        # made here: those of all samples would take more memory than a large picture
        return torch.arange(some.start, some.stop, device=self._device) if isinstance(some, range) else some
