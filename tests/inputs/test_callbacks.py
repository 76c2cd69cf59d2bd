"""What a caller's functions do to their arguments changes nothing; their results are checked; their errors pass."""

from __future__ import annotations

import fractions
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

import coinr
from coinr.errors import CoinrError, InputError
from coinr.fitting.optimizers import OPTIMIZERS

POINTS = torch.rand(128, 2, generator=torch.Generator().manual_seed(2)) * 2 - 1
VALUES = torch.sin(5 * POINTS[:, :1] - POINTS[:, 1:])


def network() -> nn.Sequential:
    generator = torch.Generator().manual_seed(0)
    made = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 1))
    for parameter in made.parameters():
        nn.init.uniform_(parameter, -1, 1, generator=generator)
    return made


def state() -> dict[str, Any]:
    return {name: tensor.detach().clone() for name, tensor in network().state_dict().items()}


def loss(state_dict: Any) -> torch.Tensor:
    return (functional_call(network(), dict(state_dict), (POINTS,)) - VALUES).square().mean()


def evaluate(state_dict: Any) -> float:
    return -float(loss(state_dict))


def spoil(state_dict: Any, kept: list[Any]) -> None:
    """All that a caller may do to what it was given."""
    kept.append(state_dict)
    with torch.no_grad():
        for tensor in state_dict.values():
            tensor += 1e3
            tensor.mul_(-2)
    for name in list(state_dict)[1:]:
        del state_dict[name]
    state_dict["another"] = None


def same(one: Any, other: Any) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("wish", [{"target_bytes": 250}, {"min_score": evaluate(state()) - 0.01, "profile": "sparse"}])
def test_search_gives_a_metric_copies(wish):
    kept: list[Any] = []

    def spoiling(state_dict):
        score = evaluate(state_dict)
        spoil(state_dict, kept)
        return score

    sd = state()
    found, expected = coinr.search(sd, spoiling, **wish), coinr.search(state(), evaluate, **wish)
    assert (found.blob, found.curve) == (expected.blob, expected.curve)
    assert same(sd, state())
    assert len(kept) > 1


def test_refine_gives_a_loss_and_a_metric_copies():
    kept: list[Any] = []

    def spoiling_loss(state_dict):
        value = loss(state_dict)
        if kept:
            spoil(kept[-1], [])
        kept.append(state_dict)
        return value

    def spoiling(state_dict):
        score = evaluate(state_dict)
        spoil(state_dict, kept)
        return score

    sd, options = state(), {"steps": 4, "loss_increase": 0.1, "profile": "sparse"}
    found = coinr.refine(sd, spoiling_loss, evaluate=spoiling, **options)
    expected = coinr.refine(state(), loss, evaluate=evaluate, **options)
    assert (found.blob, found.score) == (expected.blob, expected.score)
    assert same(sd, state())
    assert same(found.state_dict, coinr.decode_state_dict(found.blob))


def test_arrays_and_ties_are_copied_as_what_they_are():
    seen: list[Any] = []
    shared = np.ones((4, 4), np.float32)
    sd = {"a": shared, "b": shared, "c": torch.ones(3), "n": torch.tensor(7)}

    def look(state_dict):
        seen.append({name: type(value) for name, value in state_dict.items()})
        assert state_dict["a"] is state_dict["b"]
        state_dict["a"] += 1
        return 1.0

    with pytest.raises(InputError, match="out of reach"):
        coinr.search(sd, look, target_bytes=1)
    assert seen[0] == {"a": np.ndarray, "b": np.ndarray, "c": torch.Tensor, "n": torch.Tensor}
    assert shared.max() == 1


