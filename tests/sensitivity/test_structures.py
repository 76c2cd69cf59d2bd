"""Networks that are no chains are recognized by names and shapes: radiance fields, modulated SIRENs, feature grids."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from coinr.networks import Nerf, RadianceField
from coinr.sensitivity.activations import Encoding
from coinr.sensitivity.fields import find_fields
from coinr.sensitivity.gains import predict_error, predict_gains
from coinr.sensitivity.graph import COORDINATES, DIRECTIONS, run_graph
from coinr.sensitivity.probe import points
from tests.codec.layouts import build
from tests.sensitivity.trained import tensors


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
    squares = [
        np.mean((model.replaced(noisy(state, name, noise, seed)).outputs() - outputs) ** 2) for seed in range(16)
    ]
    return math.sqrt(np.mean(squares)) / noise / float(np.ptp(outputs))


def fields(**options):
    return tensors(nerf(**options))


@pytest.mark.parametrize("skip", [None, 1])
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
