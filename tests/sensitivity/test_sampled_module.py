"""Calibration by modules of all kinds, which are left as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

import coinr
from coinr.errors import InputError
from coinr.sensitivity.calibration import measure_sensitivity

POINTS = torch.rand(40, 2, generator=torch.Generator().manual_seed(2)) * 2 - 1


def network(*between: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 6), *between, nn.Tanh(), nn.Linear(6, 3))


def plain(**changes: Any) -> bytes:
    made = network()
    return _encoded(made.state_dict(), made, POINTS, **changes)


def _encoded(state_dict: Any, module: nn.Module, inputs: Any, **changes: Any) -> bytes:
    return coinr.encode_state_dict(state_dict, calibrate=(module, inputs), tolerance=0.1, **changes)


def _decoded(blob: bytes) -> list[torch.Tensor]:
    return list(coinr.decode_state_dict(blob).values())


class Wrapper(nn.Module):
    """A module whose state dict is that of a part."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


def _compiled() -> nn.Module:
    return torch.compile(network(), backend="eager")


class Inner(nn.Module):
    """A module with a compiled part."""

    def __init__(self) -> None:
        super().__init__()
        self.net = _compiled()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


def _distributed() -> nn.Module:
    if not dist.is_initialized():
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    return nn.parallel.DistributedDataParallel(network())


@pytest.fixture
def _group():
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


WRAPPED = {
    "data parallel": lambda: nn.DataParallel(network()),
    "distributed": _distributed,
    "compiled": _compiled,
    "wrapper": Wrapper,
    "compiled part": Inner,
    "several": lambda: nn.DataParallel(torch.compile(nn.DataParallel(network()), backend="eager")),
}


@pytest.mark.usefixtures("_group")
@pytest.mark.parametrize("kind", WRAPPED)
def test_a_wrapped_module_tells_what_the_module_tells(kind):
    expected = _decoded(plain())
    module = WRAPPED[kind]()
    own = module.state_dict()
    for state_dict, called in ((own, module), (own, network()), (network().state_dict(), module)):
        found = _encoded(state_dict, called, POINTS)
        assert list(coinr.decode_state_dict(found)) == list(state_dict)
        assert all(map(torch.equal, _decoded(found), expected))


def test_names_that_two_have_without_a_prefix_are_not_guessed():
    module = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    module.forward = lambda x: module["b"](module["a"](x))  # type: ignore[method-assign]
    with pytest.raises(InputError, match="no parameter that the state dict holds"):
        measure_sensitivity((module, POINTS), {"weight": torch.ones(2, 2)})


class Odd(nn.Module):
    """A module that spoils what it is given, counts its calls and may fail."""

    def __init__(self, fail: Exception | None = None) -> None:
        super().__init__()
        self.net = network(nn.BatchNorm1d(6), nn.Dropout(0.5))
        self.net[1].eval()
        self.register_buffer("calls", torch.zeros(1))
        self.fail = fail

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.net(x.clone())
        self.calls += 1
        x.mul_(-1e3)
        if self.fail is not None:
            raise self.fail
        return out


def test_a_module_that_fails_without_words_is_reported_by_the_kind_of_its_error():
    with pytest.raises(InputError, match=r"cannot take torch\.float32 \[1, 2\]: RuntimeError"):
        measure_sensitivity((Odd(RuntimeError()), POINTS), Odd().state_dict())


