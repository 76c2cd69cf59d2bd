"""A second, trusting implementation of the file format (``FORMAT.md``): takes files apart and forges new ones.

It checks nothing, so that any field can be given any value; checksums are always right. Tests use it to attack the
real reader with files that a checksum cannot expose.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import brotli
from torch import Tensor

from coinr.engine import _C

MAGIC = b"\x8fCNR"
SECTION_BYTES = 4096
TIED = 7
DIFFERENCE = 6
# What follows a row's shape in the table: one letter a field, b a byte and v a varint.
PARAMS = {0: "", 1: "b", 2: "bbvvvv", 3: "bbbbb", 5: ""}
_DENSE = 8


def fields(coder: int, params: list[int]) -> str:
    """The letters of a coder's parameters, as far as those given tell."""
    if coder == 4:
        return "bv" + ("bbb" if params and params[0] & _DENSE else "bv") + "bb"
    if coder == DIFFERENCE:
        return "b" + (fields(params[0], params[1:]) if params and params[0] != DIFFERENCE else "")
    return PARAMS.get(coder, "")


def varint(value: int) -> bytes:
    """LEB128 of any integer that is not negative, also beyond 64 bits."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


class _Cursor:
    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    def take(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value


@dataclass
class Row:
    """One row of the tensor table with its payload; ``shape`` holds dimensions, or the row of a tie."""

    same: int
    rest: bytes
    code: int
    shape: list[int]
    params: list[int] = field(default_factory=list)
    length: int | None = None
    payload: bytes = b""
    ndim: int | None = None

    @property
    def is_tied(self) -> bool:
        """Whether the code says that this row shares another's storage."""
        return self.code >> 5 == TIED

    def layout_bytes(self) -> bytes:
        """The row that it is tied to, or the number of dimensions (``ndim`` where it lies) and the dimensions."""
        if self.is_tied:
            return varint(self.shape[0] if self.shape else 0)
        count = len(self.shape) if self.ndim is None else self.ndim
        return varint(count) + b"".join(map(varint, self.shape))

    def param_bytes(self) -> bytes:
        """Parameters in the form of the row's coder; an unknown coder has none."""
        letters = "" if self.is_tied else fields(self.code >> 5, self.params)
        values = (self.params + [1] * len(letters))[: len(letters)]
        return b"".join(
            bytes([v & 255]) if letter == "b" else varint(v) for letter, v in zip(letters, values, strict=True)
        )

    def length_bytes(self) -> bytes:
        """The payload's length, or what ``length`` claims."""
        return b"" if self.is_tied else varint(len(self.payload) if self.length is None else self.length)


@dataclass
class Shared:
    """What a file takes from its base: the hash in its table, and the bytes that come before its fields, in rows."""

    hash: bytes
    examples: bytes
    columns: int


@dataclass
class Forgery:
    """A file as its fields. ``None`` stands for the honest value of a count or size."""

    rows: list[Row]
    seed: int = 0
    meta: bytes = b""
    base: bytes = b""
    meta_size: int | None = None
    count: int | None = None
    version: int = 1
    flags: int | None = None
    compressed: bool = False
    modeled: bool = False
    table_size: int | None = None
    stored_size: int | None = None
    table_tail: bytes = b""
    tail: bytes = b""
    shared: Shared | None = None

    def fields(self) -> bytes:
        """What a shared table says, before it is coded."""
        out = varint(self.seed) + varint(len(self.meta) if self.meta_size is None else self.meta_size) + self.meta
        for row in self.rows:
            out += bytes([row.code >> 5 & 255]) + row.param_bytes() + row.length_bytes()
        return out + self.table_tail

    def table(self) -> bytes:
        """The tensor table, uncompressed."""
        out = varint(self.seed) + varint(len(self.meta) if self.meta_size is None else self.meta_size) + self.meta
        out += self.base
        out += varint(len(self.rows) if self.count is None else self.count)
        out += b"".join(varint(r.same) + varint(len(r.rest)) + r.rest for r in self.rows)
        out += bytes(r.code & 255 for r in self.rows)
        for part in (Row.layout_bytes, Row.param_bytes, Row.length_bytes):
            out += b"".join(map(part, self.rows))
        return out + self.table_tail

    def emit(self) -> bytes:
        """The file's bytes, every checksum right."""
        table = self.table() if self.shared is None else self.fields()
        stored = brotli.compress(table, quality=5) if self.compressed else table
        stored = _C.encode_exact(table, 1, len(table), 1, 1, 0, 8) if self.modeled else stored
        flags = self.compressed | bool(self.base) << 1 | self.modeled << 2
        if self.shared is not None:
            coded = _C.encode_continued(self.shared.examples, table, self.shared.columns)
            stored = self.shared.hash + coded
            flags = any(row.code >> 5 & 255 == DIFFERENCE for row in self.rows) << 1 | 8
        flags = flags if self.flags is None else self.flags
        out = MAGIC + bytes([self.version & 255, flags & 255])
        out += varint(len(stored) if self.stored_size is None else self.stored_size)
        if self.compressed or self.modeled or self.shared:
            out += varint(len(table) if self.table_size is None else self.table_size)
        out += stored
        crc = zlib.crc32(out)
        out += crc.to_bytes(4, "little")
        for section in self.sections():
            crc = zlib.crc32(section, crc)
            out += section + crc.to_bytes(4, "little")
        return out + self.tail

    def sections(self) -> list[bytes]:
        """All small payloads together, then each large one."""
        payloads = [r.payload for r in self.rows if not r.is_tied]
        small = b"".join(p for p in payloads if len(p) < SECTION_BYTES)
        return [s for s in [small, *(p for p in payloads if len(p) >= SECTION_BYTES)] if s]

    def copy(self) -> Forgery:
        """An independent copy to change."""
        return copy.deepcopy(self)


