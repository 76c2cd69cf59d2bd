import math

import numpy as np
import pytest
import torch

from coinr.errors import InputError
from coinr.fitting import fit, fit_many, new_network
from coinr.networks import Nerf, Siren
from coinr.signals.audio.signal import AudioSignal
from coinr.signals.scene.signal import SceneSignal
from coinr.signals.shape.signal import ShapeSignal


def _scene():
    """Six 8 × 8 views of a red ball's silhouette from a circle around it."""
    y, x = (np.indices((8, 8)) - 3.5) / 4
    view = np.where((x**2 + y**2 < 0.4)[..., None], [220, 30, 40], 255).astype(np.uint8)
    poses = []
    for angle in np.linspace(0, 2 * math.pi, 6, endpoint=False):
        s, c = math.sin(angle), math.cos(angle)
        turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])  # looking along -z of the camera
        poses.append(np.concatenate((turn, 4 * turn[:, 2:]), 1))
    return SceneSignal(np.stack([view] * 6), np.stack(poses), focal=14.0, near=2.5, far=5.5, samples=(6, 6))


def _equal(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_a_scene_is_fitted_by_a_nerf_and_evaluated_on_held_out_views():
    settings = {"width": 16, "hidden_layers": 2, "steps": 120, "batch": 96, "learning_rate": 5e-3}
    result = fit(_scene(), **settings, threads=2)
    assert isinstance(result.network, Nerf)
    assert result.network.config["depth"] == 2
    assert result.score > result.history[0][1] + 3
    assert _equal(result.network, fit(_scene(), **settings, threads=1).network)


def test_scenes_are_fitted_together():
    settings = {"width": 8, "hidden_layers": 1, "steps": 5, "batch": 64}
    for one in fit_many([_scene(), _scene()], **settings):
        assert _equal(one.network, fit(_scene(), **settings).network)


def test_a_sound_is_fitted_with_a_first_frequency_of_its_own():
    t = np.arange(2000) / 8000
    sound = AudioSignal((0.5 * np.sin(2 * math.pi * 440 * t)).astype(np.float32), 8000)
    result = fit(sound, width=16, hidden_layers=1, steps=300, batch=500, learning_rate=2e-3)
    assert isinstance(result.network, Siren)
    assert result.network.config["first_omega"] == dict(sound.recipe.options["siren"])["first_omega"]
    assert result.score > result.history[0][1] + 3


def test_a_shape_is_fitted_to_its_occupancy():
    ball = sum(axis**2 for axis in np.indices((12, 12, 12)) - 5.5) < 25
    signal = ShapeSignal(ball)
    result = fit(signal, width=16, hidden_layers=1, steps=150, batch=500, learning_rate=4e-3)
    assert result.network.kind == signal.recipe.network
    assert result.score > 0.8


def test_networks_must_suit_their_signals():
    with pytest.raises(InputError, match="scenes need 'nerf'"):
        new_network(_scene(), "siren")
    with pytest.raises(InputError, match="kind 'nerf'"):
        new_network(ShapeSignal(np.ones((2, 2, 2), bool)), "nerf")
