"""Gradients on signals of regular grids, beside those of batches of coordinates and targets."""

import numpy as np
import pytest
import torch

import coinr
from coinr.fitting.fused_gradients import FusedGradients
from coinr.fitting.grid_gradients import GridGradients
from coinr.fitting.samples import Sampler
from coinr.fitting.stack import Stack
from coinr.fitting.workers import Workers
from tests.small_signals import RATE, ball, distance, siren, tones

RNG = np.random.default_rng(0)
SIGNALS = {
    "bytes": lambda: coinr.ImageSignal(RNG.integers(256, size=(37, 53, 3), dtype=np.uint8)),
    "alpha": lambda: coinr.ImageSignal(RNG.integers(256, size=(9, 70, 4), dtype=np.uint8)),
    "wide": lambda: coinr.ImageSignal(RNG.integers(65536, size=(40, 30), dtype=np.uint16)),
    "floats": lambda: coinr.ImageSignal(np.asfortranarray(RNG.uniform(size=(40, 30, 3)))),
    "sound": lambda: coinr.AudioSignal(tones(), RATE),
    "stereo": lambda: coinr.AudioSignal(np.stack((tones(), 0.1 * tones()), 1), RATE),
    "solid": lambda: coinr.ShapeSignal(ball(9)),
    "distance": lambda: coinr.ShapeSignal(distance(9)),
}


def _steps(make_gradients, signals, batch, threads):
    """The errors and gradients of three steps of equal networks on some signals."""
    networks = [siren(signal.in_features, signal.out_features) for signal in signals]
    stack = Stack(networks)
    found = []
    with stack, Workers(torch.device("cpu"), threads) as workers:
        gradients = make_gradients(
            networks, signals, stack, FusedGradients.programs_of(networks, signals, stack), workers
        )
        samplers = [Sampler(signal.count, signal.count, batch, 0, torch.device("cpu"), threads) for signal in signals]
        gradients.load([sampler.draw() for sampler in samplers])
        for step in (0, 1, 5):
            errors = gradients.compute(step, torch.tensor(3.0))
            found += [errors, *(t.grad.clone() for t in stack.tensors)]
    return found


def _of_grids(networks, signals, stack, programs, workers):
    return GridGradients(networks, signals, stack, programs, workers, GridGradients.grids_of(signals))


@pytest.mark.parametrize("kind", SIGNALS)
@pytest.mark.parametrize("batch", [100, 10_000])
def test_steps_on_a_grid_have_the_bits_of_batches(kind, batch):
    signals = [SIGNALS[kind]() for _ in range(2)]
    expected = _steps(FusedGradients, signals, batch, 1)
    for threads in (1, 3):
        for a, b in zip(_steps(_of_grids, signals, batch, threads), expected, strict=True):
            assert torch.equal(a, b)
            assert a.isfinite().all()


def test_signals_of_other_sizes_have_their_own_samples():
    signals = [coinr.ImageSignal(RNG.integers(256, size=(n, 53, 3), dtype=np.uint8)) for n in (20, 37)]
    for a, b in zip(_steps(_of_grids, signals, 100, 2), _steps(FusedGradients, signals, 100, 1), strict=True):
        assert torch.equal(a, b)


class Negative(coinr.ImageSignal):
    """A picture whose targets are not those that are stored."""

    def batch(self, indices):
        inputs, targets = super().batch(indices)
        return inputs, -targets


def test_a_signal_with_batches_of_its_own_is_fitted_to_these():
    image = np.full((16, 16), 255, np.uint8)
    assert Negative(image).grid() is None
    assert GridGradients.grids_of([coinr.ImageSignal(image), Negative(image)]) is None
    fitted = coinr.fit(Negative(image), width=8, hidden_layers=1, steps=30, progress=False)
    assert coinr.render_image(fitted.network, 16, 16).max() < 100


def test_a_signal_elsewhere_is_not_for_the_extension():
    assert SIGNALS["bytes"]().to(torch.device("meta")).grid() is None


@pytest.mark.parametrize("kind", SIGNALS)
def test_a_fit_is_computed_on_the_grid(kind, monkeypatch):
    def refuse(*_):
        raise AssertionError("inputs and targets of steps were made")

    monkeypatch.setattr(FusedGradients, "_prepare", refuse)
    coinr.fit(SIGNALS[kind](), width=8, hidden_layers=1, steps=2, progress=False)
