import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.harness import coders, curves, nncodec, results, tables
from bench.harness.curves import Point, bd_rate, bytes_at, climb, envelope
from bench.harness.measure import Row


def halving(scale, losses=(0.01, 0.03, 0.1, 0.3, 1.0, 1.5)):
    """Bytes that fall as a power of the loss."""
    return [Point(scale * loss**-0.2, loss) for loss in losses]


def test_an_envelope_keeps_what_no_other_point_beats():
    points = [Point(100, 0.2), Point(90, 0.3), Point(120, 0.2), Point(95, 0.4), Point(200, -0.01), Point(90, 0.5)]
    assert envelope(points) == [Point(200, -0.01), Point(100, 0.2), Point(90, 0.3)]
    assert envelope([]) == []


def test_between_two_points_the_logarithm_is_linear():
    points = [Point(400, 0.0), Point(100, 0.2)]
    assert bytes_at(points, 0.1) == pytest.approx(200)
    assert bytes_at(points, 0.0) == pytest.approx(400)


def test_beyond_the_ends_only_what_was_measured_counts():
    points = [Point(400, 0.1), Point(100, 0.2)]
    assert bytes_at(points, 0.05) is None
    assert bytes_at(points, 3.0) == 100
    assert bytes_at([], 1.0) is None


def test_a_worse_point_changes_nothing():
    points = halving(1000)
    assert bytes_at([*points, Point(5000, 0.2)], 0.2) == bytes_at(points, 0.2)


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.0, 1.25])
def test_bd_rate_of_a_constant_factor_is_that_factor(factor):
    assert bd_rate(halving(1000 * factor), halving(1000)) == pytest.approx(100 * (factor - 1))


def test_bd_rate_of_crossing_curves_is_the_mean_of_log_ratios():
    flat = [Point(100 * math.exp(-loss), loss) for loss in (0.0, 0.5, 1.0)]
    steep = [Point(100 * math.exp(0.5 - 2 * loss), loss) for loss in (0.0, 0.5, 1.0)]
    assert bd_rate(steep, flat, 0.0, 1.0) == pytest.approx(0.0, abs=1e-9)
    assert bd_rate(steep, flat, 0.5, 1.0) == pytest.approx(100 * math.expm1(-0.25))


def test_bd_rate_needs_curves_that_share_a_range():
    assert bd_rate([Point(10, 0.1)], halving(1000)) is None
    assert bd_rate([Point(10, 2.0), Point(5, 3.0)], halving(1000)) is None


def test_a_ladder_is_climbed_only_where_it_matters():
    measured = []

    def loss(rung):
        measured.append(rung)
        return 2.0 ** (rung / 4 - 12)

    expected = climb(80, loss)
    losses = [2.0 ** (rung / 4 - 12) for rung in expected]
    assert losses[0] <= 0.01 < losses[1]
    assert losses[-2] <= 1.5 < losses[-1]
    assert set(expected) <= set(measured)
    assert len(set(measured)) < len(expected) + 12


@pytest.mark.parametrize("value", [0.0, 9.0])
def test_a_ladder_wholly_too_fine_or_too_coarse_still_ends(value):
    assert len(climb(16, lambda rung: value)) == 1


def row(network, coder, size, loss, setting=""):
    return Row(network, coder, setting, size, 30 - loss, loss, size / 100, 0.5, 0.25)


@pytest.fixture
def measured():
    rows = []
    for network, ours in (("good", 800), ("bad", 1200)):
        rows += [row(network, "auto", p.bytes, p.loss) for p in halving(ours)]
        rows += [row(network, "nncodec", p.bytes, p.loss) for p in halving(1000)]
        rows += [row(network, "entropy bound, one step", p.bytes, p.loss) for p in halving(100)]
        rows += [row(network, "b-bit + Brotli", 3000, 0.001, "b=16"), row(network, "b-bit + Brotli", 1500, 0.3, "b=8")]
        rows += [row(network, "fp16", 4000, 0.0)]
    return rows


