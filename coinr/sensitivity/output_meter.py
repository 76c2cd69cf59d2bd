"""How far the output of a network is from the original's, measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from coinr.errors import InputError
from coinr.inputs.arguments import checked
from coinr.inputs.state_dicts import StateDict, check_same_network, plain_tensors, to_state_dict
from coinr.runtime.ambient import independent
from coinr.sensitivity.sampled_module import SampledModule

#: Gives the outputs of a network with the tensors of a state dict, always at the same samples.
Outputs = Callable[[Mapping[str, Any]], list[Tensor]]


class OutputMeter:
    """Measure output errors against a state dict.

    The error of an output is the root mean square of its change, as a share of its range (largest less smallest value)
    over the samples. That of several outputs is the largest of theirs.

    Parameters
    ----------
    outputs
        Runs the network.
    state_dict
        The original.

    Raises
    ------
    InputError
        If an output is not finite.
    """

    def __init__(self, outputs: Outputs, state_dict: Mapping[str, Any]) -> None:
        self._outputs = outputs
        self._original = [_real(output) for output in outputs(state_dict)]
        if not all(bool(output.isfinite().all()) for output in self._original):
            raise InputError("the network gives values that are not finite, so its output error cannot be measured")

    @classmethod
    def of_module(cls, module: nn.Module, inputs: Any, state_dict: Mapping[str, Any]) -> OutputMeter:
        """Return the meter of a module at all of its sample inputs, as for :class:`SampledModule`."""

        @torch.no_grad()
        def outputs(tensors: Mapping[str, Any]) -> list[Tensor]:
            sampled = SampledModule(module, inputs, plain_tensors(tensors))
            return sampled.checked(0, sampled.count)

        return cls(outputs, state_dict)

    def error_db(self, state_dict: Mapping[str, Any]) -> float:
        """Return the output error with other tensors in dB; -inf where no output changes."""
        outputs = map(_real, self._outputs(state_dict))
        return max(_error_db(one, original) for one, original in zip(outputs, self._original, strict=True))


def _real(output: Tensor) -> Tensor:
    output = torch.view_as_real(output) if output.is_complex() else output
    return output.detach().double().cpu()


def _error_db(output: Tensor, original: Tensor) -> float:
    """Return the error of one output; that of a constant one is relative to its magnitude."""
    if not original.numel():
        return -math.inf
    unit = float(original.max() - original.min()) or float(original.abs().max())
    if bool((output == original).all()):
        return -math.inf
    change = float(((output - original) / unit).square().mean().sqrt()) if unit else math.inf
    return 20 * math.log10(change) if 0 < change < math.inf else math.inf


@independent
@checked
def measure_output_error(original: StateDict, decoded: StateDict, module: nn.Module, inputs: Any) -> float:
    """Return the output error in dB that ``decoded`` tensors have in place of the original ones.

    It is the root mean square of the output's change at the inputs, as a share of the output's range, and of several
    outputs the largest; -inf where none changes. :func:`~coinr.inspect` predicts it without a module.

    Parameters
    ----------
    original, decoded
        State dicts or modules, with tensors of the same names and shapes.
    module, inputs
        The network and its sample inputs, as for ``calibrate`` of :func:`~coinr.encode_state_dict`.

    Raises
    ------
    InputError
        If they are of different networks, the module cannot take them, or the original's output is not finite.
    StateDictError
        If one of them holds something else than dense tensors.
    """
    given, moved = (plain_tensors(to_state_dict(one)) for one in (original, decoded))
    shapes, others = ({name: tuple(tensor.shape) for name, tensor in one.items()} for one in (given, moved))
    check_same_network(shapes, others, "what was decoded")
    return OutputMeter.of_module(module, inputs, given).error_db(moved)
