"""Files of signals keep the output error that is measured at the signal's samples."""

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


@pytest.mark.parametrize("level", [None, -62.0])
def test_the_file_keeps_a_level(signal, network, level):
    blob = coinr.pack_signal(network, signal, profile="direct", output_error_db=level)
    inputs, _ = signal.batch(torch.arange(signal.count))
    error = coinr.measure_output_error(network, coinr.decode_state_dict(blob), network, inputs)
    assert (level or -50) - 1 < error <= (level or -50)
    assert isinstance(coinr.open_file(blob), coinr.ImageFile)


def test_inputs_of_layers_share_the_error_which_is_still_measured(signal, network):
    first = next(name for name, tensor in network.state_dict().items() if tensor.shape[1:] == (2,))
    inputs, _ = signal.batch(torch.arange(signal.count))
    blob = coinr.pack_signal(
        network, signal, profile="direct", calibrate=lambda: {first: inputs * torch.tensor([1, 9])}
    )
    assert -51 < coinr.measure_output_error(network, coinr.decode_state_dict(blob), network, inputs) <= -50
    assert blob != coinr.pack_signal(network, signal, profile="direct")


def test_a_tolerance_replaces_it(signal, network):
    blob = coinr.pack_signal(network, signal, profile="direct", tolerance=2.0)
    state = network.state_dict()
    found = meter_of_signal(signal, coinr.read_meta(blob), state)
    assert found.error_db(coinr.decode_state_dict(blob)) > -40


def test_samples_are_fewer_where_there_are_many(monkeypatch, signal, network):
    monkeypatch.setattr("coinr.signal_files.output._POINTS", 50)
    counts = []
    predict = type(signal).predict
    monkeypatch.setattr(
        type(signal), "predict", lambda self, one, inputs: (counts.append(len(inputs)), predict(self, one, inputs))[1]
    )
    meter_of_signal(signal, coinr.read_meta(coinr.pack_signal(network, signal, tolerance=0.5)), network.state_dict())
    assert counts == [50]
