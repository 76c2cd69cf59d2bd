"""The search for a sparse code: slope (λ) and step of the pursuit that give the largest error within a bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from coinr.codec.bracket import Bracket, slope
from coinr.codec.coders.coder import FLOAT32_MAX, FLOAT32_TINY, short_step
from coinr.codec.coders.sparse import LARGEST_INTEGER, MOST_ATOMS, SparseIntegers
from coinr.engine import native, philox
from coinr.engine.threads import available_threads

# At the optimum one more bit lowers the energy of a vector by λ = 2 ln 2 · 0.95 · (mean squared error). A pursuit over
# a million atoms reaches 0.95 of the ideal slope.
_SLOPE = 2 * math.log(2) * 0.95

# The step is about the correlation of the best atom midway in the pursuit, so that most integers are ±1. It is at most
# _WIDEST √λ, where ±2 become useful. Measured at 0.15, 0.4, 0.8 and 1.3 bits per weight: steps wider or narrower by a
# tenth need about 1 % more bits.
_STEP, _WIDEST = 1.06, 5.5

# Factors on the step that are tried in turn: with the first, short vectors do not reach every error.
_SHARES = (1.0, 0.7, 0.5, 0.35)

# Fast pursuits without a beam in a small dictionary find λ. In the full dictionary, whose codes are better by about
# _BETTER, λ is only corrected.
_SMALL = 1 << 14
_SMALL_TRIES, _TRIES = 8, 6
_SMALL_CLOSE, _CLOSE = 0.005, 0.002
_BETTER = 1.3

# At a fixed step the squared error is about proportional to this power of λ.
_POWER = 0.65

# The least water level, as a share of the largest energy: 30 bits a value, far more than any code has.
_LEAST_LEVEL = 2.0**-60

# Largest change of log λ from one pursuit to the next.
_STRIDE = 2.0

# The next error is aimed this far (in logarithm) beyond the target, so that two errors enclose it.
_BEYOND = 0.004

# Bits of the integers ±1, ±2, … at first, before they are estimated from codes.
_FIRST_BITS = (1.2, 4.0, 6.5, 8.5, 10.0)


@dataclass(frozen=True)
class PursuitResult:
    """Sparse codes, their squared error, and that of each vector, ``[B]``."""

    codes: SparseIntegers
    energy: float
    vector_energy: NDArray[np.float64]


class PursuitSearch:
    """Search for sparse codes of vectors: pursuits at changing λ, with estimates of the bits of integers.

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
        """Set the step to a factor of the usual one, and λ to the slope at the error of coded vectors."""
        typical = _STEP * math.sqrt(_largest_square(self.M)) * (self.size * self.level) ** 0.25
        widest = _WIDEST * math.sqrt(_SLOPE * self.level)
        self.step = short_step(share * min(typical, widest) / math.sqrt(self.vectors.shape[1]))
        self.slope = _SLOPE * self.level / self.step**2 if self.step else 0.0
        self._power = _POWER

    def _widest(self) -> float:
        """Return the widest step whose products decoders accept."""
        return FLOAT32_MAX / (LARGEST_INTEGER * min(int(self.vectors.shape[1]), self.M, MOST_ATOMS))

    def run(self) -> PursuitResult | None:
        """Search for codes with an error at most, and close to, the target; None where that is out of reach."""
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

    def _on_this_step(self) -> PursuitResult | None:
        small, at = min(self.M, _SMALL), math.log(self.slope)
        quick = Bracket[PursuitResult](self._next, at, tries=_SMALL_TRIES)
        for at in quick:
            found = self._pursue_at(quick, at, small, 1)
            if abs(found.energy / self.target - 1) < _SMALL_CLOSE:
                break
        else:
            at = self._next(quick)
        if (small, 1) != (self.M, self.beam):
            at += math.log(_BETTER)
        full = Bracket[PursuitResult](self._next, at, tries=_TRIES)
        for at in full:
            found = self._pursue_at(full, at, self.M, self.beam)
            enclosed = full.good is not None and full.bad is not None
            if enclosed or self.target * (1 - _CLOSE) < found.energy <= self.target:
                break
        over = min((point.made for point in full.points if not point.good), key=_energy, default=None)
        under = max((point.made for point in full.points if point.good), key=_energy, default=None)
        return under if under is None or over is None else self.mix(over, under)

    def _pursue_at(self, tried: Bracket[PursuitResult], at: float, M: int, beam: int) -> PursuitResult:
        """Pursue with log λ, and add the result to what was tried."""
        self.slope = math.exp(at)
        found = self.pursue(M, beam)
        tried.add(at, math.log(max(found.energy, 1e-300)), found.energy <= self.target, found)
        return found

    def _next(self, tried: Bracket[PursuitResult]) -> float:
        """Return log λ for an error a little beyond the target, along the last two points."""
        last, before = tried.points[-1], tried.points[-2] if len(tried.points) > 1 else None
        self._power = slope(last, before, self._power, _POWER / 2, 2 * _POWER)
        beyond = _BEYOND if last.good else -_BEYOND
        return last.reach(math.log(self.target) + beyond, self._power, _STRIDE)

    def pursue(self, M: int, beam: int) -> PursuitResult:
        """Pursue codes of all vectors over the first M atoms, then update the bits of integers."""
        n = self.vectors.shape[1]
        s = min(n, M, MOST_ATOMS)
        scaled = np.ascontiguousarray(self.vectors / self.step, np.float32)
        bits, threads = self.value_bits, available_threads(self.threads)
        counts, atoms, q = native.pursue(scaled, M, self.seed, self.slope, _log_binomials(M, s), bits, beam, threads)
        made = native.synthesize(atoms, q, self.step, philox.KINDS["hadamard"], n, M, self.seed, 0, threads)
        energies = np.square(made - self.vectors).sum(1)
        used = np.arange(s) < counts[:, None]
        codes = SparseIntegers(counts, np.ascontiguousarray(atoms[used]), np.ascontiguousarray(q[used]))
        self._learn(codes.q)
        return PursuitResult(codes, float(energies.sum()), energies)

    def _learn(self, q: NDArray[np.int32]) -> None:
        if len(q):
            seen = np.bincount(np.minimum(np.abs(q), 64), minlength=len(_FIRST_BITS) + 1)[1:] + 0.3
            self.value_bits = 1 - np.log2(seen / seen.sum())

    def mix(self, over: PursuitResult, under: PursuitResult) -> PursuitResult:
        """Combine two results: ``over`` for as many vectors as the target allows, ``under`` for the others."""
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
        return PursuitResult(codes, float(energies.sum()), energies)