def test_rows_that_lose_come_first(measured):
    table = tables.summary(tables.by_coder(measured))
    assert [line["network"] for line in table] == ["bad"] * 5 + ["good"] * 5
    assert {line["loses"] for line in table[:5]} == {"auto"}
    assert {line["loses"] for line in table[5:]} == {""}
    assert table[0]["auto / nncodec"] == pytest.approx(1.2)
    assert table[-1]["auto / best other"] == pytest.approx(0.8), "a bound is no candidate"
    assert table[0]["fp16 bytes"] == 4000


def test_a_file_made_without_options_is_compared_at_its_own_loss(measured):
    measured.append(row("good", "auto, default", 900, 0.1))
    by_coder = tables.by_coder(measured)
    (line,) = tables.at_default(measured, by_coder)
    assert line["profile"] == "auto"
    assert line["ratio"] == pytest.approx(900 / (1000 * 0.1**-0.2), rel=1e-3)
    assert not any("default" in key for key in tables.summary(by_coder)[0])


def test_medians_and_bd_rates(measured):
    by_coder = tables.by_coder(measured)
    assert tables.medians(tables.summary(by_coder))["auto / nncodec"] == pytest.approx(1.0)
    auto = next(line for line in tables.bd_rates(by_coder, measured) if line["coder"] == "auto")
    assert auto["bd_rate_percent_vs_nncodec"] == pytest.approx(-20)
    assert auto["bytes_at_0.1_db_over_16_bit_brotli"] == pytest.approx(800 * 0.1**-0.2 / 3000)
    assert auto["loss_db_of_16_bit_brotli"] == 0.001


def test_what_is_written_is_read_again(measured, tmp_path):
    path = tmp_path / "curves.csv"
    tables.write_rows(path, measured[:3])
    assert [line.network for line in tables.read_rows(path)] == ["good"] * 3
    assert tables.read_rows(path)[1].bytes == pytest.approx(measured[1].bytes, rel=1e-5)
    results.write_csv(path, [{"a": 1, "b": None}, {"a": 0.123456789, "c": "x, y"}])
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [["a", "b", "c"], ["1", "", ""], ["0.123457", "", "x, y"]]


def test_the_bound_is_the_entropy_of_the_levels():
    assert coders.entropy_bytes(np.array([0, 0, 1, 1] * 8)) == pytest.approx(4)
    assert coders.entropy_bytes(np.zeros(100, np.int64)) == 0


def test_nncodec_is_given_real_arrays_and_gives_back_what_they_were():
    generator = torch.Generator().manual_seed(0)
    sd = {
        "net.1.weight": torch.randn(3, 4, dtype=torch.complex64, generator=generator),
        "omega": torch.tensor(20.0),
        "bias": torch.randn(4, generator=generator),
    }
    arrays = nncodec.to_arrays(sd)
    assert {a.dtype for a in arrays.values()} == {np.dtype(np.float32)}
    assert all(a.ndim for a in arrays.values())
    back = nncodec.from_arrays(arrays, sd)
    assert list(back) == list(sd)
    for name, tensor in sd.items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor)


def test_the_worker_stubs_what_nncodec_does_not_need():
    code = """
import json, sys
sys.path.insert(0, sys.argv[1])
import nncodec_worker as worker
sys.meta_path.insert(0, worker._Finder)
from torchvision import datasets, transforms
import pandas as pd
class Data(datasets.ImageFolder): pass
transforms.Compose([transforms.ToTensor(), Data("x", y=1)])
print(json.dumps(sorted(name for name in sys.modules if name.split(".")[0] in worker.STUBS)))
"""
    home = Path(curves.__file__).parent
    done = subprocess.run([sys.executable, "-c", code, str(home)], capture_output=True, text=True, check=True)
    assert "torchvision" in json.loads(done.stdout)


def test_of_a_curve_the_points_that_its_line_needs_are_kept():
    line = [Point(1000 * math.exp(-loss), loss) for loss in (0.0, 0.25, 0.5, 0.75, 1.0)]
    corner, beaten, beyond = Point(150, 1.5), Point(900, 1.2), Point(100, 2.5)
    assert tables.drawn([*line, corner, beaten, beyond]) == {line[0], line[-1], corner}
    assert tables.drawn([beyond]) == set()
