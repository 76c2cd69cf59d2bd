"""What signals say of themselves: kind, size and source on one short line."""

import dataclasses

import numpy as np
import pytest
import torch

import coinr
from coinr.signals.signal import Signal
from tests.small_signals import RATE, ball, disc_scene, distance, nerf, siren, tones

from .test_scene import write_folder

SIGNALS = {
    "grey": (lambda: coinr.ImageSignal(np.zeros((3, 4))), "<ImageSignal: image 3 x 4, 1 channel of 8 bits>"),
    "wide": (
        lambda: coinr.ImageSignal(np.zeros((3, 4, 4), np.uint16)),
        "<ImageSignal: image 3 x 4, 4 channels of 16 bits>",
    ),
    "sound": (lambda: coinr.AudioSignal(tones(), RATE), "<AudioSignal: audio 0.25 s at 8000 Hz, 1 channel>"),
    "solid": (lambda: coinr.ShapeSignal(ball(6)), "<ShapeSignal: shape 6 x 6 x 6 voxels of occupancy>"),
    "sdf": (lambda: coinr.ShapeSignal(distance(6)), "<ShapeSignal: shape 6 x 6 x 6 voxels of signed distance>"),
    "scene": (disc_scene, "<SceneSignal: scene of 6 views 12 x 12, 2 more held back>"),
}


@pytest.mark.parametrize("kind", SIGNALS)
def test_signals_say_what_they_are(kind):
    make, words = SIGNALS[kind]
    assert repr(make()) == words


def test_signals_of_files_say_where_they_come_from(tmp_path):
    coinr.write_image(tmp_path / "a.png", np.zeros((3, 4, 3), np.uint8))
    coinr.write_audio(tmp_path / "a.wav", tones(), RATE)
    np.save(tmp_path / "a.npy", ball(6))
    write_folder(tmp_path / "scene", azimuths=(0, 50, 100))
    for name in ("a.png", "a.wav", "a.npy", "scene"):
        signal = coinr.open_signal(tmp_path / name)
        assert signal.source == str(tmp_path / name)
        assert repr(signal).endswith(f", from {tmp_path / name}>")


def test_other_signals_have_words_too():
    class Ramp(Signal):
        kind = "ramp"
        count = 7
        to = batch = partial_score = score = meta = None

    assert repr(Ramp()) == "<Ramp: ramp of 7 samples>"


@pytest.mark.parametrize(
    ("network", "kind", "words"),
    [
        (siren(2, 3), "wide", "image 3 x 4, 3 channels of 16 bits, shown by a siren"),
        (siren(1, 1), "sound", "audio 0.25 s at 8000 Hz, 1 channel, shown by a siren"),
        (siren(3, 1), "solid", "shape 6 x 6 x 6 voxels of occupancy, shown by a siren"),
        (nerf(), "scene", "scene of views 12 x 12, 8 + 8 depths a ray, shown by a nerf"),
    ],
    ids=["image", "audio", "shape", "scene"],
)
def test_files_say_what_they_hold(network, kind, words):
    file = coinr.open_file(coinr.pack_signal(network, SIGNALS[kind][0](), profile="uniform"))
    assert repr(file) == f"<{type(file).__name__}: {words}>"


@pytest.mark.parametrize("kind", SIGNALS)
def test_a_signal_that_moves_keeps_all_it_says(kind):
    signal = SIGNALS[kind][0]()
    signal.notes, signal.source, signal.recipe = (
        ("the first of two",),
        "a/file",
        dataclasses.replace(signal.recipe, steps=7),
    )
    moved = signal.to(torch.device("meta"))
    assert type(moved) is type(signal)
    tensors = [name for name, value in vars(signal).items() if isinstance(value, torch.Tensor)]
    assert tensors
    for name, value in vars(signal).items():
        if name in tensors:
            assert getattr(moved, name).is_meta
            assert not value.is_meta
        elif not isinstance(value, Signal):
            assert getattr(moved, name) is value
    assert moved.eval_split._values.is_meta
    assert not signal.eval_split._values.is_meta
    assert repr(moved) == repr(signal)
