"""A score is given up only after what was claimed was tried, and the message says what was tried and what was not."""

import math

import pytest
import skimage.data

import coinr
from coinr.codec.options import EncodeOptions
from coinr.optimize.compress.architecture import ArchitectureChooser
from coinr.optimize.compress.run import _Run
from coinr.optimize.compress.training import TrainingRuns
from coinr.signals.image.signal import ImageSignal

SIGNAL = ImageSignal(skimage.data.astronaut()[80:272:4, 120:376:4])


@pytest.fixture
def fitting(monkeypatch):
    """Let fits have the quality that a function of parameters and steps says; what was fitted, as such pairs."""
    made = []

    def use(quality, after=lambda: None):
        def fit(signal, network, *, width, hidden_layers, steps, target, **options):
            after()
            network = coinr.Siren(2, 3, width, hidden_layers)
            parameters = sum(p.numel() for p in network.parameters())
            made.append((parameters, steps))
            return coinr.Fit(network, quality(parameters, steps), [], 0.0, steps)

        monkeypatch.setattr("coinr.optimize.compress.training.fit", fit)
        return made

    return use


def for_score(score, steps=None, time_budget=None):
    runs = TrainingRuns(SIGNAL, None, 0, steps, time_budget, {})
    return _Run(SIGNAL, ArchitectureChooser(SIGNAL, None), runs, 1.0, EncodeOptions()).fit_for_score(score)


def test_a_short_fit_of_a_small_network_is_no_reason_to_give_up(fitting):
    chooser = ArchitectureChooser(SIGNAL, None)
    made = fitting(lambda parameters, steps: 20 + 5 * math.log2(parameters / 1000))
    assert chooser.for_score(50.0, _observe(chooser, 20.0), 64) is None
    assert for_score(50.0).score > 50
    assert len(made) > 2
    assert made[1][0] > 7 * made[0][0]


def _observe(chooser, quality):
    from coinr.optimize.compress.scaling import Observation

    probe = chooser.probe()
    return Observation(probe.hidden_layers, probe.parameters, quality)


def test_longer_fits_are_tried_where_little_is_missing(fitting):
    made = fitting(lambda parameters, steps: 24.0 if steps <= SIGNAL.recipe.budget_steps else 29.0)
    assert for_score(25.0).score == 29
    assert [steps for _, steps in made[1:]] == [8000] * (len(made) - 2) + [32000]


def test_the_message_names_all_that_was_tried_and_all_that_was_not(fitting):
    made = fitting(lambda parameters, steps: 24.0)
    for score, steps, untried in (
        (25.0, None, "more than 4 networks after the short fit; more than 4 times the usual steps"),
        (25.0, 700, "more than 4 networks after the short fit; more steps than were given"),
        (60.0, None, r"larger networks, as of other signals none of up to \d+ parameters comes within 6 dB by what was "
                     r"measured; longer fits, as more than 6 dB are missing"),
    ):  # fmt: skip
        made.clear()
        with pytest.raises(coinr.InputError, match=rf"PSNR 24.00 dB was .*not tried: {untried}\)$") as message:
            for_score(score, steps)
        assert len(made) >= 2
        assert str(message.value).count(" steps PSNR 24.00 dB") == len(made)
        assert f"up to {max(parameters for parameters, _ in made)} parameters" in str(message.value)


def test_when_the_time_is_over_no_network_follows(fitting, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def after():
        now[0] += 40

    made = fitting(lambda parameters, steps: 24.0, after)
    untried = "further networks, as the time is over; longer fits, as the time is over"
    with pytest.raises(coinr.InputError, match=untried):
        for_score(25.0, time_budget=100.0)
    assert len(made) == 3


def test_a_fit_that_the_time_ended_is_named_as_such(fitting, monkeypatch):
    fitting(lambda parameters, steps: 24.0)
    scripted = coinr.optimize.compress.training.fit

    def ended(*arguments, steps, **options):
        return scripted(*arguments, steps=min(steps, 5000), **options)

    monkeypatch.setattr("coinr.optimize.compress.training.fit", ended)
    with pytest.raises(coinr.InputError, match="not tried: .*longer fits, as the time is over"):
        for_score(60.0, time_budget=1000.0)


def test_longer_fits_have_checkpoints_of_their_own(monkeypatch, tmp_path):
    names = []
    monkeypatch.setattr(
        "coinr.optimize.compress.training.fit", lambda *_, checkpoint, **__: names.append(checkpoint.name)
    )
    runs = TrainingRuns(SIGNAL, None, 0, 100, None, {"checkpoint": tmp_path / "a"})
    choice = ArchitectureChooser(SIGNAL, None).probe()
    for steps in (100, 25):
        runs.fit(choice, share=1.0, steps=steps, target=None)
    assert names == [f"a.{choice.hidden_layers}x{choice.width}", f"a.{choice.hidden_layers}x{choice.width}-25"]


def test_the_command_line_says_it_on_one_line(tmp_path):
    from tests.cli.command import fail

    coinr.write_image(tmp_path / "a.png", SIGNAL.image)
    arguments = ("--min-psnr", 50, "--steps", 20, "--batch", 64, "--quiet")
    message = fail(1, "encode", tmp_path / "a.png", "-o", tmp_path / "a.coinr", *arguments)
    assert "PSNR 50.00 dB is out of reach" in message
    assert "tried: " in message
    assert "not tried: larger networks" in message
    assert not (tmp_path / "a.coinr").exists()


@pytest.mark.slow
def test_thorough_goes_to_the_refinement_alone(monkeypatch):
    given = []

    def failing(*_, **options):
        given.append(options["thorough"])
        raise coinr.InputError("stop")

    monkeypatch.setattr("coinr.optimize.compress.encode.refine", failing)
    quick = {"steps": 5, "fitting": {"batch": 64, "threads": 1}, "profile": "direct", "target_bytes": 900}
    for thorough in (False, True):
        coinr.compress(SIGNAL, refine=True, thorough=thorough, **quick)
    assert given == [False, True]
    with pytest.raises(coinr.InputError, match="thorough is for a refinement"):
        coinr.compress(SIGNAL, thorough=True, **quick)


def test_a_refinement_that_there_is_no_time_for_is_reported(monkeypatch):
    from coinr.runtime.work_limit import WorkLimit

    monkeypatch.setattr(WorkLimit, "out_of_time", lambda self: self.left() < math.inf)
    quick = {"steps": 20, "fitting": {"batch": 64, "threads": 1}, "profile": "direct"}
    made = coinr.compress(SIGNAL, target_bytes=900, refine=True, time_budget=1000.0, **quick)
    assert str(made.report[-1]) == "refine: not tried, as the time is over"
    assert len(made.blob) <= 900
