"""Files that take their table from a base: names, shapes and dtypes, and the rest after examples."""

import hashlib

import pytest
import torch

import coinr
from coinr.codec.format.container import File
from coinr.codec.format.shared_table import examples_of
from coinr.codec.reference import STATISTICS, ReferenceNetwork
from coinr.errors import ReferenceNetworkError
from tests.codec.round_trip import bits

META = {"siren": 30}


def network(seed, scale=0.3):
    """Tensors of several dtypes near to those of seed 0."""
    made = {}
    for name, shape in (("a.weight", (12, 20)), ("a.bias", (12,)), ("b.weight", (3, 12))):
        first, other = (torch.randn(shape, generator=torch.Generator().manual_seed(k)) for k in (0, seed))
        made[name] = (first + scale * other).to(torch.float16 if name == "a.bias" else torch.float32)
    return made | {"steps": torch.tensor(7)}


@pytest.fixture(scope="module")
def plain():
    return network(0, 0.0)


@pytest.fixture(scope="module")
def base(plain):
    headers = [File(coinr.encode_state_dict(network(seed), base=plain, meta=META)).header for seed in range(1, 9)]
    examples, columns = examples_of(headers)
    return plain | {STATISTICS: torch.tensor(list(examples), dtype=torch.uint8).reshape(-1, columns)}


def is_shared(blob):
    return bool(blob[5] & 8)


def same(one, other):
    return list(one) == list(other) and all(bits(one[name]) == bits(other[name]) for name in one)


def test_a_shared_table_saves_most_of_a_table_and_no_bit_of_a_tensor(plain, base):
    sd = network(99)
    relative = coinr.encode_state_dict(sd, base=plain, meta=META)
    shared = coinr.encode_state_dict(sd, base=base, meta=META)
    assert is_shared(shared)
    assert not is_shared(relative)
    assert same(coinr.decode_state_dict(shared, base=base), coinr.decode_state_dict(relative, base=plain))
    before, after = (coinr.inspect(blob, base=base).totals for blob in (relative, shared))
    assert after["payload_bytes"] == before["payload_bytes"]
    assert after["overhead_bytes"] + after["name_bytes"] < 0.45 * (before["overhead_bytes"] + before["name_bytes"])


@pytest.mark.parametrize("profile", ["auto", "direct", "uniform", "paper", "sparse", "lossless"])
def test_every_profile_shares_a_table(base, profile):
    blob = coinr.encode_state_dict(network(5), 3, base=base, profile=profile, meta=META)
    assert is_shared(blob)
    assert coinr.read_meta(blob, base=base) == META
    report = coinr.verify(blob, base=base)
    assert report.seed == 3
    if profile == "lossless":
        assert same(coinr.decode_state_dict(blob, base=base), network(5))


def test_a_network_far_from_the_base_shares_its_table_alone(base):
    g = torch.Generator().manual_seed(8)
    sd = {name: (1e-3 * torch.randn(tensor.shape, generator=g)).to(tensor.dtype) for name, tensor in network(3).items()}
    sd["steps"] = torch.tensor(8)
    blob = coinr.encode_state_dict(sd, base=base, profile="direct")
    assert is_shared(blob)
    assert not blob[5] & 2
    again = coinr.decode_state_dict(blob, base=base)
    assert torch.allclose(again["a.weight"], sd["a.weight"], atol=1e-4)
    assert list(again) == list(sd)


def renamed(sd):
    return {name.replace("a", "c"): tensor for name, tensor in sd.items()}


OTHERS = {
    "another order": lambda sd: dict(reversed(sd.items())),
    "another name": renamed,
    "another shape": lambda sd: sd | {"a.bias": sd["a.bias"][:5]},
    "another dtype": lambda sd: sd | {"steps": sd["steps"].int()},
    "a tensor less": lambda sd: {name: sd[name] for name in list(sd)[:-1]},
    "a tensor more": lambda sd: sd | {"more": torch.zeros(3)},
}


@pytest.mark.parametrize("change", OTHERS)
def test_another_layout_has_a_table_of_its_own(base, change):
    sd = OTHERS[change](network(2))
    blob = coinr.encode_state_dict(sd, base=base)
    assert not is_shared(blob)
    assert list(coinr.decode_state_dict(blob, base=base)) == list(sd)


def test_tied_tensors_have_a_table_of_their_own():
    weight = torch.randn(9, 9, generator=torch.Generator().manual_seed(0))
    base = {"one": weight, "two": weight.clone(), STATISTICS: torch.ones(2, 30, dtype=torch.uint8)}
    blob = coinr.encode_state_dict({"one": weight, "two": weight}, base=base)
    assert not is_shared(blob)
    again = coinr.decode_state_dict(blob, base=base)
    assert again["one"].data_ptr() == again["two"].data_ptr()


def readers(tmp_path, blob):
    path = tmp_path / "a.coinr"
    path.write_bytes(blob)
    return [
        lambda base: coinr.decode_state_dict(blob, base=base),
        lambda base: coinr.decode_tensor(blob, "a.bias", base=base),
        lambda base: coinr.verify(blob, base=base),
        lambda base: coinr.inspect(blob, base=base),
        lambda base: coinr.read_meta(blob, base=base),
        lambda base: coinr.load(path, base=base),
        lambda base: coinr.open_state_dict(path, base=base).close(),
    ]


def test_every_reader_needs_the_base_itself(plain, base, tmp_path):
    other = base | {STATISTICS: base[STATISTICS] + 1}
    near = base | {"b.weight": base["b.weight"] + 2.0**-20}
    for read in readers(tmp_path, coinr.encode_state_dict(network(4), base=base)):
        read(base)
        with pytest.raises(ReferenceNetworkError, match="give it as base"):
            read(None)
        with pytest.raises(ReferenceNetworkError, match="without statistics"):
            read(plain)
        for wrong in (other, near):
            with pytest.raises(ReferenceNetworkError, match="the base given is [0-9a-f]{16}"):
                read(wrong)


@pytest.mark.parametrize(
    "statistics",
    [torch.ones(2, 30), torch.ones(30, dtype=torch.uint8), torch.ones(2, 0, dtype=torch.uint8)]
    + [torch.ones(2, 1 << 15, 2, dtype=torch.uint8), torch.ones(257, 256, dtype=torch.uint8)],
    ids=["floats", "one row", "empty", "three sides", "too large"],
)
def test_a_tensor_of_that_name_and_another_form_is_one_of_the_network(plain, statistics):
    own, base = network(1) | {STATISTICS: statistics}, plain | {STATISTICS: statistics}
    blob = coinr.encode_state_dict(own, base=base, profile="lossless")
    assert not is_shared(blob)
    assert same(coinr.decode_state_dict(blob, base=base), own)


def test_the_hash_is_that_of_the_format(base):
    """FORMAT.md, written out: names, dtypes, shapes and bytes of all tensors of the base, in its order."""
    state = hashlib.sha256()
    codes = {torch.float32: 0, torch.float16: 2, torch.uint8: 7, torch.int64: 11}
    for name, tensor in base.items():
        state.update(bytes([len(name)]) + name.encode() + bytes([codes[tensor.dtype], tensor.dim(), *tensor.shape]))
        state.update(bits(tensor))
    blob = coinr.encode_state_dict(network(6), base=base)
    assert blob[8:16] == state.digest()[:8] == File(blob, None, ReferenceNetwork(base)).header.reference_hash


def test_a_target_size_counts_the_shared_table(base):
    blob = coinr.encode_state_dict(network(7), base=base, target_bytes=200)
    assert 190 <= len(blob) <= 200
    assert is_shared(blob)
