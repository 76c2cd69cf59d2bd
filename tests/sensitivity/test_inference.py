"""What a trained network computes is inferred from its weights, and so is how errors change its output."""

import itertools
import math
import re

import numpy as np
import pytest
import torch
from torch.func import functional_call

from coinr.sensitivity.activations import (
    Encoding,
    FinerSine,
    Gabor,
    Gaussian,
    Rectifier,
    Sine,
    Tanh,
    possible_encodings,
)
from coinr.sensitivity.chain import Chain
from coinr.sensitivity.gains import predict_error, predict_gains
from coinr.sensitivity.inference import infer
from coinr.sensitivity.layers import find_layers
from coinr.sensitivity.probe import Guess, groups, points, run, signs, together
from tests.sensitivity.trained import tensors, trained

NETWORKS = {
    "sine of omega 30": ("siren", {}),
    "sine of omega 10": ("siren", {"omega": 10.0}),
    "sine of omega 60": ("siren", {"omega": 60.0, "rate": 5e-4}),
    "FINER of omega 30": ("finer", {"rate": 1e-3}),
    "Gabor wavelet of omega 10 and scale 5": ("wire", {"omega": 10.0, "scale": 5.0}),
    "ReLU of encoded coordinates": ("relu", {"frequencies": 4}),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_activation_is_inferred_from_the_weights(name):
    kind, options = NETWORKS[name]
    layers = find_layers(tensors(trained(kind, **options)))
    assert layers is not None
    assert str(infer(layers)[0]) == name


def test_guesses_that_differ_in_numbers_run_together():
    layers = find_layers(tensors(trained("siren")))
    assert layers is not None
    pairs = [(Sine(30.0), Sine(30.0)), (Gaussian(3.0), Gaussian(3.0)), (Sine(30.0), Sine(2.5)), (Tanh(), Tanh())]
    guesses = [Guess(Encoding(2), *pair) for pair in pairs]
    found = groups(guesses)
    assert found == [[guesses[0], guesses[2]], [guesses[1]], [guesses[3]]]
    outputs = run(layers, together(found[0]), points(2, 32)).outputs
    for k, guess in enumerate(found[0]):
        np.testing.assert_allclose(outputs[k], run(layers, guess, points(2, 32)).outputs, rtol=1e-4, atol=1e-6)
    assert together(found[1]) is guesses[1]


def noise_gain(network, name):
    """Return the measured error of the output, as a share of its range, for an error of 1 in a tensor."""
    x = torch.from_numpy(points(2, 2000).astype(np.float32))
    state = network.state_dict()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        before = network(x).double()
        squares = []
        for _ in range(8):
            real = torch.view_as_real(state[name]) if state[name].is_complex() else state[name]
            noise = 1e-4 * torch.randn(real.shape, generator=generator)
            noise = torch.view_as_complex(noise) if state[name].is_complex() else noise
            after = functional_call(network, {name: state[name] + noise}, (x,)).double()
            squares.append(float((after - before).square().mean()))
    return math.sqrt(np.mean(squares)) / 1e-4 / float(before.max() - before.min())


@pytest.mark.parametrize("name", [name for name in NETWORKS if "ReLU" not in name])
def test_gains_are_those_of_small_noise(name):
    kind, options = NETWORKS[name]
    network = trained(kind, **options)
    gains = predict_gains(tensors(network))
    assert gains is not None
    assert name in gains.network
    for tensor in gains.tensors:
        off = 20 * math.log10(gains.tensors[tensor].output / noise_gain(network, tensor))
        assert abs(off) < 4, tensor
    assert {row for row in network.state_dict() if "omega" not in row and "scale" not in row} == set(gains.tensors)


@pytest.mark.parametrize("activation", [torch.nn.ReLU, torch.nn.Tanh])
def test_of_weights_that_may_be_gaussians_or_untrained_the_careful_gain_counts(activation):
    torch.manual_seed(1)
    widths = [2, 16, 16, 3]
    layers = [torch.nn.Linear(*fan) for fan in itertools.pairwise(widths)]
    network = torch.nn.Sequential(layers[0], activation(), layers[1], activation(), layers[2])
    gains = predict_gains(tensors(network))
    assert gains is not None
    assert re.fullmatch(r"3 layers, Gaussian of scale .* or ReLU or tanh", gains.network)
    for name in network.state_dict():
        assert gains.tensors[name].output > 0.8 * noise_gain(network, name), name


def test_encodings_that_look_alike_count_as_their_mean():
    state = tensors(trained("relu", frequencies=4))
    layers = find_layers(state)
    assert layers is not None
    guesses = infer(layers)
    encodings = {guess.encoding for guess in guesses}
    assert len(encodings) == 2
    assert len(guesses) == 4  # ReLU and tanh of both
    gains = predict_gains(state)
    assert gains is not None
    assert gains.network == "4 layers, ReLU of encoded coordinates or tanh of encoded coordinates"
    found = {guess: Chain(layers, guess).squared_gains() for guess in guesses}
    for name in state:
        means = [
            np.mean([rows[name] for guess, rows in found.items() if type(guess.hidden) is kind], 0)
            for kind in (Rectifier, Tanh)
        ]
        expected = math.sqrt(np.max(means, 0).sum())
        assert gains.tensors[name].output == pytest.approx(expected)


def test_a_sine_has_no_smaller_frequency_than_its_least_layer_starts_with():
    state = tensors(trained("siren", omega=60.0, rate=5e-4))
    layers = find_layers(state)
    assert layers is not None
    least = min(layer.scale for layer in layers[1:-1])
    assert all(guess.hidden.omega >= 1.1 / least for guess in infer(layers))
    state["layers.1.weight"] *= 6  # one layer has grown: their mean scale would ask for less
    grown = find_layers(state)
    assert grown is not None
    assert all(guess.hidden.omega >= 1.1 / least for guess in infer(grown))


def test_rows_share_the_error_as_their_derivatives_say():
    state = tensors(trained("siren"))
    state["layers.1.weight"][:, :12] *= 1e-6  # nothing hears the first half of the first layer
    gains = predict_gains(state)
    assert gains is not None
    rows = gains.tensors["layers.0.weight"].rows
    assert rows.mean() == pytest.approx(1)
    assert rows[:12].max() < 0.01 * np.median(rows[12:])


def test_the_error_of_decoded_weights_is_that_of_the_inferred_network():
    network = trained("siren")
    state, moved = tensors(network), tensors(network)
    moved["layers.3.bias"] = moved["layers.3.bias"] + np.float32(0.01)
    found = predict_error(state, moved)
    assert found is not None
    x = torch.from_numpy(points(2, 128).astype(np.float32))
    with torch.no_grad():
        values = network(x)
    assert found[0] == pytest.approx(20 * math.log10(0.01 / float(values.max() - values.min())), abs=0.01)
    assert predict_error(state, state) == (-200, "4 layers, sine of omega 30")


def test_layers_follow_each_other_in_order_or_by_the_numbers_in_their_names():
    shapes = {"n.10.weight": (3, 8), "n.2.weight": (8, 8), "n.2.bias": (8,), "n.1.weight": (8, 2)}
    layers = find_layers({name: np.ones(shape) for name, shape in shapes.items()})
    assert layers is not None
    assert [layer.names for layer in layers] == [("n.1.weight",), ("n.2.weight", "n.2.bias"), ("n.10.weight",)]
    assert not layers[0].bias.any()


@pytest.mark.parametrize(
    "other",
    [
        {"norm.weight": (8,)},
        {"1.bias": (3,)},
        {"1.scale": (8,)},
        {"table": (100, 2)},
        {"kernel": (8, 8, 3)},
        {"2.weight": (8, 9)},
    ],
    ids=str,
)
def test_tensors_that_are_no_chain_of_layers_are_not_taken_for_one(other):
    shapes = {"0.weight": (8, 2), "0.bias": (8,), "1.weight": (8, 8), "1.bias": (8,), **other}
    assert find_layers({name: np.ones(shape) for name, shape in shapes.items()}) is None


def test_values_that_are_not_finite_or_all_zero_are_no_network():
    state = tensors(trained("siren"))
    state["layers.1.weight"][0, 0] = np.nan
    assert predict_gains(state) is None
    state["layers.1.weight"][:] = 0
    assert predict_gains(state) is None


@pytest.mark.parametrize(
    "activation", [Sine(30.0), FinerSine(10.0), Gaussian(3.0), Rectifier(), Tanh(), Gabor(5.0, 2.0)], ids=str
)
def test_slopes_are_those_of_finite_differences(activation):
    z = np.linspace(-1.01, 0.99, 41)
    h = 1e-6
    step = (activation.value(z + h).astype(complex) - activation.value(z - h).astype(complex)) / (2 * h)
    np.testing.assert_allclose(
        activation.slope(z), step, rtol=1e-4, atol=0.3 if isinstance(activation, Gabor) else 1e-4
    )


def test_complex_derivatives_are_by_real_and_imaginary_part():
    z = torch.complex(torch.linspace(-0.5, 0.5, 9), torch.linspace(0.3, -0.2, 9)).requires_grad_()
    weights = torch.complex(torch.arange(9.0), torch.ones(9))
    y = torch.exp(5j * z - 4 * z.abs() ** 2)
    (y * weights.conj()).real.sum().backward()
    found = Gabor(5.0, 2.0).pulled_back(z.detach().numpy(), weights.numpy())
    np.testing.assert_allclose(found, z.grad.numpy(), rtol=1e-4, atol=1e-4)


def test_encodings_have_as_many_columns_as_the_first_layer():
    assert possible_encodings(2) == [Encoding(2)]
    for columns in (10, 26, 42, 63, 66):
        for encoding in possible_encodings(columns):
            assert encoding.value(points(encoding.inputs, 3)).shape == (3, columns)
    assert not possible_encodings(1001)


@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_points_fill_the_domain_and_signs_are_orthogonal(inputs):
    spread = points(inputs, 512)
    assert np.abs(spread).max() <= 1
    np.testing.assert_allclose(spread.mean(0), 0, atol=0.02)
    np.testing.assert_allclose((spread**2).mean(0), 1 / 3, atol=0.01)
    products = signs(128, 7).T @ signs(128, 7)
    np.testing.assert_array_equal(products, 128 * np.eye(7))
