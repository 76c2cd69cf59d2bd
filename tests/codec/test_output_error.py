"""Files keep the output of a network: by a prediction from the weights, or as it is measured."""

import itertools

import numpy as np
import pytest
import torch

import coinr
from coinr.codec.encoder import Encoder
from tests.sensitivity.trained import coordinates, trained

NETWORKS = {"siren": {}, "finer": {"rate": 1e-3}, "wire": {"omega": 10.0, "scale": 5.0}, "relu": {"frequencies": 4}}


def reached(network, blob):
    return coinr.measure_output_error(network.state_dict(), coinr.decode_state_dict(blob), network, coordinates())


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "level"), list(itertools.product(NETWORKS, [-40.0, -50.0, -65.0])))
def test_the_predicted_error_is_near_the_measured_one(kind, level):
    network = trained(kind, **NETWORKS[kind])
    blob = coinr.encode_state_dict(network, profile="direct", output_error_db=level)
    assert level - 6 < reached(network, blob) < level + 6
    found = coinr.inspect(blob, original=network.state_dict()).output_error
    assert found is not None
    assert level - 6 < found["db"] < level + 6
    assert str(coinr.inspect(blob, original=network)).endswith(
        f"predicted output error: {found['db']:.1f} dB of its range ({found['basis']})"
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["siren", "relu"])
@pytest.mark.parametrize("level", [None, -60.0])
def test_a_measured_error_is_kept(kind, level):
    network = trained(kind, **NETWORKS[kind])
    blob = coinr.encode_state_dict(network, output_error_db=level, calibrate=(network, coordinates()))
    assert (level or -50) - 1.5 < reached(network, blob) <= (level or -50)


def test_a_module_keeps_the_error_of_a_network_whose_structure_is_not_recognized():
    network = torch.nn.Sequential(
        torch.nn.Linear(2, 16), torch.nn.LayerNorm(16), torch.nn.Tanh(), torch.nn.Linear(16, 1)
    )
    assert Encoder(network.state_dict()).gains is None
    blob = coinr.encode_state_dict(network, profile="direct", calibrate=(network, coordinates()))
    assert reached(network, blob) <= -50
    found = coinr.inspect(blob, original=network.state_dict()).output_error
    assert found == {"db": None, "basis": "structure not recognized: errors by kinds of layers"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.complex64])
def test_a_prediction_makes_no_copies_of_all_tensors(monkeypatch, dtype):
    state = {name: tensor.to(dtype) for name, tensor in trained("siren").state_dict().items()}
    given = []
    monkeypatch.setattr("coinr.codec.allocate.output_error.predict_gains", lambda tensors, _: given.append(tensors))
    assert Encoder(state).gains is None
    assert list(given[0]) == list(state)
    for name, tensor in state.items():
        assert np.shares_memory(given[0][name], tensor.numpy())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_networks_of_every_dtype_are_recognized(dtype):
    state = trained("siren").state_dict()
    expected = Encoder(state).gains.tensors
    found = Encoder({name: tensor.to(dtype) for name, tensor in state.items()}).gains.tensors
    assert {name: gain.output for name, gain in found.items()} == pytest.approx(
        {name: gain.output for name, gain in expected.items()}, rel=0.1
    )


class Noisy(torch.nn.Linear):
    """A layer whose output is never the same twice."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + torch.rand(len(x), self.out_features)


def test_an_error_out_of_reach_is_named():
    network = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), Noisy(8, 1))
    with pytest.raises(coinr.InputError, match=r"-50 dB is out of reach: the least of \d files has -\d+\.\d dB"):
        coinr.encode_state_dict(network, calibrate=(network, coordinates()))


def test_without_the_original_the_report_predicts_nothing():
    blob = coinr.encode_state_dict(trained("siren"))
    assert coinr.inspect(blob).output_error is None
    assert "output_error" not in coinr.inspect(blob).to_dict()


def test_tensors_beside_the_layers_are_kept_well():
    state = trained("wire", omega=10.0, scale=5.0).state_dict()
    state = {name: tensor * 1.0123 if "omega" in name else tensor for name, tensor in state.items()}
    decoded = coinr.decode_state_dict(coinr.encode_state_dict(state))
    for name in (name for name in state if "omega" in name or "scale" in name):
        assert float((decoded[name] / state[name] - 1).abs()) < 1e-4


def test_masks_do_not_hide_the_layers():
    state = trained("siren").state_dict()
    assert Encoder(state | {"mask": torch.triu(torch.ones(24, 24))}).gains is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output_error_db": 3.0}, r"output_error_db must be a number in -200 … 0, not 3\.0"),
        ({"output_error_db": float("nan")}, "output_error_db must be a number"),
        ({"output_error_db": -50.0, "tolerance": 0.1}, "one of them"),
        ({"output_error_db": -50.0, "errors": {"layers.0.weight": 0.1}}, "one of them"),
        ({"output_error_db": -50.0, "target_bytes": 1000}, "one of them"),
        ({"output_error_db": -50.0, "profile": "paper"}, "profile 'paper' has another rule"),
    ],
)
def test_levels_that_make_no_sense_are_named(arguments, message):
    with pytest.raises(coinr.InputError, match=message):
        coinr.encode_state_dict(trained("siren"), **arguments)
