"""The tensor table: names, layouts, coders and sizes of all tensors. ``FORMAT.md`` is its specification."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from coinr.codec.coders import CODERS, DIFFERENCE, EXACT, Params
from coinr.codec.format.metadata import read_meta, write_meta
from coinr.codec.reference import HASH_BYTES, ReferenceNetwork
from coinr.codec.tensors import DTYPE_CODES, Layout
from coinr.codec.wire import Reader, compress, expand, quick_size, varint
from coinr.errors import FormatError, InputError, LimitError
from coinr.inputs.dtypes import DTYPES

VERSION = 1

# Flags of the form in which a table is stored.
BROTLI, MODELED = 1, 4

TIED = 7  # in place of a coder id: the tensor is an earlier one
_MAX_NDIM = 32
_MAX_ELEMENTS = 1 << 48

# Brotli may win where its fastest quality takes less than this many times the bytes of the exact coder.
_HOPELESS = 1.4

# A compressed table may expand to this many bytes, or to this many times its size. So may the names in a table.
_FREE_TABLE_BYTES = 1 << 16
_FREE_NAME_BYTES = 1 << 20
_TABLE_EXPANSION = 32

# An upper bound of the parameters of a coder and the length of a payload in a row of the table.
_ROW_BYTES = 64


@dataclass(frozen=True)
class Limits:
    """What decoding may cost; checked from the header before any allocation.

    Encoding checks bytes and tensors before it codes anything. Where a profile puts every matrix in a dictionary, it
    checks a lower bound of the work too. The work itself is known only at the end.

    Attributes
    ----------
    decoded_bytes
        Bytes of all decoded tensors together. Decoding one tensor takes up to seven times its bytes of memory, or twice
        if it is large and in the form that the encoder gives large tensors.
    work
        Dictionary entries that decoding generates.
    tensors
        Rows of the tensor table.
    """

    decoded_bytes: int = 1 << 30
    work: int = 1 << 32
    tensors: int = 1 << 14

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise InputError(f"{name} must be an integer >= 0, got {value!r}")

    def check(self, header: Header) -> None:
        """Raise LimitError if the file of this header costs more than allowed."""
        self.check_tensors(len(header.records))
        decoded_bytes, work = header.cost()
        if decoded_bytes > self.decoded_bytes:
            raise LimitError(
                f"decodes to {decoded_bytes} bytes, the limit is {self.decoded_bytes} (raise it with Limits)"
            )
        self.check_work(work)

    def check_work(self, work: int, least: str = "") -> None:
        """Raise LimitError if decoding generates more dictionary entries; ``least`` is ``"at least "`` for a bound."""
        if work > self.work:
            raise LimitError(
                f"decoding generates {least}{work} dictionary entries, the limit is {self.work} (raise it with Limits)"
            )

    def check_tensors(self, count: int) -> None:
        """Raise LimitError if a table of this many rows is too long."""
        if count > self.tensors:
            raise LimitError(f"holds {count} tensors, the limit is {self.tensors} (raise it with Limits)")


@dataclass(frozen=True)
class TensorRecord:
    """One row of the tensor table.

    Attributes
    ----------
    coder, params
        How the payload is decoded; without meaning for a tied tensor.
    tied_to
        Row of the earlier tensor whose storage this one shares, else None.
    length
        Payload bytes.
    """

    name: str
    layout: Layout
    coder: int
    params: Params | None
    length: int
    tied_to: int | None = None


@dataclass(frozen=True)
class Header:
    """The content of a file before its payloads.

    Attributes
    ----------
    reference_hash
        Hash of the tensors that those of the file are differences to; empty without any differences.
    is_shared
        Whether names and layouts are those of a base; then the hash is that of the whole base.
    """

    seed: int
    records: tuple[TensorRecord, ...]
    meta: dict[str, Any] = field(default_factory=dict)
    reference_hash: bytes = b""
    version: int = VERSION
    is_shared: bool = False

    def differences(self) -> list[tuple[str, Layout]]:
        """Return names and layouts of the tensors that are stored as differences to a reference network."""
        return [(record.name, record.layout) for record in self.records if record.coder == DIFFERENCE.id]

    def find_hash(self, reference: ReferenceNetwork) -> bytes:
        """Return what the hash is where this is the reference network; empty where nothing can be shared."""
        if self.is_shared:
            return b"" if reference.shared is None else reference.shared.digest
        return reference.digest(self.differences())

    def cost(self) -> tuple[int, int]:
        """Return the decoded bytes and the dictionary entries of the whole file."""
        stored = [record for record in self.records if record.params is not None]
        return (
            sum(record.layout.nbytes for record in stored),
            sum(record.params.work(record.layout) for record in stored if record.params),
        )


def _shared(first: bytes, second: bytes) -> int:
    """Return the length of the common prefix."""
    same = 0
    for a, b in zip(first, second, strict=False):
        if a != b:
            break
        same += 1
    return same


def _write_names(header: Header) -> bytes:
    """Write the column of names, each without the prefix that it shares with the name before."""
    out, previous = bytearray(), b""
    for record in header.records:
        name = record.name.encode()
        same = _shared(previous, name)
        out += varint(same) + varint(len(name) - same) + name[same:]
        previous = name
    return bytes(out)


def name_bytes(header: Header) -> int:
    """Return the bytes that the names and their lengths take in a table before compression."""
    return len(_write_names(header))


def write_table(header: Header) -> bytes:
    """Write the table, column by column as FORMAT.md lists them."""
    meta = write_meta(header.meta)
    out = bytearray(
        varint(header.seed) + varint(len(meta)) + meta + header.reference_hash + varint(len(header.records))
    )
    out += _write_names(header)
    for record in header.records:
        out.append(record.coder << 5 | DTYPE_CODES[record.layout.dtype])
    for record in header.records:
        if record.tied_to is not None:
            out += varint(record.tied_to)
        else:
            out += varint(len(record.layout.shape)) + b"".join(map(varint, record.layout.shape))
    for record in header.records:
        if record.params is not None:
            out += record.params.write()
    for record in header.records:
        if record.tied_to is None:
            out += varint(record.length)
    return bytes(out)


def _room(stored: int, free: int = _FREE_TABLE_BYTES) -> int:
    """Return the bytes that ``stored`` bytes may expand to."""
    return max(free, _TABLE_EXPANSION * stored)


def _read_names(reader: Reader, count: int) -> list[str]:
    names: list[str] = []
    seen: set[str] = set()
    previous = b""
    room = _room(len(reader.data), _FREE_NAME_BYTES)
    for _ in range(count):
        same, rest = reader.varint(), reader.varint()
        if same > len(previous):
            raise FormatError(f"name shares {same} bytes with one of {len(previous)}")
        room -= same + rest
        if room < 0:
            raise FormatError(f"the names of a table of {len(reader.data)} bytes expand to more than allowed")
        previous = previous[:same] + bytes(reader.take(rest))
        try:
            name = previous.decode()
        except UnicodeDecodeError as error:
            raise FormatError(f"name is not UTF-8: {error}") from error
        if name in seen:
            raise FormatError(f"two tensors are named {name!r}")
        seen.add(name)
        names.append(name)
    return names


def _read_shape(reader: Reader) -> tuple[int, ...]:
    ndim = reader.varint()
    if ndim > _MAX_NDIM:
        raise FormatError(f"{ndim} dimensions are more than {_MAX_NDIM}")
    shape = tuple(reader.varint() for _ in range(ndim))
    check_shape(shape)
    return shape


def check_names(header: Header) -> None:
    """Raise FormatError for names longer than a table of these tensors may expand to, however they are coded."""
    total = sum(len(record.name.encode()) for record in header.records)
    if total <= _FREE_NAME_BYTES:
        return
    room = _room(len(write_table(header)) + _ROW_BYTES * len(header.records), _FREE_NAME_BYTES)
    if total > room:
        raise FormatError(f"their names take {total} bytes, a table of {len(header.records)} rows has at most {room}")


def check_shape(shape: tuple[int, ...]) -> None:
    """Raise FormatError for a shape that no file may hold."""
    if len(shape) > _MAX_NDIM:
        raise FormatError(f"{len(shape)} dimensions are more than {_MAX_NDIM}")
    if math.prod(max(side, 1) for side in shape) > _MAX_ELEMENTS:
        raise FormatError(f"shape {shape} is absurd")


def read_table(raw: bytes, limits: Limits, differences: bool) -> Header:
    """Read what :func:`write_table` wrote; ``differences`` is the flag of the file.

    Raises
    ------
    FormatError
        If the table is ill-formed.
    LimitError
        If it has more rows than allowed.
    """
    reader = Reader(raw)
    seed = reader.varint()
    meta = read_meta(bytes(reader.take(reader.varint())))
    reference_hash = bytes(reader.take(HASH_BYTES)) if differences else b""
    count = reader.varint()
    limits.check_tensors(count)
    names = _read_names(reader, count)
    codes = bytes(reader.take(count))
    layouts: list[Layout] = []
    ties: list[int | None] = []
    for row, code in enumerate(codes):
        if code & 31 >= len(DTYPES):
            raise FormatError(f"dtype code {code & 31} is unknown")
        dtype, tied_to = DTYPES[code & 31], None
        if code >> 5 == TIED:
            tied_to = reader.varint()
            if tied_to >= row or ties[tied_to] is not None or layouts[tied_to].dtype != dtype:
                raise FormatError(f"tensor {row} cannot share the storage of tensor {tied_to}")
        ties.append(tied_to)
        layouts.append(Layout(dtype, _read_shape(reader)) if tied_to is None else layouts[tied_to])
    params: list[Params | None] = []
    for code, layout, tied_to in zip(codes, layouts, ties, strict=True):
        params.append(None if tied_to is not None else CODERS[code >> 5].read(reader))
        if params[-1] is not None:
            params[-1].check(layout)
    lengths = [reader.varint() if tied_to is None else 0 for tied_to in ties]
    reader.end()
    records = tuple(
        TensorRecord(name, layout, code >> 5, param, length, tied_to)
        for name, layout, code, param, length, tied_to in zip(names, layouts, codes, params, lengths, ties, strict=True)
    )
    header = Header(seed, records, meta, reference_hash)
    check_differences(header, differences)
    return header


def check_differences(header: Header, differences: bool) -> None:
    """Raise FormatError unless the flag of differences is that of the tensors."""
    if differences != bool(header.differences()):
        raise FormatError("the flag of differences and the tensors disagree")


def pack_table(table: bytes, quick: bool) -> bytes:
    """Return flags, sizes and the table in its smallest form: as it is, by the exact coder, or through Brotli.

    ``quick`` tries Brotli only where its fastest quality comes near the exact coder.
    """
    forms = [bytes([0]) + varint(len(table)) + table]
    if 0 < len(table) <= _FREE_TABLE_BYTES:
        modeled = EXACT.pack(table)
        forms.append(bytes([MODELED]) + varint(len(modeled)) + varint(len(table)) + modeled)
    if not quick or quick_size(table) < _HOPELESS * len(forms[-1]):
        packed = compress(table)
        if len(table) <= _room(len(packed)):
            forms.insert(1, bytes([BROTLI]) + varint(len(packed)) + varint(len(table)) + packed)
    return min(forms, key=len)


def unpack_table(stored: bytes, size: int, flags: int) -> bytes:
    """Return the table of ``size`` bytes from its stored form."""
    if size > _room(len(stored)):
        raise FormatError(f"a table of {len(stored)} bytes may not expand to {size}")
    if flags & BROTLI:
        return expand(stored, size)
    if size > _FREE_TABLE_BYTES:
        raise FormatError(f"a modeled table of {size} bytes is larger than {_FREE_TABLE_BYTES}")
    return EXACT.unpack(stored, size)
