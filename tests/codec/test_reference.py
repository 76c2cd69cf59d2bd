"""Files that are relative to a network which the receiver has, and the choice among seeds."""

import hashlib
import itertools
from collections import OrderedDict

import numpy as np
import pytest
import torch

import coinr
from coinr.codec.coders.difference import add, subtract
from coinr.codec.format.container import File
from coinr.codec.tensors import LOSSY_DTYPES
from coinr.inputs.tensors import tensor_to_array, torch_dtype
from tests.codec.arrays import DTYPES, layout_of, tensor_of
from tests.codec.forge import take_apart
from tests.codec.round_trip import bits, relative_error
from tests.grids import fast_where

PROFILES = {
    "auto": {},
    "direct": {},
    "sparse": {},
    "paper": {"M": 1024, "tolerance": 0.3},
    "uniform": {},
    "lossless": {},
}


def network(seed=0, scale=0.1):
    """A small network with a first layer, two hidden ones and a buffer."""
    g = torch.Generator().manual_seed(seed)
    sizes = [2, 32, 32, 3]
    sd = OrderedDict()
    for k, (a, b) in enumerate(zip(sizes, sizes[1:], strict=False)):
        sd[f"layers.{k}.weight"] = torch.randn(b, a, generator=g) * scale
        sd[f"layers.{k}.bias"] = torch.randn(b, generator=g) * scale
    sd["steps"] = torch.randint(0, 1000, (100,), generator=g)
    return sd


def near(sd, share, seed=1):
    """The network after a little more training, so to say."""
    g = torch.Generator().manual_seed(seed)
    return OrderedDict(
        (name, w + share * w.std() * torch.randn(w.shape, generator=g) if w.is_floating_point() else w.clone())
        for name, w in sd.items()
    )


def coders(blob):
    return {row["name"]: (row["coder"], row.get("inner")) for row in coinr.inspect(blob).tensors}


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_stores_a_neighbour_in_fewer_bytes(profile):
    base = network()
    sd = near(base, 0.02)
    options = {"profile": profile} | PROFILES[profile]
    alone, relative = coinr.encode_state_dict(sd, **options), coinr.encode_state_dict(sd, base=base, **options)
    # the paper's biases and first layers keep their 16 bits, and what is lossless is a sum nowhere
    assert len(relative) < {"lossless": 0.99, "paper": 0.9}.get(profile, 0.7) * len(alone)
    decoded, absolute = coinr.decode_state_dict(relative, base=base), coinr.decode_state_dict(alone)
    assert list(decoded) == list(sd)
    for name in sd:
        # at equal allowed error, not at equal error: both keep within the tolerance
        assert relative_error(decoded[name], sd[name]) <= max(0.3, relative_error(absolute[name], sd[name])), name
    assert bits(decoded["steps"]) == bits(sd["steps"])
    assert coders(relative)["steps"] == ("difference", "same")


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    fast_where(
        lambda dtype, tolerance: dtype == torch.float32 or tolerance == 0.01,
        itertools.product(DTYPES[:6], [0.3, 0.01, 1e-4, 0.0]),
    ),
    ids=str,
)
def test_the_tolerance_holds_for_the_sum(dtype, tolerance):
    g = torch.Generator().manual_seed(5)
    wide = torch.complex128 if dtype.is_complex else torch.float64
    base = {"w": torch.randn(16, 16, generator=g, dtype=wide).to(dtype)}
    sd = {"w": (base["w"] + 0.05 * torch.randn(16, 16, generator=g)).to(dtype)}
    blob = coinr.encode_state_dict(sd, base=base, tolerance=tolerance)
    got = coinr.decode_state_dict(blob, base=base)["w"]
    assert got.dtype == dtype
    assert relative_error(got, sd["w"]) <= tolerance
    assert len(blob) <= len(coinr.encode_state_dict(sd, tolerance=tolerance))


@pytest.mark.filterwarnings("ignore:ComplexHalf")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_equal_tensors_of_every_dtype_cost_a_byte(dtype):
    raw = torch.randint(0, 2, (400 * dtype.itemsize,), dtype=torch.uint8)
    tensor = raw.view(dtype).reshape(20, 20)
    base = {"w": tensor, "unused": torch.ones(3)}
    blob = coinr.encode_state_dict({"w": tensor.clone()}, base=base, nonfinite="lossless")
    assert coders(blob) == {"w": ("difference", "same")}
    assert coinr.inspect(blob).totals["payload_bytes"] == 0
    got = coinr.decode_state_dict(blob, base=base)["w"]
    assert bits(got) == bits(tensor)
    assert got.untyped_storage().data_ptr() != tensor.untyped_storage().data_ptr()


