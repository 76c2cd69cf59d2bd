"""Profiles without a dictionary: every tensor lossless, or every tensor with one uniform step."""

from __future__ import annotations

from coinr.coders.symbols import MAX_BITS
from coinr.profiles.base import Coded, Settings, check_range, known_options, lossless, relative_error, smallest, uniform
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
    for bits in range(2, MAX_BITS + 1):
        for coded in uniform(source, bits):
            if relative_error(coded, source, seed) <= tolerance:
                return smallest(source, [coded], tolerance, seed)
    return lossless(source)
