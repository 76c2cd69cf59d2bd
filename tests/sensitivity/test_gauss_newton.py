"""The Gauss-Newton matrix of a network, accumulated while its metric runs, and what its factor is used for."""

import numpy as np
import pytest
import torch

import coinr
from coinr.sensitivity import gauss_newton
from coinr.sensitivity.gauss_newton import GaussNewtonRecorder, accumulate_gauss_newton, module_hessian
from coinr.sensitivity.hessian import HessianFactor
from coinr.sensitivity.input_stats import InputStatsRecorder
from tests.scaled_network import scaled_network


@pytest.fixture
def scaled():
    return scaled_network()


def test_inputs_of_scaled_and_transposed_matrices_are_recorded(scaled):
    net, inputs, score = scaled
    sd = net.state_dict()
    recorder = InputStatsRecorder(sd)
    with recorder:
        score(sd)
    assert list(recorder.input_counts.values()) == [700, 700, 700]
    assert recorder.used == set(sd)
    hidden = torch.sin(8 * (inputs @ sd["first.weight"].T + sd["first.bias"])).double()
    expected = (hidden.T @ hidden).numpy()
    expected = expected / np.diag(expected).mean()
    assert np.allclose(recorder.sensitivities()["second.weight"].input_covariance, expected, atol=2e-3)


@pytest.mark.parametrize("columns", [2048, 16])
def test_the_gauss_newton_matrix_is_that_of_the_derivatives_of_the_outputs(scaled, columns, monkeypatch):
    monkeypatch.setattr(gauss_newton, "_COLUMNS", columns)
    net, inputs, score = scaled
    sd = net.state_dict()
    recorder = InputStatsRecorder(sd)
    with recorder:
        plain = score(sd)
    derivatives = GaussNewtonRecorder(sd, recorder)
    derivatives._share = 1.0
    with derivatives:
        assert score(sd) == plain
    jacobian = torch.func.vmap(
        torch.func.jacrev(lambda state, x: torch.func.functional_call(net, state, (x[None],))[0]), (None, 0)
    )(sd, inputs)
    flat = torch.cat([jacobian[name].reshape(1400, -1) for name in sd], 1).double().detach()
    moments = (flat.T @ flat / 700).numpy()
    factor = derivatives.factor()
    rebuilt = factor.upper @ np.diag(factor.pivots) @ factor.upper.T
    off = ~np.eye(len(moments), dtype=bool)
    assert np.allclose(rebuilt[off], moments[off], atol=1e-4 * moments.max())
    assert list(factor.slices) == list(sd)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_outputs_mixed_by_signs_add_up_to_all_outputs(scaled, rows):
    recorder = GaussNewtonRecorder(scaled[0].state_dict(), InputStatsRecorder(scaled[0].state_dict()))
    recorder._projections = rows
    mixes = torch.stack([mix.expand(40000, 3) for mix in recorder._random_projections(40000, 3)])
    squares = torch.einsum("msi,msj->ij", mixes, mixes) / 40000
    assert torch.allclose(squares.diag(), torch.ones(3), atol=1e-4)
    assert torch.allclose(squares, torch.eye(3), atol=1e-4 if rows == 3 else 5 / 200)


def test_second_derivatives_of_mixed_outputs_are_those_of_all_but_for_chance(scaled, monkeypatch):
    net, _, _ = scaled
    inputs = torch.rand(9000, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def moments():
        factor = module_hessian(net, inputs, net.state_dict())
        return factor.upper @ np.diag(factor.pivots) @ factor.upper.T

    mixed = moments()
    monkeypatch.setattr(gauss_newton, "_ROWS", 10**6)
    every = moments()
    assert np.trace(mixed) == pytest.approx(np.trace(every), rel=0.05)
    # ten rows a parameter scatter by about a tenth
    assert 0.02 < np.linalg.norm(mixed - every) / np.linalg.norm(every) < 0.15


def test_nothing_is_accumulated_where_the_metric_runs_no_layers(scaled):
    net, _, _ = scaled
    sd = net.state_dict()

    def evaluate(state):
        return -float(np.square(state["first.weight"].numpy()).sum())

    recorder = InputStatsRecorder(sd)
    with recorder:
        evaluate(sd)
    assert accumulate_gauss_newton(sd, evaluate, recorder)[0] is None


@pytest.mark.slow
def test_a_module_and_its_inputs_have_the_same_hessian(scaled):
    net, inputs, score = scaled
    sd = net.state_dict()
    recorder = InputStatsRecorder(sd)
    with recorder:
        score(sd)
    factor, calls, obstacle = accumulate_gauss_newton(sd, score, recorder)
    assert (calls, obstacle) == (2, "")
    alone = module_hessian(net, inputs, sd)
    assert np.allclose(alone.upper, factor.upper, atol=1e-3)
    sizes = [
        len(coinr.search(sd, score, min_score=score(sd) - 0.1, calibrate=given).blob)
        for given in ((net, inputs), lambda: {})
    ]
    assert sizes[0] < 0.97 * sizes[1]


def test_the_compensation_is_the_best_change():
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((50, 7))
    moments = rows.T @ rows
    factor = HessianFactor.of_matrix({"a": 3, "b": 4}, moments)
    damped = factor.upper @ np.diag(factor.pivots) @ factor.upper.T
    error = rng.standard_normal(3)
    expected = -np.linalg.solve(damped[3:, 3:], damped[3:, :3] @ error)
    assert np.allclose(factor.compensation("b", {"a": error}), expected)
