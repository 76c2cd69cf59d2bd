"""Encoding of many state dicts on all cores."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from functools import partial
from typing import Annotated, Any

import torch
from numpy.typing import NDArray

from coinr.codec.api import encode_state_dict
from coinr.codec.options import EncodeOptions
from coinr.codec.profiles.tasks import check_options
from coinr.codec.state_dict import read_state_dict
from coinr.codec.tensors import Layout, from_bytes, to_bytes
from coinr.engine.threads import available_threads
from coinr.errors import CoinrError, InputError
from coinr.inputs.arguments import checked
from coinr.inputs.dtypes import DType
from coinr.inputs.state_dicts import StateDict, is_state_dict, to_state_dict
from coinr.inputs.tensors import array_to_tensor
from coinr.networks.families import FAMILIES
from coinr.runtime.ambient import independent
from coinr.runtime.processes import map_in_processes

#: An entry of a state dict: its name, layout, and bytes or the position of the entry that it is tied to.
_Row = tuple[str, Layout, bytes | int]


@independent
@checked
def encode_state_dicts(
    sds: Annotated[Iterable[StateDict], "an iterable of state dicts"],
    seed: int = 0,
    *,
    threads: int | None = None,
    **options: Any,
) -> Generator[bytes, None, None]:
    """Encode many state dicts, of small networks above all, and yield their files in order.

    The files are those of :func:`~coinr.encode_state_dict` with the same options. Work of more than about a second is
    done in other processes, one for each core; they are started with ``sys.executable`` and do not run the caller's
    program. The iterable is read a few state dicts ahead. A state dict may be changed as soon as the next is read.
    Closing the generator ends the processes.

    Parameters
    ----------
    sds
        State dicts or modules.
    seed, **options
        As for :func:`~coinr.encode_state_dict`, the same for all. ``canonical`` needs ``meta`` that names the kind of
        network, also of modules.
    threads
        Cores to use; all of them by default. With 1, everything runs in the calling process.

    Raises
    ------
    InputError
        At once, if an option is out of range or cannot be pickled. Others of encode_state_dict come while iterating,
        where their file would; the message begins with the index of the state dict.
    BackendError
        If a process cannot be started, or was ended from outside.
    """
    if is_state_dict(sds):
        raise InputError(f"sds is one {type(sds).__name__}: give a list of state dicts, or call encode_state_dict")
    requested = EncodeOptions.from_arguments({"seed": seed, "threads": threads, **options})
    check_options(requested)
    if requested.canonical and not any(kind in FAMILIES for kind in requested.meta or {}):
        raise InputError(
            f"canonical order of many state dicts needs meta that names one of {', '.join(FAMILIES)}: other processes "
            "get tensors and no modules"
        )
    processes = available_threads(threads)
    encode = partial(_encode, threads=threads, seed=seed, **options)
    futures = map_in_processes(encode, partial(_encode, threads=1, seed=seed, **options), map(_Item, sds), processes)
    return _results(futures)


def _results(futures: Generator[Any, None, None]) -> Generator[bytes, None, None]:
    """Yield the results of futures; errors name the index."""
    try:
        for index, future in enumerate(futures):
            try:
                blob: bytes = future.result()
            except CoinrError as error:
                raise type(error)(f"state dict {index}: {error}") from error
            except Exception as error:
                error.add_note(f"while encoding state dict {index}")
                raise
            yield blob
    finally:
        futures.close()


class _Item:
    """A state dict; pickled, it holds the values of its tensors alone, wherever they are."""

    def __init__(self, sd: StateDict) -> None:
        self.sd = sd

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (_rows(self.sd),)


@independent
def _rows(sd: StateDict) -> list[_Row]:
    return [
        (entry.name, entry.layout, to_bytes(entry.array) if entry.tied_to is None else entry.tied_to)
        for entry in read_state_dict(to_state_dict(sd))
    ]


def _unpickle(rows: list[_Row]) -> _Item:
    values: list[Any] = []
    for _, layout, value in rows:
        values.append(values[value] if isinstance(value, int) else _value(from_bytes(value, layout), layout.dtype))
    return _Item({name: value for (name, _, _), value in zip(rows, values, strict=True)})


def _value(array: NDArray[Any], dtype: DType) -> NDArray[Any] | torch.Tensor:
    """Return an array, which takes less time to encode, or a tensor where NumPy lacks the dtype."""
    return array if dtype.is_native else array_to_tensor(array, dtype)


def _encode(item: _Item, **options: Any) -> bytes:
    return encode_state_dict(item.sd, **options)
