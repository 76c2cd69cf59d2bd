"""The reference network: tensors that encoder and decoder both have, to which a file may hold differences."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from numpy.typing import NDArray

from coinr.codec.state_dict import Entry, read_state_dict
from coinr.codec.tensors import DTYPE_CODES, Layout, to_bytes
from coinr.codec.wire import varint
from coinr.errors import ReferenceNetworkError
from coinr.inputs.state_dicts import StateDict, to_state_dict

HASH_BYTES = 16

#: The tensor of a base that holds tables of other files, uint8 [rows, columns]; it is none of the network's.
STATISTICS = "statistics.table"

#: The most bytes of it.
STATISTICS_BYTES = 1 << 16

#: Bytes of the hash of a base in a file that shares its table.
SHARED_HASH_BYTES = 8


class SharedTable:
    """What files take from a base: its tensors' names and layouts, and tables that their model learns from.

    Attributes
    ----------
    tensors
        Names and layouts, in order.
    examples : bytes
        Rows of ``columns`` bytes, one after the other.
    columns : int
    digest : bytes
        Hash of the base.
    """

    def __init__(self, entries: Mapping[str, Entry], digest: bytes) -> None:
        found = entries[STATISTICS]
        self.tensors = [(entry.name, entry.layout) for entry in entries.values() if entry.name != STATISTICS]
        self.examples, self.columns = to_bytes(found.array), found.layout.shape[1]
        self.digest = digest


def _is_statistics(layout: Layout) -> bool:
    """Return whether a tensor of that name can hold tables; one that cannot is a tensor like others."""
    return layout.dtype.name == "uint8" and len(layout.shape) == 2 and 0 < layout.size <= STATISTICS_BYTES


class ReferenceNetwork:
    """The tensors of a reference network, by name.

    Parameters
    ----------
    sd
        Names to dense tensors or arrays, or a module, as for encode_state_dict.

    Raises
    ------
    StateDictError
        If it is no such mapping.

    Attributes
    ----------
    shared : SharedTable or None
        What files may take their tables from, if the network comes with statistics.
    """

    def __init__(self, sd: StateDict) -> None:
        self._entries = {entry.name: entry for entry in read_state_dict(to_state_dict(sd))}
        self.shared = None
        statistics = self._entries.get(STATISTICS)
        if statistics is not None and _is_statistics(statistics.layout):
            everything = [(name, entry.layout) for name, entry in self._entries.items()]
            self.shared = SharedTable(self._entries, self.digest(everything)[:SHARED_HASH_BYTES])

    def find(self, name: str, layout: Layout) -> NDArray[Any] | None:
        """Return the array of a name, contiguous; None unless it has that dtype and shape."""
        entry = self._entries.get(name)
        return entry.array if entry is not None and entry.layout == layout else None

    def take(self, name: str, layout: Layout) -> NDArray[Any]:
        """Return the array as :meth:`find` does; raise ReferenceNetworkError where that gives None."""
        array = self.find(name, layout)
        if array is None:
            here = "has none" if name not in self._entries else "has another dtype or shape"
            expected = f"{layout.dtype} {list(layout.shape)}"
            raise ReferenceNetworkError(f"the base must hold a tensor {name!r}, {expected}; the one given {here}")
        return array

    def digest(self, tensors: Iterable[tuple[str, Layout]]) -> bytes:
        """Return the truncated SHA-256 of names, dtypes, shapes and bytes of the given tensors, in their order."""
        state = hashlib.sha256()
        for name, layout in tensors:
            array = self.take(name, layout)
            encoded = name.encode()
            state.update(varint(len(encoded)) + encoded + bytes([DTYPE_CODES[layout.dtype], len(layout.shape)]))
            state.update(b"".join(map(varint, layout.shape)) + to_bytes(array))
        return state.digest()[:HASH_BYTES]
