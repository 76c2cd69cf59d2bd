"""What was measured of networks of several sizes: their quality, and what coding with so many bits takes from it.

Qualities are in decibels: a PSNR or SNR as it is, an IoU as -10 log10(1 - IoU), so that halving the error is 3 dB. Made
by ``python -m bench.signals.budget_table``.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.signals.signal import Signal

# Of 1 - IoU: smaller ones are no measurement.
_LEAST_ERROR = 1e-6

# Signals that a slope of 1 dB a dB counts for when qualities of one size are foreseen by those of another, in dB².
_PRIOR = 4.0

# Parameters of the largest network over those of the one that tells signals apart.
_PROBE = 10

# Error that coding adds, over what is there: below the first no measurement, above the second no longer a small change.
_ADDED = 1e-3, 2.0


def decibels(signal: Signal, score: float) -> float:
    """A score of a signal as decibels."""
    return score if signal.unit == "dB" else -10 * math.log10(max(1 - score, _LEAST_ERROR))


def score_of_decibels(signal: Signal, quality: float) -> float:
    """Inverse of :func:`decibels`."""
    return quality if signal.unit == "dB" else 1 - math.pow(10, -quality / 10)


@dataclass(frozen=True)
class Seen:
    """A network that was fitted to the signal at hand: hidden layers, parameters and quality in dB."""

    hidden_layers: int
    parameters: int
    quality: float


class Table:
    """Measurements of one kind of signal.

    Parameters
    ----------
    networks
        Of each: ``hidden_layers``, ``parameters``, ``quality`` of every signal that was measured, in dB, and ``coded``:
        by bits a parameter, the same of the decoded networks.

    Attributes
    ----------
    depths : tuple of int
        Numbers of hidden layers that were measured in several sizes.
    smallest, largest : int
        Parameters of the smallest and the largest network that was measured.
    probe : (int, int)
        Hidden layers and parameters of a small one that tells signals apart.
    """

    def __init__(self, networks: Sequence[Mapping[str, Any]]) -> None:
        measured = [network["hidden_layers"] for network in networks]
        self.depths = tuple(sorted(depth for depth in set(measured) if measured.count(depth) > 1))
        counts = [network["parameters"] for network in networks]
        self.smallest, self.largest = min(counts), max(counts)
        small = min(networks, key=lambda network: abs(math.log2(_PROBE * network["parameters"] / self.largest)))
        self.probe = small["hidden_layers"], small["parameters"]
        self._curves: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
        for depth in self.depths:
            mine = [network for network in networks if network["hidden_layers"] == depth]
            mine.sort(key=lambda network: network["parameters"])
            sizes = np.log2([network["parameters"] for network in mine])
            self._curves[depth] = sizes, np.array([network["quality"] for network in mine], np.float64)
        self._added = _law_of_coding(networks)

    @classmethod
    @functools.cache
    def of(cls, kind: str) -> Table:
        """The measurements of signals of a kind."""
        stored = json.loads(files("coinr.optimize.compress").joinpath("scaling.json").read_text())
        return cls(stored["kinds"][kind]["networks"])

    def quality(self, hidden_layers: int, parameters: float, seen: Seen | None = None) -> float:
        """Quality in dB that a network of a depth in :attr:`depths` reaches: of a typical signal, or of the one seen.

        Between sizes, and beyond them, it is linear in the logarithm of the parameters. What was seen of the signal at
        hand moves it as the measured signals differ among themselves.
        """
        there = self._measured(hidden_layers, parameters)
        if seen is None:
            return float(there.mean())
        here = self._measured(seen.hidden_layers, seen.parameters)
        spread = here - here.mean()
        slope = (float(spread @ (there - there.mean())) + _PRIOR) / (float(spread @ spread) + _PRIOR)
        return float(there.mean() + slope * (seen.quality - here.mean()))

    def lost(self, quality: float, parameters: float, bits: float) -> float:
        """The dB that coding takes from a network of a quality, with so many bits a parameter."""
        constant, by_bits, by_size, by_quality = self._added
        log_added = constant + by_bits * bits + by_size * math.log2(parameters) + by_quality * quality
        return 10 * math.log10(1 + 2.0**log_added)

    def bits(self, quality: float, parameters: float, lost: float) -> float:
        """Inverse of :meth:`lost`: bits a parameter at which so many dB, more than 0, are lost."""
        constant, by_bits, by_size, by_quality = self._added
        log_added = math.log2(math.pow(10, lost / 10) - 1)
        return (log_added - constant - by_size * math.log2(parameters) - by_quality * quality) / by_bits

    def _measured(self, hidden_layers: int, parameters: float) -> NDArray[np.float64]:
        """Quality of each measured signal."""
        sizes, qualities = self._curves[hidden_layers]
        at = math.log2(parameters)
        left = int(np.clip(np.searchsorted(sizes, at) - 1, 0, len(sizes) - 2))
        share = (at - sizes[left]) / (sizes[left + 1] - sizes[left])
        between: NDArray[np.float64] = qualities[left] + share * (qualities[left + 1] - qualities[left])
        return between


def _law_of_coding(networks: Sequence[Mapping[str, Any]]) -> tuple[float, float, float, float]:
    """Least squares of log2 of the error that coding adds, relative to the error that is there.

    The terms are a constant, the bits a parameter, log2 of the parameters and the quality in dB.
    """
    terms, logs = [], []
    for network in networks:
        for bits, coded in network["coded"].items():
            for before, after in zip(network["quality"], coded, strict=True):
                added = math.pow(10, (before - after) / 10) - 1
                if _ADDED[0] <= added <= _ADDED[1]:
                    terms.append((1.0, float(bits), math.log2(network["parameters"]), before))
                    logs.append(math.log2(added))
    constant, by_bits, by_size, by_quality = np.linalg.lstsq(np.array(terms), np.array(logs), rcond=None)[0]
    return float(constant), float(by_bits), float(by_size), float(by_quality)
