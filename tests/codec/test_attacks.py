"""Attacks by name give their errors, cheaply; ``attacks.py`` has them."""

from __future__ import annotations

import numpy as np
import pytest

import coinr
from coinr.errors import LimitError
from tests.grids import fast_where

from .attacks import ATTACKS, SIDE, honest, work_bomb
from .forge import TIED, Forgery, Row, take_apart
from .hostile import (
    GAUSSIAN,
    HADAMARD,
    RADEMACHER,
    TRANSPOSED,
    UINT8,
    Counts,
    corpus,
    dictionary_row,
    evaluate,
    lossless_row,
)


@pytest.fixture(scope="module")
def counts() -> Counts:
    corpus()
    return Counts()


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_gives_its_error(name: str, counts: Counts) -> None:
    expected, make = ATTACKS[name]
    blob = make()
    outcome = evaluate(blob, counts, name)
    assert issubclass(getattr(coinr, outcome, type(None)), expected), f"{outcome} instead of {expected.__name__}"


def growing_names(count: int) -> Forgery:
    """``count`` tensors, each name the one before and one byte more: a few bytes each, quadratic when spelled out."""
    return Forgery([Row(i, b"a", UINT8, [0]) for i in range(count)], compressed=True)


def tiny_tensors(count: int) -> Forgery:
    """``count`` tensors without elements, under names of three bytes."""
    digits = bytes(range(48, 112))
    names = [bytes([digits[i >> 12 & 63], digits[i >> 6 & 63], digits[i & 63]]) for i in range(count)]
    return Forgery([Row(0, name, UINT8, [0]) for name in names], compressed=True)


def inflated_meta(count: int) -> Forgery:
    """Metadata of ``count`` empty lists, three bytes each in the file and a Python object each when read."""
    return Forgery([], meta=b'{"a":[' + b"[]," * count + b"0]}")


def many_dimensions(count: int) -> Forgery:
    """``count`` tensors of one element in 32 dimensions."""
    return Forgery([Row(0, b"%d" % i, UINT8, [1] * 32, payload=b"\0\1") for i in range(count)])


def many_ties(count: int) -> Forgery:
    """One tensor under ``count`` further names."""
    tied = (Row(0, b"%d" % i, TIED << 5 | UINT8, [0]) for i in range(count))
    return Forgery([lossless_row(b"w", bytes(1000)), *tied])


INFLATED = {
    "names that grow, 300": (lambda: growing_names(300), "decoded"),
    "names that grow, 16 000": (lambda: growing_names(16_000), "FormatError"),
    "names that grow, 100 000": (lambda: growing_names(100_000), "LimitError"),
    "tiny tensors, 16 000": (lambda: tiny_tensors(16_000), "decoded"),
    "tiny tensors, 250 000": (lambda: tiny_tensors(250_000), "LimitError"),
    "metadata of a megabyte": (lambda: inflated_meta(349_000), "decoded"),
    "metadata of 30 megabytes": (lambda: inflated_meta(10_000_000), "FormatError"),
    "many tiny dimensions": (lambda: many_dimensions(3000), "decoded"),
    "ten thousand ties": (lambda: many_ties(10_000), "decoded"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", INFLATED)
def test_a_header_that_inflates_is_refused_or_cheap(name: str, counts: Counts) -> None:
    make, expected = INFLATED[name]
    assert evaluate(make().emit(), counts, name) == expected


@pytest.mark.parametrize("kind", [GAUSSIAN, RADEMACHER, HADAMARD])
@pytest.mark.parametrize(
    ("n", "s"),
    fast_where(lambda n, s: n in (1 << 16, 15), [(1 << 22, 15), (1 << 16, 15), (1 << 10, 15), (15, 3)]),
    ids=str,
)
def test_the_dearest_file_within_the_limits_is_still_cheap(kind: int, n: int, s: int, counts: Counts) -> None:
    size = (1 << 22) if n > 15 else (1 << 18)
    blob = Forgery([dictionary_row(b"w", kind, [size], n, 1 << 24, s)]).emit()
    assert evaluate(blob, counts, f"kind {kind}, n = {n}, s = {s}") == "decoded"


def test_an_honest_forgery_decodes() -> None:
    got = coinr.decode_state_dict(honest().emit())
    assert got["w"].tolist() == list(range(10))


def test_limits_are_the_callers_to_raise_and_to_lower() -> None:
    blob = Forgery([dictionary_row(b"w", GAUSSIAN, [100], 50, 100, 5)]).emit()
    total = coinr.inspect(blob).to_dict()["totals"]
    assert (total["decoded_bytes"], total["work"]) == (400, 2 * 5 * 50)
    coinr.decode_state_dict(blob, limits=coinr.Limits(400, 500))
    for low in (coinr.Limits(399, 500), coinr.Limits(400, 499)):
        for read in (
            coinr.decode_state_dict,
            coinr.verify,
            lambda b, limits: coinr.decode_tensor(b, "w", limits=limits),
        ):
            with pytest.raises(LimitError):
                read(blob, limits=low)


def test_the_default_limits_stop_what_they_should() -> None:
    gib = Forgery([Row(0, b"w", UINT8, [(1 << 30) + 1], payload=b"\1;")]).emit()
    with pytest.raises(LimitError):
        coinr.decode_state_dict(gib)
    entries = work_bomb(GAUSSIAN, SIDE, 2**24, 1025)().emit()
    with pytest.raises(LimitError):
        coinr.decode_state_dict(entries)


@pytest.mark.parametrize("kind", [GAUSSIAN, RADEMACHER, HADAMARD])
@pytest.mark.parametrize(
    ("shape", "n", "M", "s", "flags"),
    [([1], 1, 1, 1, 0), ([7, 9], 21, 64, 5, 0), ([5, 13], 64, 1 << 24, 64, TRANSPOSED), ([50], 16, 3, 3, 0)],
    ids=["one", "padless", "padded and transposed", "few atoms"],
)
def test_forged_dictionary_files_decode_alike_on_both_backends(
    monkeypatch: pytest.MonkeyPatch, kind: int, shape: list[int], n: int, M: int, s: int, flags: int
) -> None:
    blob = Forgery([dictionary_row(b"w", kind, shape, n, M, s, flags=flags, stream=5)], seed=2**64 - 1).emit()
    native = coinr.decode_state_dict(blob)["w"]
    monkeypatch.setenv("COINR_BACKEND", "reference")
    assert np.array_equal(coinr.decode_state_dict(blob)["w"].numpy().view(np.uint32), native.numpy().view(np.uint32))


def test_taking_apart_an_honest_file_and_changing_nothing_changes_nothing() -> None:
    blob = corpus()["meta"]
    assert take_apart(blob).emit() == blob
