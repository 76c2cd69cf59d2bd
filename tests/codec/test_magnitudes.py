"""Finite numbers of any magnitude: never an overflow, an infinity, a warning or a tensor of zeros."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

import coinr
from coinr.codec import baselines
from coinr.codec.coders import EXACT, LOSSLESS
from coinr.codec.quantize import sparse
from coinr.sensitivity.calibration import measure_sensitivity
from tests.grids import fast_where

from .round_trip import bits, relative_error

LARGEST = torch.finfo(torch.float64).max

PROFILES = {
    "auto": {},
    "dense": {"profile": "sparse", "form": "dense"},
    "sparse": {"profile": "sparse", "form": "sparse"},
    "direct": {"profile": "direct"},
    "paper": {"profile": "paper", "M": 256, "tolerance": 0.3},
    "uniform": {"profile": "uniform", "tolerance": 0.15},
}

every_profile = pytest.mark.parametrize("profile", PROFILES)


@pytest.fixture(autouse=True)
def _strict(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Warnings are errors, and dictionaries small."""
    monkeypatch.setattr(sparse, "_EFFORT", ((1 << 62, 1 << 8, 1),))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def weights(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """A matrix whose largest magnitude is 1."""
    made = torch.randn(12, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (made / made.abs().max()).to(dtype)


@every_profile
@pytest.mark.parametrize(
    "size", fast_where(lambda size: size in (1e-310, LARGEST), [1e-310, 1e-160, 1e-45, 1e39, 1e160, LARGEST])
)
def test_numbers_beyond_float32_come_back_in_every_profile(profile, size):
    w = weights() * size
    sd = {"matrix": w, "vector": w[0], "complex": torch.complex(w, weights() * min(size, 1.0)), "usual": weights()}
    got = coinr.decode_state_dict(coinr.encode_state_dict(sd, **PROFILES[profile]))
    for name in ("matrix", "vector", "complex"):
        assert bits(got[name]) == bits(sd[name]), name
    assert 0 < relative_error(got["usual"], sd["usual"]) <= PROFILES[profile].get("tolerance", 0.15)


@every_profile
@pytest.mark.parametrize("size", fast_where(lambda size: size in (1e-37, 3e38), [1e-37, 1e-30, 1e21, 1e25, 1e34, 3e38]))
def test_numbers_whose_squares_leave_float32_are_coded_with_loss_or_exactly(profile, size):
    """Every step is one that readers accept; sizes at which a coder has steps are coded by it."""
    net = {"0.weight": weights(torch.float32) * size, "1.weight": weights(torch.float32).T * size}
    # rows of very different weight have steps of their own
    net["1.weight"] = net["1.weight"] * torch.linspace(-8, 0, 12).exp()
    options = {"tolerance": 0.15} | PROFILES[profile]
    blob = coinr.encode_state_dict(net, **options)
    got = coinr.decode_state_dict(blob)
    for name, w in net.items():
        assert relative_error(got[name], w) <= options["tolerance"], name
    if 1e-30 <= size <= 1e25:
        used = {row["coder"] for row in coinr.inspect(blob).tensors}
        assert used.isdisjoint({LOSSLESS.name, EXACT.name})


@every_profile
@pytest.mark.parametrize("tolerance", [1e-300, 1e4, 1e300])
def test_tolerances_of_any_magnitude(profile, tolerance):
    w = weights()
    options = PROFILES[profile] | {"tolerance": tolerance}
    got = coinr.decode_state_dict(coinr.encode_state_dict({"w": w}, **options))["w"]
    assert relative_error(got, w) <= tolerance
    assert bool(got.isfinite().all())


def test_errors_of_any_magnitude_bound_tensors_of_any_magnitude():
    sd = {"huge": weights() * 1e200, "tiny": weights() * 1e-200, "usual": weights()}
    for error in (0.0, 1e-300, 1e300):
        got = coinr.decode_state_dict(coinr.encode_state_dict(sd, errors=dict.fromkeys(sd, error)))
        assert bits(got["huge"]) == bits(sd["huge"])
        assert bits(got["tiny"]) == bits(sd["tiny"])
        assert relative_error(got["usual"], sd["usual"]) <= 0.15


def test_sizes_and_refinements_of_numbers_beyond_float32():
    sd = {"huge": weights()[:4, :4] * 1e200, "mask": mask(torch.float64, 8), "usual": weights()[:6, :6]}
    assert len(coinr.encode_state_dict(sd, target_bytes=500, profile="direct")) <= 500
    refined = coinr.refine(
        sd,
        lambda state: 1 + (state["usual"] - sd["usual"]).square().mean(),
        steps=2,
        profile="direct",
        loss_increase=0.5,
    )
    assert bits(refined.state_dict["huge"]) == bits(sd["huge"])
    assert torch.equal(refined.state_dict["mask"], sd["mask"])


def mask(dtype: torch.dtype, side: int) -> torch.Tensor:
    return torch.triu(torch.full((side, side), torch.finfo(dtype).min, dtype=dtype), 1)


@pytest.mark.parametrize(
    ("profile", "dtype"),
    fast_where(
        lambda profile, dtype: dtype == torch.float64 or profile == "auto",
        itertools.product(PROFILES, [torch.float64, torch.float32, torch.bfloat16, torch.float16]),
    ),
)
def test_masks_of_the_least_number_are_kept_and_leave_other_tensors_as_fine(profile, dtype):
    usual = {"0.weight": weights(torch.float32), "1.weight": weights(torch.float32).T.contiguous()}
    options = PROFILES[profile]
    blob = coinr.encode_state_dict(usual | {"mask": mask(dtype, 64)}, **options)
    got = coinr.decode_state_dict(blob)
    assert relative_error(got["mask"], mask(dtype, 64)) <= options.get("tolerance", 0.15)
    alone = coinr.decode_state_dict(coinr.encode_state_dict(usual, **options))
    for name in usual:
        assert bits(got[name]) == bits(alone[name]), name


@pytest.mark.parametrize("size", [1e-300, 1e-30, 1e30, 1e160, LARGEST])
def test_bases_of_any_magnitude(size):
    base = {"w": weights() * size, "v": weights(), "same": weights() * size}
    near = {"w": base["w"] * (1 - 1e-3 * weights().abs()), "v": weights() * size, "same": base["same"].clone()}
    blob = coinr.encode_state_dict(near, base=base, tolerance=1e-5)
    got = coinr.decode_state_dict(blob, base=base)
    for name, w in near.items():
        assert relative_error(got[name], w) <= 1e-5, name
    assert coinr.inspect(blob).tensors[2]["inner"] == "same"


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e160, 1e300])
def test_calibrations_of_any_magnitude(size):
    """A factor of the inputs changes nothing of what they say."""
    inputs = torch.randn(40, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    sd = {"weight": weights()}
    for calibrate in (lambda x: lambda: {"weight": x}, lambda x: (nn.Linear(12, 12, False, dtype=torch.float64), x)):
        usual, scaled = (
            measure_sensitivity(calibrate(inputs * factor), sd).tensors["weight"] for factor in (1.0, size)
        )
        np.testing.assert_allclose(scaled.input_covariance, usual.input_covariance, rtol=1e-6)
        if usual.distortion_weights is not None:
            np.testing.assert_allclose(scaled.distortion_weights, usual.distortion_weights, rtol=1e-6)
            assert math.isfinite(scaled.mean)
            assert scaled.mean > 0
    got = coinr.decode_state_dict(coinr.encode_state_dict(sd, calibrate=calibrate(inputs * size)))["weight"]
    assert relative_error(got, sd["weight"]) <= 0.15


def test_samples_of_which_one_is_larger_by_far_are_added_up_in_one_unit():
    inputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    row = (inputs[2] / inputs[2].norm()).numpy()
    inputs[2] *= 1e200
    module = nn.Linear(3, 2, False, dtype=torch.float64)
    found = measure_sensitivity((module, inputs), {"weight": torch.ones(2, 3, dtype=torch.float64)}).tensors["weight"]
    np.testing.assert_allclose(found.input_covariance, 3 * np.outer(row, row), atol=0.01)


class Square(nn.Module):
    """A module whose derivatives leave float32 with large weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(12, 12))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x @ self.weight).square()


def test_a_module_that_cannot_hold_the_weights_is_refused():
    calibrate = (Square(), torch.ones(3, 12))
    with pytest.raises(coinr.InputError, match="derivatives at sample . that are not finite"):
        coinr.encode_state_dict({"weight": weights() * 1e160}, calibrate=calibrate)


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("kind", ["gaussian", "hadamard"])
@pytest.mark.parametrize("exponent", [-1040, -1000, -600, -200, 200, 600, 1000, 1022])
def test_pursuits_of_any_magnitude(backend, kind, exponent):
    """A power of two changes nothing but values, and squared norms as far as float64 holds them."""
    W, dictionary = weights().numpy(), coinr.Dictionary(kind, 12, 60, 0)
    usual, scaled = (coinr.omp(vectors, dictionary, 5, backend=backend) for vectors in (W, np.ldexp(W, exponent)))
    np.testing.assert_array_equal(scaled.indices, usual.indices)
    if exponent > -1000:
        np.testing.assert_array_equal(np.ldexp(scaled.values, -exponent), usual.values)
    assert np.isfinite(scaled.values).all()
    assert (scaled.values != 0).any(1).all()
    limits = np.finfo(np.float64)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(
            scaled.path, np.ldexp(usual.path, 2 * exponent).clip(limits.tiny, limits.max), rtol=1e-12
        )


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_pursuits_of_masks_and_of_rows_of_every_magnitude(backend):
    dictionary = coinr.Dictionary("gaussian", 12, 60, 0)
    rows = weights().numpy() * 10.0 ** np.linspace(-300, 300, 12)[:, None]
    usual = coinr.omp(weights().numpy(), dictionary, 4, backend=backend)
    np.testing.assert_array_equal(coinr.omp(rows, dictionary, 4, backend=backend).indices, usual.indices)
    least = mask(torch.float64, 12).numpy()
    code = coinr.omp(least, dictionary, 12, backend=backend)
    made = (code.values / LARGEST)[:, None] @ np.stack([dictionary.atoms(np.maximum(row, 0)).T for row in code.indices])
    np.testing.assert_allclose(made[:, 0], np.triu(-np.ones((12, 12)), 1), atol=1e-4)
    assert (code.indices[11] == -1).all()


@pytest.mark.parametrize("method", baselines.METHODS)
@pytest.mark.parametrize("size", [1e-320, 1e-300, 1e-50, 1e39, 1e160, LARGEST])
def test_baselines_refuse_what_their_numbers_cannot_stand_for(method, size):
    with pytest.raises(coinr.InputError, match="w does not fit float(16|32)"):
        baselines.encode({"w": weights() * size}, method)


@pytest.mark.parametrize("method", [f"uniform{width}" for width in range(2, 17)] + ["fp32"])
@pytest.mark.parametrize("size", [1e-30, 1e30, torch.finfo(torch.float32).max])
def test_baselines_hold_what_float32_holds(method, size):
    w = {"w": (weights() * size).to(torch.float32)}
    got = baselines.decode(baselines.encode(w, method), method, w)["w"]
    assert bool(got.isfinite().all())
    assert relative_error(got, w["w"]) < 1.0
