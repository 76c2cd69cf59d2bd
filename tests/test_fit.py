import math
import time

import numpy as np
import pytest
import torch
from skimage import data

from coinr import Siren, fit, fit_image, psnr, render_image
from coinr.errors import CoinrError, InputError


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
    result = fit_image(photo, width=24, hidden_layers=2, steps=80, batch=1000)
    assert isinstance(result.network, Siren)
    assert result.network.config == Siren(2, 3, 24, 2).config
    assert result.psnr == psnr(photo, render_image(result.network, *photo.shape[:2]))
    assert result.psnr > psnr(photo, np.full_like(photo, photo.mean())) + 5
    assert [step for step, _ in result.history] == list(range(0, 81, 4))
    assert result.history[-1][1] == pytest.approx(result.psnr, abs=0.2)
    assert result.seconds > 0


def test_grey_and_floating_images(photo):
    grey = photo[..., 1]
    as_bytes = fit_image(grey, **QUICK)
    assert as_bytes.network.out_features == 1
    as_floats = fit_image(grey / 255.0, **QUICK)
    assert as_floats.psnr == pytest.approx(as_bytes.psnr, abs=0.01)


@pytest.mark.parametrize("value", [0, 77, 255])
def test_one_pixel(value):
    result = fit_image(np.full((1, 1), value, np.uint8), steps=300, width=8, hidden_layers=1)
    assert abs(int(render_image(result.network, 1, 1)[0, 0]) - value) <= 1


def test_equal_arguments_give_equal_weights_for_any_number_of_threads(photo):
    settings = QUICK | {"batch": 2100}
    first = fit_image(photo, **settings, threads=1)
    assert _equal(first.network, fit_image(photo, **settings, threads=3).network)
    assert not _equal(first.network, fit_image(photo, **settings, threads=1, seed=1).network)


def test_torch_is_left_as_it_was(photo):
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    fit_image(photo, **QUICK, threads=2)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.is_grad_enabled()


def test_the_gradient_of_chunks_is_that_of_the_whole_batch(photo):
    network = Siren(2, 3, 16, 1, generator=torch.Generator().manual_seed(0))
    task = fit._Task(network, torch.from_numpy(photo).reshape(-1, 3), *photo.shape[:2])
    indices = torch.arange(40 * 60)
    loss = task.squared_error(indices) / (len(indices) * 3)
    expected = torch.autograd.grad(loss, list(network.parameters()))
    with fit._Workers(task, list(network.parameters()), 2) as workers:
        assert float(workers.gradient(indices)) == pytest.approx(loss.item(), rel=1e-5)
        assert workers.judge(indices) == pytest.approx(10 * math.log10(4 / loss.item()), abs=1e-4)
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-7)


def test_training_sees_the_pixels_where_rendering_shows_them(photo):
    network = Siren(2, 3, 16, 1, generator=torch.Generator().manual_seed(0))
    height, width = photo.shape[:2]
    task = fit._Task(network, torch.from_numpy(photo).reshape(-1, 3), height, width)
    error = task.squared_error(torch.arange(height * width)).item() / photo.size
    shown = render_image(network, height, width)
    assert 10 * math.log10(4 / error) == pytest.approx(psnr(photo, shown), abs=0.05)


def test_the_best_weights_seen_are_kept(photo, monkeypatch):
    values = iter([1.0, 5.0, 3.0, *[2.0] * 30])
    seen = []

    def judge(workers, indices):
        seen.append(_weights(workers._task.network))
        return next(values)

    monkeypatch.setattr(fit._Workers, "judge", judge)
    result = fit_image(photo, **QUICK | {"steps": 20})
    assert [value for _, value in result.history[:4]] == [1.0, 5.0, 3.0, 2.0]
    assert all(torch.equal(p, q) for p, q in zip(_weights(result.network), seen[1], strict=True))


def test_a_given_network_is_trained_in_place(photo):
    network = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3))
    for parameter in network.parameters():
        torch.nn.init.uniform_(parameter, -1, 1, generator=torch.Generator().manual_seed(0))
    network[0].bias.requires_grad_(False)
    frozen, before = network[0].bias.clone(), psnr(photo, render_image(network, *photo.shape[:2]))
    result = fit_image(photo, network, steps=100, learning_rate=1e-2)
    assert result.network is network
    assert torch.equal(network[0].bias, frozen)
    assert result.psnr > before + 3


def test_a_time_budget_ends_the_fit_with_a_decayed_rate(photo):
    begin = time.perf_counter()
    result = fit_image(photo, width=8, hidden_layers=1, steps=10**9, time_budget=0.3)
    assert result.seconds < 2
    assert time.perf_counter() - begin < 10
    assert 0 < result.history[-1][0] < 10**9


def test_a_diverging_fit_is_an_error_and_not_a_broken_network(photo):
    broken = Siren(2, 3, 8, 1)
    torch.nn.init.constant_(broken.layers[0].weight, 3e38)
    with pytest.raises(CoinrError, match="diverged"):
        fit_image(photo, broken, steps=2)


def test_progress_is_shown_only_when_asked_or_on_a_terminal(photo, capsys):
    fit_image(photo, **QUICK)
    assert capsys.readouterr() == ("", "")
    fit_image(photo, **QUICK, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "10/10" in err
    assert "dB" in err


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
        ({"network": Siren(2, 1, 4, 0)}, r"\[2, 1\]"),
        ({"network": torch.nn.Identity()}, "no parameter"),
    ],
)
def test_arguments_out_of_range_are_refused(photo, changes, message):
    with pytest.raises(InputError, match=message):
        fit_image(photo, **QUICK | changes)


@pytest.mark.parametrize("seed", [0, 2**63, 2**64 - 1])
def test_every_seed_works(seed):
    fit_image(np.zeros((2, 2), np.uint8), steps=1, width=2, hidden_layers=0, seed=seed)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((4, 4, 3), np.nan), "NaN"),
        (np.zeros((0, 4, 3), np.uint8), "at least one pixel"),
        (np.zeros((4, 4, 4), np.uint8), "shape"),
        (np.zeros((4, 4), np.int64), "int64"),
    ],
)
def test_images_that_are_none_are_refused(image, message):
    with pytest.raises(InputError, match=message):
        fit_image(image)
