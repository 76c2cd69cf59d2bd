"""State dicts as they are in the wild: every kind of value, name and mistake that users hand over."""

from __future__ import annotations

import math
from collections import OrderedDict
from types import MappingProxyType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import coinr
from coinr.errors import CoinrError, InputError, StateDictError

PROFILES = {"paper": 0.05, "uniform": 1e-3}

every_profile = pytest.mark.parametrize("profile", PROFILES)


@pytest.fixture
def g() -> torch.Generator:
    return torch.Generator().manual_seed(2026)


def bits(tensor: Tensor) -> bytes:
    """The bytes of a tensor, so that NaNs and signed zeros compare too."""
    return tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def relative_error(got: Tensor, want: Tensor) -> float:
    """Norm of the difference over the norm of ``want``; NumPy's longdouble keeps float64 extremes in range."""
    kind = np.clongdouble if want.is_complex() else np.longdouble
    wide = [
        t.detach().to(torch.complex128 if t.is_complex() else torch.float64).resolve_conj().numpy() for t in (got, want)
    ]
    g, w = (a.astype(kind).reshape(-1) for a in wide)
    difference, norm = (np.sqrt(np.sum(np.abs(a) ** 2)) for a in (g - w, w))
    return 0.0 if difference == 0 else float(difference / norm)


def round_trip(sd: dict[str, Tensor], profile: str = "paper", **options: object) -> OrderedDict[str, Tensor]:
    """Decode what was encoded, after checking names, order, shapes, dtypes and that lossy tensors keep the tolerance."""
    tolerance = PROFILES.get(profile)
    blob = coinr.encode_state_dict(sd, seed=3, profile=profile, tolerance=tolerance, **options)
    got = coinr.decode_state_dict(blob)
    assert list(got) == list(sd)
    for key, value in sd.items():
        want = torch.as_tensor(value)
        assert (got[key].shape, got[key].dtype) == (want.shape, want.dtype), key
        if (want.is_floating_point() or want.is_complex()) and want.detach().isfinite().all():
            assert relative_error(got[key], want) <= (tolerance or 0.0), key
        else:
            assert bits(got[key]) == bits(want), key
    return got


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


DTYPES_WITHOUT_PROMISE = [
    torch.complex128,
    torch.complex32,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
]


@pytest.mark.parametrize("dtype", DTYPES_WITHOUT_PROMISE, ids=str)
def test_other_dtypes_are_exact_or_refused_by_name(dtype: torch.dtype) -> None:
    tensor = torch.arange(12).to(torch.float32).to(dtype).reshape(3, 4)
    try:
        blob = coinr.encode_state_dict({"odd": tensor}, profile="lossless")
    except StateDictError as error:
        assert "odd" in str(error)
        assert str(dtype).removeprefix("torch.") in str(error)
    else:
        got = coinr.decode_state_dict(blob)["odd"]
        assert got.dtype == dtype
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
def test_a_large_embedding_of_two_columns(g: torch.Generator, profile: str) -> None:
    round_trip({"encoder.embeddings": torch.rand(200_000, 2, generator=g) * 2e-4 - 1e-4}, profile)


@every_profile
def test_a_flat_parameter_of_a_million(g: torch.Generator, profile: str) -> None:
    round_trip({"mlp_base.params": torch.randn(1_000_003, generator=g) * 1e-2}, profile)


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
        {"weight": torch.randn(48, 48, generator=g) * scale, "bias": torch.randn(48, generator=g) * scale}, profile
    )


