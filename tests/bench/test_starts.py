"""The measurement of learned starts: its means, and one small picture measured."""

import csv

import numpy as np
import pytest

import coinr
from bench.signals import starts
from tests.documents import ROOT, rows
from tests.small_signals import siren
from tests.small_starts import start


def row(picture, usual, begun, size):
    return starts.Row("(3, 32)", picture, 100, usual, begun, size, size + 1, size - 1, usual, begun, begun)


def test_means_are_over_pictures_of_one_network_and_number_of_steps():
    (mean,) = starts.means([row("kodim13", 20.0, 21.0, 100), row("kodim14", 22.0, 21.5, 200)])
    assert (mean["network"], mean["steps"], mean["pictures"]) == ("(3, 32)", 100, 2)
    assert (mean["usual"], mean["start"], mean["gain"], mean["least_gain"]) == (21.0, 21.25, 0.25, -0.5)
    assert (mean["ahead"], mean["usual_bytes"], mean["plain_bytes"], mean["relative_bytes"]) == (1, 150, 151, 149)


@pytest.mark.parametrize("steps", [3, 100])
def test_a_picture_is_fitted_from_both_and_coded_from_some_steps_on(tmp_path, monkeypatch, steps):
    rng = np.random.default_rng(0)
    (tmp_path / "kodak").mkdir()
    coinr.write_image(tmp_path / "kodak" / "kodim13.png", rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    made = starts.measure((1, 8), 13, steps, start(siren(2, 3, 8)), tmp_path)
    assert (made.network, made.picture, made.steps) == ("(1, 8)", "kodim13", steps)
    assert made.usual != made.start
    coded = made.usual_bytes, made.plain_bytes, made.relative_bytes
    if steps < starts.CODED:
        assert coded == (0, 0, 0)
    else:
        assert min(coded) > 50
        assert abs(made.relative_coded - made.plain_coded) < 0.3
        assert made.relative_coded < made.start


def test_sizes_of_the_command_line():
    assert starts.sizes_in("3x32,3x64") == ((3, 32), (3, 64))


@pytest.mark.skipif(not (ROOT / "bench" / "results").exists(), reason="a source distribution carries no results")
@pytest.mark.parametrize("name", ["starts", "starts_photos"])
def test_the_table_of_the_page_holds_the_means(name):
    with (ROOT / "bench" / "results" / f"{name}_mean.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["pictures"] for line in lines] == ["12"] * len(lines)
    expected = []
    for line in lines:
        files = [f"{int(line[key]):,}".replace(",", " ") for key in ("usual_bytes", "plain_bytes", "relative_bytes")]
        gains = [f"{float(line[key]):+.2f}" for key in ("gain", "least_gain")]
        scores = [f"{float(line[key]):.2f}" for key in ("usual", "start")]
        coded = files if line["usual_bytes"] != "0" else ["–"] * 3
        expected.append([line["network"], line["steps"], *scores, *gains, *coded])
    assert rows("docs/starts.md", name) == expected
