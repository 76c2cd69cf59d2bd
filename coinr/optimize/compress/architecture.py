"""Choice of the architecture: the best network for a size, or the one with the smallest file at a quality."""

from __future__ import annotations

import functools
import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from coinr.codec.api import encode_state_dict
from coinr.fitting.new_networks import count_parameters, new_network
from coinr.optimize.compress.scaling import Observation, ScalingCurves, decibels
from coinr.signal_files.api import signal_meta
from coinr.signals.signal import Signal

# Bits per parameter that are considered for a size. A network that needs more for a score is too small for it.
_MIN_BITS, _MAX_BITS, _BITS_STEP = 3.5, 9.0, 0.5

# Parameters that are considered for a score: up to this multiple of the measured ones, and so many sizes an octave.
_EXTRAPOLATION, _SIZES_PER_OCTAVE = 64, 8

#: How many dB the curves may err by where they predict that no network reaches a score.
CURVES_ERROR = 6.0

# How much larger the next network is in that case.
_GROWTH = 8

_MIN_WIDTH, _MAX_WIDTH = 2, 4096

# Width at which the header of a file is measured; it hardly depends on the width.
_HEADER_WIDTH = 32


@dataclass(frozen=True)
class Architecture:
    """A network and its predicted quality and size.

    Attributes
    ----------
    hidden_layers, width, parameters : int
        The network.
    bits : float
        Per parameter, without the header of the file.
    size : int
        Bytes of the file.
    quality : float
        In dB, see :mod:`coinr.optimize.compress.scaling`, before encoding.
    lost : float
        The dB that encoding takes from it.
    """

    hidden_layers: int
    width: int
    parameters: int
    bits: float
    size: int
    quality: float
    lost: float