@every_profile
@pytest.mark.parametrize("scale", [1e-300, 1e-40, 1e40, 1e300], ids=repr)
def test_float64_beyond_the_range_of_float32(g: torch.Generator, profile: str, scale: float) -> None:
    round_trip({"weight": torch.randn(48, 48, generator=g, dtype=torch.float64) * scale}, profile)


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
    alone = coinr.encode_state_dict({"embed.weight": weight, "head.bias": torch.zeros(4)})
    sd = {"embed.weight": weight.detach(), "head.bias": torch.zeros(4), "head.weight": weight.detach()}
    blob = coinr.encode_state_dict(sd)
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
    "expanded": lambda t: t[:1].expand(40, -1),
    "permuted": lambda t: t.reshape(8, 6, 4, 12).permute(3, 1, 0, 2),
    "channels last": lambda t: t.reshape(4, 6, 8, 12).to(memory_format=torch.channels_last),
}


@every_profile
@pytest.mark.parametrize("view", NON_CONTIGUOUS)
def test_tensors_that_are_not_contiguous(g: torch.Generator, profile: str, view: str) -> None:
    tensor = NON_CONTIGUOUS[view](torch.randn(48, 48, generator=g))
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
    coinr.decode_state_dict(coinr.encode_state_dict({"w": weight}))
    assert torch.equal(weight, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


def test_decoded_tensors_are_the_callers_own(g: torch.Generator) -> None:
    blob = coinr.encode_state_dict({"w": torch.randn(20, 20, generator=g), "i": torch.arange(30)})
    first = coinr.decode_state_dict(blob)
    for tensor in first.values():
        tensor.zero_()
    assert all(t.any() for t in coinr.decode_state_dict(blob).values())


# containers and values


NUMPY_DTYPES = ["float16", "float32", "float64", "complex64", "int8", "int16", "int32", "int64", "uint8", "bool"]


@every_profile
@pytest.mark.parametrize("dtype", NUMPY_DTYPES)
def test_numpy_arrays_as_values(profile: str, dtype: str) -> None:
    array = (np.random.default_rng(0).normal(size=(32, 32)) * 3).astype(dtype)
    sd = {
        "c order": array,
        "fortran order": np.asfortranarray(array),
        "strided": array[::-2, ::3],
        "scalar": array[0, 0:1].reshape(()),
    }
    blob = coinr.encode_state_dict(sd, profile=profile, tolerance=PROFILES[profile])
    got = coinr.decode_state_dict(blob)
    for key, value in sd.items():
        want = torch.from_numpy(np.ascontiguousarray(value)).reshape(value.shape)
        assert (got[key].shape, got[key].dtype) == (want.shape, want.dtype)
        weights = want.is_floating_point() or want.is_complex()
        assert relative_error(got[key], want) <= PROFILES[profile] if weights else torch.equal(got[key], want)


def test_a_read_only_array_needs_no_warning() -> None:
    array = np.arange(100, dtype=np.float32)
    array.flags.writeable = False
    got = coinr.decode_state_dict(coinr.encode_state_dict({"w": array}, profile="lossless"))
    assert np.array_equal(got["w"].numpy(), array)


def test_an_array_of_foreign_byte_order_is_exact_or_refused_by_name() -> None:
    array = np.arange(12, dtype=">f4")
    try:
        blob = coinr.encode_state_dict({"swapped": array}, profile="lossless")
    except StateDictError as error:
        assert "swapped" in str(error)
    else:
        assert coinr.decode_state_dict(blob)["swapped"].tolist() == array.tolist()


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "net.net."])
def test_prefixes_are_left_untouched(prefix: str) -> None:
    round_trip({f"{prefix}0.weight": torch.ones(3, 3), f"{prefix}0.bias": torch.ones(3)})


def test_an_ordered_dict_with_metadata_loads_into_its_module() -> None:
    module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    sd = module.state_dict()
    assert sd._metadata
    got = round_trip(sd)
    module.load_state_dict(got, strict=True)


def test_order_is_kept_and_is_not_sorted_order() -> None:
    names = ["z", "a.10.w", "a.9.w", "B", "a", "é", "Z"]
    assert list(round_trip({name: torch.ones(2) for name in names})) == names