def take_apart(blob: bytes, base: Mapping[str, Tensor] | None = None) -> Forgery:
    """The fields of a well-formed file; ``base`` is needed where that has the table."""
    cursor = _Cursor(blob, len(MAGIC))
    version, flags = cursor.take(2)
    stored = cursor.varint()
    size = cursor.varint() if flags & 13 else stored
    raw = cursor.take(stored)
    cursor.take(4)
    if flags & 8:
        assert base is not None
        return _take_apart_shared(raw, size, cursor, base)
    if flags & 4:
        raw = _C.decode_exact(raw, 1, size, 1, 1, 0, 8).tobytes()
    table = _Cursor(brotli.decompress(raw) if flags & 1 else raw)
    seed = table.varint()
    meta = table.take(table.varint())
    base_hash = table.take(16) if flags & 2 else b""
    names = []
    for _ in range(table.varint()):
        same = table.varint()
        names.append((same, table.take(table.varint())))
    rows = [Row(same, rest, code, []) for (same, rest), code in zip(names, table.take(len(names)), strict=True)]
    for row in rows:
        row.shape = [table.varint() for _ in range(1 if row.is_tied else table.varint())]
    for row in rows:
        while len(letters := "" if row.is_tied else fields(row.code >> 5, row.params)) > len(row.params):
            row.params.append(table.take(1)[0] if letters[len(row.params)] == "b" else table.varint())
    lengths = [0 if row.is_tied else table.varint() for row in rows]
    _take_payloads(cursor, rows, lengths)
    return Forgery(rows, seed, meta, base_hash, version=version, compressed=bool(flags & 1), modeled=bool(flags & 4))


def _take_apart_shared(raw: bytes, size: int, cursor: _Cursor, base: Mapping[str, Tensor]) -> Forgery:
    statistics = base["statistics.table"]
    shared = Shared(raw[:8], statistics.numpy().tobytes(), statistics.shape[1])
    table = _Cursor(_C.decode_continued(shared.examples, raw[8:], size, shared.columns))
    seed = table.varint()
    meta = table.take(table.varint())
    rows, lengths = [], []
    for name, tensor in base.items():
        if name != "statistics.table":
            row = Row(0, name.encode(), table.take(1)[0] << 5, list(tensor.shape))
            while len(letters := fields(row.code >> 5, row.params)) > len(row.params):
                row.params.append(table.take(1)[0] if letters[len(row.params)] == "b" else table.varint())
            lengths.append(table.varint())
            rows.append(row)
    _take_payloads(cursor, rows, lengths)
    return Forgery(rows, seed, meta, shared=shared)


def _take_payloads(cursor: _Cursor, rows: list[Row], lengths: list[int]) -> None:
    small = [(row, n) for row, n in zip(rows, lengths, strict=True) if 0 < n < SECTION_BYTES]
    for row, n in small:
        row.payload = cursor.take(n)
    if small:
        cursor.take(4)
    for row, n in zip(rows, lengths, strict=True):
        if n >= SECTION_BYTES:
            row.payload = cursor.take(n)
            cursor.take(4)
