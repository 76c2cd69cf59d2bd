"""The common base of a set: a network that all members are near to, with statistics of their tables."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray

from coinr.codec.api import encode_state_dict
from coinr.codec.format.container import File
from coinr.codec.format.shared_table import examples_of
from coinr.codec.reference import STATISTICS, ReferenceNetwork
from coinr.codec.state_dict import Entry, read_state_dict
from coinr.codec.tensors import LOSSY_DTYPES, from_planes
from coinr.errors import InputError
from coinr.inputs.arguments import checked
from coinr.inputs.state_dicts import StateDict, is_state_dict, to_state_dict
from coinr.inputs.tensors import array_to_tensor
from coinr.runtime.ambient import independent

# Members from which statistics are made: of 16, 32 and 48 tables, later ones take 27.5, 26.9 and 26.7 bytes.
_EXAMPLES = 32

# Binary digits of the base's numbers; members hold the rest.
_DIGITS = 8


@independent
@checked
def make_base(
    sds: Annotated[Sequence[StateDict], "a list of state dicts"],
    *,
    start: StateDict | None = None,
    seed: int = 0,
    **options: Any,
) -> OrderedDict[str, torch.Tensor]:
    """Return a base for a set of networks: their mean, or a start, and statistics of the tables of their files.

    Give it as ``base`` to :func:`write_set`, :func:`~coinr.encode_state_dict` and all that decodes. The statistics are
    its tensor ``statistics.table``, see FORMAT.md, "Shared table".

    Parameters
    ----------
    sds
        Some of the networks, all with the same names, shapes and dtypes in the same order, and without tied tensors;
        a hundred suffice.
    start
        The base network, for example that of a learned start, in place of the mean.
    seed, **options
        As for :func:`~coinr.encode_state_dict`: what the files of the set will be made with.

    Raises
    ------
    InputError
        If there are no state dicts, or they differ in more than values; the message names the first that does.
    CoinrError
        As :func:`~coinr.encode_state_dict`.
    """
    if is_state_dict(sds) or not len(sds):
        raise InputError("sds must be a list of one or more state dicts")
    networks = [read_state_dict(to_state_dict(sd)) for sd in sds]
    _check_layouts(networks)
    if start is None:
        entries = [(column[0], _mean(column)) for column in zip(*networks, strict=True)]
    else:
        entries = [(entry, entry.array) for entry in read_state_dict(to_state_dict(start))]
        _check_layouts([networks[0], [entry for entry, _ in entries]])
    base = OrderedDict((entry.name, array_to_tensor(array.copy(), entry.dtype)) for entry, array in entries)
    plain = ReferenceNetwork(base)
    blobs = [encode_state_dict(sd, seed, base=base, **options) for sd in sds[:_EXAMPLES]]
    examples, columns = examples_of([File(blob, options.get("limits"), plain).header for blob in blobs])
    base[STATISTICS] = torch.from_numpy(np.frombuffer(examples, np.uint8).reshape(-1, columns).copy())
    return base


def _check_layouts(networks: list[list[Entry]]) -> None:
    """Raise InputError unless all networks have the first one's names and layouts, and no ties."""
    first = [(entry.name, entry.layout) for entry in networks[0]]
    for index, entries in enumerate(networks):
        if any(entry.tied_to is not None for entry in entries):
            raise InputError(f"state dict {index} has tied tensors, which a set's base cannot have")
        found = [(entry.name, entry.layout) for entry in entries]
        if found != first:
            other = next((b for a, b in zip(first, found, strict=False) if a != b), "another number of tensors")
            raise InputError(f"state dict {index} is not of the first one's layout: it has {other}")


def _mean(column: Sequence[Entry]) -> NDArray[Any]:
    """Return the mean of a tensor over the networks, to a few digits; of one without real values, the first."""
    first = column[0]
    if first.dtype not in LOSSY_DTYPES or not first.layout.size:
        return first.array
    mean = np.mean([entry.planes for entry in column], axis=0)
    mantissa, exponent = np.frexp(mean)
    return from_planes(np.ldexp(np.rint(mantissa * 2**_DIGITS) / 2**_DIGITS, exponent), first.layout)
