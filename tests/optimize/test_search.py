"""Searches for a score or a size, and what they learn of a network while its metric runs."""

import numpy as np
import pytest
import torch

import coinr
from coinr.codec.encoder import Encoder
from coinr.optimize.search.run import _find_coarsest, _narrow_by_tensor
from coinr.optimize.search.trials import Trial, Trials
from coinr.runtime.work_limit import WorkLimit
from coinr.sensitivity import gauss_newton
from coinr.sensitivity.calibration import measure_sensitivity
from coinr.sensitivity.gauss_newton import GaussNewtonRecorder, accumulate_gauss_newton, module_hessian
from coinr.sensitivity.hessian import HessianFactor
from coinr.sensitivity.input_stats import InputStatsRecorder


def small_network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(2, 24), torch.nn.Tanh(), torch.nn.Linear(24, 24), torch.nn.Linear(24, 1))


@pytest.mark.slow
def test_calibration_takes_fewer_bytes_at_equal_output_error():
    net, inputs = small_network(), torch.rand(500, 2) * 2 - 1
    sd, target = net.state_dict(), net(inputs).detach()

    def score(state):
        out = torch.func.functional_call(net, dict(state), (inputs,))
        return -10 * float((out.detach() - target).square().mean().clamp_min(1e-12).log10())

    sizes = [
        len(coinr.search(sd, score, min_score=50.0, profile="direct", calibrate=given).blob)
        for given in (None, (net, inputs))
    ]
    assert sizes[1] < sizes[0]


def test_second_moments_from_given_inputs():
    inputs = torch.randn(100, 24)
    found = measure_sensitivity(lambda: {"2.weight": inputs}, small_network().state_dict()).tensors["2.weight"]
    assert found.input_covariance.shape == (24, 24)
    assert np.isclose(np.diag(found.input_covariance).mean(), 1)


@pytest.mark.parametrize("calibrate", [3, lambda: 5, lambda: {"no": 1}, (small_network(), torch.zeros(0, 2))])
def test_bad_calibration_is_named(calibrate):
    with pytest.raises(coinr.InputError, match="calibrat"):
        coinr.encode_state_dict(small_network().state_dict(), calibrate=calibrate)


def test_search_meets_a_size():
    torch.manual_seed(1)
    sd = {"w": torch.randn(64, 64), "b": torch.randn(64)}
    result = coinr.search(sd, lambda state: -float((state["w"] - sd["w"]).norm()), target_bytes=2000)
    assert 1960 <= len(result.blob) <= 2000


@pytest.mark.slow
def test_search_meets_a_score_within_twenty_calls():
    torch.manual_seed(1)
    # steps have 8 bits: the errors of several tensors together are finer than 0.02 dB
    sd = {f"w{k}": torch.randn(16 + k, 16) * (1 + 0.1 * k) for k in range(24)}
    calls = []

    def score(state):
        calls.append(1)
        errors = torch.cat([(state[name] - value).reshape(-1) for name, value in sd.items()])
        return -10 * float((errors.square().mean() + 1e-6).log10())

    result = coinr.search(sd, score, min_score=40.0)
    assert 40.0 <= result.score <= 40.02
    assert len(calls) <= 20
    assert score(coinr.decode_state_dict(result.blob)) == result.score


def test_files_between_a_good_and_a_bad_one_come_close_to_a_score():
    torch.manual_seed(1)
    sd = {f"w{k}": torch.randn(8, 8) for k in range(8)}

    def score(state):  # 0.03 for each tensor that is coarse
        return -0.03 * sum(float((state[name] - value).norm() / value.norm()) > 0.1 for name, value in sd.items())

    trials = Trials(sd, score, Encoder(sd, profile="direct"), None, dict.fromkeys(sd, 0.05), 10, WorkLimit())
    good, bad = trials.run(1.0), trials.run(4.0)
    assert (good.score, bad.score) == (0, pytest.approx(-0.24))
    between = trials.run_between(good, bad)
    assert sorted(between.errors.values()) == [0.05] * 4 + [0.2] * 4
    assert between.score == pytest.approx(-0.12)
    _narrow_by_tensor(trials, -0.1, good, bad)
    assert max(trial.score for trial in trials.tried[2:] if trial.score < 0) == pytest.approx(-0.06)
    assert trials.tried[-1].score == pytest.approx(-0.09)


@pytest.mark.parametrize("little", [0.0, 0.3])
def test_the_last_calls_go_tensor_by_tensor(little):
    class Steps:
        """Files of eight tensors that lose nothing up to a scale of 1, or about their scale, and else too much."""

        left, between_calls = 12, 0

        def run(self, scale):
            self.left -= 1
            return Trial(scale, dict.fromkeys("abcdefgh", scale), b"", {}, -1.0 if scale > 1 else -little * scale)

        def run_between(self, one, other):
            self.between_calls += 1
            return self.run(1.01)

    trials = Steps()
    _find_coarsest(trials, 0.0, -0.5, trials.run(1.0))
    assert (trials.between_calls, trials.left) == (3, 0)


