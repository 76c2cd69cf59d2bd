"""Optimizers of stacked tensors [K, ...], whose K entries belong to independent networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from coinr.fitting.native_steps import NativeSteps, Part
from coinr.networks import Siren
from coinr.networks.fused import threads as usual_threads
from coinr.signals.signal import Recipe

# Sides of a matrix up to this length get a preconditioner.
_LONGEST = 1024

# Newton–Schulz steps, as many as in the extension; a fifth gains nothing (``bench/results/newton_schulz.csv``).
_ITERATIONS = 4

# The default learning rate of Muon decreases with the hidden neurons beyond this number, less in fits of fewer steps.
_NEURONS, _SHORT = 192, 2500

# The first frequency above which a first layer moves more slowly than the other layers.
_FASTEST = 45.0


class Adam(torch.optim.Adam):
    """Adam of torch, whose steps the extension takes where it can.

    Parameters
    ----------
    params : iterable of Tensor
        Of any shapes, real or complex.
    lr : float
        Step size.

    Attributes
    ----------
    native : bool
        Whether the extension takes the steps: on the CPU, of float32 and complex64.
    """

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        super().__init__(params, lr)
        self.native = _all_suit(self)
        self._steps = [NativeSteps() for _ in self.param_groups]
        self._known_state: Mapping[Tensor, Any] | None = None
        self._known: list[tuple[list[Part], list[NDArray[np.float32]]]] = []

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step."""
        assert closure is None
        if self.native:
            self.take_native_step(usual_threads())
        else:
            super().step()

    def take_native_step(self, threads: int) -> None:
        """Take one step by the extension, without the hooks of torch's optimizers."""
        if self._known_state is not self.state:  # at first, and when another one was loaded
            self._known_state = self.state
            self._known = [self._parts(group["params"]) for group in self.param_groups]
        for group, steps, (parts, counts) in zip(self.param_groups, self._steps, self._known, strict=True):
            for count in counts:
                count += 1
            steps.take(parts, group, [float(count) for count in counts], threads)

    def _parts(self, tensors: Sequence[Tensor]) -> tuple[list[Part], list[NDArray[np.float32]]]:
        """Return tensors with their means, and views of their numbers of steps; the state is as torch has it."""
        parts: list[Part] = []
        counts = []
        for tensor in tensors:
            state = self.state[tensor]
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32, device="cpu")
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(tensor), torch.zeros_like(tensor)
            parts.append(([tensor], (state["exp_avg"], state["exp_avg_sq"])))
            counts.append(state["step"].numpy())
        return parts, counts


