"""The encoder of sparse codes: slope and step of the pursuit for an error that must not be exceeded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from coinr import _C, rng
from coinr._backend import available_threads
from coinr.coders.base import short_step
from coinr.coders.sparse import LARGEST_INTEGER, MOST_ATOMS, SparseIntegers
from coinr.dictionary import Dictionary

# At an optimum a bit more lowers the energy of a vector by lambda = 2 ln 2 · 0.88 · (mean squared error), the factor
# 0.88 being how much of the ideal slope a pursuit over a million atoms reaches.
_SLOPE = 2 * math.log(2) * 0.88

# Step of the integers, squared norm of an atom times its square in units of lambda: most integers are then ±1.
# Measured for lambda from 0.1 to 0.7 of the variance: 5.0 and 6.0 need 1 to 2 % more bits at equal error.
_STEP = 5.5

# Pursuits with a small dictionary settle lambda; those with the full one only correct it.
_SMALL = 1 << 14
_SMALL_TRIES, _TRIES = 6, 3
_CLOSE = 0.01

# Mean squared norm of an atom, per entry.
_ENTRY_ENERGY = {"gaussian": 2.0, "rademacher": 1.0, "hadamard": 1.0}

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
    """

    def __init__(
        self, vectors: NDArray[np.float64], allowed: float, kind: str, M: int, seed: int, threads: int | None
    ) -> None:
        n = vectors.shape[1]
        self.kind, self.M, self.seed = kind, M, seed
        self.threads = threads or available_threads()
        self.target = allowed**2 * vectors.size
        unit = _STEP * allowed * math.sqrt(_SLOPE / (n * _ENTRY_ENERGY[kind]))
        self.step = short_step(unit)
        self.vectors = vectors
        self.scaled = np.ascontiguousarray(vectors / self.step, np.float32)
        self.value_bits = np.array(_FIRST_BITS)
        self.slope = _SLOPE * (allowed / self.step) ** 2

    def run(self) -> Pursued | None:
        """Codes whose error is at most, and close to, the target; None where that takes too many atoms."""
        small = min(self.M, _SMALL)
        for _ in range(_SMALL_TRIES):
            found = self.pursue(small)
            if abs(found.energy / self.target - 1) < _CLOSE:
                break
            self.slope *= _bounded(self.target / max(found.energy, 1e-300))
        over: Pursued | None = None
        under: Pursued | None = None
        for _ in range(_TRIES + 2):
            found = self.pursue(self.M)
            if found.energy > self.target:
                over = found if over is None or found.energy < over.energy else over
            else:
                under = found if under is None or found.energy > under.energy else under
            if over is not None and under is not None:
                return self.mix(over, under)
            if under is not None and under.energy > self.target * (1 - _CLOSE):
                return under
            aim = 1.0 if over is None else 0.995
            self.slope *= _bounded(aim * self.target / max(found.energy, 1e-300))
        return under

    def pursue(self, M: int) -> Pursued:
        """Codes of all vectors over the first M atoms; the price of integers follows from them."""
        n = self.vectors.shape[1]
        s = min(n, M, MOST_ATOMS)
        counts, indices, q, _ = _C.pursue(
            self.scaled, rng.KINDS[self.kind], M, self.seed, self.slope, _set_bits(M, s), self.value_bits, 0, self.threads
        )
        mask = np.arange(s) < counts[:, None]
        codes = SparseIntegers(counts, np.ascontiguousarray(indices[mask]), np.ascontiguousarray(q[mask]))
        self._learn(codes.q)
        dictionary = Dictionary(self.kind, n, M, self.seed)
        made = synthesize(codes, self.step, dictionary)
        energies = np.square(made - self.vectors).sum(1)
        return Pursued(codes, float(energies.sum()), energies)

    def _learn(self, q: NDArray[np.int32]) -> None:
        if len(q):
            seen = np.bincount(np.minimum(np.abs(q), 64), minlength=len(_FIRST_BITS) + 1)[1:] + 0.3
            self.value_bits = 1 - np.log2(seen / seen.sum())

    def mix(self, over: Pursued, under: Pursued) -> Pursued:
        """The codes of ``over`` for as many vectors as the target allows, those of ``under`` for the others."""
        total = np.cumsum(over.vector_energy) + (under.energy - np.cumsum(under.vector_energy))
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


def synthesize(codes: SparseIntegers, step: float, dictionary: Dictionary) -> NDArray[np.float64]:
    """The vectors ``[B, n]`` that codes stand for."""
    B, s = len(codes.counts), max(1, int(codes.counts.max(initial=0)))
    mask = np.arange(s) < codes.counts[:, None]
    atoms, q = np.zeros((B, s), np.int32), np.zeros((B, s), np.int32)
    atoms[mask], q[mask] = codes.indices, codes.q
    kind = rng.KINDS[dictionary.kind]
    made = _C.synthesize(atoms, q, step, kind, dictionary.n, dictionary.M, dictionary.seed, 0, 1)
    return np.asarray(made, np.float64)


def representable(vectors: NDArray[np.float64], step: float) -> bool:
    """Whether a pursuit on this step stays in the range of its numbers."""
    return step > 0 and float(np.abs(vectors).max(initial=0.0)) / step < LARGEST_INTEGER


def _bounded(ratio: float) -> float:
    return min(max(ratio, 0.1), 4.0)


@cache
def _set_bits(M: int, s: int) -> NDArray[np.float64]:
    """log2 C(M, k) for k = 0 … s."""
    k = np.arange(1, s + 1)
    return np.concatenate([[0.0], np.cumsum(np.log2((M - k + 1) / k))])
