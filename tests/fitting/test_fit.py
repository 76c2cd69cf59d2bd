import itertools
import math

import numpy as np
import pytest
import torch
from skimage import data

from coinr.errors import CoinrError, InputError
from coinr.fitting import evaluate, fit, gradients, training
from coinr.fitting.stack import Stack
from coinr.fitting.workers import Workers
from coinr.networks import Siren
from coinr.runtime.denormals import denormals_as_zeros
from coinr.signals.image.rendering import render_image
from coinr.signals.image.signal import ImageSignal
from coinr.signals.metrics import psnr
from tests.grids import fast_where


@pytest.fixture(scope="module")
def photo():
    """A real photo, every tenth pixel of scikit-image's coffee cup."""
    return np.ascontiguousarray(data.coffee()[::10, ::10])


def _weights(network):
    return [p.detach().clone() for p in network.parameters()]


def _equal(a, b):
    return all(torch.equal(p, q) for p, q in zip(_weights(a), _weights(b), strict=True))


QUICK = {"width": 8, "hidden_layers": 1, "steps": 10}


def test_a_photo_is_fitted(photo):
    result = fit(photo, width=24, hidden_layers=2, steps=80, batch=1000, learning_rate=2e-3)
    assert isinstance(result.network, Siren)
    assert result.network.config == Siren(2, 3, 24, 2).config
    assert result.score == pytest.approx(psnr(photo, render_image(result.network, *photo.shape[:2])), abs=1e-4)
    assert result.score > psnr(photo, np.full_like(photo, photo.mean())) + 5
    assert [step for step, _ in result.history] == list(range(0, 81, 4))
    assert result.history[-1][1] == pytest.approx(result.score, abs=0.2)
    assert result.steps == 80
    assert result.seconds > 0


def test_grey_and_floating_images(photo):
    grey = photo[..., 1]
    as_bytes = fit(grey, **QUICK)
    assert as_bytes.network.out_features == 1
    as_floats = fit(grey / 255.0, **QUICK)
    assert as_floats.score == pytest.approx(as_bytes.score, abs=0.01)


@pytest.mark.parametrize("value", [0, 77, 255])
def test_one_pixel(value):
    result = fit(np.full((1, 1), value, np.uint8), steps=300, width=8, hidden_layers=1, learning_rate=2e-3)
    assert abs(int(render_image(result.network, 1, 1)[0, 0]) - value) <= 1


def test_equal_arguments_give_equal_weights_for_any_number_of_threads(photo):
    settings = QUICK | {"batch": 2100}
    first = fit(photo, **settings, threads=1)
    assert _equal(first.network, fit(photo, **settings, threads=3).network)
    assert not _equal(first.network, fit(photo, **settings, threads=1, seed=1).network)


def test_torch_is_left_as_it_was(photo):
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    fit(photo, **QUICK, threads=2)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.is_grad_enabled()


def test_the_gradient_of_chunks_is_that_of_the_whole_batch(photo):
    network = Siren(2, 3, 16, 1, generator=torch.Generator().manual_seed(0))
    signal, indices = ImageSignal(photo), torch.arange(40 * 60)
    inputs, targets = signal.batch(indices)
    loss = (network(inputs) - targets).square().mean()
    expected = torch.autograd.grad(loss, list(network.parameters()))
    with Stack([network]) as stack, Workers(torch.device("cpu"), 2) as workers:
        one = gradients.SeparateGradients([network], [signal], stack, False, workers)
        one.load([indices[None]])
        assert float(one.compute(0, torch.tensor(3.0))) == pytest.approx(loss.item(), rel=1e-5)
        for tensor, gradient in zip(stack.tensors, expected, strict=True):
            torch.testing.assert_close(tensor.grad, 3 * gradient[None], rtol=1e-4, atol=1e-6)
        score = evaluate.Scorer(workers, [network], [signal]).scores([indices])[0]
    assert score == pytest.approx(psnr(photo, render_image(network, *photo.shape[:2])), abs=1e-4)


def _flushed(_=None):
    return bool((torch.full((3,), 2.0**-100) * 2.0**-40).view(torch.int32).eq(0).all())


