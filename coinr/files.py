"""Files on disk: atomic writes, and state dicts in other formats."""

from __future__ import annotations

import os
import pickle
import tempfile
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors
import safetensors.torch
import torch

from coinr.errors import InputError

STATE_DICT_SUFFIXES = (".safetensors", ".pt", ".pth", ".npz")


def write_atomic(path: str | os.PathLike[str], write: bytes | Callable[[BinaryIO], object]) -> None:
    """Write bytes, or what a callable writes to the open file, under a temporary name; then rename.

    A failure leaves nothing behind and an existing file untouched.
    """
    target = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            if callable(write):
                write(stream)
            else:
                stream.write(write)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in STATE_DICT_SUFFIXES:
        raise InputError(
            f"{path.name!r}: state dicts are {', '.join(STATE_DICT_SUFFIXES)}, not {suffix or 'without suffix'!r}"
        )
    return suffix


def read_state_dict_file(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """The state dict of a ``.safetensors``, ``.pt``/``.pth`` (``weights_only=True``) or ``.npz`` (no pickle) file.

    Raises
    ------
    InputError
        If the file is damaged, of another kind, or would need unpickling of arbitrary objects.
    OSError
        If it cannot be read.
    """
    source = Path(path)
    suffix = _suffix(source)
    try:
        if suffix == ".safetensors":
            with safetensors.safe_open(source, "pt") as file:
                return OrderedDict((name, file.get_tensor(name)) for name in file.keys())  # noqa: SIM118 - no mapping
        if suffix == ".npz":
            with source.open("rb") as stream, zipfile.ZipFile(stream), np.load(stream, allow_pickle=False) as arrays:
                return OrderedDict((name, arrays[name]) for name in arrays.files)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols: what cannot be read safely is an error here
            loaded = torch.load(source, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{source.name!r} needs unpickling of objects, which is not safe: save a plain state dict"
        ) from error
    except Exception as error:  # damaged files fail in the readers in more ways than can be listed
        raise InputError(f"{source.name!r} cannot be read: {_first_line(error)}") from error
    if not isinstance(loaded, Mapping):
        raise InputError(f"{source.name!r} holds {type(loaded).__name__}, not a state dict")
    return loaded


def write_state_dict_file(path: str | os.PathLike[str], sd: Mapping[str, torch.Tensor]) -> None:
    """Write a state dict as ``.safetensors``, ``.pt``/``.pth`` or ``.npz``, atomically.

    Raises
    ------
    InputError
        For another suffix, or a dtype that the format does not have (``.npz`` has no bfloat16).
    """
    target = Path(path)
    suffix = _suffix(target)
    if suffix == ".safetensors":
        write_atomic(target, _to_safetensors(sd))
    elif suffix == ".npz":
        arrays = {name: _to_numpy(name, tensor) for name, tensor in sd.items()}
        if clash := {"file", "allow_pickle"} & set(arrays):
            raise InputError(f".npz cannot hold a tensor named {min(clash)!r}; use .safetensors or .pt")
        write_atomic(target, lambda stream: np.savez(stream, allow_pickle=False, **arrays))
    else:
        write_atomic(target, lambda stream: torch.save(OrderedDict(sd), stream))


def _to_safetensors(sd: Mapping[str, torch.Tensor]) -> bytes:
    if "__metadata__" in sd:
        raise InputError(".safetensors cannot hold a tensor named '__metadata__'; use .pt or .npz")
    try:
        data: bytes = safetensors.torch.save({name: tensor.clone().contiguous() for name, tensor in sd.items()})
    except KeyError as error:
        raise InputError(f".safetensors does not have {error.args[0]}; use .pt or .npz") from error
    return data


def _to_numpy(name: str, tensor: torch.Tensor) -> Any:
    try:
        return tensor.numpy()
    except TypeError as error:
        raise InputError(
            f"tensor {name!r} is {tensor.dtype}, which .npz does not have; use .safetensors or .pt"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
