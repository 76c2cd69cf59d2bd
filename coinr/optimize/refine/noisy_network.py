"""A state dict on its way through the coder, and the caller's loss of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from coinr.errors import InputError
from coinr.inputs.callbacks import gradients
from coinr.optimize.refine.noisy_tensor import Channel
from coinr.runtime.denormals import denormals_as_zeros
from coinr.runtime.work_limit import WorkLimit
from coinr.sensitivity.gauss_newton import GaussNewtonRecorder, accumulate_gauss_newton
from coinr.sensitivity.hessian import MAX_PARAMETERS_THOROUGH, HessianFactor
from coinr.sensitivity.input_stats import InputStatsRecorder

#: A state dict to its loss, 0-dim.
LossFunction = Callable[[Mapping[str, Tensor]], Tensor]

# Calls of the loss, one after the other, that may show samples to choose from for second derivatives: as many as are
# taken, or at last as few as say enough.
_CALLS = (8, 64)


class Network:
    """A state dict of which some tensors are trained.

    Attributes
    ----------
    channels : dict of str to Channel
        Those that are trained, by name.

    Parameters
    ----------
    tensors
        All, by name.
    channels
        Of those to train.
    ties
        By name, the earlier tensor that one is.
    uses_calibration
        Whether the coder uses the layers' inputs.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        channels: dict[str, Channel],
        ties: Mapping[str, str],
        *,
        uses_calibration: bool,
    ) -> None:
        self._tensors, self._ties, self._uses_calibration = dict(tensors), dict(ties), uses_calibration
        self.channels = channels

    def clean(self) -> dict[str, Tensor]:
        """The state dict without noise or gradient."""
        return self._complete({name: channel.clean() for name, channel in self.channels.items()})

    def noise(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Noise for what is trained, by name."""
        return {name: channel.noise(generator) for name, channel in self.channels.items()}

    def sent(self, noise: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """The state dict as it is decoded with this noise, and the bits of what is trained."""
        sent = {name: channel.sent(noise[name]) for name, channel in self.channels.items()}
        total = torch.stack([bits.to("cpu", torch.float32) for _, bits in sent.values()]).sum()
        return self._complete({name: tensor for name, (tensor, _) in sent.items()}), total

    def _complete(self, trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
        made: dict[str, Tensor] = {}
        for name, tensor in self._tensors.items():
            made[name] = made[self._ties[name]] if name in self._ties else trained.get(name, tensor)
        return made

    def drop_unused(self, loss_fn: LossFunction, generator: torch.Generator) -> list[str]:
        """Leave tensors alone that the loss does not depend on, or that it cannot be derived by: return the latter.

        Raises
        ------
        InputError
            If no tensor is left.
        """
        sent, _ = self.sent(self.noise(generator))
        fixed: list[str] = []
        try:
            loss = loss_fn(sent)
        except RuntimeError:
            clean = self.clean()
            loss_fn(clean)  # what the loss itself raises is told
            fixed = [name for name in self.channels if not _takes_gradient(loss_fn, clean, name)]
            loss = loss_fn({name: clean[name] if name in fixed else tensor for name, tensor in sent.items()})
        names = [name for name in self.channels if name not in fixed]
        found: Sequence[Tensor | None] = []
        if names and loss.requires_grad:
            found = gradients(loss, [self.channels[name].values for name in names])
        self.channels = {
            name: self.channels[name]
            for name, gradient in zip(names, found, strict=False)
            if gradient is not None and bool(gradient.any())
        }
        if not self.channels:
            raise InputError("the loss does not depend on any tensor of the state dict that is coded with loss")
        return fixed

    def update_input_stats(self, loss_fn: LossFunction, calls: int) -> None:
        """Record the layers' inputs, where the coder uses them and the loss is computed with torch."""
        if not self._uses_calibration:
            return
        found = _record_inputs(self.clean(), loss_fn, calls).sensitivities()
        for name, channel in self.channels.items():
            channel.set_input_covariance(found[name].input_covariance if name in found else None)

    def accumulate_hessian(self, loss_fn: LossFunction, limit: WorkLimit) -> HessianFactor | None:
        """Accumulate the Gauss-Newton matrix of all that is trained.

        Returns
        -------
        HessianFactor or None
            None if the coder does not use it, the network is too large or no plain chain of layers, and where the time
            is over before all derivatives are taken.
        """
        state = self.clean()
        if (
            not self._uses_calibration
            or sum(channel.values.numel() for channel in self.channels.values()) > MAX_PARAMETERS_THOROUGH
        ):
            return None
        for calls in _CALLS:
            inputs = _record_inputs(state, loss_fn, calls)
            recorder = GaussNewtonRecorder(state, inputs, MAX_PARAMETERS_THOROUGH)
            if recorder.has_spare_samples() or (calls == _CALLS[-1] and recorder.is_useful()):
                loss = partial(_repeated, loss_fn, calls)
                hessian, _ = accumulate_gauss_newton(state, loss, inputs, MAX_PARAMETERS_THOROUGH, limit)
                return hessian if hessian is None or hessian.slices.keys() <= self.channels.keys() else None
        return None


def _takes_gradient(loss_fn: LossFunction, state: Mapping[str, Tensor], name: str) -> bool:
    """Whether the loss can be computed with gradients for one tensor: running statistics, for one, take none."""
    leaf = state[name].detach().requires_grad_()
    try:
        loss_fn({other: leaf if tensor is state[name] else tensor for other, tensor in state.items()})
    except RuntimeError:
        return False
    return True


def _record_inputs(state: Mapping[str, Tensor], loss_fn: LossFunction, calls: int) -> InputStatsRecorder:
    recorder = InputStatsRecorder(state)
    with recorder:
        _repeated(loss_fn, calls, state)
    return recorder


@torch.no_grad()
@denormals_as_zeros()
def _repeated(loss_fn: LossFunction, calls: int, state: Mapping[str, Tensor]) -> float:
    return sum(float(loss_fn(state)) for _ in range(calls))


def mean_loss(loss_fn: LossFunction, state: Mapping[str, Tensor]) -> float:
    """The loss of a state dict, over calls enough to tell two apart that differ by a per cent or so."""
    return _repeated(loss_fn, _CALLS[1], state) / _CALLS[1]


def negated(noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The noise of the opposite sign."""
    return {name: -one for name, one in noise.items()}
