"""Files of signals hold networks in canonical order, unless other options refer to the order they have."""

import numpy as np
import pytest
import torch

import coinr
from coinr.codec.format.container import File
from coinr.errors import InputError
from coinr.networks import Nerf
from coinr.networks.symmetries import to_canonical
from tests.small_signals import disc_scene, nerf


@pytest.fixture(scope="module")
def signal():
    y, x = torch.meshgrid(torch.linspace(0, 3, 24), torch.linspace(0, 3, 20), indexing="ij")
    pixels = torch.stack((torch.sin(x + y), torch.cos(x * y), torch.sin(2 * y)), -1)
    return coinr.ImageSignal((127.5 + 100 * pixels).byte().numpy())


@pytest.fixture(scope="module")
def network(signal):
    return coinr.fit(signal, width=24, hidden_layers=2, steps=60, batch=480, device="cpu").network


def ascending(blob):
    """Names of the tensors that are coded by distances."""
    records = File(blob).header.records
    return {one.name for one in records if getattr(getattr(one.params, "form", None), "ascending", False)}


HIDDEN = {"layers.0.bias", "layers.1.bias", "layers.2.bias"}


@pytest.mark.parametrize("profile", ["auto", "direct"])
def test_files_of_pictures_are_smaller_and_show_the_same(signal, network, profile):
    blob, plain = (
        coinr.pack_signal(network, signal, profile=profile, output_error_db=-50, **options)
        for options in ({}, {"canonical": False})
    )
    assert ascending(blob) >= HIDDEN
    assert not ascending(plain) & HIDDEN
    assert len(blob) < 0.98 * len(plain)
    inputs, _ = signal.batch(torch.arange(signal.count))
    error = coinr.measure_output_error(network, coinr.decode_state_dict(blob), network, inputs)
    assert -51 < error <= -50
    assert "ascending" in str(coinr.inspect(blob))


def test_a_picture_without_its_signal_has_that_order_too(network):
    assert ascending(coinr.pack_image(network, 24, 20)) >= HIDDEN


def test_a_radiance_field_has_that_order():
    scene, network = disc_scene(), nerf()
    blob = coinr.pack_signal(network, scene)
    for neurons in network.neurons():
        bias = coinr.decode_tensor(blob, f"{neurons.layer}.bias")
        assert bool((bias.diff() >= 0).all())
    assert isinstance(coinr.open_file(blob).network, Nerf)


@pytest.mark.parametrize(
    "options",
    [
        {"profile": "lossless"},
        {"profile": "paper"},
        {"profile": "uniform"},
        {"lossless": ("*.weight",)},
        {"canonical": False},
        {"tolerance": 0.1, "calibrate": lambda: {}},
    ],
    ids=["lossless", "paper", "uniform", "one lossless", "not asked", "callable"],
)
def test_the_order_stays_where_it_is_referred_to(signal, network, options):
    blob = coinr.pack_signal(network, signal, **options)
    decoded, state = coinr.decode_state_dict(blob), network.state_dict()
    for name, tensor in state.items():
        close = (
            0.0 if options.get("profile") == "lossless" or (name[-6:] == "weight" and "lossless" in options) else 0.2
        )
        assert float((decoded[name] - tensor).norm()) <= close * float(tensor.norm())


def test_decoded_networks_are_in_order_but_for_ties_of_levels(signal, network):
    """A second file of what was decoded has the same tensors in nearly the same places."""
    blob = coinr.pack_signal(network, signal, output_error_db=-50)
    decoded = coinr.decode_state_dict(blob)
    again = to_canonical(decoded, network.neurons()).state_dict
    assert all(torch.equal(again[name], decoded[name]) for name in HIDDEN)


@pytest.mark.slow
def test_a_compression_has_that_order(signal):
    found = coinr.compress(signal, target_bytes=1400, steps=60, refine=True)
    plain = coinr.compress(signal, target_bytes=1400, steps=60, refine=True, canonical=False)
    assert ascending(found.blob)
    assert not ascending(plain.blob) & HIDDEN
    assert found.score > plain.score - 0.1


@pytest.mark.parametrize(
    "lossless", [NotImplemented, True, "*.weight", np.ones(2)], ids=["other", "bool", "text", "array"]
)
def test_what_is_no_pattern_is_refused_before_the_order_is_chosen(signal, network, lossless):
    with pytest.raises(InputError, match="lossless must be a sequence of patterns, not"):
        coinr.pack_signal(network, signal, lossless=lossless)