@pytest.mark.parametrize(
    "made",
    [
        lambda score: torch.tensor(score), lambda score: torch.tensor([[score]], requires_grad=True), np.float32,
        lambda score: np.array(score), lambda score: np.array([score]), lambda score: fractions.Fraction(score),
        lambda score: torch.tensor(score, dtype=torch.bfloat16), lambda score: round(1e6 * score),
    ],
)  # fmt: skip
def test_numbers_of_all_kinds_are_scores(made):
    found = coinr.search(state(), lambda sd: made(evaluate(sd)), target_bytes=250, profile="sparse")
    assert isinstance(found.score, float)
    assert found.score < 0


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "None"), ("1.0", "'1.0'"), (1j, "1j"), (True, "True"), (np.True_, "True"), 
        (torch.tensor(1j), "complex64"),
        (torch.ones(2), r"Tensor of float32 and shape \[2\]"),
        (np.ones(3), r"ndarray of float64 and shape \[3\]"), ([1.0], r"\[1.0\]"),
        (torch.tensor(True), "bool"), (object, "object"),
    ],
)  # fmt: skip
def test_what_is_no_score_is_named(value, words):
    for call in (
        lambda: coinr.search(state(), lambda sd: value, target_bytes=250),
        lambda: coinr.refine(state(), loss, steps=1, min_score=-9.0, evaluate=lambda sd: value),
    ):
        with pytest.raises(InputError, match=f"evaluate must return a real number, not .*{words}"):
            call()


def test_a_score_beyond_float64_is_named():
    with pytest.raises(InputError, match="evaluate must return a number that float64 holds, not an int of 2000 bits"):
        coinr.search(state(), lambda sd: 1 << 1999, target_bytes=250)


def test_a_metric_that_is_not_a_number_from_the_start_is_named_and_later_on_is_the_worst():
    with pytest.raises(InputError, match="evaluate gives NaN for the state dict itself"):
        coinr.search(state(), lambda sd: math.nan, target_bytes=250)
    whole = state()
    found = coinr.search(
        whole, lambda sd: evaluate(sd) if same(sd, whole) else math.nan, min_score=evaluate(whole) - 1, profile="sparse"
    )
    assert same(coinr.decode_state_dict(found.blob), whole)


@pytest.mark.parametrize("value", [None, 0.5, torch.ones(1), torch.tensor(1), torch.tensor(1j), "x"])
def test_what_is_no_loss_is_named(value):
    with pytest.raises(InputError, match="loss_fn must give a 0-dim floating-point tensor, not"):
        coinr.refine(state(), lambda sd: value, steps=1)


def test_a_loss_that_is_no_loss_later_on_is_named():
    calls = []

    def failing(state_dict):
        calls.append(None)
        return None if len(calls) > 3 else loss(state_dict)

    with pytest.raises(InputError, match="loss_fn must give"):
        coinr.refine(state(), failing, steps=5, profile="sparse")


@pytest.mark.parametrize("call", [1, 3])
def test_a_loss_whose_gradient_was_spoiled_is_named(call):
    calls = []

    def spoiling(state_dict):
        value = loss(state_dict)
        calls.append(None)
        if len(calls) >= call:
            spoil(state_dict, [])
        return value

    with pytest.raises(InputError, match="the loss cannot be derived: .*inplace"):
        coinr.refine(state(), spoiling, steps=5, profile="sparse")


@pytest.mark.parametrize("what", [None, 3, "evaluate"])
def test_what_cannot_be_called_is_named(what):
    with pytest.raises(InputError, match="evaluate must be callable"):
        coinr.search(state(), what, target_bytes=250)
    with pytest.raises(InputError, match="loss_fn must be callable"):
        coinr.refine(state(), what, steps=1)


class Mine(Exception):
    pass


