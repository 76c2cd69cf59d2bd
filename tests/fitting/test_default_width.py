"""The width of networks that are not chosen follows the number of samples."""

import numpy as np
import pytest

import coinr
from coinr.fitting import fit, new_network
from coinr.fitting.new_networks import default_width
from tests.small_signals import disc_scene


def picture(side, channels=3, dtype=np.uint8):
    return coinr.ImageSignal(np.zeros((side, side, channels) if channels > 1 else (side, side), dtype))


def sound(seconds):
    return coinr.AudioSignal(np.full(round(44100 * seconds), 0.5, np.float32), 44100)


def volume(side):
    return coinr.ShapeSignal(np.ones((side, side, side), bool))


def distances(side):
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    return coinr.ShapeSignal(np.sqrt(x * x + y * y + z * z) - np.float32(0.6))


def parameters(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("signal", [picture(165), sound(3.0), volume(101), picture(512), sound(7), volume(128)])
def test_large_signals_have_the_network_of_their_recipe(signal):
    assert new_network(signal).width == signal.recipe.width


@pytest.mark.parametrize(
    ("signal", "share"),
    [
        (picture(100), 1 / 4),
        (picture(100, 1), 1 / 4),
        (picture(100, 1, np.uint16), 1 / 2),
        (sound(1.0), 1 / 2),
        (volume(64), 1 / 64),
        (distances(20), 1 / 2),
    ],
)
def test_the_network_of_a_small_signal_takes_its_share_of_ten_bits_a_parameter(signal, share):
    """``share`` is of 8 bits a value."""
    width = new_network(signal).width
    assert width < signal.recipe.width
    most = 8 * share * signal.count * signal.out_features / 10
    assert parameters(new_network(signal)) <= most < parameters(new_network(signal, width=width + 1))


def test_the_kind_and_depth_that_are_chosen_count():
    signal = picture(100)
    deep, wire = new_network(signal, hidden_layers=6), new_network(signal, "wire")
    assert deep.width < new_network(signal).width
    real = sum(p.numel() * (2 if p.is_complex() else 1) for p in wire.parameters())
    assert real <= 2 * 100 * 100 * 3 / 10
    scene = disc_scene()
    assert default_width(scene, "nerf", 4) < scene.recipe.width


def test_there_is_a_narrowest():
    assert new_network(picture(2)).width == new_network(volume(4)).width == 8


def test_what_is_chosen_stays():
    assert new_network(picture(2), width=40).width == 40
    assert fit(picture(9), width=11, hidden_layers=1, steps=1).network.width == 11


def test_a_second_of_sound_takes_less_than_the_sound_itself():
    time = np.arange(44100) / 44100
    signal = coinr.AudioSignal(np.float32(0.4) * np.sin(2 * np.pi * 220 * time).astype(np.float32), 44100)
    blob = coinr.pack_signal(new_network(signal), signal)
    assert len(blob) < 44100 * 2 / 4
