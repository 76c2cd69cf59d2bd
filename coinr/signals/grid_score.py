"""Scores of networks on signals of regular grids, by the extension."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from coinr.engine.native import Grid
from coinr.networks import Network
from coinr.networks.fused import Fused, fused
from coinr.runtime.denormals import denormals_as_zeros
from coinr.signals.grid_signal import GridSignal, is_method
from coinr.signals.signal import Signal

#: Samples whose numbers are held at once.
BLOCK = 1 << 16


class GridScore:
    """Sum up what the score of a network is computed from; threads share groups of samples.

    Parameters
    ----------
    found : Fused
        The network; its weights may change later.
    grid : Grid
        Samples of the signal.
    rule : (str, float)
        As :meth:`~coinr.signals.grid_signal.GridSignal.score_rule` returns it.
    """

    def __init__(self, found: Fused, grid: Grid, rule: tuple[str, float]) -> None:
        self._found, self._grid, self._rule = found, grid, rule

    @staticmethod
    def of(network: nn.Module, signal: Signal) -> GridScore | None:
        """Return what sums up the score of a network; None if the extension cannot."""
        if not isinstance(network, Network) or not isinstance(signal, GridSignal):
            return None
        grid, rule = signal.grid(), signal.score_rule()
        if grid is None or rule is None or not is_method(signal.predict, Signal.predict):
            return None
        found = fused(network)
        return None if found is None else GridScore(found, grid, rule)

    def partial_score(self, numbers: Tensor, threads: int) -> Tensor:
        """Return the partial score of samples (int64 [N]) as the signal has it, float64 [K]."""
        tensors = [tensor.detach().numpy() for tensor in self._found.tensors]
        with denormals_as_zeros():
            sums = self._found.program.grid_score(tensors, self._grid, numbers.numpy(), *self._rule, threads)
        return torch.tensor(sums, dtype=torch.float64)