def test_any_mapping_will_do() -> None:
    sd = {"w": torch.arange(5), "v": torch.ones(2)}
    want = coinr.encode_state_dict(sd)
    assert coinr.encode_state_dict(OrderedDict(sd)) == want
    assert coinr.encode_state_dict(MappingProxyType(sd)) == want


WEIGHTS = {"net.0.weight": torch.ones(4, 4), "net.0.bias": torch.ones(4)}

NESTED = {
    "nerf-pytorch": (
        {"global_step": 5, "network_fn_state_dict": WEIGHTS, "optimizer_state_dict": {"state": {}, "param_groups": []}},
        "network_fn_state_dict",
    ),
    "lightning": ({"epoch": 3, "state_dict": WEIGHTS, "hyper_parameters": {"lr": 0.1}}, "state_dict"),
    "torch-ngp": ({"epoch": 3, "stats": {"loss": [1.0]}, "model": WEIGHTS}, "model"),
    "optimizer first": (
        {"optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{}]}, "net": WEIGHTS},
        "net",
    ),
    "tensors beside it": ({"step": torch.tensor(3), "weights": OrderedDict(WEIGHTS)}, "weights"),
}


@pytest.mark.parametrize("kind", NESTED)
def test_a_nested_checkpoint_is_refused_with_the_key_to_use(kind: str) -> None:
    checkpoint, key = NESTED[kind]
    with pytest.raises(StateDictError) as caught:
        coinr.encode_state_dict(checkpoint)
    assert f"'{key}'" in str(caught.value) or f'"{key}"' in str(caught.value)
    assert "\n" not in str(caught.value)


UNSUPPORTED = {
    "str": "SIREN",
    "NoneType": None,
    "list": [1.0, 2.0],
    "int": 3,
    "float": 0.5,
    "Linear": nn.Linear(2, 2),
    "generator": (i for i in range(3)),
    "ndarray": np.array(["text"]),
    "object": np.array([None, 1], dtype=object),
}


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_an_unsupported_value_is_refused_with_its_key_and_type(kind: str) -> None:
    with pytest.raises(StateDictError) as caught:
        coinr.encode_state_dict({"net.weight": torch.ones(3), "net.extra": UNSUPPORTED[kind]})
    assert "net.extra" in str(caught.value)
    assert kind in str(caught.value)


UNUSUAL_TENSORS = {
    "sparse": lambda: torch.eye(4).to_sparse(),
    "sparse_csr": lambda: torch.sparse_csr_tensor(
        [0, 1], [0], [1.0], (1, 2), dtype=torch.float32, check_invariants=True
    ),
    "meta": lambda: torch.ones(4, device="meta"),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state:UserWarning")
@pytest.mark.parametrize("kind", UNUSUAL_TENSORS)
def test_a_tensor_without_plain_memory_is_refused_by_name(kind: str) -> None:
    with pytest.raises(StateDictError, match=r"net\.odd"):
        coinr.encode_state_dict({"net.weight": torch.ones(3), "net.odd": UNUSUAL_TENSORS[kind]()})


@pytest.mark.parametrize(
    "thing", [nn.Linear(2, 2), [torch.ones(2)], torch.ones(2), "model.pt", None, 3], ids=lambda t: type(t).__name__
)
def test_what_is_not_a_mapping_is_refused_with_its_type(thing: object) -> None:
    with pytest.raises(StateDictError, match=type(thing).__name__):
        coinr.encode_state_dict(thing)


def test_an_empty_dict_is_a_file_too() -> None:
    blob = coinr.encode_state_dict({})
    got = coinr.decode_state_dict(blob)
    assert isinstance(got, OrderedDict)
    assert not got
    coinr.verify(blob)


@pytest.mark.parametrize("key", [0, None, ("a", "b"), b"weight", 1.5], ids=repr)
def test_keys_that_are_not_strings_are_refused_with_their_type(key: object) -> None:
    with pytest.raises(StateDictError) as caught:
        coinr.encode_state_dict({"fine": torch.ones(2), key: torch.ones(2)})
    assert repr(key) in str(caught.value)
    assert type(key).__name__ in str(caught.value)


NAMES = [
    "größe.重み.вес.🧠",
    "a" * 100,
    "",
    " ",
    "a\nb",
    "a\x00b",
    "a/b\\c",
    ".",
    "..",
    "e\u0301",
    "\u00e9",
    "n" * 3000,
]


def test_unusual_names_are_kept_exactly() -> None:
    round_trip({name: torch.full((3,), float(i)) for i, name in enumerate(NAMES)})


def test_a_name_that_is_no_unicode_text_is_refused() -> None:
    with pytest.raises(StateDictError, match="name"):
        coinr.encode_state_dict({"bad\ud800": torch.ones(2)})


def test_a_very_long_name_is_kept_or_refused_as_a_name() -> None:
    name = "n" * 100_000
    try:
        blob = coinr.encode_state_dict({name: torch.ones(2)})
    except StateDictError as error:
        assert "name" in str(error)
        assert len(str(error)) < 1000
    else:
        assert list(coinr.decode_state_dict(blob)) == [name]


def test_a_thousand_tensors() -> None:
    round_trip({f"layer.{i}.scale": torch.full((2,), float(i)) for i in range(1000)})


# arguments


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**63, 2**64 - 1])
def test_every_seed_in_range_decodes(g: torch.Generator, seed: int) -> None:
    weight = torch.randn(64, 64, generator=g)
    got = coinr.decode_state_dict(coinr.encode_state_dict({"w": weight}, seed, tolerance=0.1))
    assert relative_error(got["w"], weight) <= 0.1


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "7", None], ids=repr)
def test_seeds_out_of_range_are_refused_with_the_value(seed: object) -> None:
    with pytest.raises(InputError) as caught:
        coinr.encode_state_dict({"w": torch.ones(2)}, seed)
    assert str(seed) in str(caught.value)


