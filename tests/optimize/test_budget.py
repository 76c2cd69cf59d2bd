"""Budgets, scaling curves, and the architectures that are chosen by them."""

import math
from pathlib import Path

import numpy as np
import pytest
import skimage.data

import coinr
from coinr.fitting import new_network
from coinr.optimize.compress.architecture import ArchitectureChooser
from coinr.optimize.compress.scaling import Observation, ScalingCurves, decibels, score_of_decibels
from coinr.optimize.compress.targets import Budget, check_encode_options, count_samples, resolve_budget
from coinr.optimize.compress.training import TrainingRuns
from coinr.signals.audio.signal import AudioSignal
from coinr.signals.image.signal import ImageSignal
from coinr.signals.shape.signal import ShapeSignal
from tests.grids import fast_where
from tests.small_signals import RATE, ball, disc_scene, tones

KINDS = {
    "image": ImageSignal(skimage.data.astronaut()[::8, ::8]),
    "audio": AudioSignal(tones(), RATE),
    "shape": ShapeSignal(ball(12)),
    "scene": disc_scene(),
}


def added(bits, parameters, quality):
    """Relative error by coding, of a law that is made up."""
    return 2.0 ** (4 - 1.9 * bits - 0.2 * math.log2(parameters) + 0.3 * quality)


def network(depth, parameters, *qualities):
    coded = {
        f"{bits}": [quality - 10 * math.log10(1 + added(bits, parameters, quality)) for quality in qualities]
        for bits in (5, 6, 7)
    }
    return {"hidden_layers": depth, "parameters": parameters, "quality": list(qualities), "coded": coded}


@pytest.fixture(scope="module")
def curves():
    sizes = ((2, 512, 20, 24), (2, 2048, 23, 29), (2, 8192, 26, 34), (4, 512, 19, 23), (4, 2048, 24, 31))
    return ScalingCurves([network(*size) for size in sizes])


def test_quality_is_linear_in_octaves_of_parameters_inside_and_beyond(curves):
    assert curves.depths == (2, 4)
    assert curves.largest == 8192
    assert curves.quality(2, 2048) == pytest.approx(26)
    assert curves.quality(2, 1024) == pytest.approx(24)
    assert curves.quality(2, 16384) == pytest.approx(32)
    assert curves.quality(4, 256) == pytest.approx(21 - 6.5 / 2)


def test_an_observation_moves_the_curves_as_signals_differ(curves):
    assert curves.quality(2, 2048, Observation(2, 2048, 27.5)) == pytest.approx(27.5)
    # signals that differ by 4 dB at the smaller size differ by 8 at the larger: one more dB here is nearly two there
    low, high = (curves.quality(2, 8192, Observation(2, 512, observed)) for observed in (22.0, 23.0))
    assert low == pytest.approx(30)
    assert 1.5 < high - low < 2
    one = ScalingCurves([network(2, 512, 20), network(2, 2048, 23)])
    assert one.quality(2, 2048, Observation(2, 512, 21.5)) == pytest.approx(24.5)


def test_what_coding_takes_follows_the_measurements(curves):
    for bits, parameters, quality in ((5.5, 1000, 25.0), (8.0, 50_000, 33.0)):
        expected = 10 * math.log10(1 + added(bits, parameters, quality))
        assert curves.coding_loss(quality, parameters, bits) == pytest.approx(expected, rel=1e-6)
        assert curves.bits_for_loss(quality, parameters, expected) == pytest.approx(bits, rel=1e-6)


def test_scores_as_decibels_and_back():
    shape, image = KINDS["shape"], KINDS["image"]
    assert decibels(image, 31.5) == score_of_decibels(image, 31.5) == 31.5
    assert decibels(shape, 0.99) == pytest.approx(20)
    assert score_of_decibels(shape, decibels(shape, 0.97)) == pytest.approx(0.97)
    assert decibels(shape, 1.0) == pytest.approx(60)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_signal_was_measured(kind):
    curves = ScalingCurves.load(kind)
    sizes = [curves.quality(curves.depths[-1], parameters) for parameters in (500, 2000, curves.largest)]
    assert sizes == sorted(sizes)
    assert curves.coding_loss(25.0, 2000, 4.0) > curves.coding_loss(25.0, 2000, 8.0) > 0
    assert curves.probe[1] <= curves.largest / 3