def test_workers_take_denormals_for_zeros_and_the_caller_does_not():
    with Workers(torch.device("cpu"), 2) as workers:
        assert all(workers.map(_flushed, range(8)))
        assert workers.run(_flushed)
    assert not _flushed()


def test_denormals_are_zeros_only_within():
    with denormals_as_zeros():
        with denormals_as_zeros():
            assert _flushed()
        assert _flushed()
    assert not _flushed()
    with pytest.raises(KeyError), denormals_as_zeros():
        raise KeyError
    assert not _flushed()


def test_training_sees_the_pixels_where_rendering_shows_them(photo):
    network = Siren(2, 3, 16, 1, generator=torch.Generator().manual_seed(0))
    inputs, targets = ImageSignal(photo).batch(torch.arange(40 * 60))
    error = (network(inputs) - targets).square().mean().item()
    shown = render_image(network, *photo.shape[:2])
    assert 10 * math.log10(4 / error) == pytest.approx(psnr(photo, shown), abs=0.05)


def test_the_best_weights_seen_are_kept(photo, monkeypatch):
    values = iter([1.0, 5.0, 3.0, *[2.0] * 30])
    seen = []

    class Scorer:
        def __init__(self, workers, networks, signals):
            self.networks = networks

        def scores(self, indices):
            seen.append(_weights(self.networks[0]))
            return [next(values)]

    monkeypatch.setattr(training, "Scorer", Scorer)
    result = fit(photo, **QUICK | {"steps": 20})
    assert [value for _, value in result.history[:4]] == [1.0, 5.0, 3.0, 2.0]
    assert all(torch.equal(p, q) for p, q in zip(_weights(result.network), seen[1], strict=True))


def test_a_target_ends_the_fit(photo):
    result = fit(photo, width=16, hidden_layers=1, steps=400, batch=400, target=14.0)
    assert result.history[-1][1] >= 14 > result.history[-2][1]
    assert result.steps == result.history[-1][0] < 400


@pytest.mark.parametrize(
    ("kind", "optimizer"),
    fast_where(
        lambda kind, optimizer: optimizer == "muon" or kind == "wire",
        itertools.product(["finer", "gauss", "wire", "relu"], ["adam", "muon", "soap"]),
    ),
)
def test_every_kind_of_network_is_fitted(photo, kind, optimizer):
    settings = {"width": 16, "hidden_layers": 1, "batch": 1000, "learning_rate": 5e-3, "optimizer": optimizer}
    result = fit(photo, kind, steps=60, **settings)
    assert result.network.kind == kind
    assert result.score > result.history[0][1] + 2


def test_mixed_precision_is_near_single_precision(photo):
    settings = {"width": 24, "hidden_layers": 2, "steps": 60, "batch": 500}
    mixed, single = fit(photo, **settings, precision="mixed"), fit(photo, **settings)
    assert all(p.dtype == torch.float32 for p in mixed.network.parameters())
    assert not _equal(mixed.network, single.network)
    assert mixed.score == pytest.approx(single.score, abs=0.3)


def test_a_given_network_is_trained_in_place(photo):
    network = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3))
    for parameter in network.parameters():
        torch.nn.init.uniform_(parameter, -1, 1, generator=torch.Generator().manual_seed(0))
    network[0].bias.requires_grad_(False)
    frozen, storage = network[0].bias.clone(), network[2].weight.data_ptr()
    before = psnr(photo, render_image(network, *photo.shape[:2]))
    result = fit(photo, network, steps=100, learning_rate=1e-2)
    assert result.network is network
    assert torch.equal(network[0].bias, frozen)
    assert network[2].weight.data_ptr() == storage
    assert network[2].weight.grad is None
    assert result.score > before + 3


@pytest.mark.usefixtures("ticking")
def test_a_time_budget_ends_the_fit_with_a_decayed_rate(photo, monkeypatch):
    rates, advance = [], training._Run._advance
    monkeypatch.setattr(
        training._Run, "_advance", lambda run, row, rate: (rates.append(rate), advance(run, row, rate))[1]
    )
    result = fit(photo, width=8, hidden_layers=1, steps=10**9, time_budget=0.3, learning_rate=1e-3)
    # one look at the clock in each step
    assert result.steps == result.history[-1][0] == len(rates) == 29
    assert result.seconds == pytest.approx(0.3)
    assert rates == pytest.approx([1e-3 * (1 + math.cos(math.pi * (k + 1) / 30)) / 2 for k in range(29)])


