"""Files of a size or a score from a learned start."""

import pytest

import coinr
from coinr.optimize.compress.training import TrainingRuns
from coinr.signals.sampling import score_of
from tests.small_signals import siren
from tests.small_starts import near, start

QUICK = {"steps": 2, "progress": False, "profile": "direct", "fitting": {"batch": 64, "threads": 1}}


def signal_near(begin, size=0.3):
    """A picture that the network of a start shows after a short fit, as it were."""
    blob = coinr.pack_image(near(begin, size), 24, 32, profile="lossless")
    return coinr.ImageSignal(coinr.open_image(blob).render())


@pytest.fixture
def fitted(monkeypatch):
    """A start, and a picture to which all fits are near that."""
    begin = start(siren(2, 3, 12), steps=0)
    fit = coinr.Fit(near(begin, 0.05), 50.0, [], 0.0, 2)
    monkeypatch.setattr("coinr.optimize.compress.training.fit", lambda *_, **__: fit)
    return begin, signal_near(begin, 0.05)


def names(made):
    return [step.name for step in made.report]


@pytest.mark.parametrize("refine", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_size_is_met_by_differences(fitted, refine):
    begin, signal = fitted
    made = coinr.compress(signal, start=begin, target_bytes=160, refine=refine, **QUICK)
    assert 0.95 * 160 <= made.bytes <= 160  # sizes of files this small differ by some bytes
    assert names(made) == ["fit", "code differences", "code", *(["refine"] if refine else [])]
    differences, alone = (step.numbers["score"] for step in made.report[1:3])
    assert made.score >= differences > alone + 1
    assert coinr.inspect(made.blob).base is not None
    opened = coinr.open_file(made.blob, start=begin)
    assert made.score == pytest.approx(score_of(opened.network, signal), abs=1e-6)
    with pytest.raises(coinr.ReferenceNetworkError, match="needs the start 'waves'"):
        coinr.open_file(made.blob)


@pytest.mark.slow
def test_a_score_is_met_by_differences_that_are_smaller(fitted):
    begin, signal = fitted
    made = coinr.compress(signal, start=begin, min_score=45.0, **QUICK)
    assert made.score >= 45
    assert made.score == pytest.approx(score_of(coinr.open_file(made.blob, start=begin).network, signal), abs=1e-6)
    differences, alone = (step.numbers["bytes"] for step in made.report[1:3])
    assert made.bytes == differences < alone


def test_a_file_is_stored_without_a_start_that_does_not_help(fitted):
    begin, signal = fitted
    other = start(near(begin, 5.0), "others", steps=0)
    made = coinr.compress(signal, start=other, target_bytes=180, **QUICK)
    differences, alone = (step.numbers["score"] for step in made.report[1:3])
    assert made.score == alone > differences
    assert coinr.open_file(made.blob).render().shape == (24, 32, 3)


def test_a_score_that_is_missed_is_tried_for_longer_unless_steps_are_given(monkeypatch):
    begin, steps = start(), []

    def short(*_, **options):
        steps.append(options["steps"])
        return coinr.Fit(begin.network(), 20.0 + len(steps), [], 0.0, options["steps"])

    monkeypatch.setattr("coinr.optimize.compress.training.fit", short)
    signal, options = signal_near(begin), {**QUICK, "steps": None}
    said = "PSNR 24.00 dB is out of reach: PSNR 22.00 dB was reached from the start 'waves'"
    with pytest.raises(coinr.InputError, match=said):
        coinr.compress(signal, start=begin, min_score=24.0, **options)
    assert steps[1] == 4 * steps[0]
    for more in ({"steps": 2}, {"min_score": 40.0}):
        steps.clear()
        with pytest.raises(coinr.InputError, match=r"PSNR 21\.00 dB was reached"):
            coinr.compress(signal, start=begin, **{"min_score": 24.0, **options, **more})
        assert len(steps) == 1


def test_the_start_decides_the_network():
    begin = start()
    with pytest.raises(coinr.InputError, match="the start decides the network; give start or network"):
        coinr.compress(signal_near(begin), "siren", start=begin, target_bytes=300, **QUICK)
    with pytest.raises(coinr.InputError, match="is for signals of kind shape, not image"):
        coinr.compress(signal_near(begin), start=start(signal="shape"), target_bytes=300, **QUICK)


def test_checkpoints_tell_starts_apart(monkeypatch, tmp_path):
    places = []
    monkeypatch.setattr("coinr.optimize.compress.training.fit", lambda *_, **options: places.append(options))
    runs = TrainingRuns(signal_near(start()), None, 0, 5, None, {"checkpoint": tmp_path / "a"})
    begin = start()
    runs.fit_from(begin, share=1.0, steps=5)
    runs.fit_from(begin, share=1.0, steps=20)
    assert [one["checkpoint"].name for one in places] == [f"a.{begin.short_hash}", f"a.{begin.short_hash}-20"]
