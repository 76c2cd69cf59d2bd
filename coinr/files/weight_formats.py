"""Reading of weights: torch's two formats, safetensors and NumPy's arrays, detected from their content."""

from __future__ import annotations

import json
import os
import pickletools
import re
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import safetensors

from coinr.errors import InputError, first_line
from coinr.files.arrays import NPY, ZIP, read_npy, read_npz, zip_members
from coinr.files.reading import MAGIC, TRUNCATED, check_head, name_in_errors

#: The formats that are read, for messages.
READABLE = ".safetensors, .pt (also .pth, .ckpt, .bin) as torch.save writes them, .npz and .npy"

#: Torch's format before 1.6 begins with this pickled number; four more pickles and the raw values follow.
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_LEGACY_PICKLES = 5

#: First bytes of formats of weights that are not read.
_OTHERS = {
    MAGIC: "a coinr file already",
    b"GGUF": "a GGUF file",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file, as Keras writes",
    b"\x1f\x8b": "a gzip archive",
    b"(\xb5/\xfd": "a zstd archive",
    b"\xfd7zXZ": "an xz archive",
}


def read_weights(path: str | os.PathLike[str]) -> Any:
    """Return the content of a file of weights: usually a mapping of names to tensors or arrays.

    The format is detected from the content, not from the suffix. Only tensors, arrays and plain values are unpickled.
    The array of a ``.npy`` file has the name of the file.

    Raises
    ------
    InputError
        If the file is truncated, damaged, of another kind, or would need unpickling of arbitrary objects.
    OSError
        If it cannot be read.
    """
    head = check_head(path)
    with name_in_errors(path):
        try:
            return _read(Path(path), head)
        except (OSError, MemoryError, InputError):
            raise
        except Exception as error:  # damaged files fail in the readers in more ways than can be listed
            raise InputError(f"damaged: {first_line(error)}") from error


def _read(path: Path, head: bytes) -> Any:
    if head.startswith(ZIP):
        return _read_zip(path)
    if head.startswith(NPY):
        return read_npy(path)
    if _is_safetensors(head):
        return _read_safetensors(path, int.from_bytes(head[:8], "little"))
    if head[0] == 0x80 and b"\x02" <= head[1:2] <= b"\x05":
        return _read_pickle(path, head)
    if any(mark.startswith(head) for mark in (*ZIP, NPY, _LEGACY)) or _is_short_safetensors(path, head):
        raise InputError(TRUNCATED)
    for mark, words in _OTHERS.items():
        if head.startswith(mark):
            raise InputError(f"{words}, not one of weights that coinr packs: {READABLE}")
    raise InputError(f"not a file of weights: coinr reads {READABLE}")


def _is_safetensors(head: bytes) -> bool:
    """Return whether a file begins with the length of a header, below 4 GiB, and a JSON object."""
    return head[4:8] == bytes(4) and head[8:9] == b"{"


def read_safetensors_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the ``__metadata__`` of a ``.safetensors`` file; an empty one for files of other formats.

    Raises
    ------
    InputError
        If the header is damaged.
    OSError
        If the file cannot be read.
    """
    if not _is_safetensors(check_head(path)):
        return {}
    with name_in_errors(path):
        try:
            with safetensors.safe_open(path, "pt") as file:
                return dict(file.metadata() or {})
        except safetensors.SafetensorError as error:
            raise InputError(f"damaged: {first_line(error)}") from error


def _is_short_safetensors(path: Path, head: bytes) -> bool:
    return path.suffix.lower() == ".safetensors" and len(head) <= 8


def _read_zip(path: Path) -> Any:
    listed = zip_members(path)
    names = {info.filename.rpartition("/")[2] for info in listed}
    if "constants.pkl" in names:
        raise InputError("a TorchScript archive, which holds code: save the module's state_dict() with torch.save")
    if "data.pkl" in names:
        if any(info.compress_type != zipfile.ZIP_STORED for info in listed):
            raise InputError("an archive of torch that was packed anew: torch reads members only as it wrote them")
        return _load_torch(path)
    if not all(name.endswith(".npy") for name in names):
        raise InputError(f"a zip archive without weights: coinr reads {READABLE}")
    return read_npz(path)


def _read_pickle(path: Path, head: bytes) -> Any:
    legacy = head.startswith(_LEGACY)
    with path.open("rb") as stream:
        if not _pickles_are_whole(stream, _LEGACY_PICKLES if legacy else 1):
            raise InputError(TRUNCATED)
    if not legacy:
        raise InputError(
            "a pickle that torch.save did not write, which is not safe to read as it needs unpickling of objects: "
            "save a plain state dict with torch.save, or as .safetensors"
        )
    return _load_torch(path)


def _pickles_are_whole(stream: BinaryIO, count: int) -> bool:
    """Return whether ``count`` pickles, one after another, end before the file does; none is executed."""
    try:
        for _ in range(count):
            for _ in pickletools.genops(stream):
                pass
    except Exception:  # an unknown opcode, an ill-formed argument, or the end of the file
        return bool(stream.read(1))
    return True


def _load_torch(path: Path) -> Any:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickle protocols: what cannot be read safely is an error here
            with path.open("rb") as stream:  # given a path, torch would look at the suffix
                return torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:
        text = str(error)
        if "unexpected EOF" in text:
            raise InputError(TRUNCATED) from error
        if isinstance(error, OSError):  # from seeking to a place that a damaged file gives
            raise InputError(f"damaged: {first_line(error)}") from error
        if "Weights only load failed" not in text:
            raise
        # torch names the object in the last lines of a long message
        found = re.search(r"GLOBAL ([\w.]+) was not|class ([\w.]+)", text)
        name = f" ({next(filter(None, found.groups()))})" if found else ""
        raise InputError(
            f"it needs unpickling of objects{name}, which is not safe: save a plain state dict, of tensors only"
        ) from error


def _read_safetensors(path: Path, header: int) -> Any:
    try:
        with safetensors.safe_open(path, "pt") as file:
            return OrderedDict((name, file.get_tensor(name)) for name in file.keys())  # noqa: SIM118 - no mapping
    except safetensors.SafetensorError as error:
        if (dtype := str(error).removeprefix("Dtype not understood: ")) != str(error):
            raise InputError(f"it holds a tensor of the dtype {dtype}, which torch lacks") from error
        if 8 + header + _values_end(path, header) > path.stat().st_size:
            raise InputError(TRUNCATED) from error
        raise


def _values_end(path: Path, header: int) -> int:
    """Return the bytes of values that the header of a safetensors file lists; 0 if it cannot be read."""
    if 8 + header > path.stat().st_size:
        return 0
    with path.open("rb") as stream:
        stream.seek(8)
        try:
            rows = json.loads(stream.read(header))
            return max((row["data_offsets"][1] for name, row in rows.items() if name != "__metadata__"), default=0)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return 0
