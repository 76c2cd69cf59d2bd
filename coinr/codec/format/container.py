"""The container: header, tensor table, sections and checksums. ``FORMAT.md`` is its specification.

Files are untrusted. Sizes and work are computed from the header with exact integers, and compared with the caller's
limits before anything is allocated for them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from coinr.codec.coders import CODERS, DIFFERENCE, DifferenceParams
from coinr.codec.format.shared_table import SHARED, pack_shared_table, read_shared_table
from coinr.codec.format.tensor_table import (
    BROTLI,
    MODELED,
    VERSION,
    Header,
    Limits,
    TensorRecord,
    pack_table,
    read_table,
    unpack_table,
    write_table,
)
from coinr.codec.reference import ReferenceNetwork, SharedTable
from coinr.codec.wire import Extent, Reader
from coinr.errors import (
    ChecksumError,
    FormatError,
    InputError,
    ReferenceNetworkError,
    TruncatedError,
    VersionError,
)
from coinr.files.random_access import FileBytes, MemoryBytes, RandomAccess
from coinr.files.reading import MAGIC
from coinr.files.spool import Payload, SpooledBytes
from coinr.inputs.naming import list_names

_DIFFERENCES = 2

# A payload of at least this many bytes has a section, and so a checksum, of its own.
SECTION_BYTES = 4096
CHECKSUM_BYTES = 4


def _sections(records: tuple[TensorRecord, ...]) -> Iterator[list[int]]:
    """Yield the rows of each section: all small payloads share the first, each large one has its own."""
    small = [row for row, record in enumerate(records) if 0 < record.length < SECTION_BYTES]
    if small:
        yield small
    for row, record in enumerate(records):
        if record.length >= SECTION_BYTES:
            yield [row]


def write_start(header: Header, quick: bool = False, shared: SharedTable | None = None) -> bytes:
    """Return the bytes of a file up to its table, without the checksum; ``quick`` as for :func:`pack_table`.

    ``shared`` is that of the base, for a header that shares it.
    """
    packed = pack_table(write_table(header), quick) if shared is None else pack_shared_table(header, shared)
    flags = packed[0] | (_DIFFERENCES if header.differences() else 0)
    return MAGIC + bytes([VERSION, flags]) + packed[1:]


def file_size(header: Header, start: bytes) -> int:
    """Return the bytes of the file that begins with ``start``."""
    checksums = 1 + sum(1 for _ in _sections(header.records))
    return len(start) + sum(record.length for record in header.records) + CHECKSUM_BYTES * checksums


def parts(header: Header, start: bytes, payloads: Sequence[Payload]) -> Iterator[bytes]:
    """Yield the bytes of a file in order, in parts. Each checksum is the CRC-32 of all bytes before but checksums."""
    crc = zlib.crc32(start)
    yield start
    yield crc.to_bytes(CHECKSUM_BYTES, "little")
    for rows in _sections(header.records):
        for row in rows:
            for part in _chunks(payloads[row]):
                crc = zlib.crc32(part, crc)
                yield part
        yield crc.to_bytes(CHECKSUM_BYTES, "little")


def _chunks(payload: Payload) -> Iterable[bytes]:
    return payload.chunks() if isinstance(payload, SpooledBytes) else (payload,)


def write(header: Header, payloads: Sequence[Payload]) -> bytes:
    """Return the whole file of a header and its payloads."""
    return b"".join(parts(header, write_start(header), payloads))


# The sizes in the first bytes of a file lie within so many.
_LEAD_BYTES = 64


def read_start(data: bytes | memoryview, limits: Limits, reference: ReferenceNetwork | None = None) -> Header:
    """Return the header in the first bytes of a file, as :func:`write_start` made them.

    Raises
    ------
    CoinrError
        As :class:`File`.
    """
    flags, table, size = _read_frame(Reader(data))
    return _read_header(flags, table, size, limits, reference)


def _read_frame(reader: Reader) -> tuple[int, memoryview, int]:
    """Return flags, the table as it is stored, and its size after decompression."""
    magic = bytes(reader.data[: len(MAGIC)])
    if magic != MAGIC:
        kind = TruncatedError if magic and MAGIC.startswith(magic) else FormatError
        raise kind("not a coinr file: wrong magic bytes")
    flags, stored, size = _read_sizes(reader)
    return flags, reader.take(stored), size


def _read_sizes(reader: Reader) -> tuple[int, int, int]:
    """Return flags, and the sizes of the table before and after decompression."""
    reader.take(len(MAGIC))
    version, flags = reader.u8(), reader.u8()
    if version != VERSION:
        raise VersionError(f"format version {version} is not supported, only {VERSION}")
    if flags & ~(BROTLI | _DIFFERENCES | MODELED | SHARED):
        raise VersionError(f"flags {flags:#x} are unknown to format version {VERSION}")
    packed = flags & (BROTLI | MODELED | SHARED)
    if packed.bit_count() > 1:
        raise FormatError("a table that is stored in two ways")
    stored = reader.varint()
    return flags, stored, reader.varint() if packed else stored


def _read_header(
    flags: int, table: memoryview, size: int, limits: Limits, reference: ReferenceNetwork | None
) -> Header:
    differences = bool(flags & _DIFFERENCES)
    if flags & SHARED:
        return read_shared_table(bytes(table), size, limits, differences, reference)
    raw = unpack_table(bytes(table), size, flags) if flags & (BROTLI | MODELED) else bytes(table)
    return read_table(raw, limits, differences)


def _first_bytes(source: RandomAccess) -> bytes | memoryview:
    """Return the bytes of a file up to the checksum of its table, or all where they do not tell where that is."""
    lead = source.read(0, _LEAD_BYTES)
    reader = Reader(lead)
    if bytes(lead[: len(MAGIC)]) != MAGIC or len(lead) < _LEAD_BYTES:
        return lead
    _, stored, _ = _read_sizes(reader)
    return source.read(0, reader.at + stored + CHECKSUM_BYTES)


def _check_crc(data: bytes | memoryview, start: int, before: int, stored: int) -> None:
    if zlib.crc32(data, before) != stored:
        raise ChecksumError(f"checksum of bytes {start} … {start + len(data) - 1} differs: the file is damaged")


class File:
    """A parsed file. The header is checked at once; payloads are read one by one on demand.

    Parameters
    ----------
    data
        The bytes of a whole file, or where to read them.
    limits
        Only ``tensors`` is checked here.
    reference
        The network that tensors may be stored as differences to; needed to decode those, and to read a shared table.

    Raises
    ------
    CoinrError
        FormatError (not a coinr file, or an ill-formed header), VersionError, TruncatedError, ChecksumError or
        LimitError. ReferenceNetworkError if the table is shared with a network that is not the given one.
    """

    def __init__(
        self,
        data: bytes | bytearray | memoryview | FileBytes,
        limits: Limits | None = None,
        reference: ReferenceNetwork | None = None,
    ) -> None:
        self._source: RandomAccess = data if isinstance(data, FileBytes) else MemoryBytes(data)
        self.size = self._source.size
        first = _first_bytes(self._source)
        reader = Reader(first)
        flags, table, size = _read_frame(reader)
        stop = reader.at
        _check_crc(first[:stop], 0, 0, reader.u32())
        self.header = _read_header(flags, table, size, limits or Limits(), reference)
        self._reference, self._reference_checked = reference, False
        self.table_ratio = len(table) / max(size, 1)
        self._place_sections(reader.at)

    def _place_sections(self, start: int) -> None:
        """Find the bounds of each section and the offset of each payload; check them against the length of the file."""
        self._spans: list[tuple[int, int]] = []
        self._section_of: dict[int, int] = {}
        self._offsets: dict[int, int] = {}
        end = Extent(self.size, start)
        for rows in _sections(self.header.records):
            start = end.at
            for row in rows:
                self._offsets[row] = end.at
                self._section_of[row] = len(self._spans)
                end.skip(self.header.records[row].length)
            self._spans.append((start, end.at))
            end.skip(CHECKSUM_BYTES)
        end.end()
        self._checked: dict[int, memoryview] = {}

    def payload(self, row: int) -> memoryview:
        """Return the payload of a row of the table, after its section's checksum was verified."""
        section = self._section_of.get(row)
        if section is None:
            return memoryview(b"")
        start, _ = self._spans[section]
        data = self._checked.get(section)
        if data is None:
            data = self._read_section(section)
            # a section of one payload in a file is read again where it is needed again
            if self.header.records[row].length < SECTION_BYTES or isinstance(self._source, MemoryBytes):
                self._checked[section] = data
        offset = self._offsets[row] - start
        return data[offset : offset + self.header.records[row].length]

    def _read_section(self, section: int) -> memoryview:
        """Return the bytes of a section, after its checksum was verified."""
        start, stop = self._spans[section]
        around = memoryview(self._source.read(start - CHECKSUM_BYTES, stop + CHECKSUM_BYTES))
        data = around[CHECKSUM_BYTES : CHECKSUM_BYTES + stop - start]
        before = int.from_bytes(around[:CHECKSUM_BYTES], "little")
        _check_crc(data, start, before, Reader(around, CHECKSUM_BYTES + stop - start).u32())
        return data

    def row(self, name: str) -> int:
        """Return the row of the named tensor; raise InputError if there is none."""
        for row, record in enumerate(self.header.records):
            if record.name == name:
                return row
        names = [record.name for record in self.header.records]
        raise InputError(f"no tensor is named {name!r}; {list_names(name, names)}")

    def decode(self, row: int, device: str = "cpu") -> NDArray[Any]:
        """Return the array of a row that is not tied to another, in the storage of its dtype.

        ``device`` as for :meth:`Coder.decode`.
        """
        record, seed = self.header.records[row], self.header.seed
        if isinstance(record.params, DifferenceParams):
            base = self._checked_reference().take(record.name, record.layout)
            return DIFFERENCE.restore(self.payload(row), record.params, record.layout, seed, base)
        return CODERS[record.coder].decode(self.payload(row), record.params, record.layout, seed, device)

    def use_reference(self, reference: ReferenceNetwork) -> None:
        """Decode differences with another reference network from now on."""
        self._reference, self._reference_checked = reference, False

    def check_reference(self) -> None:
        """Raise ReferenceNetworkError if the file holds differences to another network than the given one."""
        if self.header.reference_hash:
            self._checked_reference()

    def _checked_reference(self) -> ReferenceNetwork:
        expected = self.header.reference_hash.hex()
        if self._reference is None:
            raise ReferenceNetworkError(
                f"{len(self.header.differences())} tensors are relative to the network {expected}: give it as base"
            )
        if not self._reference_checked:
            found = self.header.find_hash(self._reference).hex()
            if found != expected:
                raise ReferenceNetworkError(
                    f"tensors are relative to the network {expected}, and the base given is {found}"
                )
            self._reference_checked = True
        return self._reference