@pytest.mark.parametrize("kind", [Mine, RuntimeError, ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_errors_of_a_metric_pass_through(kind, call):
    error, calls = kind("mine"), []

    def failing(state_dict):
        calls.append(None)
        if len(calls) == call:
            raise error
        return evaluate(state_dict)

    with pytest.raises(kind) as raised:
        coinr.search(state(), failing, min_score=evaluate(state()) - 0.01)
    assert raised.value is error
    assert len(calls) == call


@pytest.mark.parametrize("kind", [Mine, RuntimeError])
@pytest.mark.parametrize("call", [1, 4])
def test_errors_of_a_loss_pass_through(kind, call):
    error, calls = kind("mine"), []

    def failing(state_dict):
        calls.append(None)
        if len(calls) >= call:
            raise error
        return loss(state_dict)

    with pytest.raises(kind) as raised:
        coinr.refine(state(), failing, steps=6)
    assert raised.value is error


def test_a_function_that_makes_networks_must_make_modules():
    picture = np.zeros((5, 4), np.uint8)
    with pytest.raises(InputError, match="must make an nn.Module for each signal, not str"):
        coinr.fit_many([picture], lambda signal: "siren", steps=1)
    with pytest.raises(Mine):
        coinr.fit_many([picture], lambda signal: (_ for _ in ()).throw(Mine()), steps=1)


# Refinement of networks that hold more than weights.


def normalized() -> tuple[nn.Sequential, Any]:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))
    for _ in range(20):
        made(3 * POINTS + 1)
    made.eval()
    return made, lambda sd: (functional_call(made, dict(sd), (POINTS,)) - VALUES).square().mean()


@pytest.mark.parametrize("training", [False, True])
def test_running_statistics_are_stored_exactly(training):
    made, its_loss = normalized()
    made.train(training)
    sd = made.state_dict()
    before = {name: tensor.clone() for name, tensor in sd.items()}
    refined = coinr.refine(sd, its_loss, steps=3, profile="sparse", loss_increase=0.1)
    for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        assert torch.equal(refined.state_dict[name], before[name])
    assert not torch.equal(refined.state_dict["0.weight"], before["0.weight"])
    assert same(made.state_dict(), before)
    made.load_state_dict(refined.state_dict)


def test_tensors_that_cannot_be_trained_are_left_alone():
    whole = state()
    sd = {
        **whole, "tied": whole["2.weight"], "unused": torch.ones(5), "steps": torch.tensor(3),
        "frozen": torch.linspace(1, 2, 7),
    }  # fmt: skip

    def its_loss(state_dict):
        names = [name for name in state_dict if name[0].isdigit()]
        scale = state_dict["frozen"].detach().mean() * state_dict["steps"]
        return loss({name: state_dict[name] for name in names}) * scale

    refined = coinr.refine(sd, its_loss, steps=3, profile="sparse", lossless=("frozen",))
    assert list(refined.state_dict) == list(sd)
    assert torch.equal(refined.state_dict["frozen"], sd["frozen"])
    assert torch.equal(refined.state_dict["tied"], refined.state_dict["2.weight"])
    assert not torch.equal(refined.state_dict["2.weight"], whole["2.weight"])


def test_a_loss_of_nothing_that_can_be_trained_is_refused():
    made, _ = normalized()
    sd = {name: tensor for name, tensor in made.state_dict().items() if "running" in name}

    def its_loss(state_dict):
        shown = nn.functional.batch_norm(torch.ones(3, 8), state_dict["1.running_mean"], state_dict["1.running_var"])
        return shown.square().mean()

    with pytest.raises(CoinrError, match="does not depend on any tensor"):
        coinr.refine(sd, its_loss, steps=1)


def test_the_learning_rate_of_a_refinement_rises_and_falls_as_a_cosine(monkeypatch):
    rates = []

    class Recording(torch.optim.Adam):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    monkeypatch.setitem(OPTIMIZERS, "adam", Recording)
    coinr.refine(state(), loss, steps=40, learning_rate=0.01, profile="sparse")
    # a short training has risen after a tenth of its steps
    expected = [
        0.01 * min(1, max((k + 1) / 100, 10 * k / 40)) * (1 + math.cos(math.pi * k / 40)) / 2 for k in range(40)
    ]
    assert rates == pytest.approx(expected)