def water_level(energy: NDArray[np.float64], allowed: float) -> float:
    """Solve mean(min(energy, level)) = allowed² for the level (reverse water-filling); vectors below are not coded.

    Parameters
    ----------
    energy
        Mean square of each vector: ``[B]``.
    allowed
        Root mean squared error of all together.
    """
    if energy.mean() <= allowed**2:
        return float(energy.max())
    # with the k smallest energies below the level, the others share what these leave
    energy = np.sort(energy)
    below = np.concatenate([[0.0], np.cumsum(energy)[:-1]])
    levels = (len(energy) * allowed**2 - below) / np.arange(len(energy), 0, -1)
    fits = levels <= energy
    # but for rounding it always does
    fits[-1] = True
    # a tolerance may be so small that its square is 0, which no rate reaches
    return float(max(levels[np.argmax(fits)], energy[-1] * _LEAST_LEVEL))


def _energy(found: PursuitResult) -> float:
    return found.energy


def _largest_square(M: int) -> float:
    """Estimate the mean square of the largest magnitude among M standard normal numbers."""
    L = math.log(2 * M)
    return 2 * L - math.log(L) - 1.38


@cache
def _log_binomials(M: int, s: int) -> NDArray[np.float64]:
    """Return log2 C(M, k) for k = 0 … s, float64 ``[s + 1]``."""
    k = np.arange(1, s + 1)
    return np.concatenate([[0.0], np.cumsum(np.log2((M - k + 1) / k))])
