import json
import math
from collections import OrderedDict

import pytest
import torch
from torch.nn import functional

from coinr.errors import FormatError, InputError
from coinr.networks import (
    NETWORKS,
    Finer,
    Gauss,
    Nerf,
    Relu,
    Siren,
    Wire,
    build_network,
    encode,
    network_from,
    network_meta,
)


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _x(features=2, count=20):
    return torch.rand(count, features, generator=_generator(9)) * 2 - 1


SIZES = (2, 3, 6, 2)

#: Each with its metadata.
EXAMPLES = [
    (lambda: Siren(*SIZES), {"siren": 30}),
    (lambda: Siren(*SIZES, omega=17.5), {"siren": 17.5}),
    (lambda: Siren(1, 1, 6, 2, first_omega=3000), {"siren": [30, 3000]}),
    (
        lambda: Siren(*SIZES, first_omega=30.0, frequencies=16, base=1.4, lowest=math.pi),
        {"siren": [30, 30, 16, 1.4, math.pi]},
    ),
    (lambda: Finer(*SIZES, first_bias=5.0), {"finer": 30}),
    (lambda: Gauss(3, 1, 6, 2, scale=30.5), {"gauss": 30.5}),
    (lambda: Gauss(*SIZES, frequencies=2), {"gauss": [10, 2]}),
    (lambda: Wire(*SIZES, omega=15, scale=12, first_omega=18), {"wire": 0}),
    (lambda: Relu(*SIZES), {"relu": 10}),
    (lambda: Relu(*SIZES, frequencies=4, base=1.5), {"relu": [4, 1.5]}),
    (lambda: Nerf(4, 6, skip=1, point_frequencies=3, view_frequencies=1), {"nerf": []}),
    (lambda: Nerf(3, 6, skip=None, fine=False), {"nerf": []}),
]  # fmt: skip


def _call(network):
    if isinstance(network, Nerf):
        points = torch.rand(4, 5, 3, generator=_generator(9)) * 2 - 1
        return torch.cat([t.flatten() for t in network(points, functional.normalize(points[:, 0], dim=-1))])
    return network(_x(network.in_features))


@pytest.mark.parametrize(("make", "meta"), EXAMPLES)
def test_metadata_and_tensors_rebuild_a_network(make, meta):
    network = make()
    assert network_meta(network) == meta
    stored = {"image": [4, 5]} | json.loads(json.dumps(network_meta(network)))
    shuffled = OrderedDict(reversed([(name, t.clone()) for name, t in network.state_dict().items()]))
    state = torch.random.get_rng_state()
    again = network_from(stored, shuffled)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert type(again) is type(network)
    assert again.config == network.config
    assert list(again.state_dict()) == list(network.state_dict())
    assert all(t.device.type == "cpu" for t in again.state_dict().values())
    assert torch.equal(_call(again), _call(network))
    _call(again).sum().backward()
    assert all(p.grad is not None for name, p in again.named_parameters() if not name.startswith("coarse."))


@pytest.mark.parametrize(("make", "meta"), EXAMPLES)
def test_kind_and_config_rebuild_a_network_through_json(make, meta):
    network = make()
    again = build_network(network.kind, json.loads(json.dumps(network.config)), _generator())
    assert again.config == network.config
    assert NETWORKS[network.kind] is type(network)
    shapes = {name: (t.shape, t.dtype) for name, t in network.state_dict().items()}
    assert {name: (t.shape, t.dtype) for name, t in again.state_dict().items()} == shapes
    same = build_network(network.kind, network.config, _generator())
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), same.parameters(), strict=True))


@pytest.mark.parametrize(("make", "meta"), EXAMPLES)
def test_tensors_of_other_sizes_are_a_format_error(make, meta):
    state = make().state_dict()
    for name, tensor in state.items():
        for wrong in (torch.zeros(*tensor.shape, 2), torch.zeros(tensor.shape[0] + 1, *tensor.shape[1:])):
            with pytest.raises(FormatError):
                network_from(meta, state | {name: wrong.to(tensor.dtype)})
        with pytest.raises(FormatError):
            network_from(meta, state | {name: tensor.to(torch.complex128)})
        with pytest.raises(FormatError):
            network_from(meta, {key: value for key, value in state.items() if key != name})
    with pytest.raises(FormatError):
        network_from(meta, state | {"extra": torch.zeros(1)})
    with pytest.raises(FormatError):
        network_from(meta, {})


@pytest.mark.parametrize(
    "settings",
    [None, "30", [], [0], [30, None, -1], [30, 30, 1.5], [30, 30, 10**9], [30, 30, 0, 2, 1, 1], [True], [1e400], {}],
)
def test_hostile_settings_are_a_format_error_before_anything_is_allocated(settings):
    state = Siren(*SIZES).state_dict()
    if settings == []:
        network_from({"siren": settings}, state)  # all defaults
        return
    with pytest.raises(FormatError):
        network_from({"siren": settings}, state)


def test_shapes_of_astronomic_networks_are_refused_without_memory():
    state = dict(Siren(*SIZES).state_dict())
    huge = torch.zeros(1).expand(1 << 40, 2)
    with pytest.raises(FormatError, match="tensors are not those"):
        network_from({"siren": 30}, state | {"layers.0.weight": huge})


