"""State dicts in files of other formats."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from coinr.errors import InputError
from coinr.files.reading import check_path, name_in_errors
from coinr.files.safetensors_stream import LazyTensors, write_safetensors
from coinr.files.weight_formats import read_weights
from coinr.files.writing import write_atomic
from coinr.inputs.checkpoints import pick_state_dict

#: Metadata of ``.safetensors`` files that say nothing else; some loaders refuse a file without it.
PLAIN_METADATA = {"format": "pt"}

STATE_DICT_SUFFIXES = (".safetensors", ".pt", ".pth", ".npz")


def read_state_dict_file(
    path: str | os.PathLike[str], key: str | None = None, strip_prefix: str | None = None
) -> Mapping[str, Any]:
    """Return the state dict in a file of torch, ``.safetensors``, ``.npz`` or ``.npy``. The content tells the format.

    Parameters
    ----------
    path : path
        The file; its suffix does not matter.
    key, strip_prefix : str, optional
        The entry of a checkpoint that is the state dict, and the prefix that is removed from names: see
        :func:`coinr.inputs.checkpoints.pick_state_dict`.

    Raises
    ------
    InputError
        If the file is truncated, damaged, of another kind, would need unpickling of arbitrary objects, or holds no
        state dict there.
    OSError
        If it cannot be read.
    """
    with name_in_errors(path):
        return pick_state_dict(read_weights(path), key, strip_prefix)


def write_state_dict_file(
    path: str | os.PathLike[str], sd: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a state dict as ``.safetensors``, ``.pt``/``.pth`` or ``.npz``, atomically.

    Parameters
    ----------
    sd
        For ``.safetensors``, each tensor is taken when it is written, and not kept.
    metadata
        Of a ``.safetensors`` file, by default :data:`PLAIN_METADATA`; the other formats have none.

    Raises
    ------
    InputError
        For another suffix, or a dtype that the format does not have (``.npz`` has no bfloat16).
    """
    target = check_path(path)
    suffix = target.suffix.lower()
    if suffix not in STATE_DICT_SUFFIXES:
        raise InputError(f"{path}: state dicts are written as {', '.join(STATE_DICT_SUFFIXES)}, not {suffix!r}")
    if suffix == ".safetensors":
        layouts = _layouts(sd)
        chosen = PLAIN_METADATA if metadata is None else metadata
        write_atomic(target, lambda stream: write_safetensors(stream, layouts, sd.__getitem__, chosen))
    elif suffix == ".npz":
        arrays = {name: _to_numpy(name, tensor) for name, tensor in sd.items()}
        if clash := {"file", "allow_pickle"} & set(arrays):
            raise InputError(f".npz cannot hold a tensor named {min(clash)!r}; use .safetensors or .pt")
        write_atomic(target, lambda stream: np.savez(stream, allow_pickle=False, **arrays))
    else:
        write_atomic(target, lambda stream: torch.save(OrderedDict(sd), stream))


def _layouts(sd: Mapping[str, torch.Tensor]) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """Return dtype and shape of each tensor, without taking it where the mapping tells."""
    if isinstance(sd, LazyTensors):
        return dict(sd.layouts())
    return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in sd.items()}


def _to_numpy(name: str, tensor: torch.Tensor) -> Any:
    try:
        return tensor.numpy()
    except TypeError as error:
        raise InputError(
            f"tensor {name!r} is {tensor.dtype}, which .npz does not have; use .safetensors or .pt"
        ) from error
