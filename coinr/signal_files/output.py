"""The output error of a network that shows a signal, at the signal's own samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from coinr.networks import network_from
from coinr.sensitivity.output_meter import OutputMeter
from coinr.signals.signal import CHUNK, Signal

# Most points at which a network is evaluated, for all samples together.
_POINTS = 1 << 16

# The fractional parts of multiples of the golden ratio are spread evenly.
_GOLDEN = 0.6180339887498949


def meter_of_signal(signal: Signal, meta: Mapping[str, Any], state: Mapping[str, Tensor]) -> OutputMeter:
    """Return a meter of the network that ``meta`` names, at samples of a signal, for the tensors ``state``.

    The output is what the signal's score compares: of a scene, rendered rays.
    """
    split = signal.eval_split.to(torch.device("cpu"))
    count = min(split.count, max(1, _POINTS // split.points))
    indices = torch.arange(count)
    if count < split.count:
        indices = (indices.double() * _GOLDEN % 1 * split.count).long()
    inputs, _ = split.batch(indices)
    chunk = max(1, CHUNK // split.points)

    @torch.no_grad()
    def outputs(tensors: Mapping[str, Any]) -> list[Tensor]:
        network = network_from(meta, tensors)
        return [torch.cat([split.predict(network, inputs[k : k + chunk]) for k in range(0, count, chunk)])]

    return OutputMeter(outputs, state)