@pytest.mark.parametrize("fail", [None, KeyError("mine"), RuntimeError("mine")])
def test_the_module_and_its_inputs_are_left_as_they_were(fail):
    module, points = Odd(fail).train(), POINTS.clone()
    module.net[1].eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    modes = [part.training for part in module.modules()]
    if fail is None:
        _encoded(module.state_dict(), module, points)
    else:
        with pytest.raises(InputError if isinstance(fail, RuntimeError) else KeyError, match="mine"):
            _encoded(module.state_dict(), module, points)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert [part.training for part in module.modules()] == modes
    assert torch.equal(points, POINTS)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_a_module_that_spoils_its_own_gradient_is_named():
    class Spoiling(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = super().forward(x)
            x.mul_(2)
            return out

    module = Spoiling(2, 3)
    with pytest.raises(InputError, match="cannot be derived: .*inplace"):
        _encoded(module.state_dict(), module, POINTS)


def test_what_is_learned_is_that_of_the_module_in_evaluation():
    """Dropout and statistics of a batch would make it another each time."""
    module = network(nn.BatchNorm1d(6), nn.Dropout(0.5))
    found = [measure_sensitivity((module.train(mode), POINTS), module.state_dict()) for mode in (True, False)]
    for name, one in found[0].tensors.items():
        assert one.mean == found[1].tensors[name].mean
    state_dict = module.state_dict() | {"1.running_var": torch.full((6,), 100.0)}
    of_others = measure_sensitivity((module, POINTS), state_dict)
    assert of_others.tensors["0.weight"].mean < 0.1 * found[0].tensors["0.weight"].mean


@pytest.mark.parametrize(
    "inputs",
    [
        POINTS.numpy(), POINTS.double().numpy(), POINTS.double(), POINTS.numpy().astype(">f4"), [POINTS],
        (POINTS.numpy()[:, ::-1][:, ::-1],),
    ],
)  # fmt: skip
def test_samples_are_taken_in_any_form(inputs):
    assert _encoded(network().state_dict(), network(), inputs) == plain()


def test_whole_numbers_are_taken_as_they_are():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 2))
    found = measure_sensitivity((module, np.arange(5)), module.state_dict())
    assert set(found.tensors) == {"0.weight", "1.weight", "1.bias"}


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (POINTS[:, :1], r"cannot take torch.float32 \[1, 1\]: mat1 and mat2"), ([POINTS, POINTS], "cannot take"),
        (torch.ones(()), "samples along the first axis"), ([], "samples along the first axis"),
        (POINTS[:0], "at least one"), ([POINTS, POINTS[1:]], "equally many"), (None, "has dtype object"),
        ("points", "has dtype <U1"), ([None], "has dtype object"),
    ],
)  # fmt: skip
def test_what_are_no_samples_is_named(inputs, words):
    with pytest.raises(InputError, match=words):
        _encoded(network().state_dict(), network(), inputs)


class Giving(nn.Module):
    def __init__(self, what: Any) -> None:
        super().__init__()
        self.net, self.what = network(), what

    def forward(self, x: torch.Tensor) -> Any:
        return self.what(self.net(x))


@pytest.mark.parametrize("what", [lambda y: {"out": y}, lambda y: (y, None), lambda y: [[y[:, :1]], {"b": y[:, 1:]}]])
def test_outputs_may_lie_in_containers(what):
    module = Giving(what)
    found = measure_sensitivity((module, POINTS), module.state_dict())
    assert all(one.mean > 0 for one in found.tensors.values())


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (lambda y: None, "gives no floating-point tensor"), (lambda y: y.argmax(1), "gives no floating-point tensor"),
        (lambda y: y.detach(), "depends on none of its parameters"), (lambda y: 1.0, "gives no floating-point tensor"),
    ],
)  # fmt: skip
def test_outputs_that_tell_nothing_are_named(what, words):
    module = Giving(what)
    with pytest.raises(InputError, match=words):
        _encoded(module.state_dict(), module, POINTS)


def test_state_dicts_of_arrays_are_calibrated():
    arrays = {name: tensor.numpy().astype(">f4") for name, tensor in network().state_dict().items()}
    assert all(map(torch.equal, _decoded(_encoded(arrays, network(), POINTS)), _decoded(plain())))
    found = measure_sensitivity(lambda: {"0.weight": POINTS.numpy().astype(">f8")}, arrays)
    expected = measure_sensitivity(lambda: {"0.weight": POINTS.double()}, network().state_dict())
    assert np.allclose(found.tensors["0.weight"].input_covariance, expected.tensors["0.weight"].input_covariance)


@pytest.mark.parametrize(
    "given",
    [
        None, [POINTS], {"0.weight": None}, {"0.weight": "x"}, {"0.weight": POINTS[:, :1]}, {"another": POINTS},
        {"0.weight": torch.full((3, 2), torch.nan)}, {3: POINTS}, {"0.weight": torch.ones(())},
    ],
)  # fmt: skip
def test_what_are_no_inputs_of_layers_is_named(given):
    with pytest.raises(InputError):
        coinr.encode_state_dict(network().state_dict(), calibrate=lambda: given, tolerance=0.1)


def test_modules_and_state_dicts_are_both_real_or_both_complex():
    complex_weights = {"weight": torch.ones(3, 2, dtype=torch.complex64)}
    for module, state_dict in (
        (nn.Linear(2, 3, bias=False), complex_weights),
        (nn.Linear(2, 3, bias=False, dtype=torch.complex64), {"weight": torch.ones(3, 2)}),
    ):
        with pytest.raises(InputError, match="'weight' in .*both must be real or both complex"):
            _encoded(state_dict, module, POINTS)
