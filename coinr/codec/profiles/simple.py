"""Profiles without a dictionary: every tensor lossless, or every tensor with one uniform step."""

from __future__ import annotations

from coinr.codec.candidates import (
    Allowance,
    Allowed,
    Coded,
    Settings,
    admitted,
    check_range,
    known_options,
    lossless,
    smallest,
    uniform,
)
from coinr.codec.coders import UNIFORM
from coinr.codec.coders.symbols import MAX_BITS
from coinr.codec.state_dict import Entry


def encode_lossless(entries: list[Entry], allowed: Allowed, settings: Settings) -> list[Coded]:
    """Every tensor bit-exactly."""
    known_options(settings.options)
    return [lossless(entry) for entry in entries]


def encode_uniform(entries: list[Entry], allowed: Allowed, settings: Settings) -> list[Coded]:
    """Every tensor with one uniform step and Brotli.

    Option ``bits`` (2 … 16): value bits; by default 16, or with a tolerance the fewest that meet it.
    """
    bits = known_options(settings.options, bits=None)["bits"]
    check_range("bits", bits, 2, MAX_BITS, optional=True)
    coded = []
    for entry, limit in zip(entries, allowed, strict=True):
        # without a tolerance, elements that keep their relative errors have 16 bits like all else
        if bits is None and limit is not None and (settings.tolerance is not None or limit.relative is None):
            options = fewest_bits(entry, limit)
        else:
            options = uniform(entry, bits or MAX_BITS)
        coded.append(smallest(entry, options, limit, settings.seed))
    return coded


def fewest_bits(entry: Entry, allowance: Allowance) -> list[Coded]:
    """The tensor with the fewest value bits that keep its errors allowed; empty if 16 do not."""
    for bits in range(2, MAX_BITS + 1):
        quantized = UNIFORM.quantize(entry.planes, bits)
        if quantized is None:
            continue
        difference = quantized[0] * quantized[1] - entry.planes
        if allowance.admits(difference, entry.planes):
            options = uniform(entry, bits)
            # the dtype may round further
            if admitted(options[0], entry, allowance, 0):
                return options
    return []
