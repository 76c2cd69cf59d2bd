"""Arrays of callers as plain ones. Others are refused, with words on what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.errors import InputError

#: An array of more entries is broadcast from few: it would take a terabyte.
MOST_ENTRIES = 1 << 36


def plain_array(value: Any, what: str) -> NDArray[Any]:
    """Return an array or nested list as an array: C-contiguous, aligned, writable, in native byte order.

    Raises
    ------
    InputError
        If it is a masked or structured array, too large, or none.
    """
    try:
        array = np.asanyarray(value)
    except Exception as error:  # a caller's ``__array__`` may fail in any way
        raise InputError(f"{what} must be an array, got {type(value).__name__} ({error})") from error
    if isinstance(array, np.ma.MaskedArray):
        raise InputError(f"{what} is a masked array: pass .filled(value)")
    if array.dtype.names:
        raise InputError(f"{what} is a structured array: pass its fields ({', '.join(array.dtype.names)}) one by one")
    if array.size > MOST_ENTRIES:
        raise InputError(f"{what} has {array.size} entries, more than {MOST_ENTRIES}")
    return np.require(np.asarray(array), array.dtype.newbyteorder("="), ("C", "A", "W"))
