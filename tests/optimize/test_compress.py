"""From a signal and one number to a file."""

import numpy as np
import pytest
import skimage.data
import torch

import coinr
from coinr.optimize.compress import encode
from coinr.optimize.compress.evaluate import BatchLoss, Evaluator
from coinr.optimize.compress.run import _Run
from coinr.optimize.compress.targets import Budget
from coinr.optimize.search.run import SearchResult
from coinr.runtime.work_limit import WorkLimit
from coinr.signals.audio.signal import AudioSignal
from coinr.signals.image.signal import ImageSignal
from coinr.signals.sampling import score_of
from coinr.signals.shape.signal import ShapeSignal
from tests.grids import fast_where
from tests.small_signals import RATE, ball, disc_scene, nerf, tones

PICTURE = skimage.data.astronaut()[80:272:4, 120:376:4]  # 48 x 64 pixels
QUICK = {"steps": 200, "progress": False, "fitting": {"batch": 512, "threads": 1}}


def names(made):
    return [step.name for step in made.report]


def true_score(made, signal):
    return score_of(coinr.open_file(made.blob).network, signal)


def test_a_size_is_met_and_the_steps_are_reported():
    made = coinr.compress(PICTURE, target_bytes=700, **QUICK)
    assert 0.98 * 700 <= made.bytes == len(made.blob) <= 700
    assert made.score == pytest.approx(true_score(made, ImageSignal(PICTURE)), abs=1e-6)
    assert made.score > 20
    assert names(made) == ["choose", "fit", "code"]
    choose, fit, code = (step.numbers for step in made.report)
    network = coinr.open_file(made.blob).network
    assert (network.hidden_layers, network.width) == (choose["hidden_layers"], choose["width"])
    assert sum(p.numel() for p in network.parameters()) == choose["parameters"]
    assert fit["steps"] == 200
    assert (code["bytes"], code["score"]) == (made.bytes, made.score)
    assert "700 bytes have PSNR" in str(made.report[0])


def test_bits_per_pixel_are_met_and_a_file_repeats_itself():
    made = [coinr.compress(PICTURE, target_bpp=1.5, profile="direct", **QUICK | {"steps": 60}) for _ in range(2)]
    assert 0.98 * 1.5 <= 8 * made[0].bytes / PICTURE[..., 0].size <= 1.5
    assert made[0].blob == made[1].blob


@pytest.mark.slow
def test_a_score_is_met_from_above():
    made = coinr.compress(PICTURE, min_score=19.5, **QUICK)
    assert made.score == pytest.approx(true_score(made, ImageSignal(PICTURE)), abs=1e-6)
    assert 19.5 <= made.score <= 19.55
    assert names(made)[0] == "short fit"
    assert names(made)[-1] == "code"


def test_a_score_out_of_reach_says_what_was_reached():
    with pytest.raises(coinr.InputError, match=r"PSNR 200.00 dB is out of reach: PSNR \d+.\d\d dB was reached .*20 st"):
        coinr.compress(PICTURE, min_score=200.0, **QUICK | {"steps": 20})


def test_a_network_that_falls_short_gives_way_to_a_larger_one(monkeypatch):
    from coinr.optimize.compress import run

    sizes = []

    def stuck(signal, network, *, width, hidden_layers, steps, **_):
        made = coinr.Siren(2, 3, width, hidden_layers)
        sizes.append(sum(p.numel() for p in made.parameters()))
        return coinr.Fit(made, 18.0, [], 0.0, steps)

    monkeypatch.setattr("coinr.optimize.compress.training.fit", stuck)
    with pytest.raises(coinr.InputError, match="PSNR 21.00 dB is out of reach: PSNR 18.00 dB was reached") as error:
        coinr.compress(PICTURE, min_score=21.0, **QUICK)
    assert len(sizes) == 1 + run._TRIES
    assert all(after > 1.1 * before for before, after in zip(sizes[1:], sizes[2:], strict=False))
    assert f"up to {max(sizes)} parameters" in str(error.value)


@pytest.mark.slow
def test_refinement_is_kept_where_it_is_better():
    made = coinr.compress(PICTURE, target_bytes=500, refine=True, **QUICK)
    assert names(made) == ["choose", "fit", "code", "refine"]
    scores = [step.numbers["score"] for step in made.report[-2:]]
    assert made.score == max(scores)
    assert 0.98 * 500 <= made.bytes <= 500


