"""A state dict with noise in the place of quantization, and the caller's loss of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from coinr.errors import InputError
from coinr.inputs.callbacks import gradients
from coinr.networks.symmetries import Canonical
from coinr.optimize.refine.noisy_tensor import NoisyTensor
from coinr.runtime.denormals import denormals_as_zeros
from coinr.runtime.work_limit import WorkLimit
from coinr.sensitivity.gauss_newton import GaussNewtonRecorder, accumulate_gauss_newton
from coinr.sensitivity.hessian import MAX_PARAMETERS_THOROUGH, HessianFactor
from coinr.sensitivity.input_stats import InputStatsRecorder

#: Maps a state dict to its loss, 0-dim.
LossFunction = Callable[[Mapping[str, Tensor]], Tensor]

# Calls of the loss whose samples second derivatives are made from. The larger number is tried where the samples of the
# smaller one are too few.
_CALLS = (8, 64)

# The first change of the logarithm of errors in a bisection, and the last.
_WIDEST, _CLOSE = 16.0, 0.05


class NoisyNetwork:
    """A state dict of which some tensors are trained.

    Parameters
    ----------
    tensors
        All, by name.
    trained
        The tensors to train, by name.
    ties
        By name of a tied tensor, the name of the earlier tensor that it equals.
    uses_calibration
        Whether the profile uses the covariance of layers' inputs, and second derivatives.

    Attributes
    ----------
    trained : dict of str to NoisyTensor
        As given, without those that :meth:`drop_unused` took out.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        trained: dict[str, NoisyTensor],
        ties: Mapping[str, str],
        *,
        uses_calibration: bool,
    ) -> None:
        self._tensors, self._ties, self._uses_calibration = dict(tensors), dict(ties), uses_calibration
        self.trained = trained

    def reorder(self, canonical: Canonical) -> None:
        """Bring the tensors into the canonical order that was found for :meth:`value`."""
        self._tensors = dict(canonical.state_dict)
        for name, tensor in self.trained.items():
            tensor.reorder(self._tensors[name], canonical.rows.get(name), canonical.columns.get(name))

    def value(self) -> dict[str, Tensor]:
        """Return the state dict without noise or gradient."""
        return self._complete({name: tensor.value() for name, tensor in self.trained.items()})

    def noise(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return noise for each trained tensor, by name."""
        return {name: tensor.noise(generator) for name, tensor in self.trained.items()}

    def noisy(self, noise: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """Return the state dict as decoded with this noise, and the bits of the trained tensors, 0-dim float32."""
        noisy = {name: tensor.noisy(noise[name]) for name, tensor in self.trained.items()}
        total = torch.stack([bits.to("cpu", torch.float32) for _, bits in noisy.values()]).sum()
        return self._complete({name: tensor for name, (tensor, _) in noisy.items()}), total

    def _complete(self, trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
        made: dict[str, Tensor] = {}
        for name, tensor in self._tensors.items():
            made[name] = made[self._ties[name]] if name in self._ties else trained.get(name, tensor)
        return made

    @torch.no_grad()
    def scale_errors(self, bits: float, generator: torch.Generator) -> dict[str, Tensor]:
        """Scale all errors alike, so that the trained tensors take about so many bits; return the noisy state dict."""
        noise = self.noise(generator)
        stride = _WIDEST
        while stride > _CLOSE:
            self.multiply_errors(math.exp(stride if float(self.noisy(noise)[1]) > bits else -stride))
            stride /= 2
        return self.noisy(noise)[0]

    @torch.no_grad()
    def multiply_errors(self, factor: float) -> None:
        """Multiply all errors by a positive factor."""
        for tensor in self.trained.values():
            tensor.log_errors.add_(math.log(factor))

    def drop_unused(self, loss_fn: LossFunction, generator: torch.Generator) -> list[str]:
        """Stop training tensors of which the loss has no gradient.

        Returns
        -------
        list of str
            Those by which the loss cannot be differentiated, such as running statistics. The others that were dropped
            have a gradient of zero: the loss does not depend on them.

        Raises
        ------
        InputError
            If no tensor is left.
        """
        noisy, _ = self.noisy(self.noise(generator))
        fixed: list[str] = []
        try:
            loss = loss_fn(noisy)
        except RuntimeError:
            plain = self.value()
            loss_fn(plain)  # an error of the loss itself is raised here
            fixed = [name for name in self.trained if not _takes_gradient(loss_fn, plain, name)]
            loss = loss_fn({name: plain[name] if name in fixed else tensor for name, tensor in noisy.items()})
        names = [name for name in self.trained if name not in fixed]
        found: Sequence[Tensor | None] = []
        if names and loss.requires_grad:
            found = gradients(loss, [self.trained[name].values for name in names])
        self.trained = {
            name: self.trained[name]
            for name, gradient in zip(names, found, strict=False)
            if gradient is not None and bool(gradient.any())
        }
        if not self.trained:
            raise InputError("the loss does not depend on any tensor of the state dict that is coded with loss")
        return fixed

    def update_input_stats(self, loss_fn: LossFunction, calls: int) -> None:
        """Call the loss and take over the covariance of each layer's inputs, if the profile uses it."""
        if not self._uses_calibration:
            return
        found = _record_inputs(self.value(), loss_fn, calls).sensitivities()
        for name, tensor in self.trained.items():
            tensor.set_input_covariance(found[name].input_covariance if name in found else None)

    def accumulate_hessian(self, loss_fn: LossFunction, limit: WorkLimit) -> HessianFactor | None:
        """Accumulate the Gauss-Newton matrix of all trained weights together.

        Returns
        -------
        HessianFactor or None
            None if the profile does not use it. None also for more than 13 312 trained parameters, for a network that
            is no plain chain of layers, for too few samples, and where the time ends before.
        """
        state = self.value()
        count = sum(tensor.values.numel() for tensor in self.trained.values())
        if not self._uses_calibration or count > MAX_PARAMETERS_THOROUGH:
            return None
        for calls in _CALLS:
            inputs = _record_inputs(state, loss_fn, calls)
            recorder = GaussNewtonRecorder(state, inputs, MAX_PARAMETERS_THOROUGH)
            if recorder.has_spare_samples() or (calls == _CALLS[-1] and not recorder.obstacle):
                loss = partial(_sum_loss, loss_fn, calls)
                hessian, *_ = accumulate_gauss_newton(state, loss, inputs, MAX_PARAMETERS_THOROUGH, limit)
                return hessian if hessian is None or hessian.slices.keys() <= self.trained.keys() else None
        return None


def _takes_gradient(loss_fn: LossFunction, state: Mapping[str, Tensor], name: str) -> bool:
    """Return whether the loss can be computed when one tensor needs a gradient; running statistics refuse it."""
    leaf = state[name].detach().requires_grad_()
    try:
        loss_fn({other: leaf if tensor is state[name] else tensor for other, tensor in state.items()})
    except RuntimeError:
        return False
    return True


def _record_inputs(state: Mapping[str, Tensor], loss_fn: LossFunction, calls: int) -> InputStatsRecorder:
    recorder = InputStatsRecorder(state)
    with recorder:
        _sum_loss(loss_fn, calls, state)
    return recorder


@torch.no_grad()
@denormals_as_zeros()
def _sum_loss(loss_fn: LossFunction, calls: int, state: Mapping[str, Tensor]) -> float:
    return sum(float(loss_fn(state)) for _ in range(calls))


def mean_loss(loss_fn: LossFunction, state: Mapping[str, Tensor]) -> float:
    """Return the mean loss of a state dict, over calls enough to tell apart two that differ by about 1 %."""
    return _sum_loss(loss_fn, _CALLS[1], state) / _CALLS[1]


def negated(noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return noise of the opposite sign."""
    return {name: -one for name, one in noise.items()}
