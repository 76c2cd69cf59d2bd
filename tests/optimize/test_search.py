"""Searches for a score or a size."""

import pytest
import torch

import coinr
from coinr.codec.encoder import Encoder
from coinr.codec.options import EncodeOptions
from coinr.optimize.search.run import _find_coarsest, _narrow_by_tensor
from coinr.optimize.search.trials import Trial, Trials
from coinr.runtime.work_limit import WorkLimit
from tests.scaled_network import scaled_network


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

    trials = Trials(
        sd, score, Encoder(sd, EncodeOptions(profile="direct")), None, dict.fromkeys(sd, 0.05), 10, WorkLimit()
    )
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


@pytest.fixture
def scaled():
    return scaled_network()


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


@pytest.mark.parametrize(
    ("count", "arguments", "expected"),
    [
        (400, {}, "used"),
        (30, {}, "not used: 30 points of 1 outputs are too few for 697 parameters: 2788 points would do"),
        (3000, {"profile": "uniform"}, "not used: profile 'uniform' does not use them"),
        (3000, {"calibrate": dict}, "not used: the calibration gives none"),
    ],
    ids=["used", "few points", "profile", "calibration"],
)
def test_the_result_says_whether_second_derivatives_were_used(count, arguments, expected):
    net = small_network() if count != 400 else torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Linear(8, 1))
    inputs = torch.rand(count, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def score(state):
        with torch.no_grad():
            return -float(torch.func.functional_call(net, dict(state), (inputs,)).square().mean())

    result = coinr.search(net.state_dict(), score, target_bytes=2500, **{"profile": "direct"} | arguments)
    assert result.second_derivatives == expected