class Muon(Optimizer):
    """Muon (Jordan et al. 2024) for matrices with at least as many rows as columns, and Adam for all other tensors.

    A matrix moves along the orthogonal factor of its mean gradient, by a step of spectral norm 2 lr at any width, so
    that learning rates of Adam for networks of sines are right for Muon, too. The last layer is left to Adam.

    Matrices of one shape are one stack, and all tensors of Adam one vector: a step takes one call of the extension or
    few operations of torch, whatever the number of tensors. The state of a stack or a vector is that of its first
    tensor.

    Parameters
    ----------
    params : iterable of Tensor
        [K, m, n] or [K, n], real or complex; matrices of one column are also left to Adam.
    lr : float
        Step size.
    momentum : float
        Decay of the running mean of a matrix's gradients.
    betas, eps : (float, float), float
        Of Adam.

    Attributes
    ----------
    native : bool
        Whether the extension takes the steps: on the CPU, of float32, and of complex64 that Adam moves.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "betas": betas, "eps": eps})
        self._stacks = [_stacks(group["params"]) for group in self.param_groups]
        self.native = _all_suit(self) and not any(
            shape is not None and tensors[0].is_complex() for stacks in self._stacks for shape, tensors in stacks
        )
        self._steps = [NativeSteps() for _ in self.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step."""
        assert closure is None
        if self.native:
            self.take_native_step(usual_threads())
            return
        for group, stacks in zip(self.param_groups, self._stacks, strict=True):
            for shape, tensors in stacks:
                step = self._step_adam if shape is None else self._step_muon
                step(tensors, self._state(shape, tensors), group)

    def take_native_step(self, threads: int) -> None:
        """Take one step by the extension, without the hooks of torch's optimizers."""
        for group, stacks, steps in zip(self.param_groups, self._stacks, self._steps, strict=True):
            parts: list[Part] = []
            counts: list[float] = []
            for shape, tensors in stacks:
                state = self._state(shape, tensors)
                if shape is None:
                    state["step"] += 1
                    counts += [state["step"]] * len(tensors)
                    parts.append((tensors, (state["mean"], state["square"])))
                else:
                    parts.append((tensors, (state["mean"],)))
            steps.take(parts, group, counts, threads)

    def _state(self, shape: tuple[int, ...] | None, tensors: list[Tensor]) -> dict[str, Any]:
        """Return the state of a stack, or of a vector if ``shape`` is None."""
        state: dict[str, Any] = self.state[tensors[0]]
        if state:
            return state
        if shape is None:
            zeros = torch.cat([torch.zeros_like(_real(tensor)).reshape(-1) for tensor in tensors])
            state |= {"step": 0, "mean": zeros, "square": zeros.clone()}
        else:
            state["mean"] = torch.zeros_like(torch.cat(tensors))
        return state

    def _step_muon(self, tensors: list[Tensor], state: dict[str, Any], group: Mapping[str, Any]) -> None:
        gradient = torch.cat(_gradients(tensors))
        mean = state["mean"].lerp_(gradient, 1 - group["momentum"])
        factor = orthogonal_factor(gradient.lerp(mean, group["momentum"]))
        for tensor, move in zip(tensors, torch.split(factor, [len(tensor) for tensor in tensors]), strict=True):
            tensor.sub_(move, alpha=2 * group["lr"])

    def _step_adam(self, tensors: list[Tensor], state: dict[str, Any], group: Mapping[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        gradient = torch.cat([_real(gradient).reshape(-1) for gradient in _gradients(tensors)])
        state["step"] += 1
        state["mean"].lerp_(gradient, 1 - beta1)
        state["square"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        root = (state["square"] / (1 - beta2 ** state["step"])).sqrt_().add_(group["eps"])
        moves = root.reciprocal_().mul_(state["mean"])
        values = [_real(tensor) for tensor in tensors]
        for value, move in zip(values, torch.split(moves, [value.numel() for value in values]), strict=True):
            value.sub_(move.view_as(value), alpha=group["lr"] / (1 - beta1 ** state["step"]))


def _all_suit(optimizer: Optimizer) -> bool:
    return all(NativeSteps.suits(group["params"]) for group in optimizer.param_groups)


def _stacks(tensors: Sequence[Tensor]) -> list[tuple[tuple[int, ...] | None, list[Tensor]]]:
    """Return tensors by dtype and shape of their matrices, which Muon moves; those that Adam moves, with None, last."""
    found: dict[Any, list[Tensor]] = {}
    for tensor in tensors:
        found.setdefault((tensor.dtype, _matrix_shape(tensor)), []).append(tensor)
    stacks = [(shape, stack) for (_, shape), stack in found.items()]
    return sorted(stacks, key=lambda one: one[0] is None)


def _gradients(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradients of tensors, which all have one."""
    return [tensor.grad for tensor in tensors if tensor.grad is not None]


def _matrix_shape(tensor: Tensor) -> tuple[int, ...] | None:
    """Return the shape of a stack [K, m, n] of matrices that Muon moves, without K; None if Adam moves it."""
    return tuple(tensor.shape[1:]) if tensor.ndim == 3 and tensor.shape[1] >= tensor.shape[2] > 1 else None


def orthogonal_factor(matrices: Tensor) -> Tensor:
    """Return about U Vᴴ of matrices [K, m, n] = U S Vᴴ, real or complex.

    Singular values of at least 0.006 of the Frobenius norm become 0.68 to 1.21; smaller ones grow 141-fold at most.

    Four steps of the Newton–Schulz iteration of Jordan et al. 2024, which only needs matrix products.
    """
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mH
    x: Tensor = wide / (torch.linalg.vector_norm(wide, dim=(1, 2), keepdim=True) + 1e-30)
    for _ in range(_ITERATIONS):
        square = x @ x.mH
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x if wide is matrices else x.mH


class Soap(Optimizer):
    """SOAP (Vyas et al. 2024): Adam in the eigenbasis of Shampoo's preconditioner.

    It keeps running means of G Gᵀ and Gᵀ G of a matrix's gradients G, and orthonormal bases that approximate their
    eigenvectors by one power iteration every ``every`` steps. Vectors are left to Adam.

    Parameters
    ----------
    params : iterable of Tensor
        [K, m, n] or [K, n], real or complex; a complex matrix counts as a real one of twice the columns.
    lr : float
        Step size.
    betas : (float, float)
        Decay of the running means of gradients, and of all second moments.
    eps : float
        Added to the root of the second moments.
    every : int
        Steps between two power iterations.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        every: int = 10,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "every": every})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step."""
        assert closure is None
        for group in self.param_groups:
            for tensor in group["params"]:
                self._step_soap(_real(tensor), _real(tensor.grad), self.state[tensor], group)

    def _step_soap(self, value: Tensor, gradient: Tensor, state: dict[str, Any], group: Mapping[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        if not state:
            state |= {"step": 0, "mean": torch.zeros_like(value), "square": torch.zeros_like(value)}
            for side, moment in _moments(gradient).items():
                state[f"{side}_moment"] = moment * (1 - beta2)
                state[f"{side}_basis"] = torch.linalg.eigh(moment).eigenvectors
        state["step"] += 1
        bases = {side: state.get(f"{side}_basis") for side in ("left", "right")}
        state["mean"].lerp_(gradient, 1 - beta1)
        rotated = _rotate(gradient, bases["left"], bases["right"])
        state["square"].mul_(beta2).addcmul_(rotated, rotated, value=1 - beta2)
        root = (state["square"] / (1 - beta2 ** state["step"])).sqrt_().add_(group["eps"])
        move = _rotate(state["mean"], bases["left"], bases["right"]).div_(root)
        move = _rotate(move, *(None if basis is None else basis.mT for basis in bases.values()))
        value.sub_(move, alpha=group["lr"] / (1 - beta1 ** state["step"]))
        for side, moment in _moments(gradient).items():
            mean = state[f"{side}_moment"].lerp_(moment, 1 - beta2)
            if state["step"] % group["every"] == 0:
                state[f"{side}_basis"] = torch.linalg.qr(mean @ state[f"{side}_basis"]).Q


def _real(tensor: Tensor) -> Tensor:
    """Return a real view, with real and imaginary parts side by side."""
    return torch.view_as_real(tensor).flatten(-2) if tensor.is_complex() else tensor


def _moments(gradient: Tensor) -> dict[str, Tensor]:
    """Return G Gᵀ and Gᵀ G of matrices [K, m, n], for sides of at most 1024."""
    if gradient.ndim != 3:
        return {}
    sides = {"left": gradient, "right": gradient.mT}
    return {side: g @ g.mT for side, g in sides.items() if g.shape[1] <= _LONGEST}


def _rotate(matrix: Tensor, left: Tensor | None, right: Tensor | None) -> Tensor:
    """Return leftᵀ · matrix · right, where None stands for the identity."""
    matrix = matrix.clone() if left is None else left.mT @ matrix
    return matrix if right is None else matrix @ right


#: Optimizers by name: functions of tensors and learning rate.
OPTIMIZERS: dict[str, Callable[[list[Tensor], float], Optimizer]] = {"adam": Adam, "muon": Muon, "soap": Soap}


def make_optimizer(
    name: str, network: nn.Module, names: Sequence[str], tensors: Sequence[Tensor], learning_rate: float
) -> Optimizer:
    """Return an optimizer of networks, in which the first layer of fast sines moves at a share of the learning rate.

    The phases of a first layer move by its first frequency times the step. Above a frequency of 45, which pictures
    have, its share is 45 / first_omega: its phases move as theirs. At the whole rate sounds lose what was learned.

    Parameters
    ----------
    name : str
        Key of ``OPTIMIZERS``.
    network : Module
        One of them.
    names : sequence of str
        Of the tensors in the network.
    tensors : sequence of Tensor
        Stacks [K, ...].
    learning_rate : float
        Of all other layers.
    """
    share = min(1.0, _FASTEST / network.first_omega) if isinstance(network, Siren) else 1.0
    parts: dict[float, list[Tensor]] = {}
    for key, tensor in zip(names, tensors, strict=True):
        parts.setdefault(share if key.startswith("layers.0.") else 1.0, []).append(tensor)
    groups: list[Any] = [{"params": part, "share": of_rate} for of_rate, part in parts.items()]
    optimizer = OPTIMIZERS[name](groups, learning_rate)
    set_learning_rate(optimizer, learning_rate)
    return optimizer


def set_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    """Give each group of an optimizer of :func:`make_optimizer` its share of a learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["share"]


def default_optimizer(network: nn.Module) -> str:
    """Return the name of the best optimizer at equal CPU time where that was measured, else Adam.

    Muon for SIRENs of two coordinates or more (``bench/results/optimizers.md``), Adam for those of one: of sounds.
    """
    return "muon" if type(network) is Siren and network.in_features > 1 else "adam"


def default_learning_rate(recipe: Recipe, network: nn.Module, optimizer: str, steps: int) -> float:
    """Return the learning rate of a fit: the recipe's, and for Muon on a SIREN less if it is large and the fit is long.

    For Muon on a SIREN it is the recipe's times min(1, 192 / neurons · max(1, 2500 / steps)), where neurons is the
    width times the number of hidden layers, of at least three.
    At the recipe's rate, SIRENs of 4 layers of 96 lose quality on hard pictures within some thousand steps
    (``bench/results/learning_rates.md``), and so do those of 5 layers of 56 (``bench/results/fit_choices.csv``).
    Shorter fits get further at higher rates. The rule was not measured for shapes.
    """
    if optimizer == "muon" and type(network) is Siren:
        neurons = max(3, network.hidden_layers) * network.width
        return recipe.learning_rate * min(1.0, _NEURONS / neurons * max(1.0, _SHORT / steps))
    return recipe.learning_rate
