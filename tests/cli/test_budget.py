"""encode with a budget, on the command line."""

import json
import re

import numpy as np
import pytest
import skimage.data
from click.testing import CliRunner

import coinr
from coinr.cli import cli
from tests.small_signals import RATE, tones

QUICK = ("--steps", 100, "--batch", 512, "--threads", 1, "--profile", "direct")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    coinr.write_image(folder / "a.png", np.ascontiguousarray(skimage.data.astronaut()[80:272:4, 120:376:4]))
    coinr.write_audio(folder / "a.wav", tones(), RATE)
    return folder


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_a_size_is_met_and_reported(folder, tmp_path):
    done = run("encode", folder / "a.png", "-o", tmp_path / "a.coinr", "--target-bytes", 700, *QUICK)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines[:-1]] == ["choose", "fit", "code"]
    assert re.fullmatch(r".*a\.coinr: \d+ bytes, \d\.\d+ bits per pixel, PSNR [\d.]+ dB \([\d.]+ dB before coding\)",
                        lines[-1])  # fmt: skip
    assert 686 <= (tmp_path / "a.coinr").stat().st_size <= 700


def test_bits_per_pixel_for_scripts(folder, tmp_path):
    done = run("encode", folder / "a.png", "-o", tmp_path / "a.coinr", "--target-bpp", 1.5, *QUICK, "--json")
    assert done.exit_code == 0, done.stderr
    printed = json.loads(done.stdout)
    assert 1.47 <= printed["bits_per_pixel"] <= 1.5
    assert printed["bytes"] == (tmp_path / "a.coinr").stat().st_size
    assert [step["step"] for step in printed["report"]] == ["choose", "fit", "code"]
    assert printed["report"][0]["hidden_layers"] == coinr.load_network(tmp_path / "a.coinr").hidden_layers


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--min-psnr", "--min-score"])
def test_a_score_is_met(folder, tmp_path, option):
    done = run("encode", folder / "a.png", "-o", tmp_path / "a.coinr", option, 17, *QUICK, "--json")
    assert done.exit_code == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["report"][0]["step"] == "short fit"
    assert 17 <= printed["psnr"] <= 17.05
    compared = json.loads(run("compare", folder / "a.png", tmp_path / "a.coinr", "--json").stdout)
    assert compared["psnr"] == pytest.approx(printed["psnr"], abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--target-bytes", 900, "--min-psnr", 30), 2, "--target-bytes and --min-psnr exclude each other"),
        (("--target-bpp", 1, "--target-bytes", 900), 2, "--target-bytes and --target-bpp exclude each other"),
        (("--target-bytes", 900, "--width", 8), 2, "--target-bytes decides --width"),
        (("--min-psnr", 30, "--tolerance", 0.1, "--target", 3), 2, "--min-psnr decides --target, --tolerance"),
        (("--refine",), 2, "--refine needs a target"),
        (("--thorough",), 2, "--thorough needs --refine"),
        (("--target-bytes", 900, "--thorough"), 2, "--thorough needs --refine"),
        (("--no-refine",), 2, "--refine needs a target"),
        (("--target-bytes", 0), 2, "0 is not in the range"),
        (("--target-bpp", 0), 2, "0 is not in the range"),
        (("--target-bytes", 60), 1, "60 bytes are out of reach"),
        (("--target-bytes", 900, "--profile", "paper"), 1, "cannot be given a budget"),
        (("--min-psnr", "nan"), 1, "--min-score must be a finite number"),
    ],
)
def test_what_cannot_be_is_an_error_of_one_line_before_a_fit(folder, tmp_path, monkeypatch, arguments, code, message):
    for place in ("coinr.optimize.compress.training.fit", "coinr.fitting.fit"):
        monkeypatch.setattr(place, lambda *_, **__: pytest.fail("a fit was begun"))
    done = run("encode", folder / "a.png", "-o", tmp_path / "a.coinr", *arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    assert message in done.stderr
    assert re.fullmatch(r"coinr[^\n]*: error: [^\n]+\n", done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_psnr_is_for_what_has_one(folder, tmp_path):
    done = run("encode", folder / "a.wav", "-o", tmp_path / "a.coinr", "--min-psnr", 20)
    assert done.exit_code == 2
    assert "measured by its SNR: --min-score" in done.stderr


def test_a_score_out_of_reach_leaves_no_file(folder, tmp_path):
    done = run("encode", folder / "a.png", "-o", tmp_path / "a.coinr", "--min-psnr", 150, *QUICK)
    assert done.exit_code == 1
    assert "out of reach" in done.stderr
    assert list(tmp_path.iterdir()) == []
