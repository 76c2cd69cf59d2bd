"""Profiles without a dictionary: every tensor lossless, or every tensor with one uniform step."""

from __future__ import annotations

import numpy as np

from coinr.coders import UNIFORM
from coinr.coders.symbols import MAX_BITS
from coinr.profiles.base import Coded, Settings, check_range, known_options, lossless, smallest, uniform
from coinr.source import Source


def encode_lossless(sources: list[Source], settings: Settings) -> list[Coded]:
    """Every tensor bit-exactly."""
    known_options(settings.options)
    return [lossless(source) for source in sources]


def encode_uniform(sources: list[Source], settings: Settings) -> list[Coded]:
    """Every tensor with one uniform step and Brotli.

    Option ``bits`` (2 … 16): value bits; by default 16, or with a tolerance the fewest that meet it.
    """
    bits = known_options(settings.options, bits=None)["bits"]
    check_range("bits", bits, 2, MAX_BITS, optional=True)
    coded = []
    for source in sources:
        if bits is None and settings.tolerance is not None:
            coded.append(_fewest_bits(source, settings.tolerance, settings.seed))
        else:
            coded.append(smallest(source, uniform(source, bits or MAX_BITS), settings.tolerance, settings.seed))
    return coded


def _fewest_bits(source: Source, tolerance: float, seed: int) -> Coded:
    allowed = tolerance * np.linalg.norm(source.planes)
    for bits in range(2, MAX_BITS + 1):
        quantised = UNIFORM.quantise(source.planes, bits)
        if quantised and np.linalg.norm(quantised[0] * quantised[1] - source.planes) <= allowed:
            chosen = smallest(source, uniform(source, bits), tolerance, seed)
            if chosen.coder == UNIFORM.id:
                return chosen
    return lossless(source)
