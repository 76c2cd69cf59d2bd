"""Attacks by name: an idea to abuse the format, and what happens.

Every file here has right checksums unless it says otherwise; ``test_fuzz.py`` has the damaged ones.

====================================================  ===================================================
idea                                                  what happens
====================================================  ===================================================
another file type, or nothing at all                  FormatError from the magic
a future version, an unknown flag                     VersionError before anything else is parsed
a header, table or name longer than the file          TruncatedError before anything is allocated
a million tensors in a table of ten bytes             LimitError
varints that are too long or not canonical            FormatError
a compressed header that expands to gigabytes         FormatError from the claimed size, or when it is passed
names that grow by one byte each (a quadratic bomb)   FormatError or LimitError
a million tiny tensors in a compressed header         LimitError
JSON metadata nested or inflated without end          FormatError, cheaply
two tensors of one name, names that are not UTF-8     FormatError
shapes whose product overflows 64 bits                FormatError; zero sides do not hide the others
terabytes that are declared, not stored               LimitError before allocation
sums of sizes, or of work, that overflow 64 bits      LimitError: Python integers do not overflow
ties to oneself, to a later tensor, to a tie          FormatError
ties between different dtypes                         FormatError
n, M, s, bits or stream out of range                  FormatError
a dictionary's work beyond the limit (work bomb)      LimitError before the first atom
more indices than the payload has bits                FormatError before allocation
an index ≥ M, in either form; a run past the end      FormatError
a step that is NaN, infinite, zero or denormal        FormatError
a symbol below the symmetric range                    FormatError
non-zero padding, spare bytes anywhere                FormatError
a Brotli payload that expands beyond its tensor       FormatError after one byte too many
a Brotli stream that is cut, damaged or empty         FormatError
ascending levels with rANS, steps or a dense code     FormatError
ascending levels whose sum leaves the range           FormatError
a bool that is 2                                      FormatError
a lossy coder on integers or on no elements           FormatError
====================================================  ===================================================
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

import brotli
import numpy as np

from coinr.engine import _C
from coinr.errors import CoinrError, FormatError, LimitError, TruncatedError, VersionError

from .forge import MAGIC, TIED, Forgery, Row, varint
from .hostile import (
    BOOL,
    DICTIONARY,
    DIRECT,
    FLOAT32,
    GAUSSIAN,
    HADAMARD,
    RADEMACHER,
    SORTED,
    SPARSE,
    UINT8,
    UNIFORM,
    dictionary_row,
    lossless_row,
    uniform_row,
)

ATTACKS: dict[str, tuple[type[CoinrError], Callable[[], bytes]]] = {}


def attack(expected: type[CoinrError], name: str, make: Callable[[], bytes | Forgery]) -> None:
    """Register a file and the error that it must give."""
    ATTACKS[name] = (expected, lambda: made.emit() if isinstance(made := make(), Forgery) else made)


def honest() -> Forgery:
    """One uint8 tensor of ten bytes."""
    return Forgery([lossless_row(b"w", bytes(range(10)))])


def with_(**changes: object) -> Callable[[], Forgery]:
    """An honest file with some fields changed."""
    return lambda: Forgery(**{**vars(honest()), **changes})


def rows(*made: Row, **changes: object) -> Callable[[], Forgery]:
    """A file of the given rows."""
    return lambda: Forgery(list(made), **changes)


# Not a file of ours.
for kind, data in {
    "nothing": b"",
    "zeros": bytes(100),
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(50),
    "a pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00",
    "safetensors": struct.pack("<Q", 2) + b"{}",
    "a zip": b"PK\x03\x04" + bytes(60),
}.items():
    attack(FormatError, f"{kind} instead of a file", lambda data=data: data)
attack(TruncatedError, "half of the magic", lambda: MAGIC[:2])
attack(TruncatedError, "the magic alone", lambda: MAGIC)
for version in (0, 2, 255):
    attack(VersionError, f"version {version}", with_(version=version))
for flag in (16, 0x80, 0xFF):
    attack(VersionError, f"flags {flag:#x}", with_(flags=flag))

# Sizes that lie.
for size in (100, 2**31, 2**32, 2**63, 2**64 - 1):
    attack(TruncatedError, f"a header of {size} bytes", with_(stored_size=size))
    attack(TruncatedError, f"metadata of {size} bytes", with_(meta_size=size))
    attack(FormatError if size < 2**14 else LimitError, f"{size} tensors in a short table", with_(count=size))
    attack(TruncatedError, f"a payload of {size} bytes", rows(Row(0, b"w", UINT8, [10], length=size)))
attack(FormatError, "a header size beyond 64 bits", with_(stored_size=2**64))
attack(FormatError, "a payload size beyond 64 bits", rows(Row(0, b"w", UINT8, [10], length=2**64)))
attack(FormatError, "a seed beyond 64 bits", with_(seed=2**64))
attack(FormatError, "a varint that is not canonical", lambda: MAGIC + b"\0\0\x80\x00" + bytes(40))
attack(FormatError, "a varint without end", lambda: MAGIC + b"\0\0" + b"\xff" * 40)
attack(FormatError, "bytes after the table", with_(table_tail=b"\0"))
attack(FormatError, "bytes after the last section", with_(tail=b"\0"))
attack(FormatError, "a payload shorter than it was", rows(Row(0, b"w", UINT8, [10], length=3, payload=bytes(11))))

# Compressed headers.
for size in (2**17, 2**31, 2**40, 2**64 - 1):
    attack(FormatError, f"a compressed header of {size} bytes", with_(compressed=True, table_size=size))
for off in (-1, 1):
    size = len(honest().table()) + off
    attack(FormatError, f"a compressed header {off:+d} byte of its claim", with_(compressed=True, table_size=size))
attack(FormatError, "a compressed header that is not Brotli", with_(flags=1, table_size=None))
attack(FormatError, "a header bomb of 64 MiB", lambda: _bomb_header(64 << 20))


def _bomb_header(size: int) -> bytes:
    forgery = Forgery([], compressed=True, table_size=65536)
    forgery.table = lambda: bytes(size)  # type: ignore[method-assign]
    return forgery.emit()


# Names.
attack(FormatError, "two tensors of one name", rows(lossless_row(b"w", b"1"), lossless_row(b"w", b"2")))
attack(FormatError, "two tensors without a name", rows(lossless_row(b"", b"1"), lossless_row(b"", b"2")))
attack(FormatError, "a name that is not UTF-8", rows(lossless_row(b"\xff\xfe", b"1")))
attack(FormatError, "a name with half a surrogate pair", rows(lossless_row(b"\xed\xa0\x80", b"1")))
attack(FormatError, "an overlong name", rows(lossless_row(b"\xc0\xaf", b"1")))
attack(FormatError, "a first name that shares bytes", rows(Row(1, b"w", UINT8, [1], payload=b"\0\1")))
attack(FormatError, "a name that shares more than there is", rows(lossless_row(b"ab", b"1"), Row(3, b"", UINT8, [0])))

# Metadata.
for kind, text in {
    "is no JSON": b"{",
    "is a list": b"[1]",
    "is a number": b"3",
    "is not UTF-8": b'{"a":"\xff"}',
    "is nested without end": b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "holds a number of 100 000 digits": b'{"a":' + b"9" * 100_000 + b"}",
}.items():
    attack(FormatError, f"metadata that {kind}", with_(meta=text))

# Codes and shapes.
attack(FormatError, "a dtype from the future", rows(Row(0, b"w", 31, [1], payload=b"\0\1")))
for shape in ([2**32, 2**32], [2**63, 2], [2**16] * 4, [2**16] * 5, [3] * 32, [2**64 - 1], [2**40, 2**40, 0]):
    attack(FormatError, f"shape {shape}", rows(Row(0, b"w", FLOAT32, shape, payload=b"\0")))
attack(FormatError, "33 dimensions", rows(Row(0, b"w", UINT8, [1] * 33, payload=b"\0\1")))
attack(FormatError, "2**40 dimensions", rows(Row(0, b"w", UINT8, [], ndim=2**40, payload=b"\0\1")))
attack(
    LimitError, "a tensor of 256 TiB", rows(Row(0, b"w", UINT8, [2**24, 2**24], payload=b"\1" + brotli.compress(b"")))
)
attack(LimitError, "a tensor just over the limit", rows(Row(0, b"w", UINT8, [(16 << 20) + 1], payload=b"\1;")))
attack(
    LimitError,
    "sizes whose sum passes 64 bits",
    rows(*(Row(0, b"%03d" % i, 1, [2**47], payload=b"\1;") for i in range(200))),
)

# Ties.
for target in (0, 1, 5, 2**32, 2**63):
    tied = Row(0, b"v", TIED << 5 | UINT8, [target])
    attack(FormatError, f"a first tensor tied to number {target}", rows(tied, lossless_row(b"w", b"1")))
attack(
    FormatError,
    "a tie to a tie",
    rows(lossless_row(b"a", b"1"), Row(0, b"b", TIED << 5 | UINT8, [0]), Row(0, b"c", TIED << 5 | UINT8, [1])),
)
attack(FormatError, "a tie of another dtype", rows(lossless_row(b"a", b"1234"), Row(0, b"b", TIED << 5 | BOOL, [0])))

# Dictionary parameters: flags, bits, n, M, s, stream.
GOOD = dict(kind=GAUSSIAN, shape=[12, 10], n=10, M=256, s=4)


def parameters(k: int, value: int) -> Callable[[], Forgery]:
    """A dictionary tensor with one parameter changed after the fact."""

    def make() -> Forgery:
        row = dictionary_row(b"w", **GOOD)
        row.params[k] = value
        return Forgery([row])

    return make


for k, name, bad in (
    (0, "kind", [0, 4, 8, 12, 16, 0x81]),
    (1, "value bits", [0, 1, 17, 32, 255]),
    (2, "n", [0, 121, 2**24, 2**24 + 1, 2**31, 2**63]),
    (3, "M", [0, 3, 2**24 + 1, 2**31, 2**32, 2**64 - 1]),
    (4, "s", [0, 11, 257, 2**31, 2**32 + 4, 2**63]),
    (5, "stream", [2**32, 2**63]),
):
    for value in bad:
        attack(FormatError, f"{name} {value}", parameters(k, value))
    attack(FormatError, f"{name} beyond 64 bits", parameters(k, 2**64)) if k > 1 else None

SIDE = 2**22  # 16 MiB of float32: exactly the limit on decoded bytes


def work_bomb(kind: int, n: int, M: int, s: int) -> Callable[[], Forgery]:
    """A tensor of 16 MiB whose payload is tiny."""
    payload = struct.pack("<f", 1.0) + varint(4) + bytes(4) + b"\0" + bytes(20)
    return rows(Row(0, b"w", DICTIONARY | FLOAT32, [SIDE], [kind, 4, n, M, s, 0], payload=payload))


for kind in (GAUSSIAN, RADEMACHER, HADAMARD):
    attack(LimitError, f"kind {kind}, all of s and n", work_bomb(kind, SIDE, 2**24, SIDE))
    attack(LimitError, f"kind {kind}, s = 1000 of n = 2**22", work_bomb(kind, SIDE, 2**24, 1000))
    attack(LimitError, f"kind {kind}, s = n = 1024", work_bomb(kind, 1024, 2**24, 1024))
    attack(FormatError, f"kind {kind}, 2**22 vectors of 32 bits", work_bomb(kind, 1, 1, 1))
attack(
    LimitError,
    "a thousand tensors of moderate work",
    rows(*(dictionary_row(b"%04d" % i, GAUSSIAN, [300], 300, 300, 300, bits_=2) for i in range(1000))),
)


# Dictionary payloads.
def payload(change: Callable[[bytes], bytes], flags: int = 0, **fields: object) -> Callable[[], Forgery]:
    """A dictionary tensor whose payload was changed."""

    def make() -> Forgery:
        row = dictionary_row(b"w", flags=flags, **{**GOOD, **fields})
        row.payload = change(row.payload)
        return Forgery([row])

    return make


for kind, step in {
    "nan": math.nan,
    "infinite": math.inf,
    "zero": 0.0,
    "negative": -1.0,
    "denormal": 1e-40,
    "so large that products overflow": 3e38,
}.items():
    changed = lambda p, step=step: struct.pack("<f", step) + p[4:]  # noqa: E731
    attack(FormatError, f"a dictionary step that is {kind}", payload(changed))
    attack(FormatError, f"a uniform step that is {kind}", rows(uniform_row(b"w", [1, 2, 3], 4, step)))
attack(FormatError, "an index of M", parameters(3, 200))
attack(FormatError, "the largest index of its width", payload(lambda p: p[:5] + b"\xff" * 54 + p[59:], M=257))
attack(
    FormatError, "sorted indices from arbitrary bits", payload(lambda p: p[:5] + b"\xff" * 48 + p[53:], flags=SORTED)
)
attack(FormatError, "a Rice parameter of 25", payload(lambda p: p[:5] + b"\x19" + p[6:], flags=SORTED))
attack(FormatError, "an index stream longer than the payload", payload(lambda p: p[:4] + b"\x7f" + p[5:]))
attack(FormatError, "an index stream that ends early", payload(lambda p: p[:4] + b"\x2f" + p[5:]))
attack(FormatError, "an index stream of no bytes", payload(lambda p: p[:4] + b"\0"))
attack(FormatError, "an empty payload", payload(lambda p: b""))
attack(FormatError, "a payload of a step", payload(lambda p: p[:4]))
attack(FormatError, "a spare byte after the symbols", payload(lambda p: p + b"\0"))
attack(FormatError, "symbol mode 2", payload(lambda p: p[:53] + b"\2" + p[54:]))
attack(FormatError, "symbols that are no Brotli", payload(lambda p: p[:53] + b"\1" + p[54:]))

# Uniform payloads.
attack(FormatError, "a symbol below the symmetric range", rows(uniform_row(b"w", [15, 1, 2], 4)))
attack(FormatError, "padding that is not zero", rows(uniform_row(b"w", [1, 2, 3, 1], 4, shape=[3])))
attack(FormatError, "fewer symbols than elements", rows(uniform_row(b"w", [1, 2, 3], 4, shape=[9])))
attack(FormatError, "uniform integers", rows(Row(0, b"w", UNIFORM | UINT8, [2], [8], payload=bytes(7))))
attack(FormatError, "uniform without elements", rows(Row(0, b"w", UNIFORM | FLOAT32, [0], [8], payload=bytes(5))))
attack(FormatError, "a dictionary without elements", rows(Row(0, b"w", DICTIONARY, [0], [1, 8, 1, 1, 1, 0])))
for bits_ in (0, 1, 17, 255):
    attack(FormatError, f"uniform of {bits_} bits", rows(Row(0, b"w", UNIFORM, [2], [bits_], payload=bytes(70))))
BOMB = brotli.compress(bytes(64 << 20), quality=3)
attack(
    FormatError,
    "symbols that expand to 64 MiB",
    rows(Row(0, b"w", UNIFORM, [9], [8], payload=struct.pack("<f", 1.0) + b"\1" + BOMB)),
)


# Ascending levels: the form of three bytes, and a step of 1 in two.
def ascending(form: list[int], distances: list[int], shape: list[int] | None = None) -> Callable[[], Forgery]:
    """A float32 tensor of ascending levels with these distances, coded in the form ``[…, 10, 183]``."""
    none, column = np.zeros(0, np.uint8), np.array([distances], np.int32).T  # a row of one column starts anew
    data = _C.encode_levels(column, none, none, 0, 2, 15 << 19, 1 << 6)
    size = [len(distances)] if shape is None else shape
    return rows(Row(0, b"w", DIRECT | FLOAT32, size, [*form, 0x80, 0x3F], payload=data))


for name, bits_ in {"rANS": (0, 0x40), "row steps": (0x40, 0), "column steps": (0x80, 0), "both": (0xC0, 0x40)}.items():
    attack(FormatError, f"ascending levels with {name}", ascending([bits_[0], 8 | 2 | bits_[1], 183], [1, 2]))
for trellis in (0, 3, 7):
    attack(
        FormatError, f"ascending levels beyond the range, trellis {trellis}", ascending([trellis, 10, 183], [2**19] * 4)
    )
    attack(
        FormatError,
        f"ascending levels below the range, trellis {trellis}",
        ascending([trellis, 10, 183], [-(2**19)] * 4),
    )
attack(FormatError, "ascending levels that end early", ascending([0, 10, 183], [7] * 9, [3]))
attack(
    FormatError,
    "ascending levels of a dense code",
    rows(Row(0, b"w", SPARSE | FLOAT32, [16, 16], [HADAMARD | 8, 16, 0, 10, 40, 0x80, 0x3F])),
)

# Lossless payloads.
attack(FormatError, "a Brotli bomb of 64 MiB in ten bytes", rows(lossless_row(b"w", BOMB, shape=[10], mode=1)))
attack(FormatError, "a Brotli bomb in byte planes", rows(lossless_row(b"w", BOMB, FLOAT32, [10], mode=2)))
attack(FormatError, "a Brotli stream without bytes", rows(lossless_row(b"w", b"", shape=[10], mode=1)))
attack(
    FormatError, "a Brotli stream of too few bytes", rows(lossless_row(b"w", brotli.compress(b"12"), shape=[3], mode=1))
)
attack(
    FormatError,
    "a cut Brotli stream",
    rows(lossless_row(b"w", brotli.compress(bytes(range(99)))[:50], shape=[99], mode=1)),
)
attack(FormatError, "lossless mode 3", rows(lossless_row(b"w", b"123", mode=3)))
attack(FormatError, "too many raw bytes", rows(lossless_row(b"w", b"1234", shape=[3])))
attack(FormatError, "too few raw bytes", rows(lossless_row(b"w", b"12", shape=[3])))
attack(FormatError, "a payload without elements", rows(lossless_row(b"w", b"", shape=[0])))
attack(FormatError, "a bool that is 2", rows(lossless_row(b"w", b"\0\1\2", BOOL)))
