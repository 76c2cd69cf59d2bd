"""Evaluation of a network at many coordinates: in chunks that stay in cache, checked, with progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from coinr.errors import InputError
from coinr.inputs.callbacks import call_module
from coinr.networks.precision import single_network
from coinr.progress import show_progress, steps
from coinr.runtime.ambient import independent
from coinr.signals.signal import Signal

#: Coordinates that pass through a network at once: a few MB of activations at width 256.
CHUNK = 8192


def device_of(network: nn.Module) -> torch.device:
    """Return the device of a network's parameters; the CPU if it has none."""
    return next((p.device for p in network.parameters()), torch.device("cpu"))


@torch.no_grad()
def sample(
    network: nn.Module, count: int, place: Callable[[Tensor], Tensor], outputs: range, label: str
) -> Iterator[tuple[int, Tensor]]:
    """Yield (first index, values [N, C]) of the samples 0 .. count - 1, chunk by chunk, on the network's device.

    Parameters
    ----------
    network : nn.Module
        Maps float32 [N, a] coordinates to float32 [N, C] values.
    count : int
        How many samples.
    place : callable
        The coordinates [N, a] of samples with indices int64 [N].
    outputs : range
        The numbers of values C that make sense.
    label : str
        Label of the progress.

    Raises
    ------
    InputError
        If the network takes no such coordinates, or gives another shape, or values that are not finite.
    """
    device, network = device_of(network), single_network(network)
    if device.type == "meta":
        raise InputError("the parameters of the network are on the meta device, without values")
    for start in steps(range(0, count, CHUNK), label):
        coordinates = place(torch.arange(start, min(start + CHUNK, count), device=device))
        try:
            out = call_module(network, coordinates)
        except (RuntimeError, TypeError) as error:
            if type(error) not in (RuntimeError, TypeError):  # out of memory
                raise
            raise InputError(f"the network cannot take float32 {list(coordinates.shape)}: {error}") from error
        if not isinstance(out, Tensor) or not out.is_floating_point():
            kind = out.dtype if isinstance(out, Tensor) else type(out).__name__
            raise InputError(f"the network must give a floating-point tensor, got {kind}")
        if out.ndim != 2 or out.shape[0] != len(coordinates) or out.shape[1] not in outputs:
            expected = f"[N, {outputs[0]}]" if len(outputs) == 1 else f"[N, {outputs[0]} .. {outputs[-1]}]"
            raise InputError(f"the network must give {expected} for {list(coordinates.shape)}, got {list(out.shape)}")
        if not torch.isfinite(out).all():
            raise InputError("the network gives values that are not finite")
        yield start, out.to(torch.promote_types(out.dtype, torch.float32))


@independent
@show_progress("score")
@torch.no_grad()
def score_of(network: nn.Module, signal: Signal) -> float:
    """Return the score of a network on the evaluation split of ``signal``, on the network's device."""
    device, network = device_of(network), single_network(network)
    split = signal.eval_split.to(device)
    chunk = max(1, CHUNK * 2 // split.points)
    total = torch.zeros((), dtype=torch.float64)
    for start in steps(range(0, split.count, chunk), "score"):
        inputs, targets = split.batch(torch.arange(start, min(start + chunk, split.count), device=device))
        total = total + split.partial_score(split.predict(network, inputs), targets).cpu()
    return split.score(total)