def test_metadata_without_a_network_or_with_two():
    state = Siren(*SIZES).state_dict()
    with pytest.raises(InputError, match="names no network"):
        network_from({"image": [1, 1]}, state)
    with pytest.raises(FormatError, match="several"):
        network_from({"siren": 30, "finer": 30}, state)


@pytest.mark.parametrize(
    ("kind", "config", "message"),
    [
        ("mlp", {}, "kind must be one of siren, finer"),
        ("siren", {"in_features": 2}, "config of siren"),
        ("siren", {"in_features": 2, "out_features": 3, "width": 4, "hidden_layers": 1, "depth": 3}, "depth"),
        ("gauss", {"in_features": 2, "out_features": 3, "width": 4, "hidden_layers": 1, "scale": -1}, "scale"),
        ("wire", {"in_features": 2, "out_features": 3, "width": 4, "hidden_layers": 1, "omega": 0}, "omega"),
        ("relu", {"in_features": 2, "out_features": 3, "width": 4, "hidden_layers": 1, "frequencies": 200}, "exceed"),
        ("nerf", {"depth": 0}, "depth"),
        ("nerf", {"width": 1}, "width"),
        ("nerf", {"skip": -1}, "skip"),
    ],
)
def test_configurations_out_of_range_are_refused(kind, config, message):
    with pytest.raises(InputError, match=message):
        build_network(kind, config)


def test_only_networks_of_coinr_have_metadata():
    with pytest.raises(InputError, match="Linear"):
        network_meta(torch.nn.Linear(2, 3))


def test_the_encoding_is_that_of_nerf():
    x = _x(2)
    encoded = encode(x, 2, 1.4, math.pi)
    parts = [x]
    for frequency in (math.pi, 1.4 * math.pi):
        parts += [torch.sin(x * frequency), torch.cos(x * frequency)]
    torch.testing.assert_close(encoded, torch.cat(parts, -1), rtol=0, atol=1e-6)
    assert encode(x, 16).shape == (20, 66)
    assert encode(x, 0) is x


@torch.no_grad()
def test_finer_is_the_documented_formula():
    network = Finer(*SIZES, omega=20.0, first_bias=3.0, generator=_generator()).double()
    assert 1 < network.layers[0].bias.abs().max() <= 3
    y = _x().double()
    for layer in network.layers[:-1]:
        z = layer(y)
        y = torch.sin(20 * (z.abs() + 1) * z)
    torch.testing.assert_close(network(_x().double()), network.layers[-1](y), rtol=0, atol=1e-12)


@torch.no_grad()
def test_gauss_is_the_documented_formula():
    network = Gauss(*SIZES, scale=12.0, generator=_generator())
    y = _x()
    for i in range(3):
        y = torch.exp(-((12 * network.net[i].linear(y)) ** 2))
    torch.testing.assert_close(network(_x()), network.net[3](y))
    assert list(network.state_dict())[:2] == ["net.0.linear.weight", "net.0.linear.bias"]
    assert list(network.state_dict())[-2:] == ["net.3.weight", "net.3.bias"]


@torch.no_grad()
def test_wire_is_the_documented_formula():
    network = Wire(*SIZES, omega=5.0, scale=3.0, first_omega=7.0, generator=_generator())
    y = _x()
    for i, omega in enumerate((7.0, 5.0, 5.0)):
        z = network.net[i].linear(y)
        y = torch.exp(1j * omega * z - (3 * z).abs().square())
    torch.testing.assert_close(network(_x()), network.net[3](y).real, rtol=1e-4, atol=1e-5)
    types = {name: tensor.dtype for name, tensor in network.state_dict().items()}
    assert list(types)[:4] == ["net.0.omega_0", "net.0.scale_0", "net.0.linear.weight", "net.0.linear.bias"]
    assert types["net.0.linear.weight"] == torch.float32
    assert types["net.1.linear.weight"] == types["net.3.bias"] == torch.complex64
    assert not any("_0" in name.split(".")[-1] for name, _ in network.named_parameters())


@torch.no_grad()
def test_relu_is_the_documented_formula():
    network = Relu(*SIZES, frequencies=3, generator=_generator())
    y = encode(_x(), 3)
    for layer in network.layers[:-1]:
        y = layer(y).clamp(min=0)
    torch.testing.assert_close(network(_x()), network.layers[-1](y))
    assert network.layers[0].in_features == 14


@pytest.mark.parametrize("kind", ["siren", "finer"])
def test_the_first_layer_has_a_frequency_of_its_own(kind):
    sizes = {"in_features": 1, "out_features": 1, "width": 4, "hidden_layers": 0}
    slow = build_network(kind, sizes | {"omega": 30.0}, _generator())
    fast = build_network(kind, sizes | {"omega": 30.0, "first_omega": 90.0}, _generator())
    x = _x(1)
    z = fast.layers[0](x)
    expected = torch.sin(90 * (z if kind == "siren" else (z.abs() + 1) * z))
    torch.testing.assert_close(fast(x), fast.layers[1](expected), rtol=0, atol=2e-5)
    assert not torch.allclose(fast(x), slow(x), rtol=0, atol=1e-3)
