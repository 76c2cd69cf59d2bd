"""The ``auto`` profile: each tensor by whichever coder needs fewest bytes at the error that it is allowed."""

from __future__ import annotations

from dataclasses import replace

from coinr.codec.candidates import (
    Allowance,
    Coded,
    Settings,
    admitted,
    cost,
    each_tensor,
    faithful,
    known_options,
    smallest,
)
from coinr.codec.coders import DIRECT
from coinr.codec.profiles.simple import fewest_bits
from coinr.codec.quantize import direct, sparse
from coinr.codec.state_dict import Entry

# Larger tensors are tried in a dictionary only below so many bits a weight: above, the dense form is within 1 % of the
# direct coder and takes ten times as long (bench/results/rate/sparse_vs_direct.csv). So are all where the inputs of the
# layer are known: sparse codes do not use them, so that they win later, and dense ones use them no better.
_DENSE_MOST = 1 << 15
_BITS_WITH_INPUTS = 0.75

# Brotli's integers win where weights repeat themselves; a large tensor is not worth the time.
_UNIFORM_MOST = 1 << 18


def encode_auto(entries: list[Entry], allowed: list[Allowance], settings: Settings) -> list[Coded]:
    """Each tensor by the coder with fewest bytes, at its allowed error."""
    known_options(settings.options)
    return each_tensor(lambda entry, limit: encode_within(entry, limit, settings), entries, allowed)


def encode_within(entry: Entry, allowance: Allowance, settings: Settings) -> Coded:
    """The tensor in the fewest bytes that keep its errors allowed, and what the other coders make of it."""
    options = direct.encode_to(entry, allowance)
    if entry.planes.size <= _UNIFORM_MOST:
        options += fewest_bits(entry, allowance)
    least = min((8 * cost(coded) for coded in options), default=0)
    if _worth_trying(entry, allowance, least):
        found = sparse.encode_to(entry, allowance, settings)
        options += [] if found is None else [found]
    good = [coded for coded in sorted(options, key=_cost_in_table) if admitted(coded, entry, allowance, settings.seed)]
    exact = faithful(entry, allowance, settings.seed)
    return replace(smallest(entry, good[:1], allowance, settings.seed), rivals=(*good, exact))


def _worth_trying(entry: Entry, allowance: Allowance, least: int) -> bool:
    """Whether a dictionary may take fewer than the ``least`` bits of all else."""
    if allowance.relative is not None or not allowance.error > 0:
        return False
    size = entry.planes.size
    if allowance.input_covariance is not None:
        return least < _BITS_WITH_INPUTS * size
    if size <= _DENSE_MOST:
        return True
    return least < sparse.SPARSE_BITS * size and sparse.eligible(entry) and sparse.promising(entry, allowance, least)


def _cost_in_table(coded: Coded) -> int:
    """Bytes in the file, of which another coder than that of most tensors takes one of its table."""
    return cost(coded) + (coded.coder != DIRECT.id)