def test_the_results_that_the_curves_name_are_there():
    import json
    from importlib.resources import files

    stored = json.loads(files("coinr.optimize.compress").joinpath("scaling.json").read_text())
    source = Path(__file__).parents[2] / stored["source"]
    rows = source.read_text().splitlines()
    assert len(rows) - 1 == sum(len(k["networks"]) * len(k["signals"]) for k in stored["kinds"].values())


@pytest.mark.parametrize(("network", "planes"), [("gauss", 1), ("wire", 2), ("relu", 1)])
def test_parameters_are_those_of_the_requested_network(network, planes):
    chooser = ArchitectureChooser(KINDS["image"], network)
    for depth, width in ((2, 16), (4, 25)):
        made = new_network(KINDS["image"], network, width=width, hidden_layers=depth)
        assert made.kind == network
        numbers = sum(planes * p.numel() if p.is_complex() else p.numel() for p in made.parameters())
        assert chooser._count(depth, width) == numbers
        assert planes * depth * width**2 < numbers < 2 * planes * (depth + 6) * width**2
        assert chooser._width(depth, numbers) == width
        assert chooser._width(depth, numbers - 1) == width - 1


def test_a_network_that_ends_below_the_score_is_in_no_file():
    chooser = ArchitectureChooser(KINDS["image"], None)
    assert chooser.file_of(Observation(2, 2048, 25.0), 25.0) == math.inf
    assert chooser.file_of(Observation(2, 2048, 25.0), 24.999999) == math.inf
    assert chooser.file_of(Observation(2, 2048, 25.0), 24.0) < math.inf


