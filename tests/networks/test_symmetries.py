"""Networks in canonical order are the same functions, have the same rows, and come in that order once and for all."""

import math

import pytest
import torch
from torch.func import functional_call
from torch.nn import functional

from coinr.networks import Finer, Gauss, Nerf, Relu, Siren, Wire
from coinr.networks.symmetries import to_canonical


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


SIZES = (2, 3, 24, 2)
NETWORKS = {
    "siren": lambda: Siren(*SIZES, generator=generator()),
    "siren, other omegas": lambda: Siren(*SIZES, omega=33.3, first_omega=17.7, generator=generator()),
    "siren of a sound": lambda: Siren(1, 1, 24, 2, first_omega=3000.0, generator=generator()),
    "siren without hidden matrices": lambda: Siren(2, 3, 24, 0, generator=generator()),
    "siren, encoded": lambda: Siren(*SIZES, frequencies=3, generator=generator()),
    "finer": lambda: Finer(*SIZES, first_bias=2.0, generator=generator()),
    "gauss": lambda: Gauss(*SIZES, generator=generator()),
    "wire": lambda: Wire(*SIZES, generator=generator()),
    "relu": lambda: Relu(*SIZES, generator=generator()),
    "nerf": lambda: Nerf(4, 16, skip=1, point_frequencies=3, view_frequencies=2, generator=generator()),
    "nerf, one field": lambda: Nerf(3, 16, skip=None, fine=False, generator=generator()),
}


def outputs(network, state_dict, dtype):
    """What a network of this precision gives at points of its domain, flat; of a radiance field, all of it."""
    copied = {name: tensor.to(dtype) if not tensor.is_complex() else tensor for name, tensor in state_dict.items()}
    if isinstance(network, Nerf):
        points = 2 * torch.rand(8, 5, 3, generator=generator(1), dtype=dtype) - 1
        inputs, fields = (points, functional.normalize(points[:, 0], dim=-1)), ("coarse", "fine")
        found = []
        for field in fields:
            own = {name.partition(".")[2]: one for name, one in copied.items() if name.startswith(field)}
            found += functional_call(network.coarse, own, inputs) if own else ()
        return torch.cat([one.flatten() for one in found])
    x = 2 * torch.rand(200, network.in_features, generator=generator(1), dtype=dtype) - 1
    return functional_call(network, copied, (x,)).flatten()


@pytest.fixture(params=NETWORKS)
def network(request):
    return NETWORKS[request.param]().requires_grad_(False)


def canonical(network, state_dict=None):
    return to_canonical(network.state_dict() if state_dict is None else state_dict, network.neurons())


def test_the_function_stays(network):
    state, ordered = network.state_dict(), canonical(network).state_dict
    assert list(ordered) == list(state)
    assert not all(torch.equal(ordered[name], state[name]) for name in state)
    dtype = torch.float32 if isinstance(network, Wire | Relu) or getattr(network, "frequencies", 0) else torch.float64
    before, after = (outputs(network, one, dtype) for one in (state, ordered))
    close = 2e-5 if isinstance(network, Wire) else 2e-6
    assert float((after - before).abs().max()) < close * float(before.max() - before.min())


def test_weights_change_places_and_signs_alone(network):
    state, ordered = network.state_dict(), canonical(network).state_dict
    for name, tensor in state.items():
        if name.endswith("weight"):
            magnitudes = [one.abs().flatten().sort()[0] for one in (tensor, ordered[name])]
            assert torch.equal(*magnitudes), name
            assert ordered[name].dtype == tensor.dtype


