"""The file of a start: what it holds, and what is no start."""

import numpy as np
import pytest
import torch

import coinr
from coinr.codec.reference import ReferenceNetwork
from coinr.errors import FormatError, InputError
from coinr.networks import network_meta
from tests.small_signals import nerf, siren
from tests.small_starts import near, start

KINDS = {
    "siren": lambda: siren(2, 3, 8),
    "sound": lambda: coinr.Siren(1, 2, 6, 1, first_omega=3000.0),
    "inric": lambda: coinr.Siren(2, 3, 6, 1, frequencies=4, base=1.4, lowest=np.pi),
    "gauss": lambda: coinr.Gauss(3, 1, 6, 1),
    "wire": lambda: coinr.Wire(2, 3, 6, 1, omega=7.0, scale=3.0),
    "relu": lambda: coinr.Relu(2, 3, 6, 1),
    "nerf": nerf,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_start_is_its_file(kind, tmp_path):
    network = KINDS[kind]()
    made = start(network, "a name of ü", "shape" if kind == "gauss" else "image")
    assert made.save(tmp_path / "a.start.coinr") == len(made.blob) == (tmp_path / "a.start.coinr").stat().st_size
    for source in (made.blob, tmp_path / "a.start.coinr", str(tmp_path / "a.start.coinr")):
        read = coinr.open_start(source)
        assert (read.name, read.hash, read.method, read.signal) == (made.name, made.hash, made.method, made.signal)
    assert (read.steps, read.kind, read.config) == (2, network.kind, network.config)
    again = read.network()
    assert again.config == network.config
    assert network_meta(again) == network_meta(network)
    trained = [name for name, p in network.named_parameters() if p.requires_grad]
    assert [name for name, p in again.named_parameters() if p.requires_grad] == trained == list(read.rates)
    for name, tensor in network.state_dict().items():
        found = again.state_dict()[name]
        assert torch.equal(found, made.network().state_dict()[name])
        assert (found - tensor).norm() <= 0.05 * tensor.norm()
    for name, rates in read.rates.items():
        assert rates.shape == (2, *network.state_dict()[name].shape)
        assert 0.005 < float(rates.min()) < float(rates.max()) < 0.03


def test_the_hash_is_that_of_the_weights_alone():
    one = start()
    assert one.hash == start(name="other", steps=0).hash == start(steps=3, seed=5).hash
    assert one.short_hash == one.hash[:8]
    assert one.hash != start(siren(2, 3, 9)).hash
    with torch.no_grad():
        moved = one.network()
        moved.layers[0].bias += 0.1
    assert start(moved).hash != one.hash
    base = {name: array for name, array in one.arrays.items()}
    blob = coinr.encode_state_dict(near(one), base=base, tolerance=0.01)
    assert len(coinr.inspect(blob).tensors) == len(
        [t for t in coinr.inspect(blob).tensors if t["coder"] == "difference"]
    )
    assert coinr.inspect(blob).base == one.hash
    assert ReferenceNetwork(base).find("layers.0.bias", None) is None


def test_networks_of_a_start_share_nothing():
    one = start()
    first = one.network()
    with torch.no_grad():
        first.layers[0].weight.zero_()
    assert one.network().layers[0].weight.count_nonzero() > 0
    assert np.count_nonzero(one.arrays["layers.0.weight"]) > 0


def test_it_says_what_it_is():
    assert (
        repr(start())
        == f"<Start: 'waves' ({start().short_hash}) of a siren for image, by maml, 2 steps at learned rates>"
    )
    assert repr(start(steps=0)).endswith("of a siren for image, by joint>")


def test_the_network_of_a_start_file_is_loaded_like_any():
    one = start()
    assert torch.equal(coinr.load_network(one.blob).layers[1].weight, one.network().layers[1].weight)
    with pytest.raises(InputError, match="holds weights and no signal"):
        coinr.open_file(one.blob)


def test_what_is_no_start_is_refused(tmp_path):
    weights = coinr.encode_state_dict(siren(2, 3, 8), profile="uniform")
    with pytest.raises(InputError, match="^the file holds no start$"):
        coinr.open_start(weights)
    (tmp_path / "a.coinr").write_bytes(weights)
    with pytest.raises(InputError, match=r"^.*a\.coinr: the file holds no start$"):
        coinr.open_start(tmp_path / "a.coinr")
    with pytest.raises(FormatError, match="not a coinr file"):
        coinr.open_start(b"no such file")
    with pytest.raises(InputError, match="must end in .start.coinr"):
        start().save(tmp_path / "b.coinr")
    with pytest.raises(InputError, match="must end in .start.coinr"):
        start().save(tmp_path / ".start.coinr")
    with pytest.raises(InputError, match="the name of a start is one line of 1 to 64 characters, got ''"):
        coinr.learn_start([np.zeros((4, 4, 3), np.uint8)], name="")


GOOD = {"name": "a", "method": "maml", "signal": "image"}


@pytest.mark.parametrize(
    ("said", "tensors", "message"),
    [
        ("a", {}, "does not name a start"),
        ([], {}, "does not name a start"),
        ({"name": "a"}, {}, "does not name a start"),
        ({**GOOD, "method": 3}, {}, "does not name a start"),
        ({**GOOD, "name": "two\nlines"}, {}, "one line of 1 to 64"),
        ({**GOOD, "name": "x" * 65}, {}, "one line of 1 to 64"),
        (GOOD, {"more": torch.ones(2)}, "the tensors are not those of a Siren"),
        (GOOD, {"rates.other": torch.ones(1, 2)}, "'rates.other' do not suit"),
        (GOOD, {"rates.layers.0.bias": torch.ones(8)}, "do not suit"),
        (GOOD, {"rates.layers.0.bias": torch.ones(())}, "do not suit"),
        (GOOD, {"rates.layers.0.bias": torch.ones(2, 8).double()}, "do not suit"),
        (GOOD, {"rates.layers.0.bias": torch.ones(2, 8), "rates.layers.1.bias": torch.ones(3, 8)}, "do not suit"),
    ],
)
def test_metadata_and_tensors_that_describe_no_start(said, tensors, message):
    state = {**siren(2, 3, 8).state_dict(), **tensors}
    blob = coinr.encode_state_dict(state, profile="lossless", meta={"siren": 30, "start": said})
    with pytest.raises(FormatError, match=message):
        coinr.open_start(blob)
