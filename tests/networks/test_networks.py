import json
import math

import pytest
import torch

from coinr.errors import InputError
from coinr.networks import Siren, Wire


@pytest.mark.parametrize(
    ("sizes", "parameters"), [((2, 3, 32, 2), 2307), ((2, 3, 64, 3), 12867), ((2, 3, 128, 3), 50307), ((1, 1, 1, 0), 4)]
)
def test_parameters_are_counted_as_the_paper_counts(sizes, parameters):
    network = Siren(*sizes)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert len(network.layers) == sizes[3] + 2


def test_state_dict_is_plain():
    shapes = {name: tuple(t.shape) for name, t in Siren(2, 3, 16, 1).state_dict().items()}
    assert list(shapes.items()) == [
        ("layers.0.weight", (16, 2)),
        ("layers.0.bias", (16,)),
        ("layers.1.weight", (16, 16)),
        ("layers.1.bias", (16,)),
        ("layers.2.weight", (3, 16)),
        ("layers.2.bias", (3,)),
    ]


def test_forward_is_the_documented_formula():
    network = Siren(2, 3, 16, 2, omega=17.5, generator=torch.Generator().manual_seed(0)).double()
    x = torch.rand(50, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
    y = x
    for layer in network.layers[:-1]:
        y = torch.sin(17.5 * (y @ layer.weight.T + layer.bias))
    y = y @ network.layers[-1].weight.T + network.layers[-1].bias
    torch.testing.assert_close(network(x), y, rtol=0, atol=1e-12)
    assert network(x.reshape(5, 10, 2)).shape == (5, 10, 3)


def test_weights_start_uniform_within_the_documented_bounds():
    network = Siren(2, 3, 256, 1, omega=30, generator=torch.Generator().manual_seed(0))
    for layer, bound in zip(network.layers, [1 / 2, math.sqrt(6 / 256) / 30, math.sqrt(6 / 256) / 30], strict=True):
        w = layer.weight.detach()
        assert 0.98 * bound < w.abs().max().item() <= bound
        assert w.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
        assert layer.bias.abs().max().item() <= 1 / math.sqrt(layer.in_features)


def test_a_generator_decides_the_weights_and_spares_the_global_one():
    before = torch.random.get_rng_state()
    a, b, c = (Siren(2, 3, 8, 1, generator=torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    Siren.from_state_dict(a.state_dict())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(a.layers[0].weight, c.layers[0].weight)


def test_config_rebuilds_the_network_through_json():
    network = Siren(3, 1, 8, 2, omega=12.5, first_omega=100)
    again = Siren(**json.loads(json.dumps(network.config)))
    assert again.config == network.config == {
        "in_features": 3, "out_features": 1, "width": 8, "hidden_layers": 2, "omega": 12.5, "first_omega": 100.0,
        "frequencies": 0, "base": 2.0, "lowest": 1.0,
    }  # fmt: skip
    assert [p.shape for p in again.parameters()] == [p.shape for p in network.parameters()]


@pytest.mark.parametrize("sizes", [(2, 3, 8, 0), (2, 1, 5, 3), (1, 1, 1, 1)])
def test_from_state_dict_reads_the_sizes_off_the_tensors(sizes):
    network = Siren(*sizes, omega=21.0)
    shuffled = dict(reversed(network.state_dict().items()))
    again = Siren.from_state_dict(shuffled, 21.0)
    assert again.config == network.config
    assert all(torch.equal(p, q) for p, q in zip(network.parameters(), again.parameters(), strict=True))
    assert all(p.requires_grad for p in again.parameters())


def _changed(**tensors):
    state = dict(Siren(2, 3, 8, 1).state_dict())
    for name, tensor in tensors.items():
        state[name.replace("_", ".")] = tensor
    return state


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"layers.0.weight": torch.zeros(8, 2), "layers.0.bias": torch.zeros(8)},
        _changed(layers_1_weight=torch.zeros(8, 9)),
        _changed(layers_0_weight=torch.zeros(8)),
        _changed(layers_2_bias=torch.zeros(4)),
        _changed(layers_1_bias=torch.zeros(8, dtype=torch.float64)),
        _changed(extra=torch.zeros(1)),
        {k: v for k, v in _changed().items() if k != "layers.1.bias"},
    ],
    ids=["none", "one layer", "not square", "flat", "bias", "float64", "extra", "missing"],
)
def test_tensors_of_no_siren_are_refused(state):
    with pytest.raises(InputError, match="tensors"):
        Siren.from_state_dict(state)


@pytest.mark.parametrize(
    ("sizes", "omega", "name"),
    [
        ((0, 3, 8, 1), 30, "in_features"),
        ((2, 0, 8, 1), 30, "out_features"),
        ((2, 3, 8.0, 1), 30, "width"),
        ((2, 3, True, 1), 30, "width"),
        ((2, 3, 8, -1), 30, "hidden_layers"),
        ((2, 3, 8, 1), 0, "omega"),
        ((2, 3, 8, 1), math.inf, "omega"),
        ((2, 3, 8, 1), math.nan, "omega"),
        ((2, 3, 8, 1), "30", "omega"),
    ],
)
def test_sizes_out_of_range_are_refused(sizes, omega, name):
    with pytest.raises(InputError, match=name):
        Siren(*sizes, omega=omega)


def test_derivatives_of_wavelets_are_finite_far_from_their_centers():
    network = Wire(2, 1, 5, 1, omega=10.0, scale=10.0, generator=torch.Generator().manual_seed(0))
    first = network.net[0]
    with torch.no_grad():
        first.linear.bias.fill_(math.sqrt(90) / 10)  # exp(-90) has no square in float32
    x = torch.zeros(1, 2)
    assert 0 < first(x).abs().max() < torch.finfo(torch.float32).tiny
    network(x).sum().backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in network.parameters())
