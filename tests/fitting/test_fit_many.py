import math

import numpy as np
import pytest
import torch
from skimage import data

from coinr.errors import CoinrError, InputError
from coinr.fitting import fit, fit_many, training
from coinr.fitting.fused_gradients import FusedGradients
from coinr.fitting.gradients import BatchedGradients, SeparateGradients
from coinr.fitting.stack import Stack
from coinr.fitting.workers import Workers
from coinr.networks import Siren, build_network, network
from coinr.signals.image.signal import ImageSignal


@pytest.fixture(scope="module")
def photos():
    """Three photos of three sizes, two of them with equally many pixels."""
    coffee = data.coffee()[::10, ::10]
    return [np.ascontiguousarray(photo) for photo in (coffee, coffee.swapaxes(0, 1), data.astronaut()[::20, ::20])]


SETTINGS = {"width": 8, "hidden_layers": 1, "steps": 40, "batch": 700}


def _weights(network):
    return [p.detach().clone() for p in network.parameters()]


@pytest.mark.parametrize("optimizer", ["adam", "muon", "soap"])
def test_each_network_is_the_one_that_a_single_fit_gives(photos, optimizer):
    many = fit_many(photos, **SETTINGS, optimizer=optimizer, threads=2)
    for photo, one in zip(photos, many, strict=True):
        single = fit(photo, **SETTINGS, optimizer=optimizer)
        assert one.steps == single.steps == 40
        # only a batched decomposition may round in another way
        assert one.score == pytest.approx(single.score, abs=0 if optimizer == "adam" else 0.02)
        if optimizer == "adam":
            assert one.history == single.history
            assert all(torch.equal(a, b) for a, b in zip(_weights(one.network), _weights(single.network), strict=True))


def test_networks_stand_alone_afterwards(photos):
    first, second, _ = fit_many(photos, **SETTINGS | {"steps": 2})
    for parameter in first.network.parameters():
        assert parameter.untyped_storage().nbytes() == parameter.numel() * 4
    before = _weights(second.network)
    with torch.no_grad():
        for parameter in first.network.parameters():
            parameter.zero_()
    assert all(torch.equal(a, b) for a, b in zip(before, _weights(second.network), strict=True))


def test_a_factory_makes_the_networks(photos):
    made = []

    def factory(signal):
        made.append((signal, Siren(2, 3, 5, 0)))
        return made[-1][1]

    fits = fit_many(photos, factory, steps=2)
    assert [f.network for f in fits] == [network for _, network in made]
    assert [signal.count for signal, _ in made] == [photo.size // 3 for photo in photos]


@pytest.mark.parametrize("kind", ["siren", "finer", "gauss", "wire", "relu"])
def test_one_batched_computation_has_the_gradients_of_the_separate_ones(photos, kind, monkeypatch):
    monkeypatch.setattr(network, "fused", lambda _: None)
    config = {"in_features": 2, "out_features": 3, "width": 6, "hidden_layers": 2}
    networks = [build_network(kind, config, torch.Generator().manual_seed(k)) for k in range(3)]
    signals = [ImageSignal(photo) for photo in photos]
    generator = torch.Generator().manual_seed(0)
    # the third has other batches than the first two, as a picture smaller than a batch has
    block = [
        torch.randint(signal.count, (2, 90 if k < 2 else 70), generator=generator) for k, signal in enumerate(signals)
    ]
    results = []
    with Stack(networks) as stack, Workers(torch.device("cpu"), 1) as workers:
        separate = SeparateGradients(networks, signals, stack, False, workers)
        for one in (separate, BatchedGradients(networks, signals, stack, False)):
            one.load(block)
            errors = [one.compute(step, torch.tensor(2.0)) for step in (0, 1)]
            results.append((torch.stack(errors), [tensor.grad.clone() for tensor in stack.tensors]))
    (errors, gradients), (batched_errors, batched) = results
    torch.testing.assert_close(errors, batched_errors, rtol=1e-5, atol=1e-7)
    for gradient, other in zip(gradients, batched, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()))


