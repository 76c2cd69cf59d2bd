"""What networks of known kind compute is not inferred, and is what they compute."""

import numpy as np
import pytest
import torch

import coinr
from coinr.networks import Nerf
from coinr.sensitivity.gains import predict_gains
from coinr.sensitivity.known import known_activations
from coinr.sensitivity.layers import find_layers
from coinr.sensitivity.probe import run

from .trained import coordinates, tensors, trained


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("siren", {}),
        ("siren", {"omega": 21.0, "first_omega": 12.0}),
        ("siren", {"frequencies": 3, "base": 1.5, "lowest": 2.0}),
        ("finer", {"omega": 25.0}),
        ("gauss", {"scale": 7.0}),
        ("wire", {"omega": 11.0, "scale": 6.0, "first_omega": 9.0}),
        ("relu", {"frequencies": 4}),
    ],
)
def test_a_run_of_the_layers_is_a_run_of_the_network(kind, options):
    config = {"in_features": 2, "out_features": 3, "width": 8, "hidden_layers": 2, **options}
    network = coinr.build_network(kind, config, torch.Generator().manual_seed(0))
    x = coordinates(50)
    found = run(find_layers(tensors(network)), known_activations(network), x.numpy()).outputs
    with torch.no_grad():
        assert np.abs(found - network(x).numpy()).max() < 1e-5


def test_a_radiance_field_is_no_chain():
    assert known_activations(Nerf(2, 8, None, 1, 1)) is None


def test_what_is_known_is_not_inferred(monkeypatch):
    network = trained("siren")
    state = tensors(network)
    inferred = predict_gains(state)
    monkeypatch.setattr("coinr.sensitivity.recognition.infer", None)
    known = predict_gains(state, known_activations(network))
    assert known.network == inferred.network
    assert all(known.tensors[name].output == gain.output for name, gain in inferred.tensors.items())
