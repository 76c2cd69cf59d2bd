"""Gradients of the errors of networks on signals of regular grids, by the extension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, nn

from coinr.engine.native import Grid
from coinr.fitting.fused_gradients import FusedGradients
from coinr.fitting.stack import Stack
from coinr.fitting.workers import Workers
from coinr.networks.fused import Fused
from coinr.signals.grid_signal import GridSignal
from coinr.signals.signal import Signal


class GridGradients(FusedGradients):
    """As :class:`FusedGradients`; inputs and targets are computed where they are used, a few samples at a time.

    Parameters
    ----------
    networks, signals, stack, programs, workers
        As for :class:`FusedGradients`.
    grids : list of Grid
        Of the signals, see :meth:`grids_of`.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        signals: Sequence[Signal],
        stack: Stack,
        programs: Sequence[Fused],
        workers: Workers,
        grids: Sequence[Grid],
    ) -> None:
        super().__init__(networks, signals, stack, programs, workers)
        self._grids = grids
        self._numbers: list[NDArray[Any]] = []

    @staticmethod
    def grids_of(signals: Sequence[Signal]) -> list[Grid] | None:
        """Return the samples of all signals for the extension; None if it cannot compute those of each."""
        found = [signal.grid() if isinstance(signal, GridSignal) else None for signal in signals]
        grids = [grid for grid in found if grid is not None]
        return grids if len(grids) == len(found) else None

    def load(self, block: Sequence[Tensor]) -> None:
        """Set the samples of the next steps, as :meth:`Gradients.load`."""
        self._numbers = [rows.numpy() for rows in block]

    def _differentiate(self, step: int, factor: float) -> list[float]:
        numbers = [rows[step] for rows in self._numbers]
        return self._program.grid_squared_error(
            self._weights, self._grids, numbers, factor, self._out, self._workers.count
        )
