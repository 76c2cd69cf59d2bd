"""Curves of bits per pixel against PSNR: hulls, means over pictures, and the files that they are made of."""

import math

import numpy as np
import pytest
import torch
from skimage.data import astronaut

import coinr
from bench.harness.fitted import Fitted
from bench.signals import kodak, kodak_curves
from coinr.signals.image.signal import ImageSignal


def file(bpp, psnr, coder="JPEG", image="one", rate=None):
    return {"image": image, "coder": coder, "bpp": bpp, "psnr": psnr, "rate": rate}


def face(height, width):
    return ImageSignal(np.ascontiguousarray(astronaut()[:height, 96 : 96 + width]))


def test_a_hull_leaves_out_what_lies_below_it():
    files = [file(0.2, 28.9), file(0.1, 28.0), file(0.8, 31.0), file(0.4, 30.5), file(0.2, 29.0), file(0.9, 30.9)]
    assert [(one["bpp"], one["psnr"]) for one in kodak_curves.hull(files)] == [(0.1, 28.0), (0.4, 30.5), (0.8, 31.0)]


def test_files_of_one_size_are_one_point_of_a_hull():
    assert [one["psnr"] for one in kodak_curves.hull([file(0.1, 28.0), file(0.1, 29.0), file(0.1, 27.0)])] == [29.0]


def test_files_that_gain_little_are_left_out_but_for_the_last():
    files = [file(0.1, 28.0), file(0.2, 29.0), file(0.3, 29.01), file(0.4, 29.03), file(0.5, 29.04)]
    assert [one["bpp"] for one in kodak_curves.thin(files, 0.02)] == [0.1, 0.2, 0.4, 0.5]


def test_scores_lie_on_a_line_over_the_logarithm_of_the_rate_and_nowhere_else():
    curve = [(0.1, 28.0), (0.4, 31.0)]
    assert kodak_curves.at(curve, 0.2) == pytest.approx(29.5)
    assert kodak_curves.at(curve, 0.4) == 31.0
    assert kodak_curves.at(curve, 0.41) is None
    assert kodak_curves.at([], 0.2) is None


def test_files_made_for_a_rate_stand_at_it_and_hulls_make_curves():
    made = [
        file(0.59, 31.0, rate=0.6),
        file(0.19, 30.0, rate=0.2),
        file(0.44, 30.1, rate=0.45),
        file(0.2, 28, rate=0.2),
    ]
    assert kodak_curves.curves(made)["JPEG"]["one"] == [(0.2, 30.0), (0.6, 31.0)]
    assert kodak_curves.curves([file(0.2, 30.0), file(0.3, 31.0)])["JPEG"]["one"] == [(0.2, 30.0), (0.3, 31.0)]


def test_a_mean_needs_every_picture():
    files = [file(0.1, 28.0), file(0.6, 31.0), file(0.1, 26.0, image="two"), file(0.3, 30.0, image="two")]
    found = kodak_curves.curves(files)
    assert kodak_curves.common_range(found["JPEG"]) == (0.1, 0.3)
    line = kodak_curves.table(found, {}).splitlines()[-1].strip("| ").split(" | ")
    assert line[:2] == ["JPEG", "27.00"]
    middle = 28 + 3 * math.log(3) / math.log(6)
    assert line[1 + kodak_curves.RATES.index(0.3)] == f"{(middle + 30) / 2:.2f}"
    assert line[-2:] == ["–", "0.100, 0.300"]
    curve = kodak_curves.mean_curve(found["JPEG"])
    assert curve[0] == pytest.approx((0.1, 27.0))
    assert curve[-1] == pytest.approx((0.3, (middle + 30) / 2))


def test_the_better_of_search_and_refinement_is_a_curve_and_refinement_alone_is_none():
    files = [
        file(0.1, 28.0, "search", rate=0.1),
        file(0.2, 30.0, "search", rate=0.2),
        file(0.1, 29.0, "refine", rate=0.1),
    ]
    found = kodak_curves.curves(files)
    assert found == {
        "search": {"one": [(0.1, 28.0), (0.2, 30.0)]},
        kodak_curves.BEST: {"one": [(0.1, 29.0), (0.2, 30.0)]},
    }