@pytest.mark.parametrize(
    ("signal", "fitting", "optimizer"),
    fast_where(
        lambda signal, fitting, optimizer: optimizer == "soap",
        [(PICTURE, {}, "muon"), (PICTURE, {"optimizer": "soap"}, "soap"), (AudioSignal(tones(4), RATE), {}, "adam")],
    ),
)
def test_a_refinement_goes_by_the_optimizer_of_the_fit(signal, fitting, optimizer, monkeypatch):
    given = []

    def failing(*arguments, **options):
        given.append(options["optimizer"])
        raise coinr.InputError("stop")

    monkeypatch.setattr("coinr.optimize.compress.encode.refine", failing)
    quick = QUICK | {"steps": 10, "fitting": QUICK["fitting"] | fitting}
    coinr.compress(signal, target_bytes=1000, refine=True, profile="direct", **quick)
    assert given == [optimizer]


def test_a_refinement_that_fails_is_reported_and_the_file_stays(monkeypatch):
    def failing(*_, **__):
        raise coinr.InputError("min_score 20 is out of reach")

    monkeypatch.setattr("coinr.optimize.compress.encode.refine", failing)
    made = coinr.compress(PICTURE, target_bytes=500, refine=True, profile="direct", **QUICK | {"steps": 20})
    assert str(made.report[-1]) == "refine: min_score 20 is out of reach"
    assert made.report[-2].numbers["bytes"] == made.bytes


@pytest.mark.slow
def test_every_kind_of_signal():
    for signal, budget in (
        (AudioSignal(tones(), RATE), {"target_bpp": 2.0}),
        (ShapeSignal(ball(12)), {"min_score": 0.8}),
        (disc_scene(samples=(8, 0)), {"target_bytes": 2000}),
    ):
        made = coinr.compress(signal, profile="direct", **budget, **QUICK | {"steps": 40})
        assert made.score == pytest.approx(true_score(made, signal), abs=1e-6)
        if "min_score" in budget:
            assert made.score >= 0.8
        else:
            size = 2000 if "target_bytes" in budget else 2 * signal.count // 8
            assert 0.98 * size <= made.bytes <= size


@pytest.mark.slow
def test_checkpoints_of_single_networks_are_found_again(tmp_path):
    options = {"target_bytes": 500, "profile": "direct", "progress": False, "steps": 60}
    fitting = {"batch": 512, "threads": 1, "checkpoint": tmp_path / "a"}
    first, again = (coinr.compress(PICTURE, fitting=fitting, **options) for _ in range(2))
    choose, fit, _ = (step.numbers for step in first.report)
    assert [path.name for path in tmp_path.iterdir()] == [f"a.{choose['hidden_layers']}x{choose['width']}"]
    assert again.blob == first.blob
    # not fitted again: the seconds are those that the checkpoint holds
    assert again.report[1].numbers["seconds"] == fit["seconds"]


@pytest.mark.usefixtures("ticking")
def test_time_is_bounded():
    made = coinr.compress(PICTURE, target_bytes=500, steps=10**7, time_budget=0.5, profile="direct", progress=False)
    assert made.report[1].numbers["seconds"] < 0.6
    assert made.report[1].numbers["steps"] < 60


@pytest.mark.slow
def test_evaluated_on_a_part_and_confirmed_on_all(monkeypatch):
    signal = ImageSignal(PICTURE)
    network = coinr.fit(PICTURE, width=12, hidden_layers=2, steps=200, progress=False, threads=1).network
    full = Evaluator(network, signal)(network.state_dict())
    monkeypatch.setattr(encode, "_POINTS", 2500)
    part = Evaluator(network, signal, 2500)
    assert not part.whole
    assert part(network.state_dict()) != full
    made = encode.encode_by_search(network, signal, Budget(None, full - 0.5), WorkLimit(), {"profile": "direct"})
    state = coinr.decode_state_dict(made.blob)
    assert Evaluator(network, signal)(state) == made.score >= full - 0.5
    assert made.score < full - 0.2


