"""The ``auto`` profile: each tensor by whichever coder needs fewest bytes at the error that it is allowed."""

from __future__ import annotations

from coinr.profiles import direct
from coinr.profiles.allocation import TOLERANCE, allowed_errors
from coinr.profiles.base import Coded, Settings, known_options, smallest
from coinr.profiles.simple import fewest_bits
from coinr.source import Source

# Brotli's integers win where weights repeat themselves; a large tensor is not worth the time.
_UNIFORM_MOST = 1 << 18


def encode_auto(sources: list[Source], settings: Settings) -> list[Coded]:
    """Each tensor by the coder with fewest bytes, at the errors that the tolerance allows."""
    known_options(settings.options)
    tolerance = TOLERANCE if settings.tolerance is None else settings.tolerance
    return [
        encode_within(source, allowed, settings)
        for source, allowed in zip(sources, allowed_errors(sources, tolerance), strict=True)
    ]


def encode_within(source: Source, allowed: float, settings: Settings) -> Coded:
    """The tensor in the fewest bytes that keep its root mean squared error at or below ``allowed``."""
    options = []
    if (found := direct.encode_to(source, allowed)) is not None:
        options.append(found)
    if source.planes.size <= _UNIFORM_MOST:
        options += fewest_bits(source, allowed)
    return smallest(source, options, allowed, settings.seed)
