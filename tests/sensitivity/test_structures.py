"""Networks that are no chains are recognized by names and shapes: radiance fields, modulated SIRENs, feature grids."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import coinr
from bench.harness.grids import HashGrid, Modulated
from coinr.networks import Nerf, RadianceField
from coinr.sensitivity.activations import Encoding
from coinr.sensitivity.fields import find_fields
from coinr.sensitivity.gains import predict_error, predict_gains
from coinr.sensitivity.graph import COORDINATES, DIRECTIONS, run_graph
from coinr.sensitivity.modulated import find_modulated
from coinr.sensitivity.probe import points
from coinr.sensitivity.recognition import recognize
from coinr.sensitivity.tables import find_grid
from tests.codec.layouts import build
from tests.sensitivity.trained import picture, tensors


def nerf(skip=1, seed=0):
    """Return a radiance field that shows something: its density is high in some places."""
    field = RadianceField(3, 16, skip, 4, 2, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for name, parameter in field.named_parameters():
            parameter *= 12.0 if "alpha" in name else 2.0
    return field


def noisy(state, name, noise, seed):
    values = state[name] + noise * np.random.default_rng(seed).standard_normal(state[name].shape)
    return state | {name: values.astype(np.float32)}


def noise_gain(model, state, name, noise=1e-4):
    """Return the output error of a model for an error of 1 in a tensor, from small noise."""
    outputs = model.outputs()
    squares = [np.mean((model.replaced(noisy(state, name, noise, seed)).outputs() - outputs) ** 2) for seed in range(8)]
    return math.sqrt(np.mean(squares)) / noise / float(np.ptp(outputs))


def fields(**options):
    return tensors(nerf(**options))


@pytest.mark.parametrize("skip", [pytest.param(None, marks=pytest.mark.slow), 1])
def test_gains_of_a_radiance_field_are_those_of_small_noise(skip):
    state = fields(skip=skip)
    (field,) = find_fields(state)
    gains = predict_gains(state)
    assert gains.network == "7 layers, radiance field of ReLU of encoded coordinates"
    assert gains.tensors.keys() == state.keys()
    for name in state:
        assert abs(20 * math.log10(gains.tensors[name].output / noise_gain(field, state, name))) < 4, name


def test_a_radiance_field_computes_what_the_module_does():
    module = nerf()
    (found,) = find_fields(tensors(module))
    field = replace(found, encoding=Encoding(3, 4), seen_encoding=Encoding(3, 2))
    where, seen = (torch.from_numpy(points(3, 20).astype(np.float32)) for _ in range(2))
    seen = torch.nn.functional.normalize(seen, dim=1)
    given = {COORDINATES: field.encoding.value(where.numpy()), DIRECTIONS: field.seen_encoding.value(seen.numpy())}
    made = run_graph(field.nodes, given)
    with torch.no_grad():
        color, density = module(where[:, None], seen)
    np.testing.assert_allclose(1 / (1 + np.exp(-made[-1].outputs)), color[:, 0], atol=1e-5)
    np.testing.assert_allclose(np.maximum(made[field.density].outputs, 0), density, atol=1e-4)


def test_a_coarse_and_a_fine_field_each_keep_the_level():
    module = Nerf(3, 16, 1, 4, 2, generator=torch.Generator().manual_seed(0))
    one = fields()
    state = {f"coarse.{name}": one[name] for name in one} | {f"fine.{name}": one[name] for name in one}
    assert state.keys() == module.state_dict().keys()
    alone, both = predict_gains(one), predict_gains(state)
    for name in one:
        # each has half the weights, and the whole level
        expected = alone.tensors[name].output / math.sqrt(2)
        assert both.tensors[f"fine.{name}"].output == pytest.approx(expected)
    moved = noisy(state, "fine.rgb_linear.weight", 0.01, 0)
    error, basis = predict_error(state, moved)
    own = noisy(one, "rgb_linear.weight", 0.01, 0)
    assert error == pytest.approx(predict_error(one, own)[0])
    assert basis.count("radiance field") == 2


@pytest.mark.parametrize(("layout", "networks"), [("nerf-pytorch", 1), ("nerf_pl", 2), ("nerfacc-mlp", 1)])
def test_layouts_of_other_codebases_are_recognized(layout, networks):
    state = build(layout)
    state = {name: tensor.numpy() for name, tensor in state.items() if tensor.is_floating_point()}
    # untrained fields show nothing: a density that varies
    state = {
        name: (tensor * 40 if "alpha" in name or "sigma" in name else tensor * 2) for name, tensor in state.items()
    }
    found = find_fields(state)
    assert found is not None
    assert len(found) == networks
    joined = [node for node in found[0].nodes if len(node.inputs) == 2]
    assert len(joined) == 2  # the skip, and the view
    assert {name for field in found for node in field.nodes for name in node.layer.names} == state.keys()


@pytest.mark.parametrize(
    "change",
    [
        {"extra.weight": (4, 4)},
        {"alpha_linear.weight": (2, 16), "alpha_linear.bias": (2,)},
        {"pts_linears.2.weight": (16, 20)},
        {"views_linears.0.weight": (8, 20)},
    ],
    ids=str,
)
def test_fields_that_do_not_fit_together_are_not_recognized(change):
    state = fields() | {name: np.ones(shape, np.float32) for name, shape in change.items()}
    assert find_fields(state) is None
    assert predict_gains(state) is None


def test_a_field_that_shows_nothing_is_not_recognized():
    state = fields()
    state["alpha_linear.weight"] = 0 * state["alpha_linear.weight"]
    state["alpha_linear.bias"] = np.array([-1.0], np.float32)
    assert predict_gains(state) is None


def test_a_field_whose_rays_end_near_zero_density_is_not_recognized():
    # not trained: the last sample of a ray hides the background or not, by errors of any size
    state = {name: tensor.numpy() for name, tensor in build("nerf_pl").items() if tensor.is_floating_point()}
    assert find_fields(state) is None


def modulated(latents=8, omega=30.0, steps=150):
    """Return a network whose latents show shifted pictures, after a little training, and its inputs."""
    network = Modulated(3, 24, (latents, 6), omega, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(steps):
        index = torch.randint(latents, (500, 1), generator=generator)
        x = 2 * torch.rand(500, 2, generator=generator) - 1
        loss = (network(torch.cat((index, x), 1)) - picture(x + index / 4)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


@pytest.fixture(scope="module")
def shifted():
    return modulated()


def test_a_modulated_network_is_recognized_with_its_latents(shifted):
    state = tensors(shifted)
    gains = predict_gains(state)
    assert gains.network == "5 layers, sine of omega 30, shifted by 8 latents"
    assert gains.tensors.keys() == state.keys()
    (network,) = find_modulated(state)
    for name in state:
        off = 20 * math.log10(gains.tensors[name].output / noise_gain(network, state, name))
        assert abs(off) < 4, name


def test_the_output_of_a_modulated_network_is_kept(shifted):
    index = torch.arange(8).repeat_interleave(200)[:, None]
    inputs = torch.cat((index, 2 * torch.rand(1600, 2, generator=torch.Generator().manual_seed(2)) - 1), 1)
    blob = coinr.encode_state_dict(shifted, profile="direct", effort="fast")
    error = coinr.measure_output_error(shifted, coinr.decode_state_dict(blob), shifted, inputs)
    assert -54 < error < -46


def test_without_latents_shifts_of_a_radian_are_assumed(shifted):
    state = tensors(shifted)
    whole = predict_gains(state)
    del state["modulations"]
    gains = predict_gains(state)
    assert "shifted by latents that are not known" in gains.network
    for name in state:
        off = 20 * math.log10(gains.tensors[name].output / whole.tensors[name].output)
        assert abs(off) < 12, name


def test_codebases_of_modulated_networks_are_recognized():
    (network,) = find_modulated({name: one.numpy() for name, one in build("coin++").items()}) or [None]
    assert network is not None
    assert len(network.layers) == 10
    assert list(network.latents) == ["modulations.0"]


@pytest.mark.parametrize(("layout", "tables"), [("table", 1), pytest.param("tables", 8, marks=pytest.mark.slow)])
def test_the_output_of_a_feature_grid_is_kept(layout, tables):
    network = HashGrid(2, 16, 7, layout, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(80):
        x = 2 * torch.rand(300, 2, generator=generator) - 1
        loss = (network(x) - picture(x)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    grid = find_grid(tensors(network))
    assert (len(grid.tables), grid.levels) == (tables, 8)
    blob = coinr.encode_state_dict(network, profile="direct", effort="fast")
    inputs = 2 * torch.rand(2000, 2, generator=generator) - 1
    error = coinr.measure_output_error(network, coinr.decode_state_dict(blob), network, inputs)
    assert -56 < error < -46
    found = coinr.inspect(blob, original=network).output_error
    assert found["basis"] == "3 layers, ReLU of rows of tables, 8 levels at points that are not known"
    assert -53 < found["db"] < -47


@pytest.mark.parametrize("change", [{"table": (500, 3)}, {"other": (500, 2)}, {"0.weight": (8, 15)}], ids=str)
def test_tables_that_do_not_fit_are_no_feature_grid(change):
    shapes = {"table": (500, 2), "0.weight": (8, 16), "1.weight": (3, 8)}
    assert find_grid({name: np.ones(shape) for name, shape in shapes.items()})
    assert find_grid({name: np.ones(shape) for name, shape in (shapes | change).items()}) is None


def test_nothing_and_networks_of_many_blocks_are_not_recognized():
    assert recognize({}) is None
    assert recognize({f"block.{k}.weight": np.ones((8, 9), np.float32) for k in range(100)}) is None