def test_a_file_that_keeps_the_score_on_a_part_alone_is_not_taken(monkeypatch):
    """Searches are scripted: what they find is, by turns, too coarse for the whole picture and fine enough."""
    signal = ImageSignal(PICTURE)
    network = coinr.fit(PICTURE, width=8, hidden_layers=1, steps=100, progress=False, threads=1).network
    sd, whole = network.state_dict(), Evaluator(network, signal)
    coarse = coinr.encode_state_dict({name: torch.zeros_like(tensor) for name, tensor in sd.items()})
    fine = coinr.encode_state_dict(sd, profile="direct", tolerance=0.01)
    scores = {blob: whole(coinr.decode_state_dict(blob)) for blob in (coarse, fine)}
    target = Budget(None, (scores[coarse] + scores[fine]) / 2)

    def encode_by_search(*blobs, seconds=None):
        found = iter(blobs)
        monkeypatch.setattr(encode, "_POINTS", 100)
        monkeypatch.setattr(
            encode, "search", lambda sd, evaluate, **_: SearchResult(next(found), target.score + 9, 99.0, {}, 1, [])
        )
        monkeypatch.setattr(encode, "polish", lambda sd, evaluate, found, *_: (found.blob, found.score))
        return encode.encode_by_search(network, signal, target, WorkLimit(seconds), {"profile": "direct"})

    for blobs in ((fine,) * 4, (coarse, fine, coarse, coarse), (coarse, coarse, coarse, fine), (fine, *(coarse,) * 3)):
        made = encode_by_search(*blobs)
        assert (made.blob, made.score) == (fine, scores[fine])
    with pytest.raises(coinr.CoinrError, match="no file kept the score .* in 4 searches"):
        encode_by_search(*(coarse,) * 4)
    with pytest.raises(coinr.CoinrError, match="no file kept the score .* in 1 search$"):
        encode_by_search(coarse, seconds=1e-9)


@pytest.mark.parametrize("scores", [(29.9,), (29.9, 30.0), (30.1, 29.9), (float("nan"), 30.0), (29.0, 29.9)])
def test_no_way_of_coding_ends_below_the_score(scores):
    """Files become smaller from way to way."""
    run = _Run(ImageSignal(PICTURE), None, None, 1.0, None)
    files = [encode.EncodedNetwork(b"0" * (9 - k), score, 1) for k, score in enumerate(scores)]
    encoders = [("way", lambda file=file: file) for file in files]
    if any(score >= 30 for score in scores):
        assert run.encode_best(encoders, Budget(None, 30.0)).score >= 30
    else:
        with pytest.raises(coinr.CoinrError, match="no file kept PSNR 30.00 dB; the best has PSNR 29.90 dB"):
            run.encode_best(encoders, Budget(None, 30.0))


def test_the_loss_of_a_refinement_is_that_of_the_signal():
    for network, signal in ((nerf(), disc_scene()), (coinr.Siren(2, 3, 8, 1), ImageSignal(PICTURE))):
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        loss = BatchLoss(network, signal, 4096, 3)
        state = {name: (tensor * 0.9).requires_grad_() for name, tensor in before.items()}
        value = loss.of_state_dict(state)
        value.backward()
        value = value.detach()
        assert all(tensor.grad is not None and bool(tensor.grad.any()) for tensor in state.values())
        assert float(value) != float(loss.of_state_dict(state).detach())
        assert float(BatchLoss(network, signal, 4096, 3).of_state_dict(state).detach()) == pytest.approx(float(value))
        assert all(bool((before[name] == tensor).all()) for name, tensor in network.state_dict().items())
    # of a picture it is the mean squared error that its PSNR tells
    shown = coinr.render_image(network, 48, 64)
    exact = np.mean((shown / 127.5 - PICTURE / 127.5) ** 2)
    assert float(BatchLoss(network, signal, 10**6, 0).of_state_dict(before).detach()) == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize(
    ("codec", "error", "message"),
    [
        ({"limits": coinr.Limits(decoded_bytes=100)}, coinr.LimitError, "bytes"),
        ({"limits": coinr.Limits(tensors=1)}, coinr.LimitError, "tensors"),
        ({"lossless": ["nothing.*"]}, coinr.InputError, r"nothing\.\*"),
    ],
    ids=["bytes", "tensors", "pattern"],
)
def test_what_no_file_of_the_network_can_keep_is_refused_before_a_fit(codec, error, message, monkeypatch):
    def fit(*_, **__):
        raise AssertionError("a network was fitted")

    monkeypatch.setattr("coinr.optimize.compress.training.fit", fit)
    for budget in ({"target_bytes": 700}, {"min_score": 20.0}):
        with pytest.raises(error, match=message):
            coinr.compress(PICTURE, **budget, **QUICK, **codec)
