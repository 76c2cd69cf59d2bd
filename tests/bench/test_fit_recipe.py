import math

import numpy as np
import pytest
import torch

from bench.signals.fit_choices import any_matrix, middle_of
from bench.signals.fit_recipe import Row, crossing, run_adam, summary


def _row(method, steps, seconds, psnr, size):
    return Row(method, "coinr 1234567", "photo", steps, seconds, psnr + 0.1, size, psnr)


BEFORE = _row("before", 8000, 100.0, 30.0, 12_000)
CURVE = [_row("default", 3000, 20.0, 29.5, 11_000), _row("default", 6000, 40.0, 30.5, 11_600)]


def test_time_and_bytes_are_those_at_equal_quality():
    assert crossing(CURVE, BEFORE) == pytest.approx((30.0, 11_300.0))
    found, means = summary([BEFORE, *CURVE])
    assert found["time_ratio"] == means["time_ratio"] == pytest.approx(0.3)
    assert found["bytes_ratio"] == means["bytes_ratio"] == pytest.approx(11_300 / 12_000)


def test_commands_of_the_usual_steps_are_compared():
    found, means = summary([BEFORE, *CURVE, _row("default", 8000, 40.0, 29.75, 11_400)])
    assert found["command_time_ratio"] == means["command_time_ratio"] == pytest.approx(0.2)
    assert found["command_bytes_ratio"] == pytest.approx(11 / 12)
    assert found["psnr_change"] == means["psnr_change"] == pytest.approx(-0.5)
    assert found["budget_time_ratio"] is means["budget_time_ratio"] is None


def test_a_budget_is_compared_at_its_own_time():
    found, means = summary([BEFORE, _row("budget", 8000, 50.0, 31.0, 11_990)])
    assert found["budget_time_ratio"] == means["budget_time_ratio"] == pytest.approx(0.5)
    assert found["budget_psnr_change"] == means["budget_psnr_change"] == pytest.approx(1.0)


def test_nothing_is_said_of_quality_that_the_curve_does_not_reach():
    assert all(math.isnan(value) for value in crossing(CURVE[:1], BEFORE))
    found, means = summary([BEFORE, CURVE[0]])
    assert found["time_ratio"] is means["time_ratio"] is None


def test_the_loop_of_plain_torch_learns(monkeypatch):
    monkeypatch.setattr("bench.signals.fit_recipe.BATCH", 64)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 2, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    few, more = (run_adam("photo", pixels, steps) for steps in (1, 60))
    assert more.psnr > few.psnr + 3
    assert more.bytes > 1000


def test_muon_moves_a_last_layer_where_that_is_asked_for():
    assert any_matrix(torch.zeros(1, 64, 2)) == (64, 2)
    assert any_matrix(torch.zeros(1, 3, 64)) == (3, 64)
    assert any_matrix(torch.zeros(1, 1, 64)) is None


def test_the_middle_of_a_picture_is_taken():
    whole, middle = middle_of("astronaut", None), middle_of("astronaut@48", None)
    assert middle.shape == (48, 48, 3)
    assert np.array_equal(middle, whole[232:280, 232:280])
