"""The tolerance that gives a file of a size: few files are made, and what errors say of them is true."""

import gc
import math

import pytest
import torch

import coinr
from coinr.codec.candidates import _LOSSLESS
from coinr.codec.coders import EXACT
from coinr.codec.profiles import tasks
from coinr.codec.rate_control import COARSEST, FINEST, encode_to_size
from coinr.errors import InputError

PARAMETERS, HEADER = 1000, 60


def encoder(bits=10.0, slope=1.0):
    """Files whose bits a parameter fall by ``slope`` where the tolerance doubles, and the tolerances asked."""
    asked = []

    def encode(tolerance):
        asked.append(tolerance)
        size = HEADER + PARAMETERS * max(bits - slope * math.log2(tolerance), 0.0) / 8
        return bytes(math.ceil(size))

    return encode, asked


@pytest.mark.parametrize("size", [600, 1000, 1700, 2400])
@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_the_file_is_nearly_as_large_as_allowed_and_the_tolerance_is_its_own(size, slope):
    encode, asked = encoder(slope=slope)
    blob, tolerance = encode_to_size(encode, size, PARAMETERS)
    assert 0.98 * size <= len(blob) <= size
    assert encode(tolerance) == blob
    assert FINEST <= min(asked) <= max(asked) <= COARSEST


@pytest.mark.parametrize(("slope", "most"), [(1.0, 2), (0.5, 7), (2.0, 3)])
def test_a_line_is_followed_and_not_halved(slope, most):
    encode, asked = encoder(slope=slope)
    encode_to_size(encode, 1000, PARAMETERS)
    assert len(asked) <= most


def test_the_first_tolerance_is_the_one_that_is_given():
    encode, asked = encoder()
    encode_to_size(encode, 1000, PARAMETERS, 0.003)
    assert asked[0] == pytest.approx(0.003)


def test_sizes_that_jump_end_below_the_jump():
    def encode(tolerance):
        asked.append(tolerance)
        return bytes(500 if tolerance > 0.37 else 2000)

    asked = []
    blob, tolerance = encode_to_size(encode, 1999, PARAMETERS)
    assert len(blob) == 500
    assert tolerance > 0.37
    assert len(asked) <= 40


def test_a_file_of_exactly_the_size_is_taken():
    assert len(encode_to_size(lambda tolerance: bytes(777), 777, PARAMETERS)[0]) == 777


def test_a_size_out_of_reach_is_known_after_few_files():
    encode, asked = encoder()
    with pytest.raises(InputError, match="10 bytes are out of reach: the coarsest file has 60 bytes"):
        encode_to_size(encode, 10, PARAMETERS)
    assert len(asked) <= 5
    assert max(asked) == pytest.approx(COARSEST)


def test_a_size_out_of_reach_is_reported_with_the_smallest_file():
    with pytest.raises(InputError, match="^100 bytes are out of reach: the coarsest file has 321 bytes"):
        encode_to_size(lambda tolerance: bytes(321), 100, PARAMETERS)


@pytest.mark.parametrize("profile", ["direct", "auto", "uniform"])
def test_what_is_stored_without_loss_is_coded_once_for_all_tries(profile, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    sd = {"a": torch.randn(32, 32, generator=generator), "b": torch.randn(40, generator=generator)}
    sd |= {"whole": torch.arange(300), "kept": torch.randn(9, 9, generator=generator)}
    coded: list[tuple[int, ...]] = []
    tries: list[float] = []
    encode, made = type(EXACT).encode, tasks.make_tasks

    def counting(coder, content, params):
        coded.append(content[0].shape)
        return encode(coder, content, params)

    def counted(*arguments):
        tries.append(0)
        return made(*arguments)

    monkeypatch.setattr(type(EXACT), "encode", counting)
    monkeypatch.setattr("coinr.codec.encoder.make_tasks", counted)
    coinr.encode_state_dict(sd, profile=profile, lossless=["kept"], target_bytes=1500)
    assert len(tries) > 1
    assert coded.count((300,)) == coded.count((9, 9)) == 1
    assert coded.count((32, 32)) <= 1


def test_what_was_coded_of_a_tensor_is_forgotten_with_it():
    gc.collect()
    before = len(_LOSSLESS)
    coinr.encode_state_dict({"whole": torch.arange(300)})
    gc.collect()
    assert len(_LOSSLESS) == before


@pytest.mark.parametrize("name", ["target_bytes", "target_bits"])
def test_a_size_is_met_from_below(name):
    torch.manual_seed(1)
    sd = {"w": torch.randn(64, 64), "b": torch.randn(64), "n": torch.arange(5)}
    target = 2500 if name == "target_bytes" else 8 * 2500 / (64 * 64 + 64)
    assert 0.98 * 2500 <= len(coinr.encode_state_dict(sd, **{name: target})) <= 2500


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target_bytes": 5}, "out of reach"),
        ({"target_bytes": -5}, "target_bytes"),
        ({"target_bits": float("nan")}, "target_bits"),
        ({"target_bits": float("inf")}, "target_bits must be a positive number, not inf"),
        ({"target_bits": 3.0, "tolerance": 0.1}, "one of them"),
        ({"target_bits": 3.0, "target_bytes": 100}, "one of them"),
    ],
)
def test_sizes_that_cannot_be_are_named(arguments, message):
    with pytest.raises(coinr.InputError, match=message):
        coinr.encode_state_dict({"w": torch.ones(3)}, **arguments)