def test_rows_are_the_same_set():
    """Without half periods, each row is one of before, up to its sign, in both layers and with its bias."""
    network = NETWORKS["finer"]()
    state, found = network.state_dict(), canonical(network)
    weight, bias = state["layers.0.weight"], state["layers.0.bias"]
    rows = found.rows["layers.0.weight"]
    signs = torch.where(bias[rows] < 0, -1.0, 1.0)
    assert sorted(rows.tolist()) == list(range(24))
    assert torch.equal(found.state_dict["layers.0.weight"], weight[rows] * signs[:, None])
    assert torch.equal(found.state_dict["layers.0.bias"], bias[rows].abs())
    columns, factors = found.columns["layers.1.weight"]
    after = found.rows["layers.1.weight"]
    own = torch.where(state["layers.1.bias"][after] < 0, -1.0, 1.0)[:, None]
    assert torch.equal(factors, signs)
    expected = state["layers.1.weight"][after][:, columns] * factors * own
    assert torch.equal(found.state_dict["layers.1.weight"], expected)


def test_biases_ascend_and_are_positive_where_signs_are_free(network):
    ordered = canonical(network).state_dict
    layers = network.neurons()
    assert layers
    for neurons in layers:
        bias = ordered[f"{neurons.layer}.bias"]
        assert bool((bias.diff() >= 0).all())
        assert bool((bias >= 0).all()) or neurons.parity == 0
        assert float(bias.max()) <= neurons.half_period / 2 * (1 + 1e-6)
    assert all(neurons.parity for neurons in layers) == isinstance(network, Siren | Gauss)


def test_a_second_time_changes_nothing(network):
    once = canonical(network).state_dict
    again = canonical(network, once)
    for name in once:
        assert torch.equal(again.state_dict[name], once[name])
    for places, factors in again.columns.values():
        assert torch.equal(places, torch.arange(len(places)))
        assert bool((factors == 1).all())


@pytest.mark.parametrize("kind", ["siren", "nerf", "relu"])
def test_equal_functions_with_neurons_elsewhere_become_equal(kind):
    """Neurons of the first layer are moved, and turned where that is free; canonical order undoes both."""
    network = NETWORKS[kind]()
    state = dict(network.state_dict())
    neurons = network.neurons()[0]
    ((after, first),) = neurons.readers
    weight, bias, reader = f"{neurons.layer}.weight", f"{neurons.layer}.bias", f"{after}.weight"
    count = len(state[bias])
    order = torch.randperm(count, generator=generator(3))
    turned = torch.rand(count, generator=generator(4)) < (0.5 if neurons.parity else 0.0)
    signs = torch.where(turned, -1.0, 1.0)
    moved = state | {weight: (state[weight] * signs[:, None])[order], bias: (state[bias] * signs)[order]}
    moved[reader] = state[reader].clone()
    moved[reader][:, first : first + count] = (state[reader][:, first : first + count] * signs)[:, order]
    one, other = (canonical(network, sd).state_dict for sd in (state, moved))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_half_periods_of_sines_are_those_of_each_layer():
    network = Siren(*SIZES, omega=30.0, first_omega=10.0)
    assert [neurons.half_period for neurons in network.neurons()] == [math.pi / 10] + 2 * [math.pi / 30]
    assert {neurons.half_period for neurons in Finer(*SIZES).neurons()} == {math.inf}


def test_layers_with_numbers_that_are_not_finite_stay():
    network = NETWORKS["siren"]()
    state = network.state_dict()
    state["layers.1.bias"][3] = math.nan
    found = canonical(network, state)
    assert "layers.1.bias" not in found.rows
    assert found.state_dict["layers.1.bias"] is state["layers.1.bias"]
    assert {"layers.0.bias", "layers.2.bias"} <= set(found.rows)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_come_in_order_once_and_for_all(dtype):
    network = NETWORKS["siren"]()
    state = {name: tensor.to(dtype) for name, tensor in network.state_dict().items()}
    once = canonical(network, state).state_dict
    again = canonical(network, once).state_dict
    assert all(tensor.dtype == dtype for tensor in once.values())
    assert all(torch.equal(once[name], again[name]) for name in once)


def test_the_state_dict_that_was_given_is_not_changed(network):
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    canonical(network)
    assert all(torch.equal(network.state_dict()[name], state[name]) for name in state)