def test_a_diverging_fit_is_an_error_and_not_a_broken_network(photo):
    broken = Siren(2, 3, 8, 1)
    torch.nn.init.constant_(broken.layers[0].weight, 3e38)
    with pytest.raises(CoinrError, match="diverged"):
        fit(photo, broken, steps=2)


def test_progress_is_shown_only_when_requested_or_on_a_terminal(photo, capsys):
    fit(photo, **QUICK)
    assert capsys.readouterr() == ("", "")
    fit(photo, **QUICK, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "10/10" in err
    assert "PSNR" in err
    assert "dB after 10 steps" in err
    assert "steps/s" in err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": 1.5}, "steps"),
        ({"batch": 0}, "batch"),
        ({"threads": 0}, "threads"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**64}, "seed"),
        ({"time_budget": 0}, "time_budget"),
        ({"width": 0}, "width"),
        ({"hidden_layers": -1}, "hidden_layers"),
        ({"device": "no such device"}, "cannot be used"),
        ({"target": math.nan}, "target"),
        ({"optimizer": "sgd"}, "optimizer must be one of adam, muon, soap"),
        ({"precision": "half"}, "precision"),
        ({"checkpoint": "no/such/folder/x"}, "no folder"),
        ({"checkpoint_every": -1}, "checkpoint_every"),
        ({"network": "mlp"}, "kind must be one of siren"),
        ({"network": "nerf"}, "nerf"),
        ({"network": Siren(3, 3, 4, 0)}, "cannot take inputs"),
        ({"network": "wire", "precision": "mixed"}, "complex"),
        ({"network": Siren(2, 1, 4, 0)}, r"\[2, 1\]"),
        ({"network": torch.nn.Identity()}, "no parameter"),
    ],
)
def test_arguments_out_of_range_are_refused(photo, changes, message):
    with pytest.raises(InputError, match=message):
        fit(photo, **QUICK | changes)


@pytest.mark.parametrize("seed", [0, 2**63, 2**64 - 1])
def test_every_seed_works(seed):
    fit(np.zeros((2, 2), np.uint8), steps=1, width=2, hidden_layers=0, seed=seed)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((4, 4, 3), np.nan), "NaN"),
        (np.zeros((0, 4, 3), np.uint8), "at least one pixel"),
        (np.zeros((4, 4, 5), np.uint8), "shape"),
        (np.zeros((4, 4), np.int64), "int64"),
    ],
)
def test_images_that_are_none_are_refused(image, message):
    with pytest.raises(InputError, match=message):
        fit(image)


def test_no_array_of_all_samples_is_made(photo, monkeypatch):
    # but the values of the signal itself: of 60 000 pixels a step, an evaluation and the score take a part at a time
    image = np.tile(photo, (5, 5, 1))
    taken = []
    batch = ImageSignal.batch

    def spied(signal, indices):
        taken.append(len(indices))
        return batch(signal, indices)

    monkeypatch.setattr(ImageSignal, "batch", spied)
    monkeypatch.setattr("coinr.fitting.fused_gradients._SAMPLES", 1024)
    made = []
    arange = torch.arange
    monkeypatch.setattr(torch, "arange", lambda *a, **k: made.append(arange(*a, **k)) or made[-1])
    result = fit(image, width=4, hidden_layers=0, steps=3, batch=256, device="cpu", progress=False)
    assert result.score == pytest.approx(psnr(image, render_image(result.network, *image.shape[:2])), abs=1e-6)
    assert sum(taken) > image[..., 0].size
    assert max(taken) <= 16384
    assert max(map(len, made)) <= 16384


def test_no_budget_is_too_short():
    fitted = fit(np.zeros((4, 4, 3), np.uint8), width=4, hidden_layers=0, steps=2, time_budget=5e-324)
    assert fitted.steps == 0