def test_a_fit_in_one_batched_computation(photos, monkeypatch):
    class AlwaysBatched(BatchedGradients):
        def __init__(self, networks, signals, stack, mixed, workers):
            super().__init__(networks, signals, stack, mixed)

    separate = fit_many(photos, **SETTINGS)
    monkeypatch.setattr(FusedGradients, "programs_of", lambda *_: None)
    monkeypatch.setattr(training, "SeparateGradients", AlwaysBatched)
    for one, other in zip(fit_many(photos, **SETTINGS), separate, strict=True):
        assert one.score == pytest.approx(other.score, abs=0.05)


def test_all_must_reach_a_target(photos):
    fits = fit_many(photos, **SETTINGS | {"steps": 400}, target=13.0)
    assert all(max(score for _, score in f.history) >= 13 for f in fits)
    assert fits[0].steps < 400


def test_divergence_names_the_signals(photos):
    networks = [Siren(2, 3, 4, 0) for _ in photos]
    torch.nn.init.constant_(networks[1].layers[0].weight, 3e38)
    with pytest.raises(CoinrError, match=r"signals \[1\] diverged"):
        fit_many(photos, lambda signal: networks.pop(0), steps=2)


def test_what_cannot_be_fitted_together_is_refused(photos):
    with pytest.raises(InputError, match="at least one"):
        fit_many([])
    with pytest.raises(InputError, match="one kind"):
        fit_many([photos[0], photos[0][..., 0]])
    widths = iter((4, 5, 6))
    with pytest.raises(InputError, match="equal names and shapes"):
        fit_many(photos, lambda signal: Siren(2, 3, next(widths), 0), steps=1)
    network = Siren(2, 3, 4, 0)
    with pytest.raises(InputError, match="must be several"):
        fit_many(photos, lambda signal: network, steps=1)
    with pytest.raises(InputError, match="one network cannot"):
        fit_many(photos, network, steps=1)


def test_batched_networks_must_have_one_configuration(photos):
    networks = [Siren(2, 3, 4, 0, omega=omega) for omega in (20, 30)]
    signals = [ImageSignal(photo) for photo in photos[:2]]
    with pytest.raises(InputError, match="configuration"):
        BatchedGradients(networks, signals, Stack(networks), False)


def test_signals_with_a_renderer_are_not_batched(photos):
    class Rendered(ImageSignal):
        def predict(self, network, inputs):
            return network(inputs)

    assert BatchedGradients.suits([ImageSignal(photos[0])])
    assert not BatchedGradients.suits([Rendered(photos[0])])
    assert math.isfinite(fit(Rendered(photos[0]), **SETTINGS).score)


@pytest.mark.parametrize("kind", ["siren", "finer", "gauss", "wire", "relu"])
def test_the_extension_has_the_gradients_of_torch(photos, kind, monkeypatch):
    config = {"in_features": 2, "out_features": 3, "width": 6, "hidden_layers": 1}
    networks = [build_network(kind, config, torch.Generator().manual_seed(k)) for k in range(3)]
    signals = [ImageSignal(photo) for photo in photos]
    block = [torch.randint(signal.count, (2, 90 - 10 * k)) for k, signal in enumerate(signals)]
    block[2] = torch.arange(80).expand(2, -1)
    results = []
    with Stack(networks) as stack, Workers(torch.device("cpu"), 2) as workers:
        programs = FusedGradients.programs_of(networks, signals, stack)
        assert programs is not None
        ours = FusedGradients(networks, signals, stack, programs, workers)
        monkeypatch.setattr(network, "fused", lambda _: None)
        for one in (ours, SeparateGradients(networks, signals, stack, False, workers)):
            one.load(block)
            errors = [one.compute(step, torch.tensor(2.0)) for step in (1, 0)]
            results.append((torch.stack(errors), [tensor.grad.clone() for tensor in stack.tensors]))
    (errors, gradients), (plain_errors, plain) = results
    torch.testing.assert_close(errors, plain_errors, rtol=1e-5, atol=1e-7)
    for gradient, other in zip(gradients, plain, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-3, atol=1e-4 * float(other.abs().max()))


def test_networks_with_fixed_tensors_are_left_to_torch(photos):
    one = Siren(2, 3, 6, 1)
    one.layers[0].bias.requires_grad_(False)
    before = one.layers[0].bias.clone()
    with Stack([one]) as stack:
        assert FusedGradients.programs_of([one], [ImageSignal(photos[0])], stack) is None
    fit(photos[0], one, steps=3)
    assert torch.equal(one.layers[0].bias, before)
