"""The tolerance that gives a file of a wanted size."""

from __future__ import annotations

import math
from collections.abc import Callable

from coinr.errors import InputError
from coinr.progress import report
from coinr.runtime.work_limit import WorkLimit

# Tolerances between which files are tried, and where that starts.
FINEST, COARSEST, START = 1e-7, 1e4, 0.2

# A file that fills this share of its size is good enough.
_FULL = 0.985

# Files that are tried at most, and the ratio of two tolerances that differ no more.
_TRIES, _ALIKE = 40, 1.001

# Sizes of networks follow their tolerance, and a few tries find one. Those of tensors that repeat themselves go by
# jumps: from this try on the rest is halved, and left where so many tries in a row bring no size that was not seen.
_GUESSES, _FRUITLESS = 8, 3

# Where so many files were all too large, the coarsest tells whether the size can be had at all.
_TOO_LARGE = 4

# Bits that a parameter takes less where errors double: the first guess at how sizes follow tolerances.
_FIRST_SLOPE = 1.0

# How much coarser than foreseen the last file is where the time is over and none was small enough.
_CAUTION = 2.0


def encode_to_size(
    encode: Callable[[float], bytes],
    size: int,
    parameters: int,
    start: float = START,
    limit: WorkLimit | None = None,
) -> tuple[bytes, float]:
    """The largest file of at most ``size`` bytes, within 2 % where tolerances allow, and its tolerance.

    Parameters
    ----------
    encode
        The file at a tolerance; sizes fall about as its logarithm.
    size
        In bytes.
    parameters
        Real numbers that are coded: what the first step goes by.
    start
        The tolerance that is tried first.
    limit
        Where it is used up, the largest file so far is taken; without one that is small enough, only the clock counts,
        and one last, coarser file is tried.

    Raises
    ------
    InputError
        If the coarsest file is larger, or all that there was time for.
    """
    low, high = math.log2(FINEST), math.log2(COARSEST)
    larger: tuple[float, int] | None = None
    best: tuple[bytes, float] | None = None
    at = math.log2(start)
    limit = limit or WorkLimit()
    seen: list[int] = []
    for k in range(1, _TRIES + 1):
        last = k > 1 and (limit.out_of_time() if best is None else limit.used_up())
        if last and best is not None:
            break
        with limit.unit("file"):
            blob = encode(2.0 ** (at + _CAUTION * last))
        seen.append(len(blob))
        report(text=f"{len(blob)} bytes for {size}")
        if last and len(blob) > size:
            found = f"the smallest of {k} files has {min(seen)} bytes"
            raise InputError(f"{size} bytes are out of reach in the time given: {found}")
        if len(blob) > size:
            low, larger = at, (at, len(blob))
        else:
            high = at
            if best is None or len(blob) > len(best[0]):
                best = blob, 2.0**at
            if len(blob) >= _FULL * size:
                break
        fruitless = k > _GUESSES and set(seen[-_FRUITLESS:]) <= set(seen[:-_FRUITLESS])
        if high - low < math.log2(_ALIKE) or (fruitless and best is not None):
            break
        if best is None and k >= _TOO_LARGE:
            at = high
        elif k < _GUESSES:
            at = _next(at, len(blob), size, parameters, low, high, larger, best)
        else:
            at = high if fruitless else (low + high) / 2
    if best is None:
        raise InputError(f"{size} bytes are out of reach: the coarsest file has {min(seen)} bytes, after {k} tries")
    return best


def _next(
    at: float,
    length: int,
    size: int,
    parameters: int,
    low: float,
    high: float,
    larger: tuple[float, int] | None,
    best: tuple[bytes, float] | None,
) -> float:
    """Along the line through the nearest larger and smaller file, or by one bit a parameter for an octave."""
    aim = size * (1 + _FULL) / 2
    if larger is not None and best is not None and larger[1] > len(best[0]):
        slope = (larger[1] - len(best[0])) / (math.log2(best[1]) - larger[0])
        # a guess at the very edge of what is left would narrow it by nothing
        edge = (high - low) / 16
        return min(max(larger[0] + (larger[1] - aim) / slope, low + edge), high - edge)
    guess = at + 8 * (length - aim) / (_FIRST_SLOPE * max(parameters, 1))
    return min(max(guess, low), high)
