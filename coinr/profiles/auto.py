"""The ``auto`` profile: each tensor by whichever coder needs fewest bytes at the error that it is allowed."""

from __future__ import annotations

from coinr.profiles import direct, sparse
from coinr.profiles.base import Allowance, Coded, Settings, cost, known_options, smallest
from coinr.profiles.simple import fewest_bits
from coinr.source import Source

# Bits per weight below which a dictionary of so many atoms may win.
_DICTIONARY_BITS = 1.0

# Sparse codes in more atoms are a little smaller and take many times as long: the sparse profile makes them.
_QUICK = sparse.SparseOptions(M=1 << 15, form="sparse")

# Brotli's integers win where weights repeat themselves; a large tensor is not worth the time.
_UNIFORM_MOST = 1 << 18


def encode_auto(sources: list[Source], allowed: list[Allowance], settings: Settings) -> list[Coded]:
    """Each tensor by the coder with fewest bytes, at its allowed error."""
    known_options(settings.options)
    return [encode_within(source, limit, settings) for source, limit in zip(sources, allowed, strict=True)]


def encode_within(source: Source, allowance: Allowance, settings: Settings) -> Coded:
    """The tensor in the fewest bytes that keep its errors allowed."""
    options = direct.encode_to(source, allowance)
    if source.planes.size <= _UNIFORM_MOST:
        options += fewest_bits(source, allowance)
    # above so many bits a weight a dictionary cannot win: bench/results/rate/sparse_vs_direct.csv
    least = min((8 * cost(coded) for coded in options), default=0)
    if least < _DICTIONARY_BITS * source.planes.size:
        found = sparse.encode_to(source, allowance, settings, _QUICK)
        options += [] if found is None else [found]
    return smallest(source, options, allowance, settings.seed)