def test_pictures_with_both_networks_have_a_table_of_their_own(tmp_path):
    rows = [file(rate, 100 * rate, "search", image, rate) for image in ("one", "two") for rate in (0.1, 0.3)]
    rows = [row | {"network": "3x64", "setting": "", "bytes": 9, "cpu_seconds": 1.0} for row in rows]
    kodak.write(tmp_path, rows, [])
    assert "both networks" not in (tmp_path / "kodak.md").read_text()
    kodak.write(
        tmp_path, [*rows, file(0.6, 40.0, "search", "two", 0.6) | dict(rows[0], image="two", rate=0.6, psnr=40.0)], []
    )
    text = (tmp_path / "kodak.md").read_text()
    mean, both = text.split("## Mean PSNR\n")[1], text.split("## Mean PSNR of the 1 pictures with both networks")[1]
    assert "| search | 10.00 | 22.62 | 30.00 | – | – |" in mean
    assert "| search | 10.00 | 22.62 | 30.00 | 35.85 | 40.00 |" in both
    assert (tmp_path / "kodak.png").stat().st_size > 1000
    assert [one["psnr"] for one in kodak_curves.stored(tmp_path / "kodak.csv")] == [10, 30, 10, 30, 40]


def test_points_of_others_rise_and_name_their_source():
    found = kodak_curves.published()
    assert list(found) == ["COIN", "INRIC 8 bit", "INRIC meta 7 bit"]
    for curve in found.values():
        assert all(one[0] < other[0] and one[1] < other[1] for one, other in zip(curve, curve[1:], strict=False))


def test_gains_of_the_last_steps_of_a_fit():
    history = [(0, 10.0), (50, 20.0), (75, 24.0), (95, 25.0), (100, 25.25)]
    assert kodak.gain(history, 0.25) == 1.25
    assert kodak.gain(history, 0.05) == 0.25
    assert kodak.gain(history, 0.24) == 1.25


def test_picture_codecs_are_scored_by_what_they_decode_to(tmp_path):
    signal = face(64, 96)
    files = kodak.pictures("face", signal, tmp_path)
    assert all(one["bpp"] <= kodak.HIGHEST for one in files)
    for codec in kodak.CODECS:
        of = [one for one in files if one["coder"] == codec]
        assert 15 < of[0]["psnr"] <= max(one["psnr"] for one in of) < 50
    assert kodak.pictures("face", signal, tmp_path) == files


def test_files_of_a_network_are_pictures_of_the_size_that_was_asked_for(tmp_path, monkeypatch):
    for setting, value in (("STEPS", 20), ("SEARCHED", (1.5,)), ("REFINED", (1.5,)), ("NNCODEC_QP", range(0))):
        monkeypatch.setitem(getattr(kodak, setting), 8, value)
    monkeypatch.setattr(kodak, "REFINE_STEPS", 4)
    monkeypatch.setattr(kodak.Case, "by_nncodec", lambda self, environment: [])
    signal = face(32, 48)
    case = kodak.Case("face", signal, 8, tmp_path)
    assert kodak.describe(case)["psnr"] == pytest.approx(case.trained["psnr"], abs=0.01)
    assert not case.is_measured()
    files = case.files(tmp_path)
    assert [one["coder"] for one in files] == ["search", "refine"]
    for made in files:
        blob = (tmp_path / "files" / f"siren-3x8-face-{made['coder']}-1.5.coinr").read_bytes()
        assert made["bytes"] == len(blob) <= 1.5 * 32 * 48 / 8
        assert made["psnr"] == coinr.psnr(signal.image, coinr.open_file(blob).render())
    monkeypatch.setattr(coinr, "search", None)
    again = kodak.Case("face", signal, 8, tmp_path)
    assert again.is_measured()
    assert again.files(tmp_path) == files
    assert all(torch.equal(again.fitted.state_dict[name], one) for name, one in case.fitted.state_dict.items())


def test_a_network_is_scored_by_the_picture_it_shows(tmp_path):
    signal = face(32, 48)
    fitted = Fitted.of("face", signal, (4, 8), 20, tmp_path)
    blob = coinr.encode_state_dict(fitted.state_dict, tolerance=0.1)
    network = fitted.network()
    network.load_state_dict(coinr.decode_state_dict(blob))
    shown = coinr.render_image(network, 32, 48)
    assert fitted.evaluate(coinr.decode_state_dict(blob)) == pytest.approx(coinr.psnr(signal.image, shown), abs=1e-4)
    assert Fitted.of("face", signal, (4, 8), 20, tmp_path).state_dict.keys() == fitted.state_dict.keys()
