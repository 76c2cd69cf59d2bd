"""Profiles without a dictionary: every tensor lossless, or every tensor with one uniform step."""

from __future__ import annotations

from coinr.codec.candidates import Candidate, lossless, smallest
from coinr.codec.coders.symbols import MAX_BITS
from coinr.codec.distortion import DistortionLimits
from coinr.codec.options import EncodeOptions, check_range, read_profile_options
from coinr.codec.quantize import uniform
from coinr.codec.state_dict import Entry


def encode_lossless(entries: list[Entry], limits: DistortionLimits, settings: EncodeOptions) -> list[Candidate]:
    """Encode every tensor bit-exactly."""
    return [lossless(entry) for entry in entries]


def encode_uniform(entries: list[Entry], limits: DistortionLimits, settings: EncodeOptions) -> list[Candidate]:
    """Encode every tensor with one uniform step and Brotli.

    Option ``bits`` (2 … 16): value bits; by default 16, or with a tolerance the fewest that meet it.
    """
    bits = read_bits(settings)
    chosen = []
    for entry, limit in zip(entries, limits, strict=True):
        # without a tolerance, tensors that are bounded element by element have 16 bits like all others
        if bits is None and limit is not None and (settings.tolerance is not None or limit.relative_error is None):
            found = uniform.candidates(entry, limit, settings)
        else:
            found = uniform.with_bits(entry, bits or MAX_BITS, limit)
        chosen.append(smallest(entry, found, limit))
    return chosen


def read_bits(settings: EncodeOptions) -> int | None:
    """Return the value bits that are asked for, if any; InputError for those out of range."""
    bits: int | None = read_profile_options(settings, bits=None)["bits"]
    check_range("bits", bits, 2, MAX_BITS, optional=True)
    return bits
