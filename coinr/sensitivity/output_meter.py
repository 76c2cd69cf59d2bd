"""How far the output of a network is from the original's, measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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

    The error of an output is the root mean square of its change in its unit, see :func:`output_unit`. That of several
    outputs is the largest of theirs.

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
        return self.distance_db(self._outputs(state_dict))

    def distance_db(self, outputs: Sequence[Tensor]) -> float:
        """Return how far outputs are from the original's in dB, as :meth:`error_db`."""
        outputs = list(map(_real, outputs))
        return max(_error_db(one, original) for one, original in zip(outputs, self._original, strict=True))


def _real(output: Tensor) -> Tensor:
    output = torch.view_as_real(output) if output.is_complex() else output
    return output.detach().double().cpu()


def _error_db(output: Tensor, original: Tensor) -> float:
    error = math.sqrt(float(relative_squared_error(output, original, output_unit([original]))))
    return math.inf if math.isnan(error) else 20 * math.log10(error) if error else -math.inf


def output_unit(parts: Sequence[Tensor]) -> float:
    """Return the unit of an output's errors: the range of its values (largest less smallest) over all parts.

    A constant output has its magnitude as unit, and one that is zero has 1.
    """
    held = [part for part in parts if part.numel()]
    high = max((float(part.max()) for part in held), default=0.0)
    low = min((float(part.min()) for part in held), default=0.0)
    return high - low or abs(high) or 1.0


def relative_squared_error(output: Tensor, original: Tensor, unit: float) -> Tensor:
    """Return the mean square of an output's change in units, 0-dim; 0 of an empty output."""
    return ((output - original) / unit).square().sum() / max(original.numel(), 1)


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
