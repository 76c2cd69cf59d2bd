"""The error of outputs is measured as a share of their range."""

import math

import pytest
import torch
from torch import nn

import coinr
from coinr.sensitivity.output_meter import OutputMeter

ORIGINAL = {"w": torch.tensor([0.0, 1.0, 2.0])}


def meter(outputs):
    return OutputMeter(outputs, ORIGINAL)


def test_the_error_is_the_root_mean_square_of_the_change_by_the_range():
    moved = {"w": torch.tensor([0.0, 1.0, 2.0]) + torch.tensor([0.03, 0.0, 0.0])}
    expected = 20 * math.log10(0.03 / math.sqrt(3) / 2)
    assert meter(lambda sd: [sd["w"]]).error_db(moved) == pytest.approx(expected, abs=1e-4)
    assert meter(lambda sd: [sd["w"] * 1e-20]).error_db(moved) == pytest.approx(expected, abs=1e-4)
    assert meter(lambda sd: [torch.complex(sd["w"], sd["w"])]).error_db(moved) == pytest.approx(expected, abs=1e-4)


def test_of_several_outputs_the_worst_counts():
    moved = {"w": torch.tensor([0.0, 1.0, 2.2])}
    both = meter(lambda sd: [sd["w"], sd["w"] ** 3]).error_db(moved)
    assert both == meter(lambda sd: [sd["w"] ** 3]).error_db(moved) > meter(lambda sd: [sd["w"]]).error_db(moved)


def test_outputs_that_do_not_change_have_no_error():
    assert meter(lambda sd: [sd["w"]]).error_db(ORIGINAL) == -math.inf
    assert meter(lambda sd: [sd["w"][:0]]).error_db({"w": torch.ones(3)}) == -math.inf


def test_a_constant_output_is_measured_by_its_magnitude():
    assert meter(lambda sd: [sd["w"][2:]]).error_db({"w": torch.tensor([0, 0, 2.2])}) == pytest.approx(-20, abs=1e-4)
    assert meter(lambda sd: [sd["w"][:1]]).error_db({"w": torch.tensor([0.1])}) == pytest.approx(-20, abs=1e-4)


def test_values_that_are_not_finite_are_named():
    with pytest.raises(coinr.InputError, match="not finite"):
        meter(lambda sd: [sd["w"] / 0])
    assert meter(lambda sd: [sd["w"]]).error_db({"w": torch.tensor([0, 0, math.nan])}) == math.inf


def test_a_module_is_run_with_both_state_dicts():
    module = nn.Linear(2, 1)
    state = module.state_dict()
    moved = {"weight": state["weight"], "bias": state["bias"] + 0.5}
    inputs = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    expected = 20 * math.log10(0.5 / abs(float(state["weight"][0, 0])))
    assert coinr.measure_output_error(state, moved, module, inputs) == pytest.approx(expected, abs=1e-3)
    assert coinr.measure_output_error(module, moved, module, inputs) == pytest.approx(expected, abs=1e-3)
    assert coinr.measure_output_error(module, module, module, inputs) == -math.inf


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bias": torch.ones(2)}, r"'bias' is \(1,\) there, \(2,\) in what was decoded"),
        ({"scale": torch.ones(1)}, r"'scale' is absent there, \(1,\) in what was decoded"),
        ({"bias": None}, "'bias' is NoneType"),
    ],
)
def test_tensors_of_another_network_are_named(changes, words):
    module = nn.Linear(2, 1)
    with pytest.raises(coinr.InputError, match=words):
        coinr.measure_output_error(module, module.state_dict() | changes, module, torch.ones(3, 2))