def test_search_refuses_what_cannot_be():
    sd = {"w": torch.ones(3)}
    with pytest.raises(coinr.InputError, match="one of them"):
        coinr.search(sd, lambda state: 0.0)
    with pytest.raises(coinr.InputError, match="above"):
        coinr.search(sd, lambda state: 0.0, min_score=1.0)
    with pytest.raises(coinr.InputError, match="out of reach"):
        coinr.search(sd, lambda state: 0.0, target_bytes=5)


class Scaled(torch.nn.Module):
    """A small SIREN that multiplies its weights by a frequency, as one layer transposed."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.first, self.second, self.last = (torch.nn.Linear(a, b) for a, b in ((2, 12), (12, 12), (12, 2)))

    def forward(self, x):
        y = torch.sin(torch.nn.functional.linear(x, self.first.weight * 8, self.first.bias * 8))
        y = torch.sin(torch.addmm(self.second.bias, y, self.second.weight.T))
        return self.last(y)


def metric(net, inputs, target):
    def score(state):
        with torch.no_grad():
            out = torch.cat([torch.func.functional_call(net, dict(state), (part,)) for part in inputs.split(300)])
        return -10 * float(np.log10(np.mean(np.square(out.numpy() - target)) + 1e-9))

    return score


@pytest.fixture
def scaled():
    net, inputs = Scaled(), torch.rand(700, 2) * 2 - 1
    target = net(inputs).detach().numpy() + 0.01 * np.random.default_rng(0).standard_normal((700, 2))
    return net, inputs, metric(net, inputs, target)


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
def test_later_tensors_make_up_for_the_errors_of_earlier_ones(scaled):
    net, _, score = scaled
    sd = net.state_dict()
    target = score(sd) - 0.1
    found = coinr.search(sd, score, min_score=target)
    rule = coinr.search(sd, score, min_score=target, calibrate=lambda: {})
    assert found.score >= target
    assert len(found.blob) < 0.97 * len(rule.blob)
    # what makes up for errors moves weights further from their own values at the same quality
    state = coinr.decode_state_dict(found.blob)
    assert score(state) == found.score


@pytest.mark.slow
def test_a_thorough_search_takes_second_derivatives_of_larger_networks(scaled, monkeypatch):
    net, _, score = scaled
    sd = net.state_dict()
    target = score(sd) - 0.1
    monkeypatch.setattr("coinr.optimize.search.run.MAX_PARAMETERS", 100)
    plain = coinr.search(sd, score, min_score=target)
    found = coinr.search(sd, score, min_score=target, thorough=True)
    assert found.score >= target
    assert len(found.blob) < 0.97 * len(plain.blob)
    monkeypatch.setattr("coinr.optimize.search.run.MAX_PARAMETERS_THOROUGH", 100)
    assert coinr.search(sd, score, min_score=target, thorough=True).blob == plain.blob


def test_a_search_shows_its_calls_where_asked(scaled, capsys):
    net, _, score = scaled
    coinr.search(net.state_dict(), score, target_bytes=300, progress=True)
    assert "score" in capsys.readouterr().err
    coinr.search(net.state_dict(), score, target_bytes=300)
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_a_module_and_its_inputs_have_the_same_hessian(scaled):
    net, inputs, score = scaled
    sd = net.state_dict()
    recorder = InputStatsRecorder(sd)
    with recorder:
        score(sd)
    factor, calls = accumulate_gauss_newton(sd, score, recorder)
    assert calls == 2
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


@pytest.mark.parametrize("name", ["target_bytes", "target_bits"])
def test_a_size_is_met_from_below(name):
    torch.manual_seed(1)
    sd = {"w": torch.randn(64, 64), "b": torch.randn(64), "n": torch.arange(5)}
    target = 2500 if name == "target_bytes" else 8 * 2500 / (64 * 64 + 64)
    assert 0.98 * 2500 <= len(coinr.encode_state_dict(sd, **{name: target})) <= 2500


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target_bytes": 5}, "out of reach"),
        ({"target_bytes": -5}, "target_bytes"),
        ({"target_bits": float("nan")}, "target_bits"),
        ({"target_bits": 3.0, "tolerance": 0.1}, "one of them"),
        ({"target_bits": 3.0, "target_bytes": 100}, "one of them"),
    ],
)
def test_sizes_that_cannot_be_are_named(arguments, message):
    with pytest.raises(coinr.InputError, match=message):
        coinr.encode_state_dict({"w": torch.ones(3)}, **arguments)


def test_the_curve_of_a_search_is_a_table_and_a_plot(scaled, tmp_path):
    net, _, score = scaled
    found = coinr.search(net.state_dict(), score, target_bytes=400)
    assert str(len(found.blob)) in found.table()
    assert found.table().count("*") == 1
    found.plot(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(coinr.InputError, match="nosuch"):
        found.plot(tmp_path / "curve.nosuch")
    again = coinr.encode_state_dict(net.state_dict(), tolerance=1.0, errors=found.errors)
    assert abs(len(again) - len(found.blob)) < 0.2 * len(found.blob)
