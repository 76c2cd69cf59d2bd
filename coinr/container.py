"""The file: header, tensor table, sections, checksums. ``FORMAT.md`` is its specification.

Everything read here is untrusted. Sizes and work are computed from the header with exact integers and compared
with the caller's limits before anything is allocated for them.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from coinr.coders import CODERS, DIFFERENCE, EXACT, DifferenceParams, Params
from coinr.errors import (
    BaseError,
    ChecksumError,
    FormatError,
    InputError,
    LimitError,
    TruncatedError,
    VersionError,
)
from coinr.metadata import read_meta, write_meta
from coinr.relative import HASH_BYTES, Base
from coinr.tensors import DTYPE_CODES, DTYPES, Layout
from coinr.wire import Reader, compress, expand, varint

MAGIC = b"\x8fCNR"
VERSION = 1
_BROTLI_HEADER, _RELATIVE, _MODELLED_HEADER = 1, 2, 4

# A payload of at least this many bytes is a section of its own.
SECTION_BYTES = 4096
CHECKSUM_BYTES = 4

ALIAS = 7  # in place of a coder id: the tensor shares the storage of an earlier one
_MAX_NDIM = 32
_MAX_ELEMENTS = 1 << 48

# A compressed table may expand to this much, or to this many times its size; the names in a table likewise.
_FREE_TABLE_BYTES = 1 << 16
_FREE_NAME_BYTES = 1 << 20
_TABLE_EXPANSION = 32


@dataclass(frozen=True)
class Limits:
    """What decoding may cost; checked from the header before any allocation.

    Attributes
    ----------
    decoded_bytes
        Bytes of all decoded tensors together. Decoding one tensor takes up to six times its bytes on the way.
    work
        Dictionary entries that decoding generates.
    tensors
        Rows of the tensor table.
    """

    decoded_bytes: int = 1 << 30
    work: int = 1 << 32
    tensors: int = 1 << 14

    def check(self, header: Header) -> None:
        """LimitError if the file of this header costs more than allowed."""
        self.check_tensors(len(header.records))
        decoded_bytes, work = header.cost()
        if decoded_bytes > self.decoded_bytes:
            raise LimitError(
                f"decodes to {decoded_bytes} bytes, the limit is {self.decoded_bytes} (raise it with Limits)"
            )
        if work > self.work:
            raise LimitError(
                f"decoding generates {work} dictionary entries, the limit is {self.work} (raise it with Limits)"
            )

    def check_tensors(self, count: int) -> None:
        """LimitError if a table of this many rows is too long."""
        if count > self.tensors:
            raise LimitError(f"holds {count} tensors, the limit is {self.tensors} (raise it with Limits)")


@dataclass(frozen=True)
class Record:
    """One row of the tensor table.

    Attributes
    ----------
    coder, params
        How the payload is decoded; meaningless for an alias.
    alias
        Row of the earlier tensor whose storage this one shares, else None.
    length
        Payload bytes.
    """

    name: str
    layout: Layout
    coder: int
    params: Params | None
    length: int
    alias: int | None = None


@dataclass(frozen=True)
class Header:
    """All that a file says before its payloads.

    Attributes
    ----------
    base
        Hash of the tensors that those of the file are relative to; empty where none is relative.
    """

    seed: int
    records: tuple[Record, ...]
    meta: dict[str, Any] = field(default_factory=dict)
    base: bytes = b""
    version: int = VERSION

    def relative(self) -> list[tuple[str, Layout]]:
        """Names and layouts of the tensors that are relative to a base."""
        return [(record.name, record.layout) for record in self.records if record.coder == DIFFERENCE.id]

    def cost(self) -> tuple[int, int]:
        """Decoded bytes and dictionary entries of the whole file."""
        stored = [record for record in self.records if record.params is not None]
        return (
            sum(record.layout.nbytes for record in stored),
            sum(record.params.work(record.layout) for record in stored if record.params),
        )


def _shared(first: bytes, second: bytes) -> int:
    """Length of the common prefix."""
    same = 0
    for a, b in zip(first, second, strict=False):
        if a != b:
            break
        same += 1
    return same


def _write_table(header: Header) -> bytes:
    meta = write_meta(header.meta)
    out = bytearray(varint(header.seed) + varint(len(meta)) + meta + header.base + varint(len(header.records)))
    previous = b""
    for record in header.records:
        name = record.name.encode()
        same = _shared(previous, name)
        out += varint(same) + varint(len(name) - same) + name[same:]
        previous = name
    for record in header.records:
        out.append(record.coder << 5 | DTYPE_CODES[record.layout.dtype])
    for record in header.records:
        if record.alias is not None:
            out += varint(record.alias)
        else:
            out += varint(len(record.layout.shape)) + b"".join(map(varint, record.layout.shape))
    for record in header.records:
        if record.params is not None:
            out += record.params.write()
    for record in header.records:
        if record.alias is None:
            out += varint(record.length)
    return bytes(out)


def _room(stored: int, free: int = _FREE_TABLE_BYTES) -> int:
    """Bytes that ``stored`` bytes may expand to."""
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
    if math.prod(max(side, 1) for side in shape) > _MAX_ELEMENTS:
        raise FormatError(f"shape {shape} is absurd")
    return shape


def _read_table(raw: bytes, limits: Limits, relative: bool) -> Header:
    reader = Reader(raw)
    seed = reader.varint()
    meta = read_meta(bytes(reader.take(reader.varint())))
    base = bytes(reader.take(HASH_BYTES)) if relative else b""
    count = reader.varint()
    limits.check_tensors(count)
    names = _read_names(reader, count)
    codes = bytes(reader.take(count))
    layouts: list[Layout] = []
    aliases: list[int | None] = []
    for row, code in enumerate(codes):
        if code & 31 >= len(DTYPES):
            raise FormatError(f"dtype code {code & 31} is unknown")
        dtype, alias = DTYPES[code & 31], None
        if code >> 5 == ALIAS:
            alias = reader.varint()
            if alias >= row or aliases[alias] is not None or layouts[alias].dtype != dtype:
                raise FormatError(f"tensor {row} cannot share the storage of tensor {alias}")
        aliases.append(alias)
        layouts.append(Layout(dtype, _read_shape(reader)) if alias is None else layouts[alias])
    params: list[Params | None] = []
    for code, layout, alias in zip(codes, layouts, aliases, strict=True):
        params.append(None if alias is not None else CODERS[code >> 5].read(reader))
        if params[-1] is not None:
            params[-1].check(layout)
    lengths = [reader.varint() if alias is None else 0 for alias in aliases]
    reader.end()
    records = tuple(
        Record(name, layout, code >> 5, param, length, alias)
        for name, layout, code, param, length, alias in zip(
            names, layouts, codes, params, lengths, aliases, strict=True
        )
    )
    header = Header(seed, records, meta, base)
    if relative != bool(header.relative()):
        raise FormatError("the flag of relative tensors and the tensors differ")
    return header


def _sections(records: tuple[Record, ...]) -> Iterator[list[int]]:
    """Rows whose payloads make up each section: all small ones first, then one section for each large one."""
    small = [row for row, record in enumerate(records) if 0 < record.length < SECTION_BYTES]
    if small:
        yield small
    for row, record in enumerate(records):
        if record.length >= SECTION_BYTES:
            yield [row]


def _pack_table(table: bytes) -> bytes:
    """Flags, sizes and the table in whichever form is smallest."""
    forms = [bytes([0]) + varint(len(table)) + table]
    packed = compress(table)
    if len(table) <= _room(len(packed)):
        forms.append(bytes([_BROTLI_HEADER]) + varint(len(packed)) + varint(len(table)) + packed)
    if 0 < len(table) <= _FREE_TABLE_BYTES:
        modelled = EXACT.pack(table)
        forms.append(bytes([_MODELLED_HEADER]) + varint(len(modelled)) + varint(len(table)) + modelled)
    return min(forms, key=len)


def _unpack_table(stored: bytes, size: int, flags: int) -> bytes:
    """The table of ``size`` bytes from its stored form."""
    if size > _room(len(stored)):
        raise FormatError(f"a table of {len(stored)} bytes may not expand to {size}")
    if flags & _BROTLI_HEADER:
        return expand(stored, size)
    if size > _FREE_TABLE_BYTES:
        raise FormatError(f"a modelled table of {size} bytes is larger than {_FREE_TABLE_BYTES}")
    return EXACT.unpack(stored, size)


def write(header: Header, payloads: list[bytes]) -> bytes:
    """The file. Each checksum is the CRC-32 of all bytes before it except earlier checksums."""
    packed = _pack_table(_write_table(header))
    flags = packed[0] | (_RELATIVE if header.base else 0)
    out = bytearray(MAGIC + bytes([VERSION, flags]) + packed[1:])
    crc = zlib.crc32(out)
    out += crc.to_bytes(CHECKSUM_BYTES, "little")
    for rows in _sections(header.records):
        section = b"".join(payloads[row] for row in rows)
        crc = zlib.crc32(section, crc)
        out += section + crc.to_bytes(CHECKSUM_BYTES, "little")
    return bytes(out)


class File:
    """A parsed file: its header is checked, its payloads are read one by one on demand.

    Parameters
    ----------
    data
        The bytes of a whole file.
    limits
        Only ``tensors`` matters here.
    base
        The network that tensors may be relative to; needed to decode those.

    Raises
    ------
    CoinrError
        FormatError (not a coinr file, or an ill-formed header), VersionError, TruncatedError, ChecksumError or
        LimitError.
    """

    def __init__(
        self, data: bytes | bytearray | memoryview, limits: Limits | None = None, base: Base | None = None
    ) -> None:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise InputError(f"a coinr file is bytes, not {type(data).__name__}")
        if not memoryview(data).c_contiguous:
            raise InputError("the bytes of a coinr file must be contiguous")
        self.data = memoryview(data).cast("B")
        reader = Reader(self.data)
        magic = bytes(self.data[: len(MAGIC)])
        if magic != MAGIC:
            kind = TruncatedError if magic and MAGIC.startswith(magic) else FormatError
            raise kind("not a coinr file: wrong magic bytes")
        reader.take(len(MAGIC))
        version, flags = reader.u8(), reader.u8()
        if version != VERSION:
            raise VersionError(f"format version {version} is not supported, only {VERSION}")
        if flags & ~(_BROTLI_HEADER | _RELATIVE | _MODELLED_HEADER):
            raise VersionError(f"flags {flags:#x} are unknown to format version {VERSION}")
        packed = flags & (_BROTLI_HEADER | _MODELLED_HEADER)
        if packed == _BROTLI_HEADER | _MODELLED_HEADER:
            raise FormatError("a table that is compressed in two ways")
        stored = reader.varint()
        size = reader.varint() if packed else stored
        table = bytes(reader.take(stored))
        stop = reader.at
        self._check_crc(0, stop, 0, reader.u32())
        raw = _unpack_table(table, size, flags) if packed else table
        self.header = _read_table(raw, limits or Limits(), bool(flags & _RELATIVE))
        self._base, self._base_known = base, False
        self.header_bytes = reader.at
        self._place_sections(reader)

    def _check_crc(self, start: int, stop: int, before: int, stored: int) -> None:
        if zlib.crc32(self.data[start:stop], before) != stored:
            raise ChecksumError(f"checksum of bytes {start} … {stop - 1} differs: the file is damaged")

    def _place_sections(self, reader: Reader) -> None:
        """Bounds of each section and offset of each payload, all checked against the file's length."""
        self._spans: list[tuple[int, int]] = []
        self._section_of: dict[int, int] = {}
        self._offsets: dict[int, int] = {}
        for rows in _sections(self.header.records):
            start = reader.at
            for row in rows:
                self._offsets[row] = reader.at
                self._section_of[row] = len(self._spans)
                reader.take(self.header.records[row].length)
            self._spans.append((start, reader.at))
            reader.take(CHECKSUM_BYTES)
        reader.end()
        self._checked = [False] * len(self._spans)

    def payload(self, row: int) -> memoryview:
        """Payload of a row of the table, its section's checksum verified."""
        section = self._section_of.get(row)
        if section is None:
            return self.data[:0]
        if not self._checked[section]:
            start, stop = self._spans[section]
            before = int.from_bytes(self.data[start - CHECKSUM_BYTES : start], "little")
            self._check_crc(start, stop, before, Reader(self.data, stop).u32())
            self._checked[section] = True
        offset = self._offsets[row]
        return self.data[offset : offset + self.header.records[row].length]

    def row(self, name: str) -> int:
        """Row of the named tensor; InputError if there is none."""
        for row, record in enumerate(self.header.records):
            if record.name == name:
                return row
        raise InputError(
            f"no tensor is named {name!r}; there are {[record.name for record in self.header.records[:20]]}"
        )

    def decode(self, row: int, device: torch.device) -> torch.Tensor:
        """The tensor of a row that is no alias, on the device."""
        record, seed = self.header.records[row], self.header.seed
        if isinstance(record.params, DifferenceParams):
            base = self._checked_base().take(record.name, record.layout)
            return DIFFERENCE.restore(self.payload(row), record.params, record.layout, seed, base).to(device)
        return CODERS[record.coder].decode(self.payload(row), record.params, record.layout, seed, device)

    def check_base(self) -> None:
        """BaseError if tensors are relative, and not to the base that was given."""
        if self.header.base:
            self._checked_base()

    def _checked_base(self) -> Base:
        wanted = self.header.base.hex()
        if self._base is None:
            raise BaseError(
                f"{len(self.header.relative())} tensors are relative to the network {wanted}: give it as base"
            )
        if not self._base_known:
            found = self._base.digest(self.header.relative()).hex()
            if found != wanted:
                raise BaseError(f"tensors are relative to the network {wanted}, and the base given is {found}")
            self._base_known = True
        return self._base
