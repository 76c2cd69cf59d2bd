"""Array files: ``.npy`` and ``.npz``, and the volume in them."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.errors import InputError
from coinr.files.writing import write_atomic
from coinr.inputs.arrays import to_array

#: Suffixes that :func:`write_volume` knows.
VOLUME_SUFFIXES = (".npy", ".npz")

# Numbers that describe a signal are below it.
_MOST = 1e30


def as_number(name: str, value: Any, least: float) -> float:
    """Return ``value`` as a float.

    Raises
    ------
    InputError
        Unless it is one number from ``least`` on, and below 1e30.
    """
    array = to_array(value, name)
    if array.size != 1 or array.dtype.kind not in "fiu" or not least <= float(array.reshape(())) < _MOST:
        raise InputError(f"{name} must be a number from {least:g} on and below {_MOST:g}, got {str(value):.80}")
    return float(array.reshape(()))


def volume_of_arrays(arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Return the volume among named arrays.

    It is ``occupancy`` packed by ``np.packbits`` beside its ``shape``, or else the only array of three axes.

    Raises
    ------
    InputError
        If there is none, or more than one.
    """
    if "occupancy" in arrays and "shape" in arrays:
        packed, shape = arrays["occupancy"], arrays["shape"]
        size = [int(n) for n in np.ravel(shape)]
        bits = math.prod(size)
        if len(size) != 3 or min(size) < 1 or packed.dtype != np.uint8 or packed.ndim != 1:
            raise InputError("a packed volume has uint8 bits 'occupancy' and three sizes 'shape'")
        if packed.size != -(-bits // 8):
            raise InputError(f"a volume of {size} has {-(-bits // 8)} packed bytes, got {packed.size}")
        return np.unpackbits(packed, count=bits).reshape(size).astype(bool)
    volumes = [name for name, array in arrays.items() if array.ndim == 3]
    if len(volumes) != 1:
        raise InputError(f"one volume [X, Y, Z] is needed, got {len(volumes)} among {', '.join(arrays) or 'no arrays'}")
    return arrays[volumes[0]]


def write_volume(path: str | os.PathLike[str], volume: NDArray[Any]) -> None:
    """Write a volume [X, Y, Z] as ``.npy``, or as ``.npz`` with occupancy packed, all or nothing.

    Raises
    ------
    InputError
        If the suffix is another.
    OSError
        If the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in VOLUME_SUFFIXES:
        raise InputError(f"{path}: the suffix must be one of {' '.join(VOLUME_SUFFIXES)}")
    buffer = io.BytesIO()
    if suffix == ".npy":
        np.save(buffer, volume, allow_pickle=False)
    elif volume.dtype == np.bool_:
        np.savez_compressed(buffer, occupancy=np.packbits(volume), shape=np.array(volume.shape, np.int32))
    else:
        np.savez_compressed(buffer, sdf=volume)
    write_atomic(path, buffer.getvalue())
