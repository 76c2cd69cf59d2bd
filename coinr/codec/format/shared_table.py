"""Tables that a base tells most of: names, shapes and dtypes are the base's, and the rest is coded after examples.

``FORMAT.md``, "Shared table", is its specification.
"""

from __future__ import annotations

from collections.abc import Sequence

from coinr.codec.coders import CODERS, EXACT
from coinr.codec.format.metadata import read_meta, write_meta
from coinr.codec.format.tensor_table import TIED, Header, Limits, TensorRecord, check_differences
from coinr.codec.reference import SHARED_HASH_BYTES, STATISTICS_BYTES, ReferenceNetwork, SharedTable
from coinr.codec.wire import Reader, varint
from coinr.errors import FormatError, ReferenceNetworkError

#: The flag of files whose table is a shared one.
SHARED = 8

_LARGEST_TABLE = 1 << 16
_MOST_EXAMPLES = 32


def can_share(header: Header, shared: SharedTable | None) -> bool:
    """Return whether the table of a header can be a shared one: all tensors are those of the base, in its order."""
    tensors = [(record.name, record.layout) for record in header.records]
    untied = all(record.tied_to is None for record in header.records)
    return shared is not None and untied and tensors == shared.tensors and len(write_fields(header)) <= _LARGEST_TABLE


def write_fields(header: Header) -> bytes:
    """Return what a shared table says: seed and metadata, then coder, parameters and length of each payload."""
    meta = write_meta(header.meta)
    out = bytearray(varint(header.seed) + varint(len(meta)) + meta)
    for record in header.records:
        assert record.params is not None
        out += bytes([record.coder]) + record.params.write() + varint(record.length)
    return bytes(out)


def pack_shared_table(header: Header, shared: SharedTable) -> bytes:
    """Return flag, sizes, hash of the base and the coded fields."""
    fields = write_fields(header)
    stored = shared.digest + EXACT.pack_after(shared.examples, fields, shared.columns)
    return bytes([SHARED]) + varint(len(stored)) + varint(len(fields)) + stored


def read_shared_table(
    stored: bytes, size: int, limits: Limits, differences: bool, reference: ReferenceNetwork | None
) -> Header:
    """Read what :func:`pack_shared_table` wrote; ``differences`` is the flag of the file.

    Raises
    ------
    ReferenceNetworkError
        If the base was not given, or another one was.
    FormatError
        If the table is ill-formed.
    LimitError
        If the base has more tensors than allowed.
    """
    reader = Reader(stored)
    digest = bytes(reader.take(SHARED_HASH_BYTES))
    if size > _LARGEST_TABLE:
        raise FormatError(f"a shared table of {size} bytes is larger than {_LARGEST_TABLE}")
    shared = shared_table_of(reference, digest)
    limits.check_tensors(len(shared.tensors))
    packed = stored[SHARED_HASH_BYTES:]
    return _read_fields(EXACT.unpack_after(shared.examples, packed, size, shared.columns), shared, differences)


def shared_table_of(reference: ReferenceNetwork | None, digest: bytes) -> SharedTable:
    """Return the shared table of the base with this hash; raise ReferenceNetworkError unless the given one has it."""
    if reference is None:
        raise ReferenceNetworkError(f"the table is that of the network {digest.hex()}: give it as base")
    found = "a network without statistics" if reference.shared is None else reference.shared.digest.hex()
    if reference.shared is None or found != digest.hex():
        raise ReferenceNetworkError(f"the table is that of the network {digest.hex()}, and the base given is {found}")
    return reference.shared


def _read_fields(raw: bytes, shared: SharedTable, differences: bool) -> Header:
    reader = Reader(raw)
    seed = reader.varint()
    meta = read_meta(bytes(reader.take(reader.varint())))
    records = []
    for name, layout in shared.tensors:
        coder = reader.u8()
        if coder >= TIED:
            raise FormatError(f"coder {coder} is unknown to a shared table")
        params = CODERS[coder].read(reader)
        params.check(layout)
        records.append(TensorRecord(name, layout, coder, params, reader.varint()))
    reader.end()
    header = Header(seed, tuple(records), meta, shared.digest, is_shared=True)
    check_differences(header, differences)
    return header


def examples_of(headers: Sequence[Header]) -> tuple[bytes, int]:
    """Return rows for the statistics of a base, from files of equal layout, and their number of columns.

    Each row is a table, with zeros after it. At most so many rows are taken as fit.
    """
    rows = [write_fields(header) for header in headers[:_MOST_EXAMPLES]]
    columns = max(map(len, rows))
    rows = rows[: STATISTICS_BYTES // columns]
    return b"".join(row.ljust(columns, b"\0") for row in rows), columns
