"""Measured curves: the quality that a network of a size reaches, and what encoding with so many bits takes from it.

Qualities are in decibels: a PSNR or SNR as it is, an IoU as -10 log10(1 - IoU), so that half the error is 3 dB more.
``python -m bench.signals.budget_table`` makes the measurements in ``scaling.json``.
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

# Least 1 - IoU; smaller values are noise.
_LEAST_ERROR = 1e-6

# Weight in dB² of the assumption that a signal which is 1 dB better at one size is 1 dB better at another.
_PRIOR = 4.0

# Parameters of the largest network over those of the probe.
_PROBE = 10

# Range of the error that encoding adds, relative to the error before, from which the law is fitted: less is noise, and
# more is no longer a small change.
_FITTED_RANGE = 1e-3, 2.0


def decibels(signal: Signal, score: float) -> float:
    """Return a score of a signal in decibels."""
    return score if signal.unit == "dB" else -10 * math.log10(max(1 - score, _LEAST_ERROR))


def score_of_decibels(signal: Signal, quality: float) -> float:
    """Return the score of a signal from decibels: the inverse of :func:`decibels`."""
    return quality if signal.unit == "dB" else 1 - math.pow(10, -quality / 10)


@dataclass(frozen=True)
class Observation:
    """A network that was fitted to the signal at hand, and its quality in dB."""

    hidden_layers: int
    parameters: int
    quality: float


class ScalingCurves:
    """Scaling curves of one kind of signal.

    Parameters
    ----------
    networks
        The measured networks: ``hidden_layers``, ``parameters``, ``quality`` in dB of each measured signal, and
        ``coded``, which maps bits per parameter to the qualities of the decoded networks.

    Attributes
    ----------
    depths : tuple of int
        Numbers of hidden layers that were measured in several sizes.
    smallest, largest : int
        Parameters of the smallest and the largest measured network.
    probe : (int, int)
        Hidden layers and parameters of a small network whose quality shows how difficult a signal is.
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
        self._law = _fit_coding_law(networks)

    @classmethod
    @functools.cache
    def load(cls, kind: str) -> ScalingCurves:
        """Return the curves of a kind of signal from ``scaling.json``."""
        stored = json.loads(files("coinr.optimize.compress").joinpath("scaling.json").read_text())
        return cls(stored["kinds"][kind]["networks"])

    def quality(self, hidden_layers: int, parameters: float, observed: Observation | None = None) -> float:
        """Predict the quality in dB that a network reaches for a typical signal, or for the observed one.

        It is linear in the logarithm of the parameters between measured sizes and beyond them. An observation moves it
        by a regression over the measured signals of their quality at this size on their quality at the observed size.

        Parameters
        ----------
        hidden_layers
            One of :attr:`depths`.
        parameters
            Of the network.
        observed
            A network that was fitted to the signal.
        """
        there = self._measured(hidden_layers, parameters)
        if observed is None:
            return float(there.mean())
        here = self._measured(observed.hidden_layers, observed.parameters)
        spread = here - here.mean()
        slope = (float(spread @ (there - there.mean())) + _PRIOR) / (float(spread @ spread) + _PRIOR)
        return float(there.mean() + slope * (observed.quality - here.mean()))

    def coding_loss(self, quality: float, parameters: float, bits: float) -> float:
        """Predict the dB that encoding takes from a network of a quality, with ``bits`` per parameter.

        10 log10(1 + 2^(a + b · bits + c · log2 parameters + d · quality)).
        """
        constant, by_bits, by_size, by_quality = self._law
        log_added = constant + by_bits * bits + by_size * math.log2(parameters) + by_quality * quality
        return 10 * math.log10(1 + 2.0**log_added)

    def bits_for_loss(self, quality: float, parameters: float, lost: float) -> float:
        """Return the bits per parameter at which ``lost`` > 0 dB are lost: the inverse of :meth:`coding_loss`."""
        constant, by_bits, by_size, by_quality = self._law
        log_added = math.log2(math.pow(10, lost / 10) - 1)
        return (log_added - constant - by_size * math.log2(parameters) - by_quality * quality) / by_bits

    def _measured(self, hidden_layers: int, parameters: float) -> NDArray[np.float64]:
        """Return the quality of each measured signal at a size, interpolated in log2 of the parameters."""
        sizes, qualities = self._curves[hidden_layers]
        at = math.log2(parameters)
        left = int(np.clip(np.searchsorted(sizes, at) - 1, 0, len(sizes) - 2))
        share = (at - sizes[left]) / (sizes[left + 1] - sizes[left])
        between: NDArray[np.float64] = qualities[left] + share * (qualities[left + 1] - qualities[left])
        return between


def _fit_coding_law(networks: Sequence[Mapping[str, Any]]) -> tuple[float, float, float, float]:
    """Fit log2(added error / error before) by least squares.

    The terms are a constant, the bits per parameter, log2 of the parameters and the quality in dB.
    """
    terms, logs = [], []
    for network in networks:
        for bits, coded in network["coded"].items():
            for before, after in zip(network["quality"], coded, strict=True):
                added = math.pow(10, (before - after) / 10) - 1
                if _FITTED_RANGE[0] <= added <= _FITTED_RANGE[1]:
                    terms.append((1.0, float(bits), math.log2(network["parameters"]), before))
                    logs.append(math.log2(added))
    constant, by_bits, by_size, by_quality = np.linalg.lstsq(np.array(terms), np.array(logs), rcond=None)[0]
    return float(constant), float(by_bits), float(by_size), float(by_quality)
