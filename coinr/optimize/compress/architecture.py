"""Which network a budget asks for: the best one for a size, or the one whose file is smallest at a quality."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from coinr.codec.api import encode_state_dict
from coinr.fitting import new_network
from coinr.optimize.compress.scaling import Seen, Table, decibels
from coinr.signal_files.api import signal_meta
from coinr.signals.signal import Signal

# Bits a parameter that are considered for a size, in steps. A network that needs more for a score is too small for it.
_FEWEST_BITS, _MOST_BITS, _STEP_OF_BITS = 3.5, 9.0, 0.5

# Parameters that are considered for a score: to this multiple of those measured, and so many sizes an octave.
_BEYOND, _SIZES = 64, 8

#: By how many dB the table may be wrong where it foresees no network that reaches a score.
WRONG = 6.0

# By what factor the next network is larger then.
_GROWTH = 8

_NARROWEST, _WIDEST = 2, 4096

# Headers depend on names and shapes: those of networks of one depth have about one size, measured at this width.
_USUAL = 32


@dataclass(frozen=True)
class Choice:
    """A network and what is expected of it.

    Attributes
    ----------
    hidden_layers, width, parameters : int
        The network.
    bits : float
        For each parameter, without the header of the file.
    size : int
        Bytes of the file.
    quality : float
        In dB, see :mod:`coinr.optimize.compress.scaling`, before coding.
    lost : float
        The dB that coding takes from it.
    """

    hidden_layers: int
    width: int
    parameters: int
    bits: float
    size: int
    quality: float
    lost: float


class Choosing:
    """Choices for a signal, by the table of its kind.

    Parameters
    ----------
    signal : Signal
        What is to be stored.
    network : str, optional
        Kind of the network, that of the signal's recipe if absent.
    """

    def __init__(self, signal: Signal, network: str | None) -> None:
        self._signal, self._network = signal, network
        self.table = Table.of(signal.kind)
        self._overhead = functools.cache(self._measure_overhead)
        self._count = functools.cache(self._count_parameters)

    def smallest(self) -> int:
        """Bytes of the smallest file that is considered."""
        depth = self.table.depths[0]
        return self._overhead(depth) + math.ceil(_FEWEST_BITS * self._count(depth, _NARROWEST) / 8)

    def for_size(self, size: int) -> Choice | None:
        """The network that is best at ``size`` bytes; None if there is none so small."""
        best: Choice | None = None
        for depth in self.table.depths:
            room = size - self._overhead(depth)
            for k in range(round((_MOST_BITS - _FEWEST_BITS) / _STEP_OF_BITS) + 1):
                width = self._width(depth, 8 * room / (_FEWEST_BITS + k * _STEP_OF_BITS))
                if width < _NARROWEST:
                    continue
                parameters = self._count(depth, width)
                quality, bits = self.table.quality(depth, parameters), 8 * room / parameters
                lost = self.table.lost(quality, parameters, bits)
                if best is None or quality - lost > best.quality - best.lost:
                    best = Choice(depth, width, parameters, bits, size, quality, lost)
        return best

    def for_score(self, score: float, seen: Seen, least: float) -> Choice | None:
        """The network of about ``least`` parameters or more whose file should be smallest at a score.

        Where the table foresees none that reaches it, one that is larger by a good deal, as the table may be wrong;
        None where it would have to be very wrong.
        """
        wanted = decibels(self._signal, score)
        expected = self._expected(seen, least)
        if wanted > max(expected.values()) + WRONG:
            return None
        files = {size: self._bytes(*size, quality, wanted) for size, quality in expected.items()}
        if not (enough := [size for size in expected if files[size] < math.inf]):
            return self.larger(score, seen, least)
        depth, parameters = min(enough, key=lambda size: files[size])
        return self._choice(depth, self._width(depth, parameters), seen, wanted)

    def larger(self, score: float, seen: Seen, least: float) -> Choice:
        """A network that is larger by a good deal than the one that was seen, whatever the table says of it."""
        expected = self._expected(seen, least)
        larger = min(_GROWTH * max(least, seen.parameters), max(parameters for _, parameters in expected))
        depth, parameters = max(expected, key=lambda size: (-abs(math.log2(size[1] / larger)), expected[size]))
        return self._choice(depth, self._width(depth, parameters), seen, decibels(self._signal, score))

    def most_parameters(self) -> int:
        """Of the largest networks that are considered for a score."""
        most: int = _BEYOND * self.table.largest
        return most

    def probe(self) -> Choice:
        """A small network that tells how difficult the signal is."""
        depth, parameters = self.table.probe
        width = self._width(depth, parameters)
        return Choice(depth, width, self._count(depth, width), _MOST_BITS, 0, self.table.quality(depth, parameters), 0)

    def file_of(self, seen: Seen, score: float) -> float:
        """Bytes that a file of the network that was seen should have at a score; infinite if that is out of reach."""
        return self._bytes(seen.hidden_layers, seen.parameters, seen.quality, decibels(self._signal, score))

    def _expected(self, seen: Seen, least: float) -> dict[tuple[int, float], float]:
        """By hidden layers and parameters, the quality that the table foresees."""
        sizes = ((depth, size) for depth in self.table.depths for size in self._sizes(least))
        return {size: self.table.quality(*size, seen) for size in sizes}

    def _choice(self, depth: int, width: int, seen: Seen, wanted: float) -> Choice:
        parameters = self._count(depth, width)
        quality = self.table.quality(depth, parameters, seen)
        lost = max(quality - wanted, 0.0)
        bits = self._bits(parameters, quality, lost)
        return Choice(
            depth, width, parameters, bits, self._overhead(depth) + math.ceil(parameters * bits / 8), quality, lost
        )

    def _bytes(self, depth: int, parameters: float, quality: float, wanted: float) -> float:
        """Of a file that keeps a quality; infinite if the network does not reach it or needs too many bits."""
        if quality <= wanted or self.table.bits(quality, parameters, quality - wanted) > _MOST_BITS:
            return math.inf
        return self._overhead(depth) + math.ceil(self._bits(parameters, quality, quality - wanted) * parameters / 8)

    def _bits(self, parameters: float, quality: float, lost: float) -> float:
        bits = self.table.bits(quality, parameters, lost) if lost > 0 else _MOST_BITS
        return min(max(bits, _FEWEST_BITS), _MOST_BITS)

    def _sizes(self, least: float) -> Iterator[float]:
        octaves = max(math.log2(_BEYOND * self.table.largest / least), 0.0)
        return (least * 2.0 ** (k / _SIZES) for k in range(math.ceil(_SIZES * octaves) + 1))

    def _count_parameters(self, hidden_layers: int, width: int) -> int:
        """Real parameters of a network."""
        with torch.device("meta"):  # sizes alone: nothing is allocated
            made = self._new(hidden_layers, width)
        return sum(p.numel() * (2 if p.is_complex() else 1) for p in made.parameters())

    def _width(self, hidden_layers: int, parameters: float) -> int:
        """The largest width with at most so many parameters; less than the narrowest if there is none."""
        # parameters are a square law of the width, up to halves that are rounded
        at = (_NARROWEST, 10 * _NARROWEST, 100 * _NARROWEST)
        square, linear, constant = map(float, np.polyfit(at, [self._count(hidden_layers, width) for width in at], 2))
        root = (math.sqrt(max(linear**2 - 4 * square * (constant - parameters), 0.0)) - linear) / (2 * square)
        width = min(max(math.floor(root), _NARROWEST - 1), _WIDEST)
        while width < _WIDEST and self._count(hidden_layers, width + 1) <= parameters:
            width += 1
        while width >= _NARROWEST and self._count(hidden_layers, width) > parameters:
            width -= 1
        return width

    def _measure_overhead(self, hidden_layers: int) -> int:
        """Bytes of a file besides those of the weights: of one whose weights are all zero."""
        network = self._new(hidden_layers, _USUAL)
        zeros = {name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
        return len(encode_state_dict(zeros, meta=signal_meta(network, self._signal)))

    def _new(self, hidden_layers: int, width: int) -> torch.nn.Module:
        return new_network(self._signal, self._network, width=width, hidden_layers=hidden_layers)
