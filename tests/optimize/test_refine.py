"""Refinement through the code, on a small SIREN of a generated picture."""

import math
from collections import OrderedDict
from functools import cache

import pytest
import torch
from torch.func import functional_call

import coinr
from coinr.errors import CoinrError, InputError
from coinr.networks import Siren
from coinr.optimize.refine.encode import ScaledEncoder

STEPS = 120


@cache
def picture():
    """Coordinates [N, 2] and values [N, 3] of waves and an edge."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 48), torch.linspace(-1, 1, 48), indexing="ij")
    values = torch.stack([torch.sin(7 * x + 3 * y * y), torch.cos(5 * y * x), (x + y > 0.2).float() - 0.5], -1)
    return torch.stack([y, x], -1).reshape(-1, 2), values.reshape(-1, 3) * 0.8


@cache
def network():
    """A SIREN fitted to it, whose tensors tests must not change."""
    net = Siren(2, 3, 24, 1, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    coordinates, values = picture()
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 1e-3 * (1 + math.cos(math.pi * step / 400))
        optimizer.zero_grad()
        (net(coordinates) - values).square().mean().backward()
        optimizer.step()
    return net


def trained():
    return OrderedDict((name, tensor.detach().clone()) for name, tensor in network().state_dict().items())


def make_loss(seed=0, net=None):
    net = net or network()
    coordinates, values = picture()
    generator = torch.Generator().manual_seed(seed)

    def loss(state_dict):
        chosen = torch.randint(len(coordinates), (512,), generator=generator)
        return (functional_call(net, dict(state_dict), (coordinates[chosen],)) - values[chosen]).square().mean()

    return loss


def evaluate(state_dict):
    coordinates, values = picture()
    return -10 * math.log10(
        float((functional_call(network(), dict(state_dict), (coordinates,)) - values).square().mean())
    )


def equal(one, other):
    return list(one) == list(other) and all(
        torch.equal(one[k], other[k]) and one[k].dtype == other[k].dtype for k in one
    )


def test_what_is_written_is_what_was_evaluated():
    sd = trained()
    before = {name: tensor.clone() for name, tensor in sd.items()}
    refined = coinr.refine(sd, make_loss(), steps=STEPS, evaluate=evaluate)
    assert equal(refined.state_dict, coinr.decode_state_dict(refined.blob))
    assert refined.score == evaluate(refined.state_dict)
    assert equal(sd, before)
    assert refined.history[-1][0] == STEPS
    assert all(math.isfinite(number) for entry in refined.history for number in entry)


@pytest.mark.slow
def test_muon_takes_a_siren_further_in_as_many_steps():
    scores = {
        name: coinr.refine(
            trained(), make_loss(), steps=STEPS, optimizer=name, target_bytes=700, evaluate=evaluate
        ).score
        for name in ("adam", "muon")
    }
    assert scores["muon"] > scores["adam"] + 0.1


@pytest.mark.slow
def test_it_needs_fewer_bytes_than_the_same_network_trained_as_long_and_searched():
    sd, loss = trained(), make_loss()
    tensors = OrderedDict((name, tensor.clone().requires_grad_()) for name, tensor in sd.items())
    optimizer = torch.optim.Adam(list(tensors.values()), 2e-4)
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 1e-4 * (1 + math.cos(math.pi * step / 400))
        optimizer.zero_grad()
        loss(tensors).backward()
        optimizer.step()
    longer = OrderedDict((name, tensor.detach()) for name, tensor in tensors.items())
    target = evaluate(longer) - 0.5
    auto = min(
        len(blob)
        for tolerance in (0.1, 0.14, 0.2, 0.28, 0.4, 0.56, 0.8)
        if evaluate(coinr.decode_state_dict(blob := coinr.encode_state_dict(longer, tolerance=tolerance))) >= target
    )
    refined = coinr.refine(sd, make_loss(), steps=400, min_score=target, evaluate=evaluate)
    assert refined.score >= target
    assert len(refined.blob) < 0.93 * auto


def spied(monkeypatch, method):
    """A list of the files that both ways of coding make."""
    files, plain = [], getattr(ScaledEncoder, method)

    def spy(*arguments, **options):
        made = plain(*arguments, **options)
        files.append(made if isinstance(made, bytes) else made.blob)
        return made

    monkeypatch.setattr(ScaledEncoder, method, spy)
    return files


@pytest.mark.slow
def test_the_smaller_of_two_files_of_a_score_is_kept(monkeypatch):
    files = spied(monkeypatch, "encode_to_score")
    target = evaluate(trained()) - 0.3
    refined = coinr.refine(trained(), make_loss(), steps=STEPS, min_score=target, evaluate=evaluate, thorough=True)
    sizes = [len(blob) for blob in files]
    assert len(set(sizes)) == 2
    assert len(refined.blob) == min(sizes)


def test_differences_to_a_base_take_no_second_derivatives(monkeypatch):
    base = {name: tensor + 0.01 * torch.ones_like(tensor) for name, tensor in trained().items()}
    files = spied(monkeypatch, "encode")
    refined = coinr.refine(trained(), make_loss(), steps=20, base=base, thorough=True)
    assert files == [refined.blob]
    decoded = coinr.decode_state_dict(refined.blob, base=base)
    assert all(torch.equal(decoded[name], tensor) for name, tensor in refined.state_dict.items())


@pytest.mark.slow
def test_the_better_of_two_files_of_a_size_is_kept(monkeypatch):
    files = spied(monkeypatch, "encode_to_size")
    refined = coinr.refine(trained(), make_loss(), steps=STEPS, target_bytes=500, evaluate=evaluate, thorough=True)
    scores = [evaluate(coinr.decode_state_dict(blob)) for blob in files]
    assert abs(scores[0] - scores[1]) > 0.1  # sizes differ by 2 % at most, 0.1 dB
    assert refined.score == max(scores)


@pytest.mark.parametrize("profile", ["direct", "sparse"])
def test_a_size_is_met(profile):
    size = 700
    refined = coinr.refine(trained(), make_loss(), steps=STEPS, target_bytes=size, profile=profile)
    assert 0.98 * size <= len(refined.blob) <= size


@pytest.mark.slow
def test_training_for_a_size_is_better_than_coding_in_it():
    size = 500
    refined = coinr.refine(trained(), make_loss(), steps=400, target_bytes=size, profile="direct", evaluate=evaluate)
    plain = coinr.encode_state_dict(trained(), target_bytes=size, profile="direct")
    assert refined.score > evaluate(coinr.decode_state_dict(plain)) + 1


def test_progress_is_shown_where_it_is_requested(capfd):
    coinr.refine(trained(), make_loss(), steps=30, progress=True)
    shown = capfd.readouterr().err
    assert "30/30" in shown
    assert "coding" in shown
    coinr.refine(trained(), make_loss(), steps=30)
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_a_larger_increase_of_the_loss_takes_fewer_bytes():
    sizes = [
        len(coinr.refine(trained(), make_loss(), steps=STEPS, loss_increase=increase).blob)
        for increase in (0.005, 0.05, 0.5)
    ]
    assert sizes[0] > sizes[1] > sizes[2]


def test_equal_arguments_give_equal_bytes():
    blobs = {coinr.refine(trained(), make_loss(), steps=30, seed=seed).blob for seed in (1, 1, 2)}
    assert len(blobs) == 2


def test_what_is_exact_tied_or_unused_stays_as_it_is():
    sd = trained()
    sd["counter"] = torch.tensor([1, 2, 3])
    sd["unused"] = torch.linspace(-1, 1, 100)
    sd["again"] = sd["layers.1.weight"]
    loss, calls = make_loss(), []

    def with_more(state_dict):
        calls.append(0)
        assert list(state_dict) == list(sd)
        assert state_dict["again"] is state_dict["layers.1.weight"]
        assert torch.equal(state_dict["layers.2.bias"], sd["layers.2.bias"])
        # the first call tells what is used
        assert len(calls) == 1 or torch.equal(state_dict["unused"], sd["unused"])
        return loss({name: state_dict[name] for name in trained()})

    refined = coinr.refine(sd, with_more, steps=40, lossless=("layers.2.bias",))
    found = refined.state_dict
    assert torch.equal(found["counter"], sd["counter"])
    assert torch.equal(found["layers.2.bias"], sd["layers.2.bias"])
    assert torch.equal(found["again"], found["layers.1.weight"])
    assert not torch.equal(found["layers.1.weight"], sd["layers.1.weight"])
    assert float((found["unused"] - sd["unused"]).norm() / sd["unused"].norm()) < 0.15


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.complex64])
def test_dtypes_are_kept(dtype):
    generator = torch.Generator().manual_seed(0)
    sd = {"weight": torch.randn(16, 16, generator=generator).to(dtype), "bias": torch.zeros(16, dtype=dtype)}
    target = torch.randn(16, 16, generator=generator, dtype=torch.complex64 if dtype.is_complex else torch.float32)

    def loss(state_dict):
        assert {tensor.dtype for tensor in state_dict.values()} == {dtype}
        out = state_dict["weight"].to(target.dtype) + state_dict["bias"].to(target.dtype)
        return (out - target).abs().square().mean()

    refined = coinr.refine(sd, loss, steps=100, learning_rate=0.05, loss_increase=0.1)
    assert {tensor.dtype for tensor in refined.state_dict.values()} == {dtype}
    before, after = float(loss(sd)), float(loss(refined.state_dict))
    assert after < 0.5 * before


@pytest.mark.usefixtures("ticking")
def test_seconds_end_a_refinement():
    refined = coinr.refine(trained(), make_loss(), steps=10**6, seconds=0.5)
    assert refined.seconds < 0.6
    assert refined.history[-1][0] < 60


@pytest.mark.parametrize(
    "arguments",
    [
        {"loss_increase": 0.0},
        {"loss_increase": 0.1, "target_bytes": 1000},
        {"target_bytes": 0},
        {"min_score": 3.0},
        {"min_score": 1e9, "evaluate": evaluate},
        {"steps": 0},
        {"steps": 2.5},
        {"learning_rate": -1.0},
        {"seconds": 0.0},
        {"profile": "paper"},
        {"optimizer": "lion"},
        {"seed": -1},
        {"unknown": 1},
    ],
)
def test_bad_arguments_are_named(arguments):
    with pytest.raises(InputError, match=next(iter(arguments.keys() - {"evaluate"})).split("_")[0]):
        coinr.refine(trained(), make_loss(), **({"steps": 10} | arguments))


def test_a_size_out_of_reach_is_named_in_bytes():
    with pytest.raises(InputError, match="10 bytes are out of reach: the coarsest file has [0-9]+ bytes"):
        coinr.refine(trained(), make_loss(), steps=10, target_bytes=10)


def test_a_size_out_of_reach_is_an_error():
    with pytest.raises(InputError, match="10 bytes are out of reach"):
        coinr.refine(trained(), make_loss(), steps=10, target_bytes=10)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda state_dict: 1.0, "float"),
        (lambda state_dict: state_dict["layers.0.bias"], r"not a Tensor of float32 and shape \[24\]"),
        (lambda state_dict: state_dict["layers.0.bias"].sum() * 0 - 1, "0 or more"),
        (lambda state_dict: torch.ones(()), "does not depend"),
        (lambda state_dict: state_dict["layers.0.bias"].sum() * 0 + 1, "does not depend"),
    ],
)
def test_bad_losses_are_named(loss, message):
    with pytest.raises(InputError, match=message):
        coinr.refine(trained(), loss, steps=10)


def test_a_loss_that_is_not_finite_is_an_error():
    with pytest.raises(CoinrError, match="inf"):
        coinr.refine(trained(), lambda state_dict: state_dict["layers.0.bias"].sum() * math.inf, steps=10)


def test_a_state_dict_without_weights_cannot_be_refined():
    with pytest.raises(InputError, match="no tensor"):
        coinr.refine({"counter": torch.arange(4)}, lambda state_dict: torch.ones(()), steps=10)


@pytest.mark.slow
def test_a_refined_network_comes_in_canonical_order_with_its_errors():
    state = trained()
    options = {"steps": STEPS, "target_bytes": 1500, "meta": {"siren": 30}, "thorough": True}
    found = coinr.refine(state, make_loss(), canonical=True, **options)
    for name in ("layers.0.bias", "layers.1.bias"):
        assert bool((found.state_dict[name].diff() >= 0).all())
        assert float(found.state_dict[name].min()) >= 0
    assert found.state_dict["layers.0.bias"].min() != state["layers.0.bias"].min()
    plain = coinr.refine(state, make_loss(), **options)
    assert len(found.blob) <= 1500
    assert evaluate(found.state_dict) > evaluate(plain.state_dict) - 0.02
