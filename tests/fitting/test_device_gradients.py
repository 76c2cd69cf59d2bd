"""Gradients of fits by the Triton kernels, in their interpreter, beside those of one batched computation."""

import pytest
import torch

from coinr import ImageSignal
from coinr.fitting.device_gradients import DeviceGradients
from coinr.fitting.gradients import BatchedGradients
from coinr.fitting.stack import Stack
from coinr.networks import build_network
from tests.kernels import on_device


def networks(kind, width=8, **settings):
    sizes = {"in_features": 2, "out_features": 3, "width": width, "hidden_layers": 1}
    return [
        build_network(kind, sizes | settings, torch.Generator().manual_seed(k)).to(on_device.DEVICE) for k in range(2)
    ]


def signals():
    return [ImageSignal(torch.rand(4, 5, 3)).to(on_device.DEVICE) for _ in range(2)]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("siren", {"first_omega": 20.0}),
        pytest.param("finer", {}, marks=pytest.mark.slow),
        pytest.param("gauss", {"scale": 7.0}, marks=pytest.mark.slow),
        pytest.param("relu", {"frequencies": 2}, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("sizes", [(6, 6), pytest.param((6, 9), marks=pytest.mark.slow)])
def test_gradients_are_those_of_the_batched_computation(kind, settings, sizes):
    many, made = networks(kind, **settings), signals()
    block = [torch.randint(20, (2, size), device=on_device.DEVICE) for size in sizes]
    factor = torch.ones((), device=on_device.DEVICE) * 3
    with Stack(many) as stack:
        found = []
        for gradients in (BatchedGradients(many, made, stack, False), DeviceGradients.of(many, made, stack)):
            gradients.load(block)
            errors = gradients.compute(1, factor)
            found.append([errors, *(tensor.grad.clone() for tensor in stack.tensors)])
    for expected, mine in zip(*found, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", ["wire", "wide", "hook", "fixed", "unlike"])
def test_other_networks_are_left_to_torch(case):
    many = networks("wire" if case == "wire" else "siren", 130 if case == "wide" else 8)
    if case == "hook":
        many[1].register_forward_hook(lambda *_: None)
    if case == "fixed":
        for one in many:
            one.layers[0].bias.requires_grad_(False)
    if case == "unlike":
        many[1].omega = 20.0
    with Stack(many) as stack:
        assert DeviceGradients.of(many, signals(), stack) is None
