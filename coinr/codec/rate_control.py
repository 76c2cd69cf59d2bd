"""Rate control: the tolerance that gives a file of a target size."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from coinr.codec.bracket import Bracket, Point
from coinr.errors import InputError
from coinr.progress import report
from coinr.runtime.work_limit import WorkLimit

# The range of tolerances that are tried, and the first one.
FINEST, COARSEST, START = 1e-7, 1e4, 0.2

# A file of at least this share of the target size ends the search.
_FULL = 0.985

# Most files that are tried, and the ratio of tolerances that counts as none.
_TRIES, _ALIKE = 40, 1.001

# The size of a file usually follows the tolerance smoothly, and a few tries suffice. Sizes of repetitive tensors jump:
# after this many tries the bracket is halved, and the search ends when this many in a row give no new size.
_GUESSES, _FRUITLESS = 8, 3

# After this many files that were all too large, the coarsest is tried: it shows whether the size is within reach.
_TOO_LARGE = 4

# A guess keeps this share of the bracket from either end; nearer, it would hardly narrow the bracket.
_EDGE = 1 / 16

# Octaves by which the last file is coarser than predicted, when time is up and no file was small enough.
_CAUTION = 2.0


def encode_to_size(
    encode: Callable[[float], bytes],
    size: int,
    parameters: int,
    start: float = START,
    limit: WorkLimit | None = None,
) -> tuple[bytes, float]:
    """Return the largest file of at most ``size`` bytes, within 2 % where a tolerance gives it, and its tolerance.

    Parameters
    ----------
    encode
        Encodes the file at a tolerance; its size falls about linearly in the logarithm of the tolerance.
    size
        Target size, in bytes.
    parameters
        Number of real values that are coded, which sets the first step.
    start
        The tolerance that is tried first.
    limit
        When it is used up, the largest file so far is returned. If none is small enough, only the clock counts, and
        one last, coarser file is tried.

    Raises
    ------
    InputError
        If the coarsest file is larger, or no file was small enough in the given time.
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
