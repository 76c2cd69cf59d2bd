"""What calibrations are given: wrong forms and values that are not finite are named; any class of tensors is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import coinr
from coinr.errors import InputError
from coinr.inputs.arguments import describe_value
from coinr.sensitivity.calibration import measure_sensitivity


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 3))


@pytest.fixture
def points() -> Tensor:
    return torch.rand(40, 2, generator=torch.Generator().manual_seed(2)) * 2 - 1


def searched(sd: dict[str, Any], **arguments: Any) -> bytes:
    return coinr.search(
        sd, lambda tensors: -float(tensors["0.bias"].square().sum()), target_bytes=150, **arguments
    ).blob


CALLS = {"encode_state_dict": lambda sd, **arguments: coinr.encode_state_dict(sd, **arguments), "search": searched}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda module, points: (module, points, 3), "a tuple of 3: Sequential, Tensor, int"),
        (lambda module, points: (module,), "a tuple of 1: Sequential"),
        (lambda module, points: (points, module), "a tuple of 2: Tensor, Sequential"),
        (lambda module, points: [module, points], "a list of 2: Sequential, Tensor"),
        (lambda module, points: (), r"\(\) \(tuple\)"),
        (lambda module, points: 3, r"3 \(int\)"),
        (lambda module, points: module, r"\(Sequential\)"),
    ],
)
def test_calibrations_of_other_forms_are_named(module, points, call, given, words):
    with pytest.raises(InputError, match=rf"calibrate must be \(module, inputs\),? or a callable .*{words}$"):
        CALLS[call](module.state_dict(), calibrate=given(module, points))


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ((torch.ones(3, 2), torch.ones(2, 2)), r"equally many samples, .*\[3, 2\] and \[2, 2\]"),
        (torch.ones(0, 2), r"at least one, got shapes \[0, 2\]"),
        (torch.tensor(1.0), r"along the first axis, got shapes \[\]"),
        ((), "got shapes none"),
    ],
)
def test_inputs_that_are_no_samples_are_named_by_their_shapes(module, inputs, words):
    with pytest.raises(InputError, match=words):
        coinr.encode_state_dict(module.state_dict(), calibrate=(module, inputs))


@pytest.mark.parametrize("form", [lambda x: x, lambda x: [x], lambda x: x.numpy()], ids=["tensor", "list", "array"])
@pytest.mark.parametrize(("value", "kind"), [(torch.nan, "NaN"), (torch.inf, "infinite"), (-torch.inf, "infinite")])
def test_inputs_that_are_not_finite_are_named(module, points, value, kind, form):
    points[7, 1] = value
    with pytest.raises(InputError, match=f"input 0 of the calibration must be finite, sample 7 holds 1 {kind} values"):
        coinr.encode_state_dict(module.state_dict(), calibrate=(module, form(points)))


def test_samples_that_derivatives_leave_out_must_be_finite_too(module):
    points = torch.rand(3000, 2, generator=torch.Generator().manual_seed(2))
    taken = torch.randperm(3000, generator=torch.Generator().manual_seed(0))[:1024]
    left = next(k for k in range(3000) if k not in taken)
    points[left] = torch.nan
    with pytest.raises(InputError, match=f"sample {left} holds 2 NaN values"):
        coinr.encode_state_dict(module.state_dict(), calibrate=(module, points))


def test_infinite_inputs_that_the_module_takes_as_a_mask_are_allowed(module, points):
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = module

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return self.layers(x) * mask.exp()

    mask = torch.zeros(40, 1)
    mask[3] = -torch.inf
    coinr.encode_state_dict(module.state_dict(), calibrate=(Masked(), (points, mask)))


@pytest.mark.parametrize(("value", "kind"), [(torch.nan, "NaN"), (torch.inf, "infinite")])
def test_inputs_of_layers_that_are_not_finite_are_named(module, points, value, kind):
    points[7, 1] = value
    with pytest.raises(InputError, match=rf"inputs of '0\.weight' must be finite; they hold 1 {kind} values"):
        coinr.encode_state_dict(module.state_dict(), calibrate=lambda: {"0.weight": points})


def failing(*names: str) -> type[Tensor]:
    """A class of tensors whose attributes of these names cannot be read."""

    def fail(self: Tensor) -> None:
        raise ValueError("not to be read")

    return type("Failing", (Tensor,), {name: property(fail) for name in names})


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("shape",), marks=pytest.mark.slow),
        pytest.param(("ndim",), marks=pytest.mark.slow),
        ("shape", "ndim", "dtype", "device"),
    ],
    ids=",".join,
)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("calibrated", [False, True])
def test_attributes_of_a_class_of_tensors_do_not_matter(module, points, call, names, calibrated):
    sd = module.state_dict()
    arguments: dict[str, Any] = {"calibrate": (module, points)} if calibrated else {}
    strange = {name: value.as_subclass(failing(*names)) for name, value in sd.items()}
    assert CALLS[call](strange, **arguments) == CALLS[call](sd, **arguments)


def test_tensors_of_a_class_that_are_one_stay_one_in_a_search(module):
    same: list[bool] = []
    sd = {"a": module[0].weight.detach().as_subclass(failing("shape"))}
    sd["b"] = sd["a"]

    def metric(tensors: dict[str, Tensor]) -> float:
        same.append(tensors["a"] is tensors["b"])
        return -float(tensors["a"].square().sum())

    coinr.search(sd, metric, target_bytes=150)
    assert len(same) > 1
    assert all(same)


@pytest.mark.parametrize("make", [lambda: torch.ones(2).as_subclass(failing("shape")), lambda: _Unspoken()])
def test_whatever_is_given_can_be_described(make: Callable[[], Any]):
    assert type(make()).__name__ in describe_value(make())


class _Unspoken:
    def __repr__(self) -> str:
        raise ValueError("no words")


def test_second_moments_from_given_inputs(module):
    inputs = torch.randn(100, 6)
    found = measure_sensitivity(lambda: {"2.weight": inputs}, module.state_dict()).tensors["2.weight"]
    assert found.input_covariance.shape == (6, 6)
    assert np.isclose(np.diag(found.input_covariance).mean(), 1)


@pytest.mark.parametrize("calibrate", [3, lambda: 5, lambda: {"no": 1}, (nn.Linear(2, 6), torch.zeros(0, 2))])
def test_bad_calibration_is_named(module, calibrate):
    with pytest.raises(coinr.InputError, match="calibrat"):
        coinr.encode_state_dict(module.state_dict(), calibrate=calibrate)
