"""State dicts as they are in the wild: every kind of value, name and mistake that users hand over."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import coinr
from coinr.errors import StateDictError

from .round_trip import PROFILES, bits, every_profile, relative_error, round_trip


@pytest.fixture
def g() -> torch.Generator:
    return torch.Generator().manual_seed(2026)


# dtypes


@every_profile
@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64], ids=str
)
def test_weights_of_every_dtype(g: torch.Generator, profile: str, dtype: torch.dtype) -> None:
    real = torch.randn(64, 64, generator=g) * 0.02
    weight = torch.complex(real, torch.randn(64, 64, generator=g) * 0.02) if dtype.is_complex else real
    round_trip({"weight": weight.to(dtype), "bias": weight[0].to(dtype)}, profile)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_tolerance_finer_than_the_dtype_is_kept(g: torch.Generator, dtype: torch.dtype) -> None:
    weight = torch.randn(32, 32, generator=g).to(dtype)
    blob = coinr.encode_state_dict({"w": weight}, profile="uniform", tolerance=1e-7)
    assert relative_error(coinr.decode_state_dict(blob)["w"], weight) <= 1e-7


@every_profile
@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8], ids=str)
def test_integers_are_exact(g: torch.Generator, profile: str, dtype: torch.dtype) -> None:
    info = torch.iinfo(dtype)
    extremes = torch.tensor([info.min, info.max, 0, 1], dtype=dtype)
    many = torch.randint(info.min, info.max, (40, 33), generator=g, dtype=dtype)
    round_trip({"extremes": extremes, "many": many, "zeros": torch.zeros(50, 50, dtype=dtype)}, profile)


@every_profile
def test_bools_are_exact(g: torch.Generator, profile: str) -> None:
    round_trip({"mask": torch.rand(17, 5, generator=g) < 0.3, "on": torch.ones(9, dtype=torch.bool)}, profile)


RARE_DTYPES = [
    torch.complex128,
    torch.complex32,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
]


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental:UserWarning")
@pytest.mark.parametrize("dtype", RARE_DTYPES, ids=str)
def test_rarer_dtypes_are_stored_too(dtype: torch.dtype) -> None:
    tensor = torch.arange(12).to(torch.float32).to(dtype).reshape(3, 4)
    got = coinr.decode_state_dict(coinr.encode_state_dict({"odd": tensor}, profile="lossless"))["odd"]
    assert (got.shape, got.dtype) == (tensor.shape, tensor.dtype)
    assert bits(got) == bits(tensor)


# shapes


@every_profile
@pytest.mark.parametrize("value", [3.5, -0.0, 0.0, 7, True, 2**40, 1 + 2j], ids=repr)
def test_scalars_without_dimensions(profile: str, value: complex) -> None:
    got = round_trip({"scalar": torch.tensor(value)}, profile)
    assert got["scalar"].shape == ()


@every_profile
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.complex64, torch.int64, torch.bool], ids=str)
def test_tensors_of_size_zero(profile: str, dtype: torch.dtype) -> None:
    shapes = [(0,), (0, 5), (3, 0, 2), (5, 0)]
    round_trip({f"empty.{i}": torch.zeros(shape, dtype=dtype) for i, shape in enumerate(shapes)}, profile)


@every_profile
def test_parameters_of_one_element(profile: str) -> None:
    sd = {"omega_0": torch.tensor([30.0]), "scale_0": torch.tensor([[10.0]]), "third": torch.tensor([1 / 3])}
    round_trip(sd, profile)


@every_profile
def test_rectangular_skip_layers(g: torch.Generator, profile: str) -> None:
    sd = {"wide": torch.randn(64, 64 + 63, generator=g), "tall": torch.randn(127, 16, generator=g)}
    round_trip(sd | {"row": torch.randn(1, 96, generator=g), "column": torch.randn(96, 1, generator=g)}, profile)


@every_profile
@pytest.mark.parametrize("rows", [3001, pytest.param(500_000, marks=pytest.mark.slow)])
def test_a_large_embedding_of_two_columns(g: torch.Generator, profile: str, rows: int) -> None:
    round_trip({"encoder.embeddings": torch.rand(rows, 2, generator=g) * 2e-4 - 1e-4}, profile)


@every_profile
@pytest.mark.parametrize("size", [5003, pytest.param(1_000_003, marks=pytest.mark.slow)])
def test_a_long_flat_parameter(g: torch.Generator, profile: str, size: int) -> None:
    round_trip({"mlp_base.params": torch.randn(size, generator=g) * 1e-2}, profile)


@every_profile
def test_convolutions(g: torch.Generator, profile: str) -> None:
    module = nn.Sequential(nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.ConvTranspose2d(16, 4, 5), nn.Conv3d(2, 3, 3))
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.1, generator=g)
    got = round_trip(module.state_dict(), profile)
    module.load_state_dict(got, strict=True)


# values


@every_profile
def test_zero_tensors_stay_exactly_zero(profile: str) -> None:
    sd = {
        "matrix": torch.zeros(64, 64),
        "bias": torch.zeros(64),
        "half": torch.zeros(9, 9).half(),
        "flat": torch.zeros(5000),
    }
    got = round_trip(sd, profile)
    assert all(not t.any() for t in got.values())


@every_profile
@pytest.mark.parametrize("value", [0.1, -1.0, 1e-30, 1e30, 3.4e38, 1e-45], ids=repr)
def test_constant_tensors(profile: str, value: float) -> None:
    round_trip(
        {"matrix": torch.full((64, 64), value), "bias": torch.full((64,), value), "one": torch.full((1,), value)},
        profile,
    )


@every_profile
@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1e-30, 1e-12, 1e12, 1e30, 1e37], ids=repr)
def test_weights_of_any_scale(g: torch.Generator, profile: str, scale: float) -> None:
    round_trip(
        {"weight": torch.randn(20, 64, generator=g) * scale, "bias": torch.randn(20, generator=g) * scale}, profile
    )


@every_profile
@pytest.mark.parametrize("scale", [1e-300, 1e-40, 1e40, 1e300], ids=repr)
def test_float64_beyond_the_range_of_float32(g: torch.Generator, profile: str, scale: float) -> None:
    round_trip({"weight": torch.randn(20, 64, generator=g, dtype=torch.float64) * scale}, profile)


@every_profile
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_weights_at_the_ends_of_their_range(g: torch.Generator, profile: str, dtype: torch.dtype) -> None:
    info = torch.finfo(dtype)
    signs = torch.randint(0, 2, (40, 40), generator=g).to(dtype) * 2 - 1
    round_trip(
        {"largest": signs * info.max, "smallest": signs * info.smallest_normal, "denormal": signs * info.tiny / 4},
        profile,
    )


@every_profile
def test_one_outlier_among_small_weights(g: torch.Generator, profile: str) -> None:
    weight = torch.randn(64, 64, generator=g) * 1e-6
    weight[5, 7] = 1e6
    round_trip({"weight": weight}, profile)


@every_profile
def test_rows_of_very_different_scale(g: torch.Generator, profile: str) -> None:
    rows = torch.logspace(-30, 30, 64)[:, None]
    round_trip({"weight": torch.randn(64, 64, generator=g) * rows}, profile)


NONFINITE = {
    "nan": torch.tensor([1.0, math.nan]),
    "inf": torch.tensor([[math.inf, 0.0]]),
    "-inf in half": torch.tensor([-math.inf]).half(),
    "nan in bfloat16": torch.tensor([math.nan]).bfloat16(),
    "nan in float64": torch.tensor(math.nan, dtype=torch.float64),
    "imaginary inf": torch.tensor([complex(0.0, math.inf)]),
}


@pytest.mark.parametrize("kind", NONFINITE)
def test_a_tensor_that_is_not_finite_is_refused_by_name_with_the_way_out(kind: str) -> None:
    sd = {"fine.weight": torch.ones(3), "net.3.weight": NONFINITE[kind]}
    with pytest.raises(StateDictError, match=r"net\.3\.weight.*lossless"):
        coinr.encode_state_dict(sd)


@every_profile
@pytest.mark.parametrize("kind", NONFINITE)
def test_a_tensor_that_is_not_finite_can_be_stored_losslessly(profile: str, kind: str) -> None:
    sd = {"fine.weight": torch.ones(3), "net.3.weight": NONFINITE[kind]}
    round_trip(sd, profile, nonfinite="lossless")


def test_the_payload_of_a_nan_survives() -> None:
    odd = torch.tensor([0x7FC12345, 0xFFC00001 - 2**32, 0x7F800001], dtype=torch.int32).view(torch.float32)
    got = coinr.decode_state_dict(coinr.encode_state_dict({"w": odd}, nonfinite="lossless"))["w"]
    assert bits(got) == bits(odd)


# storage


def test_tied_tensors_are_stored_once_and_tied_again(g: torch.Generator) -> None:
    weight = nn.Parameter(torch.randn(128, 64, generator=g))
    options = PROFILES["paper"]
    alone = coinr.encode_state_dict({"embed.weight": weight, "head.bias": torch.zeros(4)}, **options)
    sd = {"embed.weight": weight.detach(), "head.bias": torch.zeros(4), "head.weight": weight.detach()}
    blob = coinr.encode_state_dict(sd, **options)
    assert len(blob) < len(alone) + 40
    got = coinr.decode_state_dict(blob)
    assert list(got) == list(sd)
    assert got["embed.weight"].untyped_storage().data_ptr() == got["head.weight"].untyped_storage().data_ptr()
    got["embed.weight"][3, 5] = 77.0
    assert got["head.weight"][3, 5] == 77.0
    assert torch.equal(coinr.decode_tensor(blob, "head.weight"), coinr.decode_state_dict(blob)["embed.weight"])


def test_a_module_with_tied_layers_is_tied_after_the_round_trip() -> None:
    first, last = nn.Linear(8, 8), nn.Linear(8, 8)
    last.weight = first.weight
    sd = nn.Sequential(first, nn.ReLU(), last).state_dict()
    got = coinr.decode_state_dict(coinr.encode_state_dict(sd, profile="lossless"))
    assert got["0.weight"].data_ptr() == got["2.weight"].data_ptr()
    assert got["0.bias"].data_ptr() != got["2.bias"].data_ptr()


def test_tied_integers_and_nonfinite_tensors_are_tied_again() -> None:
    table, broken = torch.arange(100), torch.full((50,), math.nan)
    sd = {"a": table, "b": table, "x": broken, "y": broken}
    got = coinr.decode_state_dict(coinr.encode_state_dict(sd, nonfinite="lossless"))
    assert got["a"].data_ptr() == got["b"].data_ptr()
    assert got["x"].data_ptr() == got["y"].data_ptr()


def test_equal_values_in_different_storages_are_not_tied(g: torch.Generator) -> None:
    weight = torch.randn(16, 16, generator=g)
    got = round_trip({"a": weight, "b": weight.clone()})
    assert got["a"].data_ptr() != got["b"].data_ptr()


VIEWS_OF_ONE_STORAGE = {
    "transposed": lambda t: t.T,
    "first half": lambda t: t[:8],
    "second half": lambda t: t[8:],
    "reshaped": lambda t: t.reshape(-1),
    "as integers": lambda t: t.view(torch.int32),
    "one column": lambda t: t[:, 0],
}


@pytest.mark.parametrize("view", VIEWS_OF_ONE_STORAGE)
def test_views_that_share_a_storage_but_are_other_tensors(g: torch.Generator, view: str) -> None:
    weight = torch.randn(16, 16, generator=g)
    round_trip({"whole": weight, "view": VIEWS_OF_ONE_STORAGE[view](weight)})


NON_CONTIGUOUS = {
    "transposed": lambda t: t.T,
    "every second row": lambda t: t[::2],
    "every third column": lambda t: t[:, ::3],
    "expanded": lambda t: t[:1].expand(30, -1),
    "permuted": lambda t: t.reshape(8, 6, 8, 8).permute(3, 1, 0, 2),
    "channels last": lambda t: t.reshape(4, 6, 8, 16).to(memory_format=torch.channels_last),
}


@every_profile
@pytest.mark.parametrize("view", NON_CONTIGUOUS)
def test_tensors_that_are_not_contiguous(g: torch.Generator, profile: str, view: str) -> None:
    tensor = NON_CONTIGUOUS[view](torch.randn(48, 64, generator=g))
    assert not tensor.is_contiguous()
    got = round_trip({"view": tensor, "integers": (tensor * 1000).int()}, profile)
    assert got["view"].is_contiguous()


@every_profile
def test_lazily_conjugated_and_negated_tensors(g: torch.Generator, profile: str) -> None:
    z = torch.complex(torch.randn(12, 12, generator=g), torch.randn(12, 12, generator=g))
    assert z.conj().is_conj()
    assert z.conj().imag.is_neg()
    round_trip({"conj": z.conj(), "neg": z.conj().imag}, profile)


def test_parameters_that_require_grad(g: torch.Generator) -> None:
    weight = nn.Parameter(torch.randn(64, 64, generator=g))
    got = round_trip({"leaf": weight, "not a leaf": weight * 2})
    assert not any(t.requires_grad for t in got.values())
    assert weight.requires_grad
    assert weight.grad is None


def test_the_input_and_the_random_state_are_left_alone(g: torch.Generator) -> None:
    weight = torch.randn(64, 64, generator=g)
    before, state = weight.clone(), torch.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()
    coinr.decode_state_dict(coinr.encode_state_dict({"w": weight}, **PROFILES["paper"]))
    assert torch.equal(weight, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


def test_decoded_tensors_are_the_callers_own(g: torch.Generator) -> None:
    sd = {"w": torch.randn(20, 20, generator=g), "i": torch.arange(30)}
    blob = coinr.encode_state_dict(sd, **PROFILES["paper"])
    first = coinr.decode_state_dict(blob)
    for tensor in first.values():
        tensor.zero_()
    assert all(t.any() for t in coinr.decode_state_dict(blob).values())
