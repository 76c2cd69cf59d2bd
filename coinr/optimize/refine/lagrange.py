"""What a bit may cost in loss while weights are trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from coinr.optimize.refine.noisy_network import Network, negated
from coinr.runtime.work_limit import WorkLimit

#: Relative rise of the loss by coding where nothing else is asked for, about 0.1 dB, and bounds of what is tried.
RISE = 0.02
_LEAST, _MOST = 1e-5, 10.0

# The rise at first, and at least, where a score is to be kept. Noise lets errors be larger and costs some of the score
# before coding: of a rise R that would take all that may be lost, what pays is about 2 R² (bytes of SIRENs: next to
# nothing at 0.1 dB, a quarter of R at 0.5 dB), and hardly ever more than half of R. Errors learn from noise alone.
_FIRST, _PAYS, _SHARE = 0.001, 2.0, 0.5

# Parts of the training at which sizes and scores are looked at, and the widest change of the rise by one look.
_SIZED = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_JUDGED = (0.15, 0.35, 0.6)
_WIDEST = 4.0

# What of its own work a refinement may spend on looks at the score while it trains.
_LOOKS = 0.5


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

    def judge(self, network: Network, generator: torch.Generator, done: float, limit: WorkLimit) -> None:
        """Hear of the network before a step, ``done`` of the training being over, where there is room for it."""

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

    def judge(self, network: Network, generator: torch.Generator, done: float, limit: WorkLimit) -> None:
        """As :meth:`Price.judge`."""
        if not self._ahead or done < self._ahead[0]:
            return
        self._ahead.pop(0)
        with torch.no_grad():
            bits = float(network.sent(network.noise(generator))[1])
        self._move(math.pow(4.0, min(max((bits - self._bits) / self.count, -1.0), 1.0)))


class OfScore(Price):
    """A price that leads to a part of what a score may lose, small where little may be lost.

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
        super().__init__(_FIRST, count)
        self._evaluate, self._full, self._wanted = evaluate, full, wanted
        self._ahead = list(_JUDGED)

    def judge(self, network: Network, generator: torch.Generator, done: float, limit: WorkLimit) -> None:
        """As :meth:`Price.judge`."""
        if not self._ahead or done < self._ahead[0]:
            return
        self._ahead.pop(0)
        if limit.used_up(_LOOKS):
            return
        noise = network.noise(generator)
        with torch.no_grad():
            with limit.unit("score"):
                clean = float(self._evaluate(network.clean()))
            # with the noise and its negative: to first order what they do to the score cancels
            with limit.unit("score"):
                noisy = [float(self._evaluate(network.sent(one)[0])) for one in (noise, negated(noise))]
        lost = clean - sum(noisy) / 2
        # while learning rates are high the score is lower than it will be
        spare = max(clean, self._full) - self._wanted
        # a score that is still to be reached says nothing of what may be lost then
        if 0 < spare < math.inf:
            # a loss that is no number, or not finite, asks for less
            whole = math.inf if lost <= 0 else self.rise * spare / lost if lost < math.inf else 0.0
            self._move(max(min(_PAYS * whole, _SHARE) * whole, _FIRST) / self.rise)