BAD_OPTIONS = {
    "profile": {"profile": "smallest"},
    "tolerance below 0": {"tolerance": -0.1},
    "tolerance nan": {"tolerance": math.nan},
    "tolerance text": {"tolerance": "small"},
    "nonfinite": {"nonfinite": "ignore"},
}


@pytest.mark.parametrize("kind", BAD_OPTIONS)
def test_options_that_are_not_allowed_are_refused_with_their_value(kind: str) -> None:
    (name, value), *_ = BAD_OPTIONS[kind].items()
    with pytest.raises(InputError) as caught:
        coinr.encode_state_dict({"w": torch.ones(2)}, **{name: value})
    assert name in str(caught.value)
    assert str(value) in str(caught.value)


def test_an_unknown_name_is_refused_with_the_name() -> None:
    blob = coinr.encode_state_dict({"w": torch.ones(2)})
    with pytest.raises(CoinrError, match=r"net\.weight"):
        coinr.decode_tensor(blob, "net.weight")


@pytest.mark.parametrize("blob", ["text", None, 3, torch.ones(2)], ids=lambda b: type(b).__name__)
def test_what_is_not_bytes_is_refused_with_its_type(blob: object) -> None:
    with pytest.raises(CoinrError, match=type(blob).__name__):
        coinr.decode_state_dict(blob)


def test_a_file_comes_back_from_disk(tmp_path, g: torch.Generator) -> None:
    sd = {"w": torch.randn(64, 64, generator=g), "step": torch.tensor(3)}
    coinr.save(tmp_path / "net.coinr", sd)
    got = coinr.load(tmp_path / "net.coinr")
    assert list(got) == list(sd)
    assert torch.equal(got["w"], coinr.decode_state_dict((tmp_path / "net.coinr").read_bytes())["w"])
    assert [p.name for p in tmp_path.iterdir()] == ["net.coinr"]
