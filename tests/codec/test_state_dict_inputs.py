"""Everything but tensors in a state dict: arrays, names, containers, and mistakes that deserve a clear error."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
from torch import nn

import coinr
from coinr.codec import baselines
from coinr.codec.encoder import Encoder
from coinr.errors import CoinrError, InputError, StateDictError

from .round_trip import PROFILES, every_profile, relative_error, round_trip


@pytest.fixture
def g() -> torch.Generator:
    return torch.Generator().manual_seed(2027)


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
    blob = coinr.encode_state_dict(sd, **PROFILES[profile])
    got = coinr.decode_state_dict(blob)
    for key, value in sd.items():
        want = torch.from_numpy(np.ascontiguousarray(value)).reshape(value.shape)
        assert (got[key].shape, got[key].dtype) == (want.shape, want.dtype)
        weights = want.is_floating_point() or want.is_complex()
        assert (
            relative_error(got[key], want) <= PROFILES[profile]["tolerance"] if weights else torch.equal(got[key], want)
        )


def test_a_read_only_array_needs_no_warning() -> None:
    array = np.arange(100, dtype=np.float32)
    array.flags.writeable = False
    got = coinr.decode_state_dict(coinr.encode_state_dict({"w": array}, profile="lossless"))
    assert np.array_equal(got["w"].numpy(), array)


def test_arrays_of_foreign_byte_order_decode_to_the_same_values() -> None:
    array = np.arange(12, dtype=">f4")
    got = coinr.decode_state_dict(coinr.encode_state_dict({"w": array}, profile="lossless"))["w"]
    assert got.dtype == torch.float32
    assert got.tolist() == array.tolist()


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "net.net."])
def test_prefixes_are_left_untouched(prefix: str) -> None:
    round_trip({f"{prefix}0.weight": torch.ones(3, 3), f"{prefix}0.bias": torch.ones(3)})


def test_an_ordered_dict_with_metadata_loads_into_its_module() -> None:
    module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    sd = module.state_dict()
    assert sd._metadata
    got = round_trip(sd)
    module.load_state_dict(got, strict=True)


class _Tied(nn.Module):
    """Layers with ties, buffers of other dtypes and parameters in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.last = nn.Linear(4, 4)
        self.last.weight = self.first.weight
        self.scales = nn.ParameterList([torch.full((2,), 0.5)])


