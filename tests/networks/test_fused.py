"""Networks by the extension: values and gradients are those of float64 autograd, and torch takes all other calls."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, vmap
from torch.nn.utils import parametrizations
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from coinr.networks import Siren, build_network, fused
from coinr.networks.siren import Siren as _Siren
from tests.grids import fast_where

KINDS = ("siren", "finer", "gauss", "relu", "wire")


def network(kind: str, *sizes: int, **settings: Any) -> Any:
    names = ("in_features", "out_features", "width", "hidden_layers")
    config = dict(zip(names, sizes, strict=True)) | settings
    return build_network(kind, config, torch.Generator().manual_seed(0))


def samples(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def in_double(one: nn.Module) -> Any:
    made = copy.deepcopy(one)
    for tensor in (*made.parameters(), *made.buffers()):
        tensor.data = tensor.data.to(torch.complex128 if tensor.is_complex() else torch.float64)
    return made


def relative(found: Any, expected: Any) -> float:
    """The error of several tensors over their norm."""
    flat = [
        torch.cat([torch.view_as_real(t.detach().to(torch.complex128)).flatten() for t in part])
        for part in (found, expected)
    ]
    return float((flat[0] - flat[1]).norm() / flat[1].norm())


@contextmanager
def counted() -> Iterator[list[int]]:
    """The samples of each call that the extension computes within."""
    seen: list[int] = []
    usual = fused._forward

    def forward(found: Any, inputs: Any, tensors: Any, count: int) -> Tensor:
        seen.append(count)
        return usual(found, inputs, tensors, count)

    fused._forward = forward
    try:
        yield seen
    finally:
        fused._forward = usual


def check_gradients(one: Any, count: int) -> None:
    x, direction = samples(count, one.in_features), samples(count, one.out_features, seed=2)
    double, wide = in_double(one), x.double().requires_grad_()
    expected = double.plain_forward(wide)
    gradients = torch.autograd.grad((expected * direction).sum(), [*double.parameters(), wide])
    with counted() as seen:
        values = one(x.requires_grad_())
    found = torch.autograd.grad((values * direction).sum(), [*one.parameters(), x])
    assert seen == [count]
    assert relative([values], [expected]) < 1e-5
    assert relative(found[:-1], gradients[:-1]) < 1e-5
    assert relative(found[-1:], gradients[-1:]) < 1e-5


# Settings with which rounding errors do not grow from layer to layer.
MILD = {"finer": {"omega": 2.0}, "gauss": {"scale": 1.0}, "wire": {"omega": 1.0, "scale": 0.5}}

CASES = [
    (kind, width, depth, count)
    for kind in KINDS
    for width, depth, count in [(19, 2, 130), (1, 0, 1), (64, 3, 700), (300, 2, 65), (33, 12, 999), (7, 1, 10_000)]
    if (kind, depth) != ("finer", 12)  # its slopes exceed 1, so deep ones multiply any rounding
]


@pytest.mark.parametrize(
    ("kind", "width", "depth", "count"), fast_where(lambda _kind, width, *_: width in (19, 1), CASES)
)
def test_values_and_gradients_are_those_of_float64(kind, width, depth, count):
    settings = MILD.get(kind, {}) if width > 19 else {}
    check_gradients(network(kind, 2, 3, width, depth, **settings), count)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("width", "depth"), [(64, 3), (300, 2)])
def test_at_high_frequencies_errors_are_those_of_torch(kind, width, depth):
    one, x = network(kind, 2, 3, width, depth), samples(700, 2)

    def gradients(of: Any, values: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(values.square().sum(), list(of.parameters()))

    double = in_double(one)
    exact = gradients(double, double.plain_forward(x.double()))
    found, plain = gradients(one, one(x)), gradients(one, one.plain_forward(x))
    assert relative(found, exact) < max(1e-5, 2 * relative(plain, exact))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("width", "frequencies"), [(5, 3), (18, 1)])
def test_encoded_coordinates(kind, width, frequencies):
    settings = {"frequencies": frequencies, "base": 1.5, "lowest": 0.7} | ({"omega": 5.0} if kind == "finer" else {})
    check_gradients(network(kind, 3, 2, width, 1, **settings), 70)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_and_strides_do_not_change_a_bit(kind):
    one, x = network(kind, 2, 3, 24, 2), samples(2100, 2)
    spread = torch.empty(2, 2 * 2100)[:, ::2].copy_(x.T).T

    def computed(threads: int, x: Tensor) -> list[Tensor]:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            values = one(x)
            return [values, *torch.autograd.grad(values.square().sum(), list(one.parameters()))]
        finally:
            torch.set_num_threads(before)

    expected = computed(1, x)
    for found in (computed(2, x), computed(3, x), computed(1, spread)):
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("depth", "width", "skip"),
    fast_where(lambda depth, *_: depth < 8, [(3, 14, 1), (2, 5, 0), (1, 2, None), (8, 256, 4)]),
)
def test_radiance_fields(depth, width, skip):
    config = {"depth": depth, "width": width, "skip": skip, "point_frequencies": 4, "view_frequencies": 2}
    field = build_network("nerf", config, torch.Generator().manual_seed(0)).coarse
    points, directions, weights = samples(13, 11, 3), samples(13, 3, seed=2), samples(13, 11, 4, seed=3)
    results = []
    for one, dtype in ((field, torch.float32), (in_double(field), torch.float64)):
        color, density = one(points.to(dtype), directions.to(dtype))
        total = (color * weights[..., :3]).sum() + (density * weights[..., 3]).sum()
        results.append(([color, density], torch.autograd.grad(total, list(one.parameters()))))
    with counted() as seen:
        field(points, directions)
        field(points.clone().requires_grad_(), directions)
    assert seen == [143]
    (values, gradients), (expected, exact) = results
    assert relative(values, expected) < 1e-5
    assert relative(gradients, exact) < 1e-5


def test_shapes_of_coordinates():
    one = network("siren", 2, 3, 8, 1)
    x = samples(24, 2)
    expected = one(x)
    assert torch.equal(one(x.reshape(2, 3, 4, 2)), expected.reshape(2, 3, 4, 3))
    assert torch.equal(one(x[5]), expected[5])
    assert torch.equal(one(x[:1].expand(70, 2)), expected[:1].expand(70, 3))
    assert one(x[:0]).shape == (0, 3)
    gradients = torch.autograd.grad(one(x[:0]).sum(), list(one.parameters()))
    assert not any(gradient.any() for gradient in gradients)


def test_large_batches_are_sums_of_their_parts():
    one, x = network("siren", 2, 1, 16, 1), samples(20_000, 2)
    whole = torch.autograd.grad(one(x).sum(), list(one.parameters()))
    parts = [torch.autograd.grad(one(part).sum(), list(one.parameters())) for part in x.split(1234)]
    assert relative([sum(column) for column in zip(*parts, strict=True)], whole) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_stays_so(kind, bad):
    one, x = network(kind, 2, 3, 8, 1), samples(100, 2)
    x[37, 0] = bad
    values, expected = one(x), one.plain_forward(x)
    assert torch.equal(values.isfinite(), expected.isfinite())
    broken = torch.autograd.grad(values.sum(), one.parameters())
    plain = torch.autograd.grad(expected.sum(), one.parameters())
    assert [bool(t.isfinite().all()) for t in broken] == [bool(t.isfinite().all()) for t in plain]


def test_gradients_are_derived_again():
    one, x = network("siren", 2, 1, 8, 1), samples(40, 2).requires_grad_()
    double, wide = in_double(one), x.detach().double().requires_grad_()

    def laplacian(values: Tensor, x: Tensor) -> Tensor:
        (slope,) = torch.autograd.grad(values.sum(), x, create_graph=True)
        return sum(torch.autograd.grad(slope[:, k].sum(), x, create_graph=True)[0][:, k] for k in range(2))

    with counted() as seen:
        values = one(x)
    assert seen == [40]
    losses = laplacian(values, x).square().mean(), laplacian(double.plain_forward(wide), wide).square().mean()
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-4)
    # the last bias has no part in the slope
    pairs = [
        torch.autograd.grad(loss, list(of.parameters())[:-1]) for loss, of in zip(losses, (one, double), strict=True)
    ]
    assert relative(*pairs) < 1e-4


def test_only_gradients_that_are_wanted():
    one, x = network("siren", 2, 1, 8, 1), samples(40, 2)
    one.layers[0].weight.requires_grad_(False)
    loss = one(x).square().sum()
    loss.backward()
    assert one.layers[0].weight.grad is None
    assert one.layers[1].weight.grad.any()
    with torch.no_grad():
        assert not one(x).requires_grad
    with torch.inference_mode():
        assert one(x).is_inference()


def test_tensors_that_are_passed_in():
    one, x = network("siren", 2, 1, 8, 1), samples(40, 2)
    given = {name: (p.detach() * 0.9).requires_grad_() for name, p in one.named_parameters()}
    with counted() as seen:
        values = functional_call(one, given, (x,))
    assert seen == [40]
    gradients = torch.autograd.grad(values.square().sum(), list(given.values()))
    plain = functional_call(in_double(one), {k: v.double() for k, v in given.items()}, (x.double(),))
    assert relative(gradients, torch.autograd.grad(plain.square().sum(), list(given.values()))) < 1e-5


def test_a_weight_that_changed_is_noticed():
    one, x = network("siren", 2, 1, 8, 1), samples(40, 2)
    loss = one(x).square().sum()
    with torch.no_grad():
        one.layers[0].weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


class _Watching(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class _Dispatching(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class _Subclass(_Siren):
    def wave(self, x: Tensor, layer: nn.Linear, omega: float) -> Tensor:
        return torch.cos(layer(x))


def _hooked(one: Any) -> Any:
    one.layers[0].register_forward_hook(lambda *_: None)
    return one


def _parametrized(one: Any) -> Any:
    parametrizations.weight_norm(one.layers[1])
    return one


def _replaced(one: Any) -> Any:
    one.layers[1] = nn.Sequential(one.layers[1], nn.Identity())
    return one


def _strided(one: Any) -> Any:
    weight = one.layers[1].weight
    weight.data = weight.data.T.contiguous().T
    return one


def _patched(one: Any) -> Any:
    one.wave = lambda x, layer, omega: torch.cos(layer(x))
    return one


@pytest.mark.parametrize(
    "change",
    [_hooked, _parametrized, _strided, _patched, lambda one: one.double(), lambda one: one.bfloat16()],
    ids=["hook", "parametrization", "strides", "patch", "double", "half"],
)
def test_changed_networks_are_left_to_torch(change):
    one = change(network("siren", 2, 1, 8, 1))
    x = samples(40, 2).to(one.layers[-1].weight.dtype)
    with counted() as seen:
        values = one(x)
    assert not seen
    assert torch.equal(values, one.plain_forward(x))


def test_subclasses_and_replaced_layers_are_left_to_torch():
    with counted() as seen:
        assert fused.fused(_Subclass(2, 1, 8, 1)) is None
        assert fused.fused(_replaced(network("siren", 2, 1, 8, 1))) is None
        assert network("siren", 2, 1, 8, 1)(samples(40, 2).requires_grad_()).shape == (40, 1)
    assert seen == [40]


@pytest.mark.parametrize(
    "within",
    [
        _Watching,
        _Dispatching,
        lambda: torch.autocast("cpu", torch.bfloat16),
        forward_ad.dual_level,
    ],
    ids=["function mode", "dispatch mode", "autocast", "forward derivative"],
)
def test_operations_that_are_watched_are_left_to_torch(within: Callable[[], Any]):
    one, x = network("siren", 2, 1, 8, 1), samples(40, 2)
    with counted() as seen, within():
        one(x)
    assert not seen


def test_function_transforms_are_left_to_torch():
    one, x = network("siren", 2, 1, 8, 1), samples(40, 2)
    with counted() as seen:
        one_by_one = vmap(one)(x)
        slopes = vmap(grad(lambda p: one(p)[0]))(x)
    assert not seen
    torch.testing.assert_close(one(x), one_by_one)
    point = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(one(point).sum(), point)
    torch.testing.assert_close(expected, slopes, rtol=1e-4, atol=1e-4)


def test_a_default_device_changes_nothing():
    one, x = network("siren", 2, 1, 8, 1), samples(40, 2)
    expected = one(x)
    with counted() as seen, torch.device("meta"):
        assert torch.equal(one(x), expected)
    assert seen == [40]


def test_wrong_coordinates_are_named_by_torch():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        Siren(2, 1, 8, 1)(samples(40, 3))
    with pytest.raises(RuntimeError, match="dtype"):
        Siren(2, 1, 8, 1)(samples(40, 2).double())