def test_tensors_that_must_be_exact_are_never_sums():
    base, sd = network(), near(network(), 1e-3)
    sd["steps"] = sd["steps"] + 1
    blob = coinr.encode_state_dict(sd, base=base, lossless=["layers.0.*"])
    got = coinr.decode_state_dict(blob, base=base)
    for name in ("layers.0.weight", "layers.0.bias", "steps"):
        assert bits(got[name]) == bits(sd[name])
        assert coders(blob)[name][0] in ("exact", "lossless")
    assert coders(blob)["layers.1.weight"][0] == "difference"


def test_a_base_that_does_not_help_costs_nothing():
    sd = network()
    alone = coinr.encode_state_dict(sd)
    shifted = {name: w.t().clone() if w.dim() > 1 else w for name, w in network(7).items() if name != "steps"}
    for base in ({}, shifted, {"steps": sd["steps"].int()}, {name: w.double() for name, w in sd.items()}):
        assert coinr.encode_state_dict(sd, base=base) == alone
        assert list(coinr.decode_state_dict(alone, base=base)) == list(sd)
    small = {"w": torch.tensor([3, 4])}
    assert coinr.encode_state_dict(small, base=small) == coinr.encode_state_dict(small)


def test_ties_are_kept():
    base, sd = network(), near(network(), 0.01)
    sd["again"] = sd["layers.1.weight"]
    blob = coinr.encode_state_dict(sd, base=base)
    got = coinr.decode_state_dict(blob, base=base)
    assert coders(blob)["again"] == ("tied", None)
    assert got["again"] is got["layers.1.weight"]
    assert torch.equal(coinr.decode_tensor(blob, "again", base=base), got["again"])


def test_tensors_that_are_not_finite_are_left_alone():
    base, sd = network(), near(network(), 0.01)
    base["layers.1.weight"][0, 0] = float("nan")
    sd["layers.0.weight"][0, 0] = float("inf")
    blob = coinr.encode_state_dict(sd, base=base, nonfinite="lossless")
    assert {coders(blob)[f"layers.{k}.weight"][0] for k in (0, 1)}.isdisjoint({"difference"})
    assert bits(coinr.decode_state_dict(blob, base=base)["layers.0.weight"]) == bits(sd["layers.0.weight"])


def difference_file():
    base = network()
    return coinr.encode_state_dict(near(base, 0.02), base=base), base


def read_one(blob, base=None):
    return coinr.decode_tensor(blob, "layers.1.weight", base=base)


@pytest.mark.parametrize("read", [coinr.decode_state_dict, coinr.verify, read_one])
def test_the_base_must_be_the_one(read):
    blob, base = difference_file()
    read(blob, base=base)
    read(blob, base={name: w.numpy() for name, w in reversed(base.items())} | {"more": np.ones(3)})
    with pytest.raises(
        coinr.ReferenceNetworkError, match=r"[67] tensors are relative to the network [0-9a-f]{32}: give it"
    ):
        read(blob)
    wrong = OrderedDict(base)
    wrong["layers.0.bias"] = base["layers.0.bias"].clone()
    wrong["layers.0.bias"].view(torch.int32)[3] ^= 1
    with pytest.raises(
        coinr.ReferenceNetworkError, match=r"the network [0-9a-f]{32}, and the base given is [0-9a-f]{32}"
    ):
        read(blob, base=wrong)
    for name, other, why in (
        ("layers.1.bias", None, "has none"),
        ("layers.1.bias", base["layers.1.bias"].double(), "another dtype or shape"),
        ("layers.1.bias", base["layers.1.bias"][None], "another dtype or shape"),
    ):
        wrong = {key: w for key, w in base.items() if key != name} | ({} if other is None else {name: other})
        with pytest.raises(coinr.ReferenceNetworkError, match=rf"'{name}', float32 \[32\]; the one given .*{why}"):
            read(blob, base=wrong)
    with pytest.raises(coinr.StateDictError):
        read(blob, base={"nested": {}})


def test_absolute_tensors_can_be_read_without_the_base():
    base, sd = network(), near(network(), 0.01)
    sd["extra"] = torch.randn(50)
    blob = coinr.encode_state_dict(sd, base=base)
    assert torch.equal(coinr.decode_tensor(blob, "extra"), coinr.decode_state_dict(blob, base=base)["extra"])


def test_the_report_needs_no_base():
    blob, base = difference_file()
    report = coinr.inspect(blob)
    assert report.base == coinr.verify(blob, base=base).base == report.to_dict()["base"]
    assert f"relative to {report.base}" in str(report)
    assert "inner" in str(report)
    assert coinr.inspect(coinr.encode_state_dict(base)).base is None


