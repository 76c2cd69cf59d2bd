"""Fused networks against float64 autograd, and their times beside plain torch and ``torch.compile``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch

from bench.speed.gpu.run import time_call

KINDS = ("siren", "finer", "gauss", "relu")
PRECISIONS = ("tf32x3", "ieee")
SHAPES = [  # networks, width, hidden layers, samples
    (1, 32, 2, 16384), (1, 64, 3, 16384), (1, 64, 3, 262144), (1, 128, 3, 16384), (64, 32, 2, 4096),
]  # fmt: skip
CASES = [(shape, kind) for shape in SHAPES for kind in KINDS if kind == "siren" or shape == SHAPES[1]]
TINY_SHAPES = [(2, 16, 1, 5)]
TINY_CASES = [(shape, kind) for shape in TINY_SHAPES for kind in KINDS]
OMEGA, SCALE = 30.0, 10.0


def activate(kind: str, z: torch.Tensor) -> torch.Tensor:
    """Return the activation of affine maps, as the networks define it."""
    if kind == "relu":
        return z.relu()
    if kind == "gauss":
        return torch.exp(-((SCALE * z) ** 2))
    return torch.sin(OMEGA * z if kind == "siren" else OMEGA * (z.detach().abs() + 1) * z)


def run_torch(kind: str, layers: list[tuple[torch.Tensor, torch.Tensor]], x: torch.Tensor) -> torch.Tensor:
    """Return values [K, N, outputs] by torch's operations: weights [K, out, in] and biases [K, out] of each layer."""
    for k, (weight, bias) in enumerate(layers):
        x = torch.baddbmm(bias[:, None], x, weight.mT)
        if k < len(layers) - 1:
            x = activate(kind, x)
    return x


class Networks:
    """Networks of one kind and size with random weights, and a batch of samples."""

    def __init__(self, kind: str, shape: tuple[int, int, int, int], device: torch.device) -> None:
        self.kind, self.shape = kind, shape
        K, width, hidden_layers, N = shape
        generator = torch.Generator().manual_seed(width)

        def uniform(*size: int, bound: float = 1.0) -> torch.Tensor:
            return ((torch.rand(size, generator=generator) * 2 - 1) * bound).to(device)

        sizes = [2, *[width] * (hidden_layers + 1), 3]
        self.layers = []
        for k, (fan_in, fan_out) in enumerate(zip(sizes, sizes[1:], strict=False)):
            bound = (6 / fan_in) ** 0.5 / OMEGA if kind in ("siren", "finer") and k else fan_in**-0.5
            self.layers.append((uniform(K, fan_out, fan_in, bound=bound), uniform(K, fan_out, bound=fan_in**-0.5)))
        self.x, self.targets = uniform(K, N, 2), uniform(K, N, 3)
        self.parameters = torch.cat([t.flatten(1) for layer in self.layers for t in layer], 1)

    def describe(self, kernels: Any, precision: str) -> Any:
        """Return the kernels' description."""
        factor = {"gauss": SCALE, "relu": 1.0}.get(self.kind, OMEGA)
        return kernels.Mlp(self.kind, 2, self.shape[1], self.shape[2], 3, factor, factor, precision)

    def step_of_torch(self, dtype: torch.dtype, run: Callable[..., torch.Tensor]) -> Callable[[], torch.Tensor]:
        """Return a function that computes all gradients, float ``[K, parameters]``, by autograd."""
        layers = [tuple(t.to(dtype, copy=True).requires_grad_() for t in layer) for layer in self.layers]
        x, targets, leaves = self.x.to(dtype), self.targets.to(dtype), [t for layer in layers for t in layer]

        def step() -> torch.Tensor:
            loss = (run(self.kind, layers, x) - targets).square().mean((1, 2)).sum()
            return torch.cat([g.flatten(1) for g in torch.autograd.grad(loss, leaves)], 1)

        return step


def check_networks(kernels: Any, device: torch.device, shape: tuple[int, int, int, int], kind: str) -> dict[str, float]:
    """Check gradients in both precisions: at most 1e-5 of the norm from those of float64, and twice the same bits."""
    networks = Networks(kind, shape, device)
    exact = networks.step_of_torch(torch.float64, run_torch)()
    plain = networks.step_of_torch(torch.float32, run_torch)()
    result = {"torch": float((plain - exact).norm() / exact.norm())}
    for precision in PRECISIONS:
        mlp = networks.describe(kernels, precision)
        first, again = (
            kernels.mlp_squared_error(mlp, networks.parameters, networks.x, networks.targets)[1] for _ in range(2)
        )
        result[precision] = float((first - exact).norm() / exact.norm())
        if not torch.equal(first, again) or not result[precision] <= 1e-5:
            raise AssertionError(json.dumps(result))
    return result


def time_networks(kernels: Any, device: torch.device, shape: tuple[int, int, int, int]) -> dict[str, Any]:
    """Measure all gradients of SIRENs: the kernels in both precisions, plain torch, and ``torch.compile`` on a GPU."""
    K, width, hidden_layers, N = shape
    networks = Networks("siren", shape, device)
    result: dict[str, Any] = {"networks": K, "width": width, "hidden_layers": hidden_layers, "samples": N}
    for precision in PRECISIONS:
        mlp = networks.describe(kernels, precision)
        result[precision] = time_call(
            lambda mlp=mlp: kernels.mlp_squared_error(mlp, networks.parameters, networks.x, networks.targets), device
        )
        result[f"{precision} forward"] = time_call(
            lambda mlp=mlp: kernels.mlp_forward(mlp, networks.parameters, networks.x), device
        )
    result["torch"] = time_call(networks.step_of_torch(torch.float32, run_torch), device)
    if device.type == "cuda":
        for mode in ("default", "reduce-overhead"):
            compiled = torch.compile(run_torch, mode=mode)
            result[f"torch.compile {mode}"] = time_call(networks.step_of_torch(torch.float32, compiled), device)
    return result
