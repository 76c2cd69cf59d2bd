"""The output error of a network that shows a signal, at the signal's own samples, and how large it may be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from coinr.codec.options import OUTPUT_ERROR_DB, OUTPUT_ERRORS_DB
from coinr.networks import network_from
from coinr.sensitivity.output_meter import OutputMeter
from coinr.signals.signal import CHUNK, Signal

# Most points at which a network is evaluated, for all samples together.
_POINTS = 1 << 16

# The fractional parts of multiples of the golden ratio are spread evenly.
_GOLDEN = 0.6180339887498949

#: What coding may add to the squared error of a fit by default, as its share: 0.2 dB of a PSNR or SNR.
ADDED_ERROR = 0.05

# The least default, in dB: fits that are better than this lose more.
_LEAST = -80.0


def meter_of_signal(signal: Signal, meta: Mapping[str, Any], state: Mapping[str, Tensor]) -> tuple[OutputMeter, float]:
    """Return a meter of the network that ``meta`` names, at samples of a signal, and the default output error in dB.

    The output is what the signal's score compares: of a scene, rendered rays. Where the score is in decibels, the
    default adds at most :data:`ADDED_ERROR` to the squared error of the fit, but is never below -80 dB. That of a shape
    is the one of state dicts, -50 dB.

    Parameters
    ----------
    signal : Signal
        What the network was fitted to.
    meta : mapping
        Names the network.
    state : mapping
        Its tensors.
    """
    split = signal.eval_split.to(torch.device("cpu"))
    count = min(split.count, max(1, _POINTS // split.points))
    indices = torch.arange(count)
    if count < split.count:
        indices = (indices.double() * _GOLDEN % 1 * split.count).long()
    inputs, targets = split.batch(indices)
    chunk = max(1, CHUNK // split.points)

    @torch.no_grad()
    def outputs(tensors: Mapping[str, Any]) -> list[Tensor]:
        network = network_from(meta, tensors)
        return [torch.cat([split.predict(network, inputs[k : k + chunk]) for k in range(0, count, chunk)])]

    meter = OutputMeter(outputs, state)
    if signal.unit != "dB":
        return meter, OUTPUT_ERROR_DB
    added = meter.distance_db([targets]) + 10 * math.log10(ADDED_ERROR)
    return meter, min(max(added, _LEAST), OUTPUT_ERRORS_DB[1])
