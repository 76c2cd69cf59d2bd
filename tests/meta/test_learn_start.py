"""Starts that are learned: what they bring to fits of other signals, and what is refused."""

import itertools
import math

import numpy as np
import pytest
import torch

import coinr
from coinr.errors import CoinrError, InputError
from coinr.fitting import training
from coinr.fitting.workers import Workers
from coinr.meta.joint import Joint
from coinr.meta.maml import adapt
from coinr.meta.options import METHODS, MetaOptions
from coinr.meta.tasks import Task
from tests.grids import fast_where
from tests.small_signals import RATE, ball, disc_scene, siren, tones
from tests.small_starts import start

SIZE = {"width": 12, "hidden_layers": 1, "threads": 1}

#: Few steps of learning, by method.
SHORT = {
    "maml": {"steps": 60, "inner_rate": 0.05, "learning_rate": 0.005},
    "reptile": {"steps": 40},
    "joint": {"steps": 200},
}


def waves(seed):
    """A smooth picture of two waves and a slope, of random places and colors, 14 x 12 pixels."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[-1:1:14j, -1:1:12j]
    picture = sum(
        np.sin(2.5 * (x * np.cos(a) + y * np.sin(a)) + p)[..., None] * random.uniform(0.2, 0.5, 3)
        for a, p in random.uniform(0, 2 * math.pi, (2, 2))
    )
    return coinr.ImageSignal(np.clip(127 + 90 * picture, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def pictures():
    return [waves(seed) for seed in range(5)]


@pytest.fixture(scope="module")
def others():
    return [waves(seed) for seed in (50, 51)]


def scores(signals, begin, steps):
    options = {"start": begin} if begin is not None else {"width": 12, "hidden_layers": 1}
    return np.array([fit.score for fit in coinr.fit_many(signals, steps=steps, threads=1, **options)])


@pytest.fixture(scope="module")
def learned(pictures):
    return coinr.learn_start(pictures, **SIZE, **SHORT["maml"])


def test_others_get_further_in_3_and_in_100_steps(learned, others):
    assert (learned.method, learned.signal, learned.name, learned.steps) == ("maml", "image", "start", 3)
    assert (scores(others, learned, 3) - scores(others, None, 3)).min() > 3
    assert (scores(others, learned, 100) - scores(others, None, 100)).min() > 5


@pytest.mark.slow
def test_second_derivatives_learn_more(pictures, others, learned):
    first = coinr.learn_start(pictures, first_order=True, **SIZE, **SHORT["maml"])
    assert scores(others, learned, 3).mean() > scores(others, first, 3).mean() + 1


@pytest.mark.parametrize("method", fast_where(lambda method: method == "joint", ["reptile", "joint"]))
def test_other_methods_bring_less_and_take_longer_to_show_it(pictures, others, method):
    found = coinr.learn_start(pictures, method=method, **SIZE, **SHORT[method])
    assert (found.method, found.steps, found.rates) == (method, 0, {})
    assert (scores(others, found, 30) - scores(others, None, 30)).mean() > 1
    assert (scores(others, found, 100) - scores(others, None, 100)).mean() > 1


@pytest.mark.parametrize("method", fast_where(lambda method: method == "maml", METHODS))
def test_equal_arguments_give_equal_starts_for_any_number_of_threads(pictures, method):
    few = {**SHORT[method], "steps": 3, "batch": 50}
    one, same, shared = (
        coinr.learn_start(pictures, method=method, **{**SIZE, "threads": threads}, **few) for threads in (1, 1, 2)
    )
    assert one.blob == same.blob == shared.blob
    assert one.blob != coinr.learn_start(pictures, method=method, seed=1, **SIZE, **few).blob


def test_the_first_steps_of_a_fit_are_those_that_were_learned(others):
    begin, signal = start(siren(2, 3, 12), steps=3), others[0]
    weights = {name: p.detach().requires_grad_() for name, p in begin.network().named_parameters()}
    task = Task(begin.network(), signal, signal.count, 0)
    expected = adapt(task, weights, begin.rates, [task.draw() for _ in range(3)], first_order=True)
    fitted = coinr.fit(signal, start=begin, steps=3, threads=1)
    assert fitted.history[-1][0] == 3
    assert fitted.score == pytest.approx(fitted.history[-1][1])  # the weights of the best score are kept
    for name, parameter in fitted.network.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name].detach(), rtol=1e-4, atol=1e-6)


def test_the_optimizer_goes_on_after_the_learned_steps(others):
    rates, none = start(siren(2, 3, 12), steps=3), start(siren(2, 3, 12), steps=0)
    assert rates.hash == none.hash
    longer, shorter = (coinr.fit(others[0], start=begin, steps=40, threads=1) for begin in (rates, none))
    assert longer.score != shorter.score
    assert longer.score > coinr.fit(others[0], start=rates, steps=3, threads=1).score + 1


def test_a_start_is_not_changed_by_fits_and_fits_of_many_are_those_of_one(pictures):
    begin = start(siren(2, 3, 12), steps=2)
    blob, many = begin.blob, coinr.fit_many(pictures[:2], start=begin, steps=6, threads=1)
    for signal, one in zip(pictures, many, strict=False):
        assert one.score == pytest.approx(coinr.fit(signal, start=begin, steps=6, threads=1).score, abs=0.02)
    assert begin.hash == coinr.open_start(blob).hash
    assert all(
        np.array_equal(a, b) for a, b in zip(begin.arrays.values(), coinr.Start(blob).arrays.values(), strict=True)
    )


class _Killed(Exception):
    pass


@pytest.mark.parametrize("options", [{}, {"precision": "mixed", "optimizer": "adam"}])
def test_a_fit_that_died_within_the_learned_steps_resumes(others, tmp_path, monkeypatch, options):
    begin, advance, done = start(siren(2, 3, 12), steps=3), training._Run._advance, []
    options |= {"start": begin, "steps": 8, "threads": 1}

    def dying(run, *arguments):
        done.append(None)
        if len(done) > 2:
            raise _Killed
        return advance(run, *arguments)

    whole = coinr.fit(others[0], **options)
    with monkeypatch.context() as patch:
        patch.setattr(training._Run, "_advance", dying)
        with pytest.raises(_Killed):
            coinr.fit(others[0], checkpoint=tmp_path / "c", checkpoint_every=0, **options)
    resumed = coinr.fit(others[0], checkpoint=tmp_path / "c", **options)
    assert resumed.history == whole.history
    for mine, theirs in zip(resumed.network.parameters(), whole.network.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_checkpoint_knows_its_start(others, tmp_path):
    options = {"steps": 2, "threads": 1, "checkpoint": tmp_path / "c"}
    coinr.fit(others[0], start=start(siren(2, 3, 12), steps=3), **options)
    with pytest.raises(InputError, match="another signal, network or other arguments"):
        coinr.fit(others[0], start=start(siren(2, 3, 12), steps=3, seed=4), **options)


KINDS = {
    "audio": (lambda: coinr.AudioSignal(tones(0.02), RATE), {"width": 8, "hidden_layers": 1}),
    "shape": (lambda: coinr.ShapeSignal(ball(8)), {"width": 8, "hidden_layers": 1}),
    "scene": (lambda: disc_scene(6, (4, 4)), {"width": 8, "hidden_layers": 1, "batch": 20}),
    "wire": (lambda: waves(0), {"width": 6, "hidden_layers": 1, "network": "wire"}),
    "relu": (lambda: waves(0), {"width": 6, "hidden_layers": 1, "network": "relu"}),
}


FAST = {("audio", "maml"), ("shape", "reptile"), ("scene", "joint"), ("wire", "maml")}


@pytest.mark.parametrize(("kind", "method"), fast_where(lambda *case: case in FAST, itertools.product(KINDS, METHODS)))
def test_every_kind_of_signal_and_network(kind, method):
    make, size = KINDS[kind]
    signal = make()
    found = coinr.learn_start([signal, make()], method=method, steps=2, threads=1, **size)
    assert found.signal == signal.kind
    fitted = coinr.fit(signal, start=found, steps=4, threads=1, batch=size.get("batch"))
    blob = coinr.pack_signal(fitted.network, signal, start=found, tolerance=0.1)
    assert coinr.open_file(blob, start=found).kind == signal.kind


def test_layers_of_joint_fits_are_shared_but_for_the_last(pictures):
    options = MetaOptions.of("joint", name="a", batch=40, seed=0, threads=1, steps=3, time_budget=None)
    with Workers(torch.device("cpu"), 1) as workers:
        learner = Joint(siren(2, 3, 6), pictures, options, workers)
        for step in range(3):
            learner.step(step / 3)
        named = dict(zip(learner._stack.names, learner._stack.tensors, strict=True))
    for name, tensor in named.items():
        shared = not name.startswith("layers.2.")
        assert all(torch.equal(one, tensor[0]) for one in tensor[1:]) == shared
        torch.testing.assert_close(learner.weights[name], tensor.detach().mean(0))
        assert not torch.equal(tensor[0], siren(2, 3, 6).state_dict()[name])


def test_a_module_is_copied_and_decides_the_network(pictures):
    network = coinr.Siren(2, 3, 6, 1, frequencies=3, base=1.4, lowest=math.pi)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = coinr.learn_start(pictures, network, steps=2, threads=1)
    assert found.config == network.config
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    with pytest.raises(InputError, match="give a network or width, not both"):
        coinr.learn_start(pictures, network, width=6)
    with pytest.raises(InputError, match="network must be one of siren"):
        coinr.learn_start(pictures, torch.nn.Linear(2, 3))
    with pytest.raises(InputError, match="no parameter to learn"):
        coinr.learn_start(pictures, siren(2, 3).requires_grad_(False))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "fomaml"}, "method must be one of maml, reptile, joint"),
        ({"method": "joint", "inner_steps": 3}, "inner_steps is no option of method 'joint'"),
        ({"method": "reptile", "first_order": True}, "first_order is no option of method 'reptile'"),
        ({"steps": 0}, "steps must be an integer >= 1, got 0"),
        ({"inner_steps": 0}, "inner_steps must be an integer >= 1"),
        ({"batch": 0}, "batch must be an integer >= 1"),
        ({"threads": 0}, "threads must be an integer >= 1"),
        ({"signals_per_step": -1}, "signals_per_step must be an integer >= 1"),
        ({"inner_steps": 1001}, "inner_steps must be at most 1000"),
        ({"time_budget": 0.0}, "time_budget must be positive"),
        ({"inner_rate": math.nan}, "inner_rate must be positive"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"seed": -1}, "seed must be an integer in 0"),
        ({"name": " a"}, "the name of a start is one line"),
        ({"network": "nerf"}, "cannot be fitted by networks of kind 'nerf'"),
        ({"network": siren(3, 1)}, "the network cannot take inputs|must give"),
    ],
)
def test_wrong_options(pictures, options, message):
    with pytest.raises(InputError, match=message):
        coinr.learn_start(pictures, **options)


def test_wrong_signals(pictures):
    with pytest.raises(InputError, match="signals must be at least one"):
        coinr.learn_start([])
    with pytest.raises(InputError, match="signals must be of one kind"):
        coinr.learn_start([pictures[0], coinr.ShapeSignal(ball(8))])


def test_learning_ends_in_time(pictures, ticking):
    found = coinr.learn_start(pictures, method="reptile", steps=10**9, time_budget=0.05, **SIZE)
    assert found.blob != coinr.learn_start(pictures, method="reptile", steps=1, **SIZE).blob


def test_learning_that_diverges_says_so(pictures):
    with pytest.raises(CoinrError, match="learning diverged in step"):
        coinr.learn_start(pictures, coinr.Relu(2, 3, 8, 1, frequencies=2), inner_rate=1e20, steps=3, threads=1)


@pytest.mark.parametrize(
    ("signal", "options", "message"),
    [
        (lambda: waves(0), {"network": "siren"}, "the start decides the network; give start or network"),
        (lambda: waves(0), {"width": 8, "hidden_layers": 1}, "give start or width, hidden_layers"),
        (lambda: coinr.ShapeSignal(ball(8)), {}, "the start 'waves' is for signals of kind image, not shape"),
        (
            lambda: coinr.ImageSignal(np.zeros((4, 5), np.uint8)),
            {},
            "has 2 inputs and 3 outputs, the signal has 2 and 1",
        ),
    ],
)
def test_fits_that_do_not_suit_a_start(signal, options, message):
    for run in (
        lambda: coinr.fit(signal(), start=start(), **options),
        lambda: coinr.fit_many([signal()], start=start(), **options),
    ):
        with pytest.raises(InputError, match=message):
            run()
