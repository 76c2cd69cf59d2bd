"""Rate control: the tolerance that gives a file of a target size."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from coinr.codec.bracket import Bracket, Point
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

# A guess at the very edge of what is left would narrow it by nothing: this share at either end is kept out.
_EDGE = 1 / 16

# By how many octaves the last file is coarser than foreseen where the time is over and none was small enough.
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
    # positions are octaves of precision
    files = Bracket[bytes](
        partial(_next, aim=size * (1 + _FULL) / 2, parameters=max(parameters, 1)),
        -math.log2(start),
        tries=_TRIES,
        low=-math.log2(COARSEST),
        high=-math.log2(FINEST),
        alike=math.log2(_ALIKE),
        limit=limit,
        caution=-_CAUTION,
    )
    unit = limit or WorkLimit()
    for at in files:
        with unit.unit("file"):
            blob = encode(2.0**-at)
        report(text=f"{len(blob)} bytes for {size}")
        files.add(at, len(blob), len(blob) <= size, blob)
        if _FULL * size <= len(blob) <= size:
            break
    if files.good is None:
        least, tries = min(len(point.made) for point in files.points), len(files.points)
        if files.out_of_time:
            raise InputError(
                f"{size} bytes are out of reach in the time given: the smallest of {tries} files has {least} bytes"
            )
        raise InputError(f"{size} bytes are out of reach: the coarsest file has {least} bytes, after {tries} tries")
    best = _largest(files)
    return best.made, 2.0**-best.at


def _largest(files: Bracket[bytes]) -> Point[bytes]:
    """Return the largest file that is small enough."""
    return max((point for point in files.points if point.good), key=lambda point: point.value)


def _next(files: Bracket[bytes], aim: float, parameters: int) -> float | None:
    """Return where the next file is tried.

    Along the line through the nearest larger and the largest smaller file, or by one bit a parameter for an octave.
    """
    tries, coarsest = len(files.points), files.ends()[0]
    if files.good is None and tries >= _TOO_LARGE:
        return coarsest
    if tries >= _GUESSES:
        sizes = [point.value for point in files.points]
        fruitless = tries > _GUESSES and set(sizes[-_FRUITLESS:]) <= set(sizes[:-_FRUITLESS])
        return None if fruitless else files.middle()
    if files.good is None or files.bad is None:
        return files.inside(files.points[-1].reach(aim, parameters / 8), 0.0)
    larger, best = files.bad, _largest(files)
    slope = (larger.value - best.value) / (larger.at - best.at)
    return files.inside(larger.reach(aim, slope), _EDGE)
