"""Thousands of damaged and forged files: a typed error or a well-formed result within the limits, nothing else.

Named attacks with the error that each must give are in ``test_attacks.py``. The run of many thousand cases is
``pytest -m fuzz -s tests/codec/test_fuzz.py``; it prints a summary. ``COINR_FUZZ_SEED`` chooses other cases.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, assume, given, seed, settings
from hypothesis import strategies as st

import coinr
from coinr.errors import CoinrError
from tests.grids import fast_where

from .forge import TIED, Forgery, Row, take_apart
from .hostile import Counts, base, corpus, evaluate
from .round_trip import bits

SEED = int(os.environ.get("COINR_FUZZ_SEED", "0"))

FILES = [
    *("paper", "uniform", "mixed", "tied", "large", "complex", "many", "meta", "empty", "kinds"),
    *("direct", "auto", "sparse", "dense", "exact", "relative", "shared", "ascending"),
]

# Edges of integer types and of the format's own ranges.
EDGES = sorted(
    {v + d for e in (0, 7, 8, 12, 14, 16, 24, 28, 31, 32, 40, 47, 48, 63, 64) for v in [1 << e] for d in (-1, 0, 1)}
)

values = st.sampled_from(EDGES) | st.integers(0, 300) | st.integers(0, 2**64 - 1)


def run(cases: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Hypothesis with a fixed seed and no deadline of its own."""
    return lambda test: seed(SEED)(
        settings(max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck))(test)
    )


