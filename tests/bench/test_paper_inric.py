from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from bench.harness import networks, training
from bench.harness.signals import Samples
from bench.paper import inric, inric_stream
from bench.paper.context import BUDGETS
from bench.paper.inric import BITS, adaround, compress, decode, layer_calls, quantize, steps_of
from bench.paper.inric_stream import Levels
from coinr import Gauss, Wire
from coinr.errors import ChecksumError, FormatError, InputError

QUICK = BUDGETS["quick"]


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(inric, "EPOCHS", 4)
    monkeypatch.setattr(inric, "ITERATIONS", 100)
    monkeypatch.setattr(inric, "QUICK_BATCH", 256)
    monkeypatch.setattr(inric, "_EVALUATE_EVERY", 2)


def samples(inputs=2, outputs=3):
    points = torch.rand(1024, inputs, generator=torch.Generator().manual_seed(1)) * 2 - 1
    values = torch.stack([torch.sin(5 * (k + 1) * points.sum(1)) for k in range(outputs)], 1)
    return Samples(points, values, points, values)


def trained(network, signal):
    training.train(network, signal, steps=60, batch=256, learning_rate=2e-3, seed=0)
    return network


def siren():
    return trained(networks.Siren((2, 2, 16, 3), torch.Generator().manual_seed(0)), samples())


def sound():
    return networks.Siren((1, 1, 16, 1), torch.Generator().manual_seed(0), first_omega=3000.0)


