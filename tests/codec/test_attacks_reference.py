"""Attacks by name on the exact coder and on files that are relative to a base; see ``test_attacks.py``.

====================================================  ===================================================
idea                                                  what happens
====================================================  ===================================================
a difference to a difference, to a tie, of integers   FormatError
a flag without differences, differences without it    FormatError
another base, or a tensor that the base has not       ReferenceNetworkError before anything is decoded
a shared table of another base, or of none            ReferenceNetworkError
a tie, an unknown coder, spare bytes in such a table  FormatError
a shared table that is also compressed, or too long   FormatError
more modeled bits than a word has                    FormatError
entropy-coded data that are too long or garbage       FormatError, or values
====================================================  ===================================================
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

import coinr
from coinr.errors import CoinrError, FormatError, ReferenceNetworkError, TruncatedError, VersionError

from .forge import TIED, Forgery, Row
from .hostile import (
    BOOL,
    DIFFERENCE,
    EXACT,
    FLOAT32,
    UINT8,
    Counts,
    corpus,
    difference_file,
    evaluate,
    lossless_row,
    same_row,
    shared_file,
)

ATTACKS: dict[str, tuple[type[CoinrError], Callable[[], Forgery]]] = {}


def attack(expected: type[CoinrError], name: str, make: Callable[[], Forgery]) -> None:
    """Note an attack and the error that it must give."""
    assert name not in ATTACKS
    ATTACKS[name] = expected, make


def rows(*made: Row) -> Callable[[], Forgery]:
    """A file of these tensors."""
    return lambda: Forgery(list(made))


# Exact payloads: transform + 4 · (modeled bits - 1), then the bits that are not modeled and the coded ones.
def exact_row(mode: int, data: bytes, dtype: int = FLOAT32, size: int = 5) -> Row:
    return Row(0, b"w", EXACT | dtype, [size], payload=bytes([mode]) + data)


attack(FormatError, "33 modeled bits of a float32", rows(exact_row(32 << 2, bytes(90))))
attack(FormatError, "9 modeled bits of a uint8", rows(exact_row(8 << 2, bytes(90), UINT8)))
attack(FormatError, "a transform of bools", rows(exact_row(1, b"", BOOL)))
attack(FormatError, "plain bits that are missing", rows(exact_row(0, bytes(10))))
attack(FormatError, "plain bits that are missing, 16 MiB of them", rows(exact_row(0, bytes(10), size=1 << 22)))
attack(FormatError, "plain bits whose padding is not zero", rows(exact_row(30 << 2, b"\x80")))
attack(FormatError, "exact data that end in a zero byte", rows(exact_row(31 << 2, b"\1\0")))
attack(FormatError, "exact data that are too long", rows(exact_row(31 << 2, b"\x55" * 400)))
attack(FormatError, "more modeled bits than bytes may stand for", rows(exact_row(31 << 2, b"\x55", size=1 << 22)))
attack(FormatError, "more bools than bytes may stand for", rows(exact_row(0, b"\x55" * 8, BOOL, (1 << 16) + 1)))
attack(FormatError, "an exact payload without its mode", rows(Row(0, b"w", EXACT, [3])))
attack(FormatError, "an exact payload without elements", rows(Row(0, b"w", EXACT, [0], payload=b"\0")))

# Differences to the base that every reader here is given.
HASH = bytes(16)


def changed_difference(change: Callable[[Forgery], None]) -> Callable[[], Forgery]:
    """The honest relative file, changed."""

    def make() -> Forgery:
        forgery = difference_file()
        change(forgery)
        return forgery

    return make


def inner(code: int, params: list[int], dtype: int = FLOAT32) -> Callable[[], Forgery]:
    """A difference with a coder of one's own choice, and no honest hash."""
    row = Row(0, b"uniform", DIFFERENCE | dtype, [16, 12], [code, *params], payload=bytes(20))
    return lambda: Forgery([row], base=HASH)


for code in (6, 7, 8, 31, 254):
    attack(FormatError, f"a difference by coder {code}", inner(code, []))
