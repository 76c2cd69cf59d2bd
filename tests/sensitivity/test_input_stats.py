"""Layers are recognized by the memory of their weights, and by values only where nothing else is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import coinr
from coinr.inputs.callbacks import Metric
from coinr.sensitivity import identity
from coinr.sensitivity.gauss_newton import accumulate_gauss_newton
from coinr.sensitivity.input_stats import InputStatsRecorder

POINTS = torch.rand(900, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def net() -> nn.Sequential:
    """A network whose third matrix and bias are twice its second ones."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(2, 9), nn.Tanh(), nn.Linear(9, 9), nn.Tanh(), nn.Linear(9, 9), nn.Tanh())
    net.append(nn.Linear(9, 2))
    with torch.no_grad():
        net[4].weight.copy_(2 * net[2].weight)
        net[4].bias.copy_(2 * net[2].bias)
    return net


def functional(net: nn.Sequential, state: Mapping[str, Tensor]) -> Tensor:
    return torch.func.functional_call(net, dict(state), (POINTS,))


def loaded(net: nn.Sequential, state: Mapping[str, Tensor]) -> Tensor:
    net.load_state_dict(state)
    return torch.cat([net(part) for part in POINTS.split(300)])


def transposed(net: nn.Sequential, state: Mapping[str, Tensor]) -> Tensor:
    x = POINTS
    for k in range(0, len(net), 2):
        x = torch.addmm(state[f"{k}.bias"], x, state[f"{k}.weight"].T)
        x = x.tanh() if k < len(net) - 1 else x
    return x


def scaled(net: nn.Sequential, state: Mapping[str, Tensor]) -> Tensor:
    factors = {name: 4.0 if name.startswith("2") else 0.5 for name in state}
    return functional(net, {name: value * factors[name] for name, value in state.items()})


def wider(net: nn.Sequential, state: Mapping[str, Tensor]) -> Tensor:
    changed = {name: value.to(torch.float64) for name, value in state.items()}
    return torch.func.functional_call(net, changed, (POINTS.double(),))


def copied_by_hand(net: nn.Sequential, state: Mapping[str, Tensor]) -> Tensor:
    return functional(net, {name: torch.from_numpy(value.numpy().copy()) for name, value in state.items()})


def scaled_in_place(net: nn.Sequential, state: Mapping[str, Tensor]) -> Tensor:
    net.load_state_dict(state)
    net[2].weight.data.mul_(3)
    return net(POINTS)


def recorded(net: nn.Sequential, run: Callable[[nn.Sequential, Mapping[str, Tensor]], Tensor]) -> InputStatsRecorder:
    sd = {name: value.clone() for name, value in net.state_dict().items()}
    recorder = InputStatsRecorder(sd)
    with recorder, torch.no_grad():
        Metric(lambda state: float(run(net, state).sum()))(sd)
    return recorder


RUNS = [functional, loaded, transposed, scaled, wider]


@pytest.mark.parametrize("run", RUNS)
def test_matrices_that_are_multiples_of_each_other_are_distinguished(net, run):
    recorder = recorded(net, run)
    assert recorder.input_counts == {f"{k}.weight": 900 for k in (0, 2, 4, 6)}
    assert recorder.used == set(net.state_dict())
    assert recorder.by_value == set()
    if run is scaled:
        return
    hidden = POINTS
    for k in (0, 2, 4, 6):
        moments = (hidden.T @ hidden).double().detach().numpy()
        found = recorder.sensitivities()[f"{k}.weight"].input_covariance
        assert np.allclose(found, moments / np.diag(moments).mean(), rtol=2e-3, atol=2e-3)
        hidden = net[k : k + 2](hidden)


def test_the_gauss_newton_matrix_tells_multiples_apart(net):
    sd = net.state_dict()
    points = torch.rand(3000, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def score(state):
        with torch.no_grad():
            return float(torch.func.functional_call(net, dict(state), (points,)).sum())

    recorder = InputStatsRecorder(sd)
    with recorder:
        score(sd)
    factor, *_ = accumulate_gauss_newton(sd, score, recorder)
    assert factor is not None
    assert list(factor.slices) == list(sd)
    found = factor.upper @ np.diag(factor.pivots) @ factor.upper.T
    jacobian = torch.func.vmap(
        torch.func.jacrev(lambda state, x: torch.func.functional_call(net, state, (x[None],))[0]), (None, 0)
    )({name: value.detach() for name, value in sd.items()}, points)
    flat = torch.cat([jacobian[name].reshape(6000, -1) for name in sd], 1).double()
    expected = (flat.T @ flat / 3000).numpy()
    off = ~np.eye(len(expected), dtype=bool)
    assert np.linalg.norm((found - expected)[off]) < 0.2 * np.linalg.norm(expected[off])


def test_weights_that_are_made_in_other_ways_are_recognized_by_values_and_the_recorder_says_so(net):
    recorder = recorded(net, copied_by_hand)
    # the fallback takes the first of two that are multiples
    assert recorder.input_counts == {"0.weight": 900, "2.weight": 1800, "6.weight": 900}
    assert recorder.by_value == recorder.used == {f"{k}.{kind}" for k in (0, 2, 6) for kind in ("weight", "bias")}


def test_weights_that_were_changed_in_place_have_the_factor_of_their_values(net):
    sd = {name: value.clone() for name, value in net.state_dict().items()}
    calls = []

    class Recorder(InputStatsRecorder):
        def _layer(self, *args):
            call = super()._layer(*args)
            calls.append((call.name, round(call.factor, 5)))
            return call

    with Recorder(sd), torch.no_grad():
        scaled_in_place(net, sd)
    assert calls == [("0.weight", 1.0), ("2.weight", 3.0), ("4.weight", 1.0), ("6.weight", 1.0)]


@pytest.mark.parametrize(("run", "compared"), [(functional, 0), (loaded, 0), (transposed, 0), (wider, 0), (scaled, 8)])
def test_values_are_compared_only_where_weights_are_multiplied(net, run, compared, monkeypatch):
    counts = []
    plain = identity._factor
    monkeypatch.setattr(identity, "_factor", lambda *args: counts.append(1) or plain(*args))
    recorded(net, run)
    assert len(counts) == compared  # one for each weight and bias, however many entries there are


def test_a_search_codes_layers_that_are_multiples_by_their_own_inputs(net):
    sd = {name: value.clone() for name, value in net.state_dict().items()}
    noise = torch.randn(900, 2, generator=torch.Generator().manual_seed(3))
    target = functional(net, sd).detach() + 0.001 * noise

    def score(run):
        return lambda state: -10 * float((run(net, state) - target).detach().square().mean().log10())

    by_memory, by_value = (coinr.search(sd, score(run), target_bytes=200) for run in (functional, copied_by_hand))
    # by their values the two are taken for one
    assert by_memory.score > by_value.score + 10
