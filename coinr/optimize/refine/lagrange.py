"""The Lagrange multiplier of the rate while weights are trained, and controllers that lead it to a size or a score."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from coinr.optimize.refine.noisy_network import NoisyNetwork, negated
from coinr.runtime.work_limit import WorkLimit

#: Relative increase of the loss by coding without another target, about 0.1 dB of a squared error.
LOSS_INCREASE = 0.02

# Bounds of the increase that a controller may set, and the largest factor of one update.
_LEAST, _MOST, _LARGEST_FACTOR = 1e-5, 10.0, 4.0

# Where a score is to be kept: the increase at the start, which is also the least one. Training with noise allows larger
# errors, but it lowers the score before coding. Where an increase R would use up all that the score may lose, 2 R² gave
# the smallest files of SIRENs (almost nothing at 0.1 dB, R / 4 at 0.5 dB); more than R / 2 hardly ever paid. Errors of
# the rows are trained even by the smallest noise.
_FIRST, _PER_SQUARE, _LARGEST_SHARE = 0.001, 2.0, 0.5

# Shares of the training at which sizes, and scores, are measured.
_SIZES_AT = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_SCORES_AT = (0.15, 0.35, 0.6)

# Share of the work limit that measuring scores during the training may take.
_SCORES_SHARE = 0.5


class LagrangeMultiplier:
    """The weight of a bit in the objective: relative change of the loss + per_bit · bits.

    It is set by the relative increase r of the loss that coding is to cause. One more bit for each of N weights lowers
    the error that coding adds to a quarter, so at the optimum a bit is worth 2 ln 2 · r / N.

    Parameters
    ----------
    loss_increase
        r.
    count
        N.
    """

    def __init__(self, loss_increase: float, count: int) -> None:
        self.loss_increase, self.count = loss_increase, count

    @property
    def per_bit(self) -> float:
        """Relative change of the loss that one bit is worth."""
        return 2 * math.log(2) * self.loss_increase / self.count

    def update(self, network: NoisyNetwork, generator: torch.Generator, done: float, limit: WorkLimit) -> None:
        """Adapt to the network before a step; controllers override this.

        Parameters
        ----------
        network
            As trained so far.
        generator
            Of the noise.
        done
            Share of the training that is over.
        limit
            Of the work besides training steps.
        """

    def _scale(self, factor: float) -> None:
        factor = min(max(factor, 1 / _LARGEST_FACTOR), _LARGEST_FACTOR)
        self.loss_increase = min(max(self.loss_increase * factor, _LEAST), _MOST)


class SizeController(LagrangeMultiplier):
    """A multiplier that leads the estimated bits to a target: multiplied by 4 for each bit a weight above it.

    Parameters
    ----------
    bits
        The target.
    count
        N.
    """

    def __init__(self, bits: float, count: int) -> None:
        super().__init__(LOSS_INCREASE, count)
        self._bits = bits
        self._updates = list(_SIZES_AT)

    def update(self, network: NoisyNetwork, generator: torch.Generator, done: float, limit: WorkLimit) -> None:
        """Adapt to the network before a step, as :meth:`LagrangeMultiplier.update`."""
        if not self._updates or done < self._updates[0]:
            return
        self._updates.pop(0)
        with torch.no_grad():
            bits = float(network.noisy(network.noise(generator))[1])
        self._scale(math.pow(4.0, min(max((bits - self._bits) / self.count, -1.0), 1.0)))


class ScoreController(LagrangeMultiplier):
    """A multiplier that leads the loss by coding to a part of what the score may lose.

    Parameters
    ----------
    evaluate
        The score of a state dict, higher is better.
    full, target
        The score before training, and the one to keep.
    count
        N.
    """

    def __init__(
        self, evaluate: Callable[[Mapping[str, Tensor]], float], full: float, target: float, count: int
    ) -> None:
        super().__init__(_FIRST, count)
        self._evaluate, self._full, self._target = evaluate, full, target
        self._updates = list(_SCORES_AT)

    def update(self, network: NoisyNetwork, generator: torch.Generator, done: float, limit: WorkLimit) -> None:
        """Adapt to the network before a step, as :meth:`LagrangeMultiplier.update`."""
        if not self._updates or done < self._updates[0]:
            return
        self._updates.pop(0)
        if limit.used_up(_SCORES_SHARE):
            return
        noise = network.noise(generator)
        with torch.no_grad():
            with limit.unit("score"):
                plain = float(self._evaluate(network.value()))
            # with the noise and its negative: what they do to the score cancels to first order
            with limit.unit("score"):
                noisy = [float(self._evaluate(network.noisy(one)[0])) for one in (noise, negated(noise))]
        lost = plain - sum(noisy) / 2
        # at high learning rates the score is lower than it will be at the end
        spare = max(plain, self._full) - self._target
        # while the target is not reached, nothing is known of what may be lost once it is
        if 0 < spare < math.inf:
            # a loss that is NaN or infinite asks for a smaller increase
            whole = math.inf if lost <= 0 else self.loss_increase * spare / lost if lost < math.inf else 0.0
            self._scale(self._part(whole) / self.loss_increase)

    def _part(self, whole: float) -> float:
        """Return the increase to train with, given that which uses up all that the score may lose."""
        return max(min(_PER_SQUARE * whole, _LARGEST_SHARE) * whole, _FIRST)


class DistillationController(ScoreController):
    """A multiplier that leads the output error by coding to all that a score may lose by it.

    Without noise, weights that start at no error have no gradient: nothing is trained by noise that is much smaller.

    Parameters are those of :class:`ScoreController`.
    """

    def __init__(
        self, evaluate: Callable[[Mapping[str, Tensor]], float], full: float, target: float, count: int
    ) -> None:
        super().__init__(evaluate, full, target, count)
        self.loss_increase = LOSS_INCREASE

    def _part(self, whole: float) -> float:
        return whole