@pytest.mark.parametrize("kind", fast_where(lambda kind: kind == "image", KINDS))
def test_the_network_for_a_size_fits_into_it(kind):
    chooser = ArchitectureChooser(KINDS[kind], None)
    last = 0
    for size in (900, 3000, 30_000):
        choice = chooser.for_size(size)
        assert 3.4 <= choice.bits <= 9.5
        assert 8 * size > choice.parameters * choice.bits > 8 * (size - 1100)
        assert choice.parameters > last
        last = choice.parameters
    assert chooser.for_size(chooser.smallest() // 3) is None
    assert chooser.for_size(chooser.smallest()) is not None


def test_the_network_for_a_score_grows_with_it_and_with_the_difficulty():
    chooser = ArchitectureChooser(KINDS["image"], None)
    probe = chooser.probe()
    easy, hard = (Observation(probe.hidden_layers, probe.parameters, probe.quality + by) for by in (2.0, -1.0))
    sizes = [chooser.for_score(score, easy, 64).size for score in (24.0, 26.0, 28.0)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1] < chooser.for_score(28.0, hard, 64).size
    larger = chooser.for_score(24.0, easy, 20_000)
    assert 19_000 < larger.parameters < 25_000
    assert chooser.for_score(200.0, easy, 64) is None


def test_a_score_that_the_curves_do_not_predict_takes_a_larger_network_within_bounds():
    chooser = ArchitectureChooser(KINDS["image"], None)
    observed = Observation(3, 2265, 20.0)
    highest = max(chooser.curves.quality(d, 64 * chooser.curves.largest, observed) for d in chooser.curves.depths)
    choice = chooser.for_score(highest + 3, observed, 64)
    assert 7 * 2265 < choice.parameters < 9 * 2265
    assert chooser.for_score(highest + 7, observed, 64) is None


def test_the_predicted_file_of_an_observed_network():
    chooser = ArchitectureChooser(KINDS["image"], None)
    observed = Observation(3, 2265, 26.0)
    assert chooser.file_of(observed, 26.0) == chooser.file_of(observed, 27.0) == math.inf
    assert 800 < chooser.file_of(observed, 24.5) < chooser.file_of(observed, 25.5) < 2265


def test_a_budget_is_one_of_three_numbers():
    image, shape = KINDS["image"], KINDS["shape"]
    assert resolve_budget(image, 2000, None, None) == Budget(2000, None)
    assert resolve_budget(image, None, 1.5, None) == Budget(1.5 * 64 * 64 // 8, None)
    assert resolve_budget(shape, None, 0.5, None) == Budget(12**3 // 16, None)
    assert resolve_budget(image, None, None, -3.0) == Budget(None, -3.0)
    assert count_samples(KINDS["audio"]) == 2000
    for given in ((None, None, None), (100, 1.0, None), (100, None, 30.0), (None, 1.0, 30.0)):
        with pytest.raises(coinr.InputError, match="give one of target_bytes, target_bpp, min_score"):
            resolve_budget(image, *given)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("image", (0, None, None), "target_bytes must be a positive finite number, got 0"),
        ("image", (1.5, None, None), "target_bytes must be an integer, got 1.5"),
        ("image", (None, -1.0, None), "target_bpp must be a positive"),
        ("image", (None, None, math.nan), "min_score must be a finite number, got nan"),
        ("image", (10**400, None, None), r"target_bytes must be at most 2\*\*63, got a number of 1329 bits"),
        ("image", (None, 1e300, None), r"target_bpp must be at most 2\*\*63, got a number of 997 bits"),
        ("shape", (None, None, 1.0), "below 1 for a IoU"),
        ("scene", (None, 1.0, None), "a scene has no samples"),
    ],
)
def test_budgets_out_of_range_are_named(kind, given, message):
    with pytest.raises(coinr.InputError, match=message):
        resolve_budget(KINDS[kind], *given)


@pytest.mark.parametrize(
    ("codec", "message"),
    [
        ({"tolerance": 0.1}, "a budget decides tolerance"),
        ({"profile": "lossless"}, "'lossless' cannot be given a budget; it must be one of auto, direct, sparse"),
        ({"profile": "no"}, "profile 'no'"),
        ({"seeds": 0}, "seeds"),
    ],
)
def test_arguments_of_the_codec_are_checked_before_a_fit(codec, message):
    with pytest.raises(coinr.InputError, match=message):
        check_encode_options(codec)


def test_nothing_is_fitted_for_what_cannot_be(monkeypatch):
    monkeypatch.setattr("coinr.optimize.compress.training.fit", lambda *_, **__: pytest.fail("a fit was begun"))
    picture = np.zeros((8, 8), np.uint8)
    with pytest.raises(coinr.InputError, match=r"90 bytes are out of reach: the smallest file of this image has \d+"):
        coinr.compress(picture, target_bytes=90)
    with pytest.raises(coinr.InputError, match="fitting may hold batch, .* not width"):
        coinr.compress(picture, target_bytes=900, fitting={"width": 3})
    for bad in ({"steps": 0}, {"steps": 2.5}, {"time_budget": 0.0}, {"time_budget": -1.0}):
        with pytest.raises(coinr.InputError, match=f"{next(iter(bad))} must be"):
            coinr.compress(picture, target_bytes=900, **bad)
    with pytest.raises(coinr.InputError, match="tolerance"):
        coinr.compress(picture, target_bytes=900, tolerance=0.1)


def test_the_batch_of_a_fit_is_the_one_that_was_given_or_the_recipe_s():
    signal = ImageSignal(np.zeros((4, 4, 3), np.uint8))
    given = TrainingRuns(signal, None, 0, None, None, {"batch": 77})
    by_recipe = TrainingRuns(signal, None, 0, None, None, {})
    assert (given.batch, by_recipe.batch) == (77, signal.recipe.batch)