# Bytes changed behind the checksums' back.


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A file of the corpus after one to three byte-level changes, with a label."""
    name = draw(st.sampled_from(FILES))
    blob = bytearray(corpus()[name])
    label = name
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["flip", "cut", "extend", "delete", "insert", "repeat", "zero", "splice"]))
        at = draw(st.integers(0, max(0, len(blob) - 1)))
        size = draw(st.integers(1, 40))
        label += f" {kind} {at} {size}"
        if kind == "flip" and blob:
            blob[at] ^= draw(st.integers(1, 255))
        elif kind == "cut":
            del blob[at:]
        elif kind == "extend":
            blob += draw(st.binary(min_size=1, max_size=40))
        elif kind == "delete":
            del blob[at : at + size]
        elif kind == "insert":
            blob[at:at] = draw(st.binary(min_size=1, max_size=40))
        elif kind == "repeat":
            blob[at:at] = blob[at : at + size]
        elif kind == "zero":
            blob[at : at + size] = bytes(len(blob[at : at + size]))
        elif kind == "splice":
            other = corpus()[draw(st.sampled_from(FILES))]
            blob[at:] = other[at:]
    assume(bytes(blob) not in corpus().values())
    return label, bytes(blob)


def check_damaged(counts: Counts, cases: int) -> None:
    @run(cases)
    @given(damaged())
    def check(case: tuple[str, bytes]) -> None:
        label, blob = case
        assert evaluate(blob, counts, label) != "decoded", f"{label}: accepted"

    check()


# Fields changed and every checksum made right again.


def edits(f: Forgery) -> list[tuple[str, Callable[[int, bytes], None]]]:
    """Every way to change one field of a file: a label and a function of a number and some bytes."""

    def put(thing: object, name: str) -> Callable[[int, bytes], None]:
        return lambda value, junk: setattr(thing, name, value)

    def put_bytes(thing: object, name: str) -> Callable[[int, bytes], None]:
        return lambda value, junk: setattr(thing, name, junk)

    def item(thing: list[int], k: int) -> Callable[[int, bytes], None]:
        return lambda value, junk: thing.__setitem__(k, value)

    def poke(row: Row) -> Callable[[int, bytes], None]:
        def change(value: int, junk: bytes) -> None:
            at = value % (len(row.payload) + 1)
            row.payload = row.payload[:at] + junk + row.payload[at + len(junk) :]

        return change

    def tie(row: Row) -> Callable[[int, bytes], None]:
        def change(value: int, junk: bytes) -> None:
            row.code, row.shape, row.payload = TIED << 5 | row.code & 31, [value], b""

        return change

    found = [(name, put(f, name)) for name in ("seed", "meta_size", "count", "version", "flags", "stored_size")]
    found += [(name, put_bytes(f, name)) for name in ("meta", "base", "table_tail", "tail")]
    found += [("compressed", lambda value, junk: setattr(f, "compressed", bool(value & 1)))]
    found += [("table_size", put(f, "table_size"))] if f.compressed or f.shared else []
    if f.shared:
        found += [(name, put_bytes(f.shared, name)) for name in ("hash", "examples")]
    for i, row in enumerate(f.rows):
        found += [(f"{i}.{name}", put(row, name)) for name in ("same", "code", "ndim", "length")]
        found += [(f"{i}.rest", put_bytes(row, "rest")), (f"{i}.payload", put_bytes(row, "payload"))]
        found += [(f"{i}.poke", poke(row)), (f"{i}.tie", tie(row))]
        found += [(f"{i}.shape[{k}]", item(row.shape, k)) for k in range(len(row.shape))]
        found += [(f"{i}.shape+", lambda value, junk, row=row: row.shape.append(value))]
        found += [(f"{i}.params[{k}]", item(row.params, k)) for k in range(len(row.params))]
        found += [(f"{i}.drop", lambda value, junk, row=row: f.rows.remove(row) if row in f.rows else None)]
        found += [(f"{i}.twice", lambda value, junk, row=row: f.rows.append(row))]
        found += [(f"{i}.first", lambda value, junk, row=row: f.rows.insert(0, row))]
    return found


@st.composite
def forged(draw: st.DrawFn) -> tuple[str, bytes]:
    """A file of the corpus after one to four changes of fields, its checksums right, with a label."""
    name = draw(st.sampled_from([file for file in FILES if file != "many"]))
    forgery = take_apart(corpus()[name], base())
    label = name
    ways = edits(forgery)
    for _ in range(draw(st.integers(1, 4))):
        what, change = ways[draw(st.integers(0, len(ways) - 1))]
        value, junk = draw(values), draw(st.binary(max_size=12))
        label += f" {what}={value}/{junk.hex()}"
        change(value, junk)
    return label, forgery.emit()


def check_forged(counts: Counts, cases: int) -> None:
    @run(cases)
    @given(forged())
    def check(case: tuple[str, bytes]) -> None:
        label, blob = case
        evaluate(blob, counts, label)

    check()


@pytest.mark.parametrize("name", FILES)
def test_the_forger_knows_the_format(name: str) -> None:
    blob = corpus()[name]
    again = take_apart(blob, base()).emit()
    want, got = (coinr.decode_state_dict(file, base=base()) for file in (blob, again))
    assert {k: bits(v) for k, v in got.items()} == {k: bits(v) for k, v in want.items()}
    if not take_apart(blob, base()).compressed:
        assert again == blob


@pytest.mark.parametrize(
    "name",
    fast_where(
        lambda name: name not in ("relative", "shared"),
        ["paper", "mixed", "tied", "meta", "empty", "exact", "relative", "shared"],
    ),
)
def test_every_single_byte_is_guarded(name: str) -> None:
    blob = corpus()[name]
    for at in range(len(blob)):
        for change in (1, 0xFF):
            bad = bytearray(blob)
            bad[at] ^= change
            for read in (coinr.decode_state_dict, coinr.verify):
                with pytest.raises(CoinrError):
                    read(bytes(bad), base=base())


@pytest.mark.parametrize("name", fast_where(lambda name: name in ("paper", "tied", "meta", "empty", "auto"), FILES))
def test_every_cut_and_extension_is_refused(name: str) -> None:
    blob = corpus()[name]
    for stop in range(len(blob)):
        with pytest.raises(CoinrError):
            coinr.decode_state_dict(blob[:stop], base=base())
    for more in (b"\0", b"\xff", b"\n", blob):
        with pytest.raises(CoinrError):
            coinr.decode_state_dict(blob + more, base=base())


@pytest.mark.parametrize(
    "name",
    fast_where(
        lambda name: name in ("paper", "direct"), ["paper", "mixed", "tied", "large", "direct", "relative", "shared"]
    ),
)
def test_a_flipped_byte_never_reaches_a_tensor_read_alone(name: str) -> None:
    blob = corpus()[name]
    want = {key: bits(tensor) for key, tensor in coinr.decode_state_dict(blob, base=base()).items()}
    for at in range(0, len(blob), 7):
        bad = bytearray(blob)
        bad[at] ^= 0x10
        for key in want:
            try:
                got = coinr.decode_tensor(bytes(bad), key, base=base())
            except CoinrError:
                continue
            assert bits(got) == want[key], f"byte {at} changed {key!r}"


def test_a_few_damaged_files() -> None:
    check_damaged(Counts(), 100)


def test_a_few_forged_files() -> None:
    check_forged(Counts(), 150)


@pytest.mark.fuzz
def test_many_damaged_files(capsys: pytest.CaptureFixture[str]) -> None:
    counts = Counts()
    check_damaged(counts, 12_000)
    with capsys.disabled():
        print(counts.summary("damaged files"))


@pytest.mark.fuzz
def test_many_forged_files(capsys: pytest.CaptureFixture[str]) -> None:
    counts = Counts()
    check_forged(counts, 16_000)
    with capsys.disabled():
        print(counts.summary("forged files with right checksums"))
