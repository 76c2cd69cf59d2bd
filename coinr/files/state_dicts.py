"""State dicts in files of other formats."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from coinr.errors import InputError
from coinr.files.reading import check_path, name_in_errors
from coinr.files.safetensors_stream import LazyTensors, write_safetensors
from coinr.files.writing import write_atomic
from coinr.inputs.checkpoints import pick_state_dict
from coinr.inputs.dtypes import DType, check_dtype

if TYPE_CHECKING:
    import torch

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
    from coinr.files.weight_formats import read_weights

    with name_in_errors(path):
        return pick_state_dict(read_weights(path), key, strip_prefix)


def write_state_dict_file(
    path: str | os.PathLike[str],
    sd: Mapping[str, torch.Tensor] | LazyTensors,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a state dict as ``.safetensors``, ``.pt``/``.pth`` or ``.npz``, atomically.

    Parameters
    ----------
    sd
        For ``.safetensors``, each tensor is taken when it is written, and not kept. ``.pt`` needs tensors.
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
        layouts, array_of = _arrays(sd)
        chosen = PLAIN_METADATA if metadata is None else metadata
        write_atomic(target, lambda stream: write_safetensors(stream, layouts, array_of, chosen))
    elif suffix == ".npz":
        arrays = _native_arrays(sd)
        if clash := {"file", "allow_pickle"} & set(arrays):
            raise InputError(f".npz cannot hold a tensor named {min(clash)!r}; use .safetensors or .pt")
        write_atomic(target, lambda stream: np.savez(stream, allow_pickle=False, **arrays))
    else:
        import torch

        tensors: OrderedDict[str, torch.Tensor] = OrderedDict(cast(Mapping[str, torch.Tensor], sd))
        write_atomic(target, lambda stream: torch.save(tensors, stream))


def _arrays(
    sd: Mapping[str, torch.Tensor] | LazyTensors,
) -> tuple[dict[str, tuple[DType, tuple[int, ...]]], Callable[[str], NDArray[Any]]]:
    """Return dtype and shape of each tensor, and a function that returns one as an array."""
    if isinstance(sd, LazyTensors):
        return dict(sd.array_layouts()), sd.array
    from coinr.inputs.tensors import tensor_to_array

    tensors = sd
    layouts = {
        name: (check_dtype(tensor.dtype, f"tensor {name!r}"), tuple(tensor.shape)) for name, tensor in tensors.items()
    }
    return layouts, lambda name: tensor_to_array(tensors[name])[0]


def _native_arrays(sd: Mapping[str, torch.Tensor] | LazyTensors) -> dict[str, NDArray[Any]]:
    """Return all tensors as arrays; raise InputError for a dtype that NumPy lacks."""
    layouts, array_of = _arrays(sd)
    for name, (dtype, _) in layouts.items():
        if not dtype.is_native:
            raise InputError(f"tensor {name!r} is {dtype}, which .npz does not have; use .safetensors or .pt")
    return {name: array_of(name) for name in layouts}
