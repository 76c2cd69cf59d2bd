"""Scores by the extension, beside those of signals and torch."""

import numpy as np
import pytest
import torch

import coinr
from coinr.fitting.evaluate import Scorer
from coinr.fitting.workers import Workers
from coinr.signals.grid_score import GridScore
from coinr.signals.sampling import score_of
from tests.small_signals import RATE, ball, disc_scene, distance, siren, tones

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(256, size=(37, 53, 4), dtype=np.uint8)
SIGNALS = {
    "gray": lambda: coinr.ImageSignal(IMAGE[..., 0]),
    "gray and alpha": lambda: coinr.ImageSignal(IMAGE[..., :2]),
    "color": lambda: coinr.ImageSignal(IMAGE[..., :3]),
    "color and alpha": lambda: coinr.ImageSignal(IMAGE),
    "16 bits": lambda: coinr.ImageSignal(IMAGE.astype(np.uint16) * 255),
    "floats": lambda: coinr.ImageSignal(IMAGE[..., :3] / 255),
    "sound": lambda: coinr.AudioSignal(tones(), RATE),
    "stereo": lambda: coinr.AudioSignal(np.stack((tones(), 0.1 * tones()), 1), RATE),
    "solid": lambda: coinr.ShapeSignal(ball(13)),
    "distance": lambda: coinr.ShapeSignal(distance(13)),
}


def network_of(signal, scale=1.0):
    """A network whose values spread around those of the signal."""
    network = siren(signal.in_features, signal.out_features)
    with torch.no_grad():
        network.layers[-1].weight *= scale
    return network


@pytest.mark.parametrize("kind", SIGNALS)
@pytest.mark.parametrize("scale", [0.1, 3.0, 1e3])
def test_sums_are_those_of_the_signal(kind, scale):
    signal = SIGNALS[kind]()
    network = network_of(signal, scale)
    found = GridScore.of(network, signal)
    numbers = torch.randperm(signal.count, generator=torch.Generator().manual_seed(1))[:1500]
    inputs, targets = signal.batch(numbers)
    with torch.no_grad():
        expected = signal.partial_score(signal.predict(network, inputs), targets)
    sums = found.partial_score(numbers, 1)
    assert sums.dtype == expected.dtype
    torch.testing.assert_close(sums, expected, rtol=1e-12, atol=0)
    assert torch.equal(found.partial_score(numbers, 3), sums)


@pytest.mark.parametrize("kind", SIGNALS)
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_values_that_are_not_finite_score_as_by_torch(kind, value):
    signal = SIGNALS[kind]()
    network = network_of(signal)
    with torch.no_grad():
        network.layers[-1].bias[-1] = value
    numbers = torch.arange(70)
    inputs, targets = signal.batch(numbers)
    with torch.no_grad():
        expected = signal.partial_score(signal.predict(network, inputs), targets)
    torch.testing.assert_close(
        GridScore.of(network, signal).partial_score(numbers, 1), expected, rtol=1e-12, atol=0, equal_nan=True
    )


def _score_by_torch(network, signal):
    inputs, targets = signal.batch(torch.arange(signal.count))
    with torch.no_grad():
        return signal.score(signal.partial_score(signal.predict(network, inputs), targets))


@pytest.mark.parametrize("kind", SIGNALS)
def test_the_score_of_a_fit_is_that_of_its_network(kind):
    signal = SIGNALS[kind]()
    fitted = coinr.fit(signal, width=8, hidden_layers=1, steps=2, progress=False)
    expected = _score_by_torch(fitted.network, signal)
    assert fitted.score == pytest.approx(expected, rel=1e-12)
    assert score_of(fitted.network, signal) == pytest.approx(expected, rel=1e-12)


def test_a_large_picture_is_scored_part_by_part():
    signal = coinr.ImageSignal(RNG.integers(256, size=(300, 500), dtype=np.uint8))
    network = network_of(signal)
    assert score_of(network, signal) == pytest.approx(_score_by_torch(network, signal), rel=1e-12)


class Halved(coinr.ImageSignal):
    """A picture with a score of its own."""

    def partial_score(self, predicted, targets):
        return super().partial_score(predicted / 2, targets)


class Shown(coinr.ImageSignal):
    """A picture that shows what a network gives in another way."""

    def predict(self, network, inputs):
        return super().predict(network, inputs) / 2


@pytest.mark.parametrize("kind", [Halved, Shown])
def test_signals_with_scores_of_their_own_keep_them(kind):
    signal = kind(IMAGE)
    assert GridScore.of(network_of(signal), signal) is None
    fitted = coinr.fit(signal, width=8, hidden_layers=1, steps=2, progress=False)
    expected = _score_by_torch(fitted.network, signal)
    assert fitted.score == pytest.approx(expected, rel=1e-12)
    assert score_of(fitted.network, signal) == pytest.approx(expected, rel=1e-12)


def test_a_signal_with_a_changed_method_keeps_it(monkeypatch):
    signal = SIGNALS["color"]()
    assert GridScore.of(network_of(signal), signal) is not None
    monkeypatch.setattr(signal, "partial_score", lambda *_: torch.zeros(2))
    assert GridScore.of(network_of(signal), signal) is None


def test_other_networks_and_signals_are_left_to_torch():
    color = SIGNALS["color"]()
    assert GridScore.of(torch.nn.Linear(2, 3), color) is None
    assert GridScore.of(network_of(color), color.to(torch.device("meta"))) is None
    scene = disc_scene()
    assert GridScore.of(siren(3, 4), scene.eval_split) is None


def test_networks_on_both_ways_are_scored_together():
    signal = SIGNALS["color"]()
    networks = [network_of(signal), torch.nn.Sequential(network_of(signal)), network_of(signal)]
    with Workers(torch.device("cpu"), 2) as workers:
        scorer = Scorer(workers, networks, [signal] * 3)
        scores = scorer.scores([range(signal.count), range(signal.count), torch.arange(100)])
    assert scores[0] == pytest.approx(scores[1], rel=1e-12)
    assert scores[2] != scores[0]
