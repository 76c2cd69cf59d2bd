"""The container: header, tensor table, sections and checksums. ``FORMAT.md`` is its specification.

Files are untrusted. Sizes and work are computed from the header with exact integers, and compared with the caller's
limits before anything is allocated for them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import torch

from coinr.codec.coders import CODERS, DIFFERENCE, DifferenceParams
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
from coinr.codec.reference import ReferenceNetwork
from coinr.codec.wire import Reader
from coinr.errors import (
    ChecksumError,
    FormatError,
    InputError,
    ReferenceNetworkError,
    TruncatedError,
    VersionError,
)
from coinr.files.reading import MAGIC
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


def write(header: Header, payloads: list[bytes]) -> bytes:
    """Write a file from its header and payloads. Each checksum is the CRC-32 of all bytes before it but checksums."""
    packed = pack_table(write_table(header))
    flags = packed[0] | (_DIFFERENCES if header.reference_hash else 0)
    out = bytearray(MAGIC + bytes([VERSION, flags]) + packed[1:])
    crc = zlib.crc32(out)
    out += crc.to_bytes(CHECKSUM_BYTES, "little")
    for rows in _sections(header.records):
        section = b"".join(payloads[row] for row in rows)
        crc = zlib.crc32(section, crc)
        out += section + crc.to_bytes(CHECKSUM_BYTES, "little")
    return bytes(out)


class File:
    """A parsed file. The header is checked at once; payloads are read one by one on demand.

    Parameters
    ----------
    data
        The bytes of a whole file.
    limits
        Only ``tensors`` is checked here.
    reference
        The network that tensors may be stored as differences to; needed to decode those.

    Raises
    ------
    CoinrError
        FormatError (not a coinr file, or an ill-formed header), VersionError, TruncatedError, ChecksumError or
        LimitError.
    """

    def __init__(
        self,
        data: bytes | bytearray | memoryview,
        limits: Limits | None = None,
        reference: ReferenceNetwork | None = None,
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
        if flags & ~(BROTLI | _DIFFERENCES | MODELED):
            raise VersionError(f"flags {flags:#x} are unknown to format version {VERSION}")
        packed = flags & (BROTLI | MODELED)
        if packed == BROTLI | MODELED:
            raise FormatError("a table that is compressed in two ways")
        stored = reader.varint()
        size = reader.varint() if packed else stored
        table = bytes(reader.take(stored))
        stop = reader.at
        self._check_crc(0, stop, 0, reader.u32())
        raw = unpack_table(table, size, flags) if packed else table
        self.header = read_table(raw, limits or Limits(), bool(flags & _DIFFERENCES))
        self._reference, self._reference_checked = reference, False
        self.table_ratio = stored / max(len(raw), 1)
        self._place_sections(reader)

    def _check_crc(self, start: int, stop: int, before: int, stored: int) -> None:
        if zlib.crc32(self.data[start:stop], before) != stored:
            raise ChecksumError(f"checksum of bytes {start} … {stop - 1} differs: the file is damaged")

    def _place_sections(self, reader: Reader) -> None:
        """Find the bounds of each section and the offset of each payload; check them against the length of the file."""
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
        """Return the payload of a row of the table, after its section's checksum was verified."""
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
        """Return the row of the named tensor; raise InputError if there is none."""
        for row, record in enumerate(self.header.records):
            if record.name == name:
                return row
        names = [record.name for record in self.header.records]
        raise InputError(f"no tensor is named {name!r}; {list_names(name, names)}")

    def decode(self, row: int, device: torch.device) -> torch.Tensor:
        """Return the tensor of a row that is not tied to another, on the device."""
        record, seed = self.header.records[row], self.header.seed
        if isinstance(record.params, DifferenceParams):
            tensor = self._checked_reference().take(record.name, record.layout)
            return DIFFERENCE.restore(self.payload(row), record.params, record.layout, seed, tensor).to(device)
        return CODERS[record.coder].decode(self.payload(row), record.params, record.layout, seed, device)

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
            found = self._reference.digest(self.header.differences()).hex()
            if found != expected:
                raise ReferenceNetworkError(
                    f"tensors are relative to the network {expected}, and the base given is {found}"
                )
            self._reference_checked = True
        return self._reference
