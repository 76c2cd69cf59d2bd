"""The state dicts of public code bases go through coinr and come back as what they were."""

from __future__ import annotations

import functools
import itertools
from collections import OrderedDict

import pytest

import coinr
from coinr.codec.allocate.default_errors import ELEMENTWISE, TOLERANCE
from tests.grids import fast_where

from .layouts import LAYOUTS, build, rebuild
from .round_trip import PROFILES, bits, relative_error

# These have names of every form; coding takes most of the time of these tests.
ALWAYS = ("siren", "wire", "coin++", "combiner-prior")

every_layout = pytest.mark.parametrize("name", LAYOUTS)
every_layout_and_setting = pytest.mark.parametrize(
    ("name", "setting"),
    fast_where(
        lambda name, setting: name in (("siren", "wire") if setting == "paper" else ALWAYS),
        itertools.product(LAYOUTS, PROFILES),
    ),
)


@functools.cache
def encoded(name: str, setting: str) -> bytes:
    return coinr.encode_state_dict(build(name), seed=7, **PROFILES[setting])


@every_layout
def test_a_fixture_lists_its_tensors_in_the_order_a_module_emits_them(name: str) -> None:
    assert list(rebuild(name).state_dict()) == list(build(name))


@every_layout_and_setting
def test_names_order_shapes_and_dtypes_are_kept(name: str, setting: str) -> None:
    want, got = build(name), coinr.decode_state_dict(encoded(name, setting))
    assert isinstance(got, OrderedDict)
    assert [(k, v.shape, v.dtype) for k, v in got.items()] == [(k, v.shape, v.dtype) for k, v in want.items()]


@every_layout_and_setting
def test_values_are_exact_or_within_the_tolerance(name: str, setting: str) -> None:
    blob = encoded(name, setting)
    want, got = build(name), coinr.decode_state_dict(blob)
    coder = {row["name"]: row["coder"] for row in coinr.inspect(blob).to_dict()["tensors"]}
    tolerance = PROFILES[setting].get("tolerance")
    for key, tensor in want.items():
        weights = tensor.is_floating_point() or tensor.is_complex()
        if coder[key] == "exact" and weights and tolerance is not None:  # elements may each keep a relative error
            assert ((got[key] - tensor).abs() <= ELEMENTWISE * tensor.abs()).all(), key
        elif coder[key] in ("lossless", "exact"):
            assert bits(got[key]) == bits(tensor), key
        else:
            assert weights, f"{key} is {tensor.dtype} and was coded by {coder[key]}"
            assert tolerance is not None, f"{key} was coded by {coder[key]} in a lossless file"
            assert relative_error(got[key], tensor) <= tolerance, key


@pytest.mark.parametrize(
    ("name", "setting"),
    fast_where(
        lambda name, setting: name == "wire",
        itertools.product(["siren", "coin-half", "wire", "combiner-prior"], PROFILES),
    ),
)
def test_encoding_twice_gives_the_same_bytes(name: str, setting: str) -> None:
    assert coinr.encode_state_dict(build(name), seed=7, **PROFILES[setting]) == encoded(name, setting)


@every_layout_and_setting
def test_one_tensor_alone_equals_the_full_decode(name: str, setting: str) -> None:
    blob = encoded(name, setting)
    for key, tensor in coinr.decode_state_dict(blob).items():
        alone = coinr.decode_tensor(blob, key)
        assert (alone.shape, alone.dtype) == (tensor.shape, tensor.dtype)
        assert bits(alone) == bits(tensor), key


@every_layout_and_setting
def test_the_decoded_dict_loads_strictly(name: str, setting: str) -> None:
    got = coinr.decode_state_dict(encoded(name, setting))
    module = rebuild(name)
    module.load_state_dict(got, strict=True)
    for key, tensor in module.state_dict().items():
        assert bits(tensor) == bits(got[key]), key


@pytest.mark.slow
@every_layout
def test_the_default_call_is_smaller_and_faithful(name: str) -> None:
    want = build(name)
    blob = coinr.encode_state_dict(want)
    paper = coinr.encode_state_dict(want, profile="paper")
    assert len(blob) <= len(paper) < sum(t.numel() * t.element_size() for t in want.values())
    for file, most in ((blob, TOLERANCE), (paper, 0.02)):
        got = coinr.decode_state_dict(file)
        assert max(relative_error(got[key], tensor) for key, tensor in want.items()) <= most


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("siren", {64}),
        ("wire", {50}),
        ("coin-fp32", {28 * 28}),
        ("coin-half", {28 * 28}),
        ("inric", {66, 32 * 32}),
    ],
)
def test_the_paper_profile_cuts_rows_from_layers_and_flattens_tiny_ones(name: str, widths: set[int]) -> None:
    blob = coinr.encode_state_dict(build(name), profile="paper", M=256, s=12)
    rows = coinr.inspect(blob).to_dict()["tensors"]
    assert {row["n"] for row in rows if row["coder"] == "dictionary"} >= widths
    assert all(2 * row["s"] < row["n"] for row in rows if row["coder"] == "dictionary")


def test_a_ten_tensor_network_has_at_most_100_bytes_of_overhead() -> None:
    blob = encoded("siren", "paper")
    report = coinr.inspect(blob).to_dict()
    assert len(report["tensors"]) == 10
    payload = sum(row["bytes"] for row in report["tensors"])
    names = sum(len(row["name"].encode()) for row in report["tensors"])
    assert len(blob) - payload - names <= 100