def gauss():
    return Gauss(3, 1, 16, 1, scale=20.0, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("bits", BITS)
def test_what_is_decoded_are_the_tensors_that_retraining_ended_with(bits):
    network = siren()
    final = quantize(network, samples(), bits, QUICK)
    back = decode(compress(network, samples(), bits, QUICK), network.state_dict())
    assert list(back) == list(network.state_dict())
    for name, tensor in network.state_dict().items():
        assert (back[name].shape, back[name].dtype) == (tensor.shape, tensor.dtype)
        assert torch.equal(back[name], final[name].tensor(tensor))
        assert np.abs(final[name].q).max() <= 2 ** (bits - 1) - 1


@pytest.mark.parametrize(("make", "inputs", "outputs"), [(siren, 2, 3), (sound, 1, 1), (gauss, 3, 1)])
def test_every_network_of_linear_layers_is_coded_near_its_weights(make, inputs, outputs):
    network = make()
    back = decode(compress(network, samples(inputs, outputs), 8, QUICK), network.state_dict())
    steps = steps_of(network.state_dict(), 8)
    for name, tensor in network.state_dict().items():
        assert float((back[name] - tensor).abs().max()) <= 1.01 * steps[name]


def test_the_file_is_the_same_at_each_call_and_the_network_is_untouched():
    network = siren()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert compress(network, samples(), 7, QUICK) == compress(network, samples(), 7, QUICK)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_in_full_an_epoch_sees_the_whole_signal(monkeypatch):
    monkeypatch.setattr(inric, "_CHUNK", 300)
    network = siren()
    back = decode(compress(network, samples(), 8, replace(QUICK, name="full")), network.state_dict())
    assert training.values_of(network, back, samples().inputs).isfinite().all()


@pytest.mark.slow
def test_adaround_reconstructs_a_layer_better_than_rounding_to_nearest(monkeypatch):
    monkeypatch.setattr(inric, "ITERATIONS", 1000)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(8, 16, generator=generator)
    inputs = torch.randn(512, 4, generator=generator) @ torch.randn(4, 16, generator=generator)
    step = steps_of({"weight": weight}, 5)["weight"]
    soft = inric.soft_weight(weight, step, 5, inputs, inputs, 1.0)
    errors = [
        float((inputs @ (inric.round_to_step(chosen, step, 5) - weight).T).square().sum()) for chosen in (soft, weight)
    ]
    assert errors[0] < 0.8 * errors[1]


@pytest.mark.slow
def test_adaround_takes_up_the_errors_of_earlier_layers():
    network, bits = siren(), 5
    tensors = {name: tensor.detach() for name, tensor in network.state_dict().items()}
    steps = steps_of(tensors, bits)
    before, call = layer_calls(network, tensors, samples().inputs)[:2]
    moved = tensors | {before.weight: inric.round_to_step(tensors[before.weight], steps[before.weight], bits)}
    given = layer_calls(network, moved, samples().inputs)[1].inputs
    weight, step = tensors[call.weight], steps[call.weight]
    errors = [
        float((given @ inric.round_to_step(chosen, step, bits).T - call.inputs @ weight.T).square().sum())
        for chosen in (inric.soft_weight(weight, step, bits, call.inputs, given, call.factor), weight)
    ]
    assert errors[0] < errors[1]


def test_adaround_leaves_biases_and_moves_no_weight_by_more_than_a_step():
    network = siren()
    tensors = {name: tensor.detach() for name, tensor in network.state_dict().items()}
    found, steps = adaround(network, tensors, samples().inputs, 6), steps_of(tensors, 6)
    for name, tensor in tensors.items():
        if name.endswith("bias"):
            assert torch.equal(found[name], tensor)
        else:
            assert float((found[name] - tensor).abs().max()) <= 1.01 * steps[name]


def test_layers_are_found_with_the_factor_that_the_network_gives_them():
    network = networks.Siren((2, 1, 8, 3), torch.Generator().manual_seed(0), first_omega=50.0)
    calls = layer_calls(network, network.state_dict(), samples().inputs[:10])
    assert [call.weight for call in calls] == ["layers.0.weight", "layers.1.weight", "layers.2.weight"]
    assert [call.factor for call in calls] == pytest.approx([50, 30, 1])
    assert calls[1].inputs.shape == (10, 8)


def test_networks_that_are_no_chain_of_real_layers_are_refused():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            return self.layer(self.layer(x))

    with pytest.raises(InputError, match="2 affine maps of 1"):
        layer_calls(Twice(), Twice().state_dict(), samples().inputs)
    with pytest.raises(InputError, match="complex"):
        quantize(Wire(2, 3, 8, 1), samples(), 8, QUICK)


def stream():
    generator = np.random.default_rng(0)
    q = {"a": generator.integers(-127, 128, (16, 8)), "b": np.zeros(5), "c": generator.integers(-9, 10, 7)}
    tensors = {name: Levels(part.astype(np.int32), 0.01) for name, part in q.items()}
    return tensors, {name: torch.zeros(part.shape) for name, part in q.items()}


def test_a_stream_gives_its_integers_back():
    tensors, like = stream()
    back = decode(inric_stream.encode(tensors, 8), like)
    assert all(torch.equal(back[name], levels.tensor(like[name])) for name, levels in tensors.items())
    assert decode(inric_stream.encode({}, 8), {}) == {}


def test_every_damaged_or_cut_stream_is_refused():
    tensors, like = stream()
    blob = inric_stream.encode(tensors, 8)
    for at in range(len(blob)):
        with pytest.raises(FormatError):
            decode(blob[:at] + bytes([blob[at] ^ 0x41]) + blob[at + 1 :], like)
        with pytest.raises(FormatError):
            decode(blob[:at], like)
    with pytest.raises(ChecksumError):
        decode(blob + b"\0", like)


def test_a_stream_of_other_tensors_is_refused():
    tensors, like = stream()
    blob = inric_stream.encode(tensors, 8)
    with pytest.raises(FormatError):
        decode(blob, {name: like[name] for name in ("a", "b")})
    with pytest.raises(FormatError):
        decode(blob, like | {"d": torch.zeros(3)})


def test_integers_beyond_their_bits_are_refused():
    tensors, _ = stream()
    with pytest.raises(InputError, match="beyond 7 bits"):
        inric_stream.encode(tensors, 7)
