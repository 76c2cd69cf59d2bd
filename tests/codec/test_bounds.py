"""What is promised whatever else is asked: bounds on relative errors where errors weigh, and which backend runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import coinr
from coinr.codec.quantize import sparse
from coinr.engine import backends as _backend
from coinr.sensitivity.calibration import SensitivityInfo, TensorSensitivity

from .round_trip import relative_error


@pytest.fixture
def net() -> tuple[nn.Module, torch.Tensor]:
    """A network of which half the outputs of the first layer hardly matter, and inputs for it."""
    module = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 2))
    with torch.no_grad():
        module[2].weight[:, ::2] *= 1e-4
        module[4].weight[:, ::2] *= 1e-4
    return module, torch.randn(50, 6)


def lopsided(sd: dict[str, torch.Tensor]) -> SensitivityInfo:
    """All but one row of each matrix weigh next to nothing, so that weighted errors say next to nothing."""
    found = {}
    for name, tensor in sd.items():
        weights = np.full(len(tensor), 1e-9)
        weights[0] = len(tensor) - weights[1:].sum()
        if tensor.ndim > 1:
            found[name] = TensorSensitivity(1.0, weights, None)
    return SensitivityInfo(found)


PROFILES = {
    "auto": {},
    "direct": {"profile": "direct"},
    "dense": {"profile": "sparse", "form": "dense"},
    "sparse": {"profile": "sparse", "form": "sparse", "M": 256, "beam": 1},
    "paper": {"profile": "paper", "M": 256},
    "uniform": {"profile": "uniform"},
}


@pytest.mark.parametrize("profile", PROFILES)
def test_the_tolerance_bounds_the_plain_error_of_every_tensor_where_rows_weigh(profile, net, monkeypatch):
    """Whatever errors are asked of single tensors, and however rows weigh."""
    monkeypatch.setattr(sparse, "_EFFORT", ((1 << 62, 1 << 8, 1),))
    module, inputs = net
    sd = dict(module.state_dict())
    for kind, calibrate in {"lopsided": lopsided(sd), "module": (module, inputs), "none": None}.items():
        errors = dict.fromkeys(sd, 1e3)
        blob = coinr.encode_state_dict(sd, tolerance=0.05, errors=errors, calibrate=calibrate, **PROFILES[profile])
        for name, tensor in coinr.decode_state_dict(blob).items():
            assert relative_error(tensor, sd[name]) <= 0.05, (kind, name)


def test_weights_of_rows_are_used_at_all(net):
    """Otherwise the bound would be kept by itself."""
    sd = {name: tensor for name, tensor in net[0].state_dict().items() if tensor.ndim > 1}
    blob = coinr.encode_state_dict(sd, profile="direct", tolerance=0.3, calibrate=lopsided(sd))
    got = coinr.decode_state_dict(blob)
    for name in ("0.weight", "2.weight"):
        first, others = (relative_error(got[name][rows], sd[name][rows]) for rows in (slice(0, 1), slice(1, None)))
        assert others > 2 * first, name


class Called:
    """A backend that notes that it was called."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self._backend, self._name, self._calls = _backend._load(name), name, calls

    def __getattr__(self, attribute: str):
        self._calls.append(self._name)
        return getattr(self._backend, attribute)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    made: list[str] = []
    backends = {name: Called(name, made) for name in ("native", "reference")}
    monkeypatch.setattr(_backend, "_load", backends.__getitem__)
    return made


@pytest.mark.parametrize(("argument", "variable"), [("reference", "native"), ("native", "reference")])
def test_a_backend_that_is_named_wins_over_the_environment(argument, variable, calls, monkeypatch):
    monkeypatch.setenv("COINR_BACKEND", variable)
    dictionary = coinr.Dictionary("gaussian", 16, 40, 0)
    W = np.ones((2, 16), np.float32)
    for work in (
        lambda: coinr.omp(W, dictionary, 2, backend=argument),
        lambda: dictionary.atoms([1], backend=argument),
        lambda: dictionary.materialize(backend=argument),
    ):
        work()
        assert calls
        assert set(calls) == {argument}
        calls.clear()
    # decoding to verify has no argument
    coinr.encode_state_dict({"w": torch.randn(16, 16)}, profile="paper", M=64, s=3, backend=argument)
    assert calls[0] == argument


@pytest.mark.parametrize("variable", ["native", "reference"])
def test_the_environment_names_the_backend_where_no_argument_does(variable, calls, monkeypatch):
    monkeypatch.setenv("COINR_BACKEND", variable)
    coinr.omp(np.ones((2, 16), np.float32), coinr.Dictionary("gaussian", 16, 40, 0), 2)
    blob = coinr.encode_state_dict({"w": torch.randn(16, 16)}, profile="paper", M=64, s=3)
    coinr.decode_state_dict(blob)
    assert set(calls) == {variable}


def test_a_wrong_backend_is_reported_by_where_it_was_named(monkeypatch):
    monkeypatch.setenv("COINR_BACKEND", "cpu")
    sd = {"w": torch.ones(16, 16)}
    for work in (lambda: coinr.encode_state_dict(sd), _backend.backends, _backend.host_backend):
        with pytest.raises(coinr.InputError, match="^COINR_BACKEND 'cpu' is not one of reference, native, triton$"):
            work()
    with pytest.raises(coinr.InputError, match="^backend 'gpu' is not one of"):
        coinr.encode_state_dict(sd, backend="gpu")


def test_without_either_the_native_backend_runs(calls, monkeypatch):
    monkeypatch.delenv("COINR_BACKEND", raising=False)
    coinr.omp(np.ones((2, 16), np.float32), coinr.Dictionary("gaussian", 16, 40, 0), 2)
    assert set(calls) == {"native"}
