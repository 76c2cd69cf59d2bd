"""Files of signals keep the output error that is measured at the signal's samples."""

import copy
import math

import numpy as np
import pytest
import torch

import coinr
from coinr.signal_files.output import meter_of_signal


@pytest.fixture(scope="module")
def signal():
    y, x = torch.meshgrid(torch.linspace(0, 3, 24), torch.linspace(0, 3, 20), indexing="ij")
    pixels = torch.stack((torch.sin(x + y), torch.cos(x * y), torch.sin(2 * y)), -1)
    return coinr.ImageSignal((127.5 + 100 * pixels).byte().numpy())


@pytest.fixture(scope="module")
def network(signal):
    return coinr.fit(signal, width=16, hidden_layers=2, steps=60, batch=480, device="cpu").network


def measured(signal, network, blob):
    """Return the output error of a file in dB."""
    inputs, _ = signal.batch(torch.arange(signal.count))
    return coinr.measure_output_error(network, coinr.decode_state_dict(blob), network, inputs)


def distance(signal, network):
    """Return how far the network's values are from the signal's in dB of their range."""
    inputs, targets = signal.batch(torch.arange(signal.count))
    with torch.no_grad():
        values = network(inputs).double()
    return float(20 * torch.log10((values - targets).square().mean().sqrt() / (values.max() - values.min())))


def test_the_file_keeps_a_level(signal, network):
    blob = coinr.pack_signal(network, signal, profile="direct", output_error_db=-62.0)
    assert -63 < measured(signal, network, blob) <= -62
    assert isinstance(coinr.open_file(blob), coinr.ImageFile)


def test_the_default_adds_a_twentieth_to_the_error_of_the_fit(signal, network):
    level = distance(signal, network) - 10 * math.log10(20)
    assert level > -45
    assert level - 1 < measured(signal, network, coinr.pack_signal(network, signal, profile="direct")) <= level + 1e-3


def test_the_default_is_no_finer_than_a_hundredth_of_a_percent(signal, network):
    inputs, _ = signal.batch(torch.arange(signal.count))
    with torch.no_grad():
        own = network(inputs).reshape(24, 20, 3)
    exact = copy.copy(signal)
    exact.batch = lambda rows: (inputs[rows], own.reshape(-1, 3)[rows] + 1e-7)
    assert -81 < measured(signal, network, coinr.pack_signal(network, exact, profile="direct")) <= -80


def test_the_default_of_a_shape_is_that_of_state_dicts():
    shape = coinr.ShapeSignal(np.linalg.norm(np.indices((9, 9, 9)) - 4, axis=0) < 3)
    network = coinr.Siren(3, 1, 12, 1, generator=torch.Generator().manual_seed(0))
    assert -51 < measured(shape, network, coinr.pack_signal(network, shape, profile="direct")) <= -50


def test_inputs_of_layers_share_the_error_which_is_still_measured(signal, network):
    first = next(name for name, tensor in network.state_dict().items() if tensor.shape[1:] == (2,))
    inputs, _ = signal.batch(torch.arange(signal.count))
    level = distance(signal, network) - 10 * math.log10(20)
    blob = coinr.pack_signal(
        network, signal, profile="direct", calibrate=lambda: {first: inputs * torch.tensor([1, 9])}
    )
    assert level - 1 < measured(signal, network, blob) <= level + 1e-3
    assert blob != coinr.pack_signal(network, signal, profile="direct")


def test_a_tolerance_replaces_it(signal, network):
    blob = coinr.pack_signal(network, signal, profile="direct", tolerance=2.0)
    state = network.state_dict()
    meter, _ = meter_of_signal(signal, coinr.read_meta(blob), state)
    assert meter.error_db(coinr.decode_state_dict(blob)) > -40


def test_samples_are_fewer_where_there_are_many(monkeypatch, signal, network):
    monkeypatch.setattr("coinr.signal_files.output._POINTS", 50)
    counts = []
    predict = type(signal).predict
    monkeypatch.setattr(
        type(signal), "predict", lambda self, one, inputs: (counts.append(len(inputs)), predict(self, one, inputs))[1]
    )
    meter_of_signal(signal, coinr.read_meta(coinr.pack_signal(network, signal, tolerance=0.5)), network.state_dict())
    assert counts == [50]
