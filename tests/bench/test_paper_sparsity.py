import json
import math

import numpy as np
import pytest
from scipy import stats

from bench.harness.results import Kept
from bench.paper import sparsity
from bench.paper.lines import crossing, line, passing, second_factor, smallest

#: Loss in dB halves with each unit of s.
CURVE = {s: 6.4 * 0.5**s for s in (1, 3, 5, 8, 12)}


def test_between_two_sizes_the_logarithm_of_the_loss_is_linear():
    assert crossing(CURVE, 0.1) == pytest.approx(6.0)
    assert crossing(CURVE, 0.4) == pytest.approx(4.0)


def test_a_bound_outside_the_curve():
    assert crossing(CURVE, 1e-9) is None
    assert crossing({}, 1.0) is None
    assert crossing(CURVE, 100.0) == 1.0
    assert passing(CURVE, 100.0) == (0, 1)


def test_a_dip_before_the_curve_is_above_again_does_not_count():
    assert passing({2: 0.5, 4: 0.05, 6: 0.2, 8: 0.01}, 0.1) == (6, 8)
    assert crossing({2: 0.5, 4: -0.01}, 0.1) < 4


@pytest.mark.parametrize("bound", [0.011, 0.1, 0.9, 3.0, 100.0])
def test_the_smallest_size_is_found_between_the_grid_and_below_it(bound):
    asked = []

    def measure(s):
        asked.append(s)
        return 6.4 * 0.5**s

    losses = {s: 6.4 * 0.5**s for s in (4, 8, 12)}
    found = smallest(losses, bound, measure)
    assert found == max(1, math.ceil(math.log2(6.4 / bound)))
    assert len(asked) <= 3
    assert set(asked) <= losses.keys()


def test_no_size_is_found_where_the_largest_is_not_enough():
    assert smallest(dict(CURVE), 1e-9, lambda s: pytest.fail("measured")) is None


def test_a_line_through_exact_points_is_exact():
    found = line([20, 32, 64, 128], [0.4 * n + 3 for n in (20, 32, 64, 128)])
    assert (found.slope, found.intercept, found.r2) == pytest.approx((0.4, 3, 1))
    assert found.slope_interval == pytest.approx((0.4, 0.4))
    assert found.band(np.array([10.0, 200.0])) == pytest.approx([0, 0], abs=1e-6)


def test_a_line_and_its_intervals_are_those_of_scipy(generator):
    x = np.repeat([20.0, 32, 48, 64, 96], 2)
    y = 0.4 * x + generator.normal(0, 1, x.size)
    found, theirs = line(x, y), stats.linregress(x, y)
    t = stats.t.ppf(0.975, len(x) - 2)
    assert (found.slope, found.intercept) == pytest.approx((theirs.slope, theirs.intercept))
    assert found.r2 == pytest.approx(theirs.rvalue**2)
    assert found.slope_interval[1] == pytest.approx(theirs.slope + t * theirs.stderr)
    assert found.intercept_interval[0] == pytest.approx(theirs.intercept - t * theirs.intercept_stderr)
    assert found.band(np.zeros(1))[0] == pytest.approx(t * theirs.intercept_stderr)


def test_the_intervals_of_lines_hold_the_truth_as_often_as_they_say(generator):
    x = np.array([20.0, 32, 48, 64, 96, 128])
    held = sum(
        low <= 0.4 <= high
        for low, high in (line(x, 0.4 * x + generator.normal(0, 1, 6)).slope_interval for _ in range(1000))
    )
    assert 925 <= held <= 975


def test_a_line_needs_two_places_and_intervals_three_points():
    assert line([3, 3, 3], [1, 2, 3]) is None
    two = line([1, 2], [1, 3])
    assert (two.slope, two.slope_interval) == (2, None)
    assert np.isnan(two.band(np.ones(1))).all()


def test_a_second_factor_is_seen_only_where_there_is_one(generator):
    width = np.linspace(0.3, 0.45, 6)[:, None]
    noise = generator.normal(0, 0.002, (6, 3))
    assert second_factor(width + noise)[1] > 0.01
    assert second_factor(width + noise + np.array([0, 0.02, 0.04]))[1] < 1e-4
    assert second_factor(np.ones((1, 3))) is None
    assert second_factor(width + np.zeros((6, 3))) is None


def test_rows_beyond_the_papers_condition_are_distinguished():
    label = {"signal": "a", "mode": "standard", "M": 1 << 14, "n": 32}
    found = {"crossing": 1.0, "crossing_of_codes": 1.0, "loss_db_16_bit": 0.0, "quality_before_db": 30.0}
    assert [sparsity.smallest_row(label, found | {"needed": s})["s"] for s in (15, 16, None)] == [15, None, None]


def test_pictures_that_need_the_same_are_said_to(generator):
    table = [
        {
            "signal": name,
            "mode": "standard",
            "M": 4096,
            "n": n,
            "s_needed": round(0.4 * n + shift),
            "s_crossing": 0.4 * n + shift,
            "s": None,
        }
        for name, shift in (("a", 0), ("b", 0), ("other", 20))
        for n in (20, 32, 64)
    ]
    (row,) = sparsity.fits(table, ["a", "b"])
    assert (row["points"], row["points_with_2s_below_n"], row["spread_percent"]) == (6, 0, 0)
    assert row["slope"] == pytest.approx(0.4, abs=0.02)


def test_a_kept_row_is_measured_once_and_a_cut_line_again(tmp_path):
    path = tmp_path / "rows.jsonl"
    assert Kept(path).recall("a", lambda: [1]) == [1]
    assert Kept(path).recall("b", lambda: [2]) == [2]
    assert Kept(path).recall("a", lambda: pytest.fail("measured")) == [1]
    path.write_text(path.read_text()[:-4])
    assert Kept(path).recall("b", lambda: [3]) == [3]
    assert [json.loads(line)["key"] for line in path.read_text().splitlines() if line.endswith("}")] == ["a", "b"]
    assert Kept(path).recall("b", lambda: pytest.fail("measured")) == [3]