def _loss(sd: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return (sd["first.weight"] - 0.1).square().mean() + (sd["last.bias"] - 0.1).square().mean()


def test_a_module_stands_for_its_state_dict() -> None:
    module = _Tied()
    sd = module.state_dict()
    base = {name: tensor.clone() for name, tensor in sd.items()}
    blob = coinr.encode_state_dict(module, base=module)
    assert blob == coinr.encode_state_dict(sd, base=sd)
    decoded = coinr.decode_state_dict(blob, base=module)
    assert decoded["first.weight"] is decoded["last.weight"]
    assert all(torch.equal(coinr.decode_tensor(blob, name, base=module), decoded[name]) for name in sd)
    coinr.verify(blob, base=module)
    assert all(torch.equal(tensor, base[name]) for name, tensor in module.state_dict().items())
    module.load_state_dict(decoded)


def test_a_module_is_saved_searched_refined_and_coded_by_baselines(tmp_path: Path) -> None:
    module = _Tied()
    sd = module.state_dict()
    assert coinr.save(tmp_path / "m.coinr", module) == len(coinr.encode_state_dict(sd))
    found = [coinr.search(one, lambda sd: -float(_loss(sd)), target_bytes=400) for one in (module, sd)]
    assert found[0].blob == found[1].blob
    refined = coinr.refine(module, _loss, steps=2, target_bytes=400)
    assert list(refined.state_dict) == list(sd)
    floats = nn.Sequential(nn.Linear(4, 4))
    assert baselines.encode(floats, "fp16") == baselines.encode(floats.state_dict(), "fp16")
    assert Encoder(module).encode(0.1) == Encoder(sd).encode(0.1)


def test_a_module_that_has_no_values_yet_is_refused() -> None:
    for module, why in ((nn.LazyLinear(2), "without shape"), (nn.Linear(2, 2, device="meta"), "meta device")):
        with pytest.raises(StateDictError, match=why):
            coinr.encode_state_dict(module)


def test_order_is_kept_and_is_not_sorted_order() -> None:
    names = ["z", "a.10.w", "a.9.w", "B", "a", "é", "Z"]
    assert list(round_trip({name: torch.ones(2) for name in names})) == names


def test_any_mapping_will_do() -> None:
    sd = {"w": torch.arange(5), "v": torch.ones(2)}
    want = coinr.encode_state_dict(sd)
    assert coinr.encode_state_dict(OrderedDict(sd)) == want
    assert coinr.encode_state_dict(MappingProxyType(sd)) == want


class Lazy(Mapping):
    """A mapping that makes each value when asked, as an open ``.npz`` file does."""

    def __init__(self, make: Callable[[int], object]) -> None:
        self.make = make

    def __getitem__(self, key: str) -> object:
        return self.make(int(key))

    def __iter__(self) -> Iterator[str]:
        return map(str, range(8))

    def __len__(self) -> int:
        return 8


MADE_ON_DEMAND = {
    "fortran arrays": lambda i: np.asfortranarray(np.arange(2048.0).reshape(64, 32) + i),
    "strided arrays": lambda i: (np.arange(4096.0) + i)[::2],
    "transposed tensors": lambda i: (torch.arange(2048.0).reshape(64, 32) + i).T,
    "conjugated tensors": lambda i: (torch.arange(2048) * (1j + i)).conj(),
}


@pytest.mark.parametrize("kind", MADE_ON_DEMAND)
def test_values_made_on_demand_are_not_taken_for_tied(kind: str) -> None:
    lazy = Lazy(MADE_ON_DEMAND[kind])
    got = coinr.decode_state_dict(coinr.encode_state_dict(lazy, profile="lossless"))
    for key, value in lazy.items():
        assert torch.equal(got[key], torch.as_tensor(value).resolve_conj()), key


def test_an_open_npz_file_is_a_state_dict(tmp_path) -> None:
    arrays = {f"w{i}": np.asfortranarray(np.arange(2048.0).reshape(64, 32) + i) for i in range(8)}
    np.savez(tmp_path / "w.npz", **arrays)
    with np.load(tmp_path / "w.npz") as opened:
        got = coinr.decode_state_dict(coinr.encode_state_dict(opened, profile="lossless"))
    assert {key: value.tolist() for key, value in got.items()} == {key: value.tolist() for key, value in arrays.items()}


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
    "<U4": np.array(["text"]),
    "object": np.array([None, 1], dtype=object),
    "datetime64": np.array(["2026-11-23"], dtype="datetime64[D]"),
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
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state:UserWarning")
@pytest.mark.parametrize("kind", UNUSUAL_TENSORS)
def test_a_tensor_without_plain_memory_is_refused_by_name(kind: str) -> None:
    with pytest.raises(StateDictError, match=r"net\.odd"):
        coinr.encode_state_dict({"net.weight": torch.ones(3), "net.odd": UNUSUAL_TENSORS[kind]()})


@pytest.mark.parametrize(
    "thing", [nn.Linear, [torch.ones(2)], torch.ones(2), "model.pt", None, 3], ids=lambda t: type(t).__name__
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


def test_a_very_long_name_is_kept() -> None:
    round_trip({"n" * 60_000: torch.ones(2)})


@pytest.mark.parametrize(("length", "count"), [(2000, 40), (1000, 100), (100, 500)])
def test_long_names_that_begin_alike_are_kept(length: int, count: int) -> None:
    round_trip({"x" * length + str(i): torch.ones(1) for i in range(count)})


def test_hundreds_of_tensors() -> None:
    round_trip({f"layer.{i}.scale": torch.full((2,), float(i)) for i in range(300)})


# arguments


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**63, 2**64 - 1])
def test_every_seed_in_range_decodes(g: torch.Generator, seed: int) -> None:
    weight = torch.randn(64, 64, generator=g)
    got = coinr.decode_state_dict(coinr.encode_state_dict({"w": weight}, seed, **PROFILES["paper"]))
    assert relative_error(got["w"], weight) <= PROFILES["paper"]["tolerance"]


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


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_every_kind_of_bytes_will_do(kind: Callable[[bytes], bytes]) -> None:
    blob = coinr.encode_state_dict({"w": torch.arange(9)})
    assert coinr.decode_state_dict(kind(blob))["w"].tolist() == list(range(9))


def test_bytes_with_gaps_are_refused() -> None:
    blob = coinr.encode_state_dict({"w": torch.arange(9)})
    with pytest.raises(CoinrError):
        coinr.decode_state_dict(memoryview(bytes(x for byte in blob for x in (byte, 0)))[::2])


@pytest.mark.parametrize("blob", ["text", None, 3, torch.ones(2)], ids=lambda b: type(b).__name__)
def test_what_is_not_bytes_is_refused_with_its_type(blob: object) -> None:
    with pytest.raises(CoinrError, match=type(blob).__name__):
        coinr.decode_state_dict(blob)


def test_a_file_comes_back_from_disk(tmp_path, g: torch.Generator) -> None:
    sd = {"w": torch.randn(64, 64, generator=g), "step": torch.tensor(3)}
    coinr.save(tmp_path / "net.coinr", sd, **PROFILES["paper"])
    got = coinr.load(tmp_path / "net.coinr")
    assert list(got) == list(sd)
    assert torch.equal(got["w"], coinr.decode_state_dict((tmp_path / "net.coinr").read_bytes())["w"])
    assert [p.name for p in tmp_path.iterdir()] == ["net.coinr"]
