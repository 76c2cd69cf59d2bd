"""NumPy's array files: ``.npy`` and ``.npz``, detected from their content. Nothing is unpickled."""

from __future__ import annotations

import os
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.errors import InputError, first_line
from coinr.files.reading import TRUNCATED, check_head, name_in_errors

#: First bytes of a zip archive, of an empty one, and of a single array.
ZIP, NPY = (b"PK\x03\x04", b"PK\x05\x06"), b"\x93NUMPY"


def read_arrays(path: str | os.PathLike[str]) -> OrderedDict[str, NDArray[Any]]:
    """Return the arrays in a ``.npz`` file, or the one in a ``.npy`` file under the name of the file.

    They have the native byte order.

    Raises
    ------
    InputError
        If the file is truncated, damaged or of another kind, or would need unpickling.
    OSError
        If the file cannot be opened.
    """
    head = check_head(path)
    with name_in_errors(path):
        if head.startswith(ZIP):
            return read_npz(Path(path))
        if head.startswith(NPY):
            return read_npy(Path(path))
        if any(mark.startswith(head) for mark in (*ZIP, NPY)):
            raise InputError(TRUNCATED)
        raise InputError("damaged or unsupported array file; arrays are .npy or .npz as NumPy writes them")


def read_npz(path: Path) -> OrderedDict[str, NDArray[Any]]:
    """Return the arrays of an archive; an InputError does not name the file."""
    names = [info.filename for info in zip_members(path)]
    if not all(name.endswith(".npy") for name in names):
        raise InputError(
            "a zip archive of more than arrays (.npy); weights of torch are no signal, coinr.save stores them"
        )
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return OrderedDict((name, _native(arrays[name])) for name in arrays.files)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # damaged archives fail in more ways than can be listed
        raise _damaged(error) from error


def read_npy(path: Path) -> OrderedDict[str, NDArray[Any]]:
    """Return the array of a file, under the name of the file; an InputError does not name the file."""
    try:
        with path.open("rb") as stream:
            array = np.lib.format.read_array(stream, allow_pickle=False)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        if any(words in str(error) for words in ("EOF", "cannot reshape", "could only read", "expected")):
            raise InputError(TRUNCATED) from error
        raise _damaged(error) from error
    return OrderedDict({path.stem: _native(array)})


def zip_members(path: Path) -> list[zipfile.ZipInfo]:
    """Return the members of a zip archive; raise InputError, without the file's name, if its list is damaged."""
    if not zipfile.is_zipfile(path):  # the list is at the end
        raise InputError(TRUNCATED)
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise _damaged(error) from error


def _native(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _damaged(error: Exception) -> InputError:
    text = first_line(error)
    if "allow_pickle" in text:
        return InputError("an array holds objects of Python, which is not safe to read: save arrays of numbers")
    return InputError(f"damaged: {text}")
