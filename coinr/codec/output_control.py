"""Files whose output error is measured and kept at or below a level."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from coinr.codec.bracket import Bracket
from coinr.codec.options import OUTPUT_ERRORS_DB
from coinr.errors import InputError

# A file within so many dB below the level is near enough; the next one aims so many below it.
_NEAR, _AIM = 0.75, 0.2

# Most files that are tried, the largest change of the level from one to the next, and the one that counts as none.
_TRIES, _STRIDE, _ALIKE = 8, 30.0, 0.05


def encode_to_output_error(
    encode: Callable[[float], bytes], measure: Callable[[bytes], float], output_error_db: float
) -> bytes:
    """Return a file whose measured output error is at most a level, and near it where few tries find such a file.

    Parameters
    ----------
    encode
        Encodes the file for a level that is predicted.
    measure
        Measures the output error of a file in dB, -inf for none.
    output_error_db
        The level.

    Raises
    ------
    InputError
        If no file reaches it.
    """
    low, high = OUTPUT_ERRORS_DB
    files = Bracket[bytes](
        partial(_next, aim=output_error_db - _AIM), output_error_db, tries=_TRIES, low=low, high=high, alike=_ALIKE
    )
    for at in files:
        blob = encode(at)
        error = measure(blob)
        files.add(at, error, error <= output_error_db, blob)
        if output_error_db - _NEAR <= error <= output_error_db:
            break
    if files.good is None:
        least = min(point.value for point in files.points)
        raise InputError(
            f"an output error of {output_error_db:g} dB is out of reach: the least of {len(files.points)} files has "
            f"{least:.1f} dB"
        )
    return files.good.made


def _next(files: Bracket[bytes], aim: float) -> float | None:
    """Return the level of the next file: the measured error follows the predicted one."""
    last = files.points[-1]
    if math.isinf(last.value):
        return files.inside(last.at + math.copysign(_STRIDE, -last.value), 0.0)
    return files.inside(last.reach(aim, 1.0, _STRIDE), 1 / 16)