class ArchitectureChooser:
    """Choose architectures for a signal by the scaling curves of its kind.

    Parameters
    ----------
    signal : Signal
        To be compressed.
    network : str, optional
        Kind of the network, by default that of the signal's recipe.

    Attributes
    ----------
    curves : ScalingCurves
        Of the signal's kind.
    """

    def __init__(self, signal: Signal, network: str | None) -> None:
        self._signal, self._network = signal, network
        self.curves = ScalingCurves.load(signal.kind)
        self._overhead = functools.cache(self._measure_overhead)
        self._count = functools.cache(self._count_parameters)

    def smallest(self) -> int:
        """Return the bytes of the smallest file that is considered."""
        depth = self.curves.depths[0]
        return self._overhead(depth) + math.ceil(_MIN_BITS * self._count(depth, _MIN_WIDTH) / 8)

    def for_size(self, size: int) -> Architecture | None:
        """Return the network of the best quality at ``size`` bytes; None if no network is so small."""
        best: Architecture | None = None
        for depth in self.curves.depths:
            room = size - self._overhead(depth)
            for k in range(round((_MAX_BITS - _MIN_BITS) / _BITS_STEP) + 1):
                width = self._width(depth, 8 * room / (_MIN_BITS + k * _BITS_STEP))
                if width < _MIN_WIDTH:
                    continue
                parameters = self._count(depth, width)
                quality, bits = self.curves.quality(depth, parameters), 8 * room / parameters
                lost = self.curves.coding_loss(quality, parameters, bits)
                if best is None or quality - lost > best.quality - best.lost:
                    best = Architecture(depth, width, parameters, bits, size, quality, lost)
        return best

    def for_score(self, score: float, observed: Observation, least: float) -> Architecture | None:
        """Return the network with the smallest predicted file at a score, of about ``least`` parameters or more.

        Where no network is predicted to reach the score, :meth:`larger` is returned, as the curves may be wrong; None
        where they would have to be wrong by more than 6 dB.
        """
        target = decibels(self._signal, score)
        expected = self._expected(observed, least)
        if target > max(expected.values()) + CURVES_ERROR:
            return None
        files = {size: self._bytes(*size, quality, target) for size, quality in expected.items()}
        if not (enough := [size for size in expected if files[size] < math.inf]):
            return self.larger(score, observed, least)
        depth, parameters = min(enough, key=lambda size: files[size])
        return self._choice(depth, self._width(depth, parameters), observed, target)

    def larger(self, score: float, observed: Observation, least: float) -> Architecture:
        """Return a network of about 8 times the observed parameters, whatever the curves predict for it."""
        expected = self._expected(observed, least)
        larger = min(_GROWTH * max(least, observed.parameters), max(parameters for _, parameters in expected))
        depth, parameters = max(expected, key=lambda size: (-abs(math.log2(size[1] / larger)), expected[size]))
        return self._choice(depth, self._width(depth, parameters), observed, decibels(self._signal, score))

    def most_parameters(self) -> int:
        """Return the parameters of the largest network that is considered for a score."""
        most: int = _EXTRAPOLATION * self.curves.largest
        return most

    def probe(self) -> Architecture:
        """Return a small network whose quality shows how difficult the signal is."""
        depth, parameters = self.curves.probe
        width = self._width(depth, parameters)
        return Architecture(
            depth, width, self._count(depth, width), _MAX_BITS, 0, self.curves.quality(depth, parameters), 0
        )

    def file_of(self, observed: Observation, score: float) -> float:
        """Return the predicted bytes of the observed network at a score; infinite if the score is out of reach."""
        return self._bytes(observed.hidden_layers, observed.parameters, observed.quality, decibels(self._signal, score))

    def _expected(self, observed: Observation, least: float) -> dict[tuple[int, float], float]:
        """Predict the quality by (hidden layers, parameters)."""
        sizes = ((depth, size) for depth in self.curves.depths for size in self._sizes(least))
        return {size: self.curves.quality(*size, observed) for size in sizes}

    def _choice(self, depth: int, width: int, observed: Observation, target: float) -> Architecture:
        parameters = self._count(depth, width)
        quality = self.curves.quality(depth, parameters, observed)
        lost = max(quality - target, 0.0)
        bits = self._bits(parameters, quality, lost)
        return Architecture(
            depth, width, parameters, bits, self._overhead(depth) + math.ceil(parameters * bits / 8), quality, lost
        )

    def _bytes(self, depth: int, parameters: float, quality: float, target: float) -> float:
        """Predict the bytes of a file that keeps a quality; infinite if the network cannot, or needs too many bits."""
        if quality <= target or self.curves.bits_for_loss(quality, parameters, quality - target) > _MAX_BITS:
            return math.inf
        return self._overhead(depth) + math.ceil(self._bits(parameters, quality, quality - target) * parameters / 8)

    def _bits(self, parameters: float, quality: float, lost: float) -> float:
        bits = self.curves.bits_for_loss(quality, parameters, lost) if lost > 0 else _MAX_BITS
        return min(max(bits, _MIN_BITS), _MAX_BITS)

    def _sizes(self, least: float) -> Iterator[float]:
        octaves = max(math.log2(_EXTRAPOLATION * self.curves.largest / least), 0.0)
        return (least * 2.0 ** (k / _SIZES_PER_OCTAVE) for k in range(math.ceil(_SIZES_PER_OCTAVE * octaves) + 1))

    def _count_parameters(self, hidden_layers: int, width: int) -> int:
        return count_parameters(self._signal, self._network, width, hidden_layers)

    def _width(self, hidden_layers: int, parameters: float) -> int:
        """Return the largest width with at most so many parameters; 1 if even the smallest width has more."""
        widths = range(_MIN_WIDTH, _MAX_WIDTH + 1)
        fitting = bisect_right(widths, parameters, key=lambda width: self._count(hidden_layers, width))
        return _MIN_WIDTH - 1 + fitting

    def _measure_overhead(self, hidden_layers: int) -> int:
        """Measure the bytes of a file besides its weights: of a file whose weights are all zero."""
        network = new_network(self._signal, self._network, width=_HEADER_WIDTH, hidden_layers=hidden_layers)
        zeros = {name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
        return len(encode_state_dict(zeros, effort="best", meta=signal_meta(network, self._signal)))
