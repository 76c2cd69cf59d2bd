"""What a bit may cost in loss while weights are trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from coinr.refinement.network import Network

#: Relative rise of the loss by coding where nothing else is asked for, about 0.1 dB, and bounds of what is tried.
RISE = 0.02
# The rise while a score is still to be reached: noise slows training down, and errors may be larger in the file.
_TO_REACH = 0.006
_LEAST, _MOST = 1e-5, 10.0

# Parts of the training at which sizes and scores are looked at, and the widest change of the rise by one look.
_SIZED = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_JUDGED = (0.15, 0.3, 0.5, 0.7)
_WIDEST = 4.0


class Price:
    """A price of bits that leads to a relative rise of the loss by coding.

    At the optimum a bit more for each of N weights lowers what coding adds to the loss to a quarter: with a rise r, a
    bit is worth 2 ln 2 · r / N.

    Parameters
    ----------
    rise
        Relative rise of the loss.
    count
        N.
    """

    def __init__(self, rise: float, count: int) -> None:
        self.rise, self.count = rise, count

    @property
    def of_a_bit(self) -> float:
        """Relative change of the loss that a bit is worth."""
        return 2 * math.log(2) * self.rise / self.count

    def judge(self, network: Network, generator: torch.Generator, done: float) -> None:
        """Hear of the network before a step, ``done`` of the training being over."""

    def _move(self, factor: float) -> None:
        self.rise = min(max(self.rise * min(max(factor, 1 / _WIDEST), _WIDEST), _LEAST), _MOST)


class OfSize(Price):
    """A price that leads to a size.

    Parameters
    ----------
    bits
        Wanted.
    count
        N.
    """

    def __init__(self, bits: float, count: int) -> None:
        super().__init__(RISE, count)
        self._bits = bits
        self._ahead = list(_SIZED)

    def judge(self, network: Network, generator: torch.Generator, done: float) -> None:
        """As :meth:`Price.judge`."""
        if not self._ahead or done < self._ahead[0]:
            return
        self._ahead.pop(0)
        with torch.no_grad():
            bits = float(network.sent(network.noise(generator))[1])
        self._move(math.pow(4.0, min(max((bits - self._bits) / self.count, -1.0), 1.0)))


class OfScore(Price):
    """A price that leads to a score.

    Parameters
    ----------
    evaluate
        The score of a state dict, higher is better.
    full, wanted
        The score before, and the one to keep.
    count
        N.
    """

    def __init__(
        self, evaluate: Callable[[Mapping[str, Tensor]], float], full: float, wanted: float, count: int
    ) -> None:
        super().__init__(RISE if full > wanted else _TO_REACH, count)
        self._evaluate, self._full, self._wanted = evaluate, full, wanted
        self._ahead = list(_JUDGED)

    def judge(self, network: Network, generator: torch.Generator, done: float) -> None:
        """As :meth:`Price.judge`."""
        if not self._ahead or done < self._ahead[0]:
            return
        self._ahead.pop(0)
        with torch.no_grad():
            clean = float(self._evaluate(network.clean()))
            lost = clean - float(self._evaluate(network.sent(network.noise(generator))[0]))
        # while learning rates are high the score is lower than it will be
        spare = max(clean, self._full) - self._wanted
        # a score that is still to be reached says nothing of what may be lost then
        if spare > 0:
            self._move(spare / lost if lost > 0 else _WIDEST)
