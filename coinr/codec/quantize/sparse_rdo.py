"""The encoder of sparse codes: slope and step of the pursuit for an error that must not be exceeded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from coinr.codec.coders.coder import FLOAT32_MAX, FLOAT32_TINY, short_step
from coinr.codec.coders.sparse import LARGEST_INTEGER, MOST_ATOMS, SparseIntegers
from coinr.engine import native, philox
from coinr.engine.threads import available_threads

# At an optimum a bit more lowers the energy of a vector by lambda = 2 ln 2 · 0.95 · (mean squared error), the factor
# 0.95 being how much of the ideal slope a pursuit over a million atoms reaches.
_SLOPE = 2 * math.log(2) * 0.95

# The step of the integers: about the correlation that the best atom has on the way from the first residual to the last,
# so that most integers are ±1; but no wider than this in units of the root of lambda, where ±2 begin to pay. Measured
# at 0.15, 0.4, 0.8 and 1.3 bits per weight: steps wider or narrower by a tenth need about 1 % more bits.
_STEP, _WIDEST = 1.06, 5.5

# Shares of it that are tried one after the other: short vectors do not reach every error on the first.
_SHARES = (1.0, 0.7, 0.5, 0.35)

# Pursuits of one code in a small dictionary find lambda in no time. In the full one, where codes are about so much
# better, it is only corrected.
_SMALL = 1 << 14
_SMALL_TRIES, _TRIES = 8, 6
_SMALL_CLOSE, _CLOSE = 0.005, 0.002
_BETTER = 1.3

# Squared error goes with about this power of lambda, the step being what it is.
_POWER = 0.65

# How far beyond the target the next error is aimed at, so that two of them enclose it.
_BEYOND = 0.004

# Bits of the integers ±1, ±2, ... before anything is known of them.
_FIRST_BITS = (1.2, 4.0, 6.5, 8.5, 10.0)


@dataclass(frozen=True)
class Pursued:
    """Codes on a step and the squared error they leave on their vectors."""

    codes: SparseIntegers
    energy: float
    vector_energy: NDArray[np.float64]


class Search:
    """Pursuits of the same vectors on the same step, with what they learned of the price of integers.

    Parameters
    ----------
    vectors
        float64 ``[B, n]``.
    allowed
        Root mean squared error to aim at, positive.
    M, beam
        Atoms of the hadamard dictionary, and codes that are followed for each vector.
    """

    def __init__(
        self, vectors: NDArray[np.float64], allowed: float, M: int, beam: int, seed: int, threads: int | None
    ) -> None:
        self.M, self.beam, self.seed = M, beam, seed
        self.threads = threads
        self.vectors = vectors
        energy = np.square(vectors).mean(1)
        self.level = water_level(energy, allowed)
        self.size = float(energy[energy >= self.level].mean()) if self.level < energy.max() else self.level
        self.target = allowed**2 * vectors.size
        self.value_bits = np.array(_FIRST_BITS)
        self._start(1.0)

    def _start(self, share: float) -> None:
        """Sets the step to a share of the usual one, and lambda to what goes with the error of coded vectors."""
        typical = _STEP * math.sqrt(_largest_square(self.M)) * (self.size * self.level) ** 0.25
        widest = _WIDEST * math.sqrt(_SLOPE * self.level)
        self.step = short_step(share * min(typical, widest) / math.sqrt(self.vectors.shape[1]))
        self.slope = _SLOPE * self.level / self.step**2 if self.step else 0.0
        self._power = _POWER
        self._before: tuple[float, float] | None = None  # logarithms of lambda and error

    def _widest(self) -> float:
        """The widest step whose products decoders accept."""
        return FLOAT32_MAX / (LARGEST_INTEGER * min(int(self.vectors.shape[1]), self.M, MOST_ATOMS))

    def run(self) -> Pursued | None:
        """Codes whose error is at most, and close to, the target; None where that is out of reach."""
        for share in _SHARES:
            self._start(share)
            if not FLOAT32_TINY <= self.step <= self._widest():
                return None
            if float(np.abs(self.vectors).max(initial=0.0)) / self.step >= LARGEST_INTEGER:
                return None
            found = self._on_this_step()
            if found is not None:
                return found
        return None

    def _on_this_step(self) -> Pursued | None:
        small = min(self.M, _SMALL)
        for _ in range(_SMALL_TRIES):
            found = self.pursue(small, 1)
            if abs(found.energy / self.target - 1) < _SMALL_CLOSE:
                break
            self._correct(found)
        if (small, 1) != (self.M, self.beam):
            self.slope *= _BETTER
        self._before = None
        over: Pursued | None = None
        under: Pursued | None = None
        for _ in range(_TRIES):
            found = self.pursue(self.M, self.beam)
            if found.energy > self.target:
                over = found if over is None or found.energy < over.energy else over
            else:
                under = found if under is None or found.energy > under.energy else under
            if under is not None and (over is not None or under.energy > self.target * (1 - _CLOSE)):
                break
            self._correct(found)
        return under if under is None or over is None else self.mix(over, under)

    def _correct(self, found: Pursued) -> None:
        """Lambda for an error a little beyond the target, seen from this one."""
        here = math.log(self.slope), math.log(max(found.energy, 1e-300))
        if self._before is not None and here[0] != self._before[0]:
            power = (here[1] - self._before[1]) / (here[0] - self._before[0])
            self._power = min(max(power, _POWER / 2), 2 * _POWER)
        self._before = here
        beyond = -_BEYOND if found.energy > self.target else _BEYOND
        away = (math.log(self.target) + beyond - here[1]) / self._power
        self.slope *= math.exp(min(max(away, -2.0), 2.0))

    def pursue(self, M: int, beam: int) -> Pursued:
        """Codes of all vectors over the first M atoms; the price of integers follows from them."""
        n = self.vectors.shape[1]
        s = min(n, M, MOST_ATOMS)
        scaled = np.ascontiguousarray(self.vectors / self.step, np.float32)
        bits, threads = self.value_bits, available_threads(self.threads)
        counts, atoms, q = native.pursue(scaled, M, self.seed, self.slope, _set_bits(M, s), bits, beam, threads)
        made = native.synthesize(atoms, q, self.step, philox.KINDS["hadamard"], n, M, self.seed, 0, threads)
        energies = np.square(made - self.vectors).sum(1)
        used = np.arange(s) < counts[:, None]
        codes = SparseIntegers(counts, np.ascontiguousarray(atoms[used]), np.ascontiguousarray(q[used]))
        self._learn(codes.q)
        return Pursued(codes, float(energies.sum()), energies)

    def _learn(self, q: NDArray[np.int32]) -> None:
        if len(q):
            seen = np.bincount(np.minimum(np.abs(q), 64), minlength=len(_FIRST_BITS) + 1)[1:] + 0.3
            self.value_bits = 1 - np.log2(seen / seen.sum())

    def mix(self, over: Pursued, under: Pursued) -> Pursued:
        """The codes of ``over`` for as many vectors as the target allows, those of ``under`` for the others."""
        total = under.energy + np.cumsum(over.vector_energy - under.vector_energy)
        good = np.flatnonzero(total <= self.target)
        first = int(good[-1]) + 1 if good.size else 0
        energies = np.concatenate([over.vector_energy[:first], under.vector_energy[first:]])
        cut_over, cut_under = int(over.codes.counts[:first].sum()), int(under.codes.counts[:first].sum())
        codes = SparseIntegers(
            np.concatenate([over.codes.counts[:first], under.codes.counts[first:]]),
            np.concatenate([over.codes.indices[:cut_over], under.codes.indices[cut_under:]]),
            np.concatenate([over.codes.q[:cut_over], under.codes.q[cut_under:]]),
        )
        return Pursued(codes, float(energies.sum()), energies)


def water_level(energy: NDArray[np.float64], allowed: float) -> float:
    """The mean squared error of vectors that are coded, the others having less energy and being left out.

    Parameters
    ----------
    energy
        Mean square of each vector: ``[B]``.
    allowed
        Root mean squared error of all together.
    """
    low, high = 0.0, float(energy.max())
    if energy.mean() <= allowed**2:
        return high
    for _ in range(60):
        level = (low + high) / 2
        low, high = (level, high) if np.minimum(energy, level).mean() < allowed**2 else (low, level)
    return high


def _largest_square(M: int) -> float:
    """About the mean square of the largest magnitude among M standard normal numbers."""
    L = math.log(2 * M)
    return 2 * L - math.log(L) - 1.38


@cache
def _set_bits(M: int, s: int) -> NDArray[np.float64]:
    """log2 C(M, k) for k = 0 … s."""
    k = np.arange(1, s + 1)
    return np.concatenate([[0.0], np.cumsum(np.log2((M - k + 1) / k))])
