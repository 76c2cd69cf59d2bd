"""Curves of bits per pixel against PSNR: hulls, what is read off them, and the picture codecs."""

import math

import numpy as np
import pytest
from skimage.data import astronaut

import coinr
from bench.harness.fitted import Fitted
from bench.signals import kodak
from coinr.signals.image.signal import ImageSignal


def file(bpp, psnr, coder="auto", image="one"):
    return {"image": image, "coder": coder, "bpp": bpp, "psnr": psnr}


def test_a_hull_leaves_out_what_lies_below_it():
    files = [file(0.2, 28.9), file(0.1, 28.0), file(0.8, 31.0), file(0.4, 30.5), file(0.2, 29.0), file(0.9, 30.9)]
    assert [(one["bpp"], one["psnr"]) for one in kodak.hull(files)] == [(0.1, 28.0), (0.4, 30.5), (0.8, 31.0)]


def test_files_of_one_size_are_one_point_of_a_hull():
    assert [one["psnr"] for one in kodak.hull([file(0.1, 28.0), file(0.1, 29.0), file(0.1, 27.0)])] == [29.0]


def test_scores_lie_on_a_line_over_the_logarithm_of_the_rate_and_nowhere_else():
    curve = [(0.1, 28.0), (0.4, 31.0)]
    assert kodak.at(curve, 0.2) == pytest.approx(29.5)
    assert kodak.at(curve, 0.4) == 31.0
    assert kodak.at(curve, 0.41) is None
    assert kodak.at([], 0.2) is None


def test_a_mean_needs_every_picture():
    files = [file(0.1, 28.0), file(0.6, 31.0), file(0.1, 26.0, image="two"), file(0.3, 30.0, image="two")]
    found = kodak.curves(files)
    line = kodak.table(found).splitlines()[-1].split(" | ")
    assert line[1] == "27.00"
    assert line[-1] == "– |"
    middle = 28 + 3 * math.log(3) / math.log(6)
    assert line[1 + kodak.RATES.index(0.3)] == f"{(middle + 30) / 2:.2f}"
    assert kodak.table(found, "one").splitlines()[-1].split(" | ")[-1] == "31.00 |"


def test_picture_codecs_are_scored_by_what_they_decode_to():
    signal = ImageSignal(np.ascontiguousarray(astronaut()[:64, 96:192]))
    files = list(kodak.pictures(signal))
    for codec in kodak.CODECS:
        best = [entry for entry in files if entry[0] == codec][-1]
        assert 64 < best[2] < signal.image.nbytes
        assert 30 < best[3] < 60


def test_a_network_is_scored_by_the_picture_it_shows(tmp_path):
    signal = ImageSignal(np.ascontiguousarray(astronaut()[:32, 96:144]))
    fitted = Fitted.of("face", signal, (4, 8), 20, tmp_path)
    blob = coinr.encode_state_dict(fitted.state_dict, tolerance=0.1)
    network = fitted.network()
    network.load_state_dict(coinr.decode_state_dict(blob))
    shown = coinr.render_image(network, 32, 48)
    assert fitted.evaluate(coinr.decode_state_dict(blob)) == pytest.approx(coinr.psnr(signal.image, shown), abs=1e-4)
    assert Fitted.of("face", signal, (4, 8), 20, tmp_path).state_dict.keys() == fitted.state_dict.keys()