def test_the_hash_is_that_of_the_format():
    """FORMAT.md, written out: names, dtypes, shapes and bytes of the tensors referred to, in the order of the file."""
    blob, base = difference_file()
    state = hashlib.sha256()
    relative = [name for name, (coder, _) in coders(blob).items() if coder == "difference"]
    assert {"layers.0.weight", "steps"} < set(relative)
    for name in relative:
        tensor = base[name]
        code = 11 if name == "steps" else 0
        state.update(bytes([len(name)]) + name.encode() + bytes([code, tensor.dim(), *tensor.shape]) + bits(tensor))
    assert File(blob).header.reference_hash == state.digest()[:16] == take_apart(blob).base


def test_older_readers_refuse_the_flag():
    blob, _ = difference_file()
    assert blob[5] & 2
    assert not coinr.encode_state_dict(network())[5] & 2


@pytest.mark.parametrize("dtype", sorted(map(torch_dtype, LOSSY_DTYPES), key=str), ids=str)
def test_the_sum_is_rounded_as_the_format_says(dtype):
    wide = dtype in (torch.float64, torch.complex128)
    parts = torch.randn(2, 500, dtype=torch.float64) * 10.0 ** torch.randint(-9, 5, (2, 500))
    delta = torch.randn(2, 500) * 10.0 ** torch.randint(-9, 5, (2, 500))
    if not dtype.is_complex:
        parts, delta = parts[:1], delta[:1]
    base = (torch.complex(parts[0], parts[1]) if dtype.is_complex else parts[0]).to(dtype)
    difference = torch.complex(delta[0], delta[1]) if dtype.is_complex else delta[0]
    planes = torch.view_as_real(base).T if dtype.is_complex else base[None]
    total = planes.double().numpy() + delta.double().numpy()
    expected = torch.from_numpy(total if wide else total.astype(np.float32)).to(planes.dtype)
    array, _ = tensor_to_array(base)
    layout = layout_of(base)
    made = add(array, tensor_to_array(difference)[0], layout)
    got = tensor_of(made, layout)
    assert got.dtype == dtype
    assert torch.equal(torch.view_as_real(got).T if dtype.is_complex else got[None], expected)
    assert subtract(made, array, layout).dtype == ("complex64" if dtype.is_complex else "float32")


@pytest.mark.parametrize("profile", PROFILES)
def test_backends_decode_the_same_bits(profile, monkeypatch):
    base = network()
    blob = coinr.encode_state_dict(near(base, 0.2), base=base, profile=profile, **PROFILES[profile])
    native = coinr.decode_state_dict(blob, base=base)
    monkeypatch.setenv("COINR_BACKEND", "reference")
    assert {k: bits(w) for k, w in coinr.decode_state_dict(blob, base=base).items()} == {
        k: bits(w) for k, w in native.items()
    }


# Seeds.


def test_several_seeds_give_the_smallest_file_and_the_first_of_equals():
    sd = near(network(), 0.5)
    options = {"profile": "paper", "M": 256, "tolerance": 0.4}
    single = [coinr.encode_state_dict(sd, seed=seed, **options) for seed in range(5, 11)]
    assert len(set(map(len, single))) > 1
    best = min(single, key=len)
    assert coinr.encode_state_dict(sd, seed=5, seeds=6, **options) == best
    assert coinr.encode_state_dict(sd, seed=5, seeds=1, **options) == single[0]


def test_seeds_do_not_matter_where_no_coder_has_one():
    sd = network()
    for profile in ("direct", "lossless", "uniform"):
        blob = coinr.encode_state_dict(sd, seed=3, seeds=1000, profile=profile)
        assert blob == coinr.encode_state_dict(sd, seed=3, profile=profile)
        assert coinr.inspect(blob).seed == 3


@pytest.mark.parametrize("profile", ["paper", "sparse"])
def test_seeds_and_a_base_go_together(profile):
    base = network()
    sd = near(base, 0.3)
    options = {"profile": profile} | PROFILES[profile]
    blob = coinr.encode_state_dict(sd, base=base, seeds=3, **options)
    assert len(blob) <= len(coinr.encode_state_dict(sd, base=base, **options))
    assert coinr.inspect(blob).seed in range(3)
    for name, tensor in coinr.decode_state_dict(blob, base=base).items():
        assert relative_error(tensor, sd[name]) <= 0.3


@pytest.mark.parametrize("seeds", [0, -1, True, 1.5, "3", None, 2**64 + 1])
def test_seeds_out_of_range_are_named(seeds):
    with pytest.raises(coinr.InputError, match="seeds"):
        coinr.encode_state_dict({"w": torch.ones(3)}, seeds=seeds)
    with pytest.raises(coinr.InputError, match="seeds"):
        coinr.encode_state_dict({"w": torch.ones(3)}, seed=2**64 - 1, seeds=2)