attack(FormatError, "a difference by coder 6 by coder 6", inner(6, [6, 1, 8]))
attack(FormatError, "a difference by a uniform coder of 1 bit", inner(1, [1]))
attack(FormatError, "a difference of bytes", inner(1, [8], UINT8))
attack(FormatError, "a difference of bools", inner(0, [], BOOL))
attack(ReferenceNetworkError, "a hash that is another", changed_difference(lambda f: setattr(f, "base", HASH)))
attack(ReferenceNetworkError, "a tensor less than the hash is of", changed_difference(lambda f: f.rows.pop()))
attack(
    ReferenceNetworkError,
    "a name that the base has not",
    changed_difference(lambda f: setattr(f.rows[0], "rest", b"x")),
)
attack(
    ReferenceNetworkError,
    "a shape that the base has not",
    changed_difference(lambda f: setattr(f.rows[0], "shape", [12, 16])),
)
attack(
    ReferenceNetworkError,
    "a dtype that the base has not",
    changed_difference(lambda f: setattr(f.rows[0], "code", DIFFERENCE | 1)),
)
attack(FormatError, "differences without the flag", changed_difference(lambda f: setattr(f, "base", b"")))
attack(FormatError, "the flag without differences", lambda: Forgery([lossless_row(b"w", b"1")], base=HASH))
attack(FormatError, "the flag without a hash", lambda: Forgery([], flags=2))
attack(FormatError, "a hash that is cut", lambda: Forgery([], base=HASH[:15]))
attack(VersionError, "a flag from the future", lambda: Forgery([], base=HASH, flags=18))
attack(
    FormatError,
    "bytes for a tensor that the base has",
    changed_difference(lambda f: setattr(f.rows[3], "payload", b"\0")),
)
attack(FormatError, "a table compressed in two ways", lambda: Forgery([], flags=5))
attack(FormatError, "a modeled table that is garbage", lambda: Forgery([lossless_row(b"w", bytes(99))], flags=4))
for size in (0, 1, 65536, 65537, 2**31, 2**64 - 1):
    attack(FormatError, f"a modeled table of {size} bytes", lambda n=size: Forgery([], modeled=True, table_size=n))


# A table that is shared with that base.
def changed_shared(change: Callable[[Forgery], None]) -> Callable[[], Forgery]:
    """The honest file that shares the base's table, changed."""

    def make() -> Forgery:
        forgery = shared_file()
        change(forgery)
        return forgery

    return make


def put_shared(name: str, value: object) -> Callable[[], Forgery]:
    """The same with another hash, or other bytes before the fields, than the base's."""
    return changed_shared(lambda f: setattr(f.shared, name, value))


def put_row(name: str, value: object, row: int = 0) -> Callable[[], Forgery]:
    """The same with one field of a tensor changed."""
    return changed_shared(lambda f: setattr(f.rows[row], name, value))


attack(ReferenceNetworkError, "a shared table of another base", put_shared("hash", bytes(8)))
attack(ReferenceNetworkError, "a shared table without its hash", put_shared("hash", b""))
attack(FormatError, "a shared table after other examples", put_shared("examples", bytes(120)))
attack(FormatError, "a tie in a shared table", put_row("code", TIED << 5))
for code in (8, 31, 255):
    attack(FormatError, f"coder {code} in a shared table", put_row("code", code << 5))
attack(FormatError, "a lossy coder on integers of a shared table", put_row("code", 3 << 5, row=6))
attack(FormatError, "a tensor less than the base has", changed_shared(lambda f: f.rows.pop()))
attack(FormatError, "a tensor more than the base has", changed_shared(lambda f: f.rows.append(f.rows[0])))
attack(FormatError, "bytes after a shared table", changed_shared(lambda f: setattr(f, "table_tail", b"\0")))
attack(TruncatedError, "a shared payload that is not there", put_row("length", 2**40))
attack(FormatError, "a shared table with differences and no flag", changed_shared(lambda f: setattr(f, "flags", 8)))
for flags in (9, 12, 13, 15):
    attack(FormatError, f"a shared table with flags {flags}", changed_shared(lambda f, n=flags: setattr(f, "flags", n)))
for size in (65537, 2**31, 2**64 - 1):
    attack(
        FormatError, f"a shared table of {size} bytes", changed_shared(lambda f, n=size: setattr(f, "table_size", n))
    )
attack(
    FormatError,
    "a tie to a tensor that only the base has",
    lambda: Forgery([same_row("same"), Row(0, b"t", TIED << 5 | FLOAT32, [1])], base=HASH),
)


@pytest.fixture(scope="module")
def counts() -> Counts:
    corpus()
    return Counts()


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_gives_its_error(name: str, counts: Counts) -> None:
    expected, make = ATTACKS[name]
    outcome = evaluate(make().emit(), counts, name)
    assert issubclass(getattr(coinr, outcome, type(None)), expected), f"{outcome} instead of {expected.__name__}"


@pytest.mark.parametrize(("dtype", "mode"), [(UINT8, 7 << 2), (FLOAT32, 31 << 2), (BOOL, 0)])
@pytest.mark.parametrize(
    "data",
    [b"", b"\x55" * 9, *(pytest.param(data, marks=pytest.mark.slow) for data in (b"\xff" * 600, b"\0\1" * 300))],
    ids=["no", "few", "ones", "more"],
)
def test_as_many_words_as_a_few_bytes_may_stand_for_are_cheap(dtype: int, mode: int, data: bytes) -> None:
    size = max(1 << 16, len(data) << 13) // (1 if dtype == BOOL else (mode >> 2) + 1)
    outcome = evaluate(Forgery([exact_row(mode, data, dtype, size)]).emit(), Counts(), f"{dtype} {data[:4]!r}")
    assert outcome in ("decoded", "FormatError")
    for more in (1, size, 4 << 20):
        blob = Forgery([exact_row(mode, data, dtype, size + more)]).emit()
        with pytest.raises(FormatError, match="may stand for"):
            coinr.decode_state_dict(blob)
