"""Evaluation of a network on a grid: in chunks that stay in cache, with progress."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.errors import InputError
from coinr.networks.description import ArrayNetwork
from coinr.progress import steps
from coinr.runtime.loaded import Module
from coinr.signals.signal import CHUNK


def sample_grid(
    network: Module | ArrayNetwork, axes: Sequence[NDArray[np.float32]], outputs: range, label: str
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (first index, values [N, C]) of the points of a grid in C order, chunk by chunk.

    Parameters
    ----------
    network : nn.Module or ArrayNetwork
        Maps float32 [N, a] coordinates to floating [N, C] values; a module runs on its own device.
    axes : sequence of ndarray
        The coordinates along each of the a axes, float32.
    outputs : range
        The numbers of values C that make sense.
    label : str
        Label of the progress.

    Raises
    ------
    InputError
        If the network takes no such coordinates, or gives another shape, or values that are not finite.
    """
    values: Callable[[NDArray[np.float32]], NDArray[Any]]
    if isinstance(network, ArrayNetwork):
        values = network
    else:
        from coinr.signals.sampling import values_of

        values = values_of(network, outputs)
    count = math.prod(map(len, axes))
    for start in steps(range(0, count, CHUNK), label):
        out = values(_points(axes, start, min(start + CHUNK, count)))
        if not np.isfinite(out).all():
            raise InputError("the network gives values that are not finite")
        yield start, out


def _points(axes: Sequence[NDArray[np.float32]], start: int, stop: int) -> NDArray[np.float32]:
    """Return the coordinates [N, a] of the points with indices from ``start`` on, before ``stop``."""
    points = np.empty((stop - start, len(axes)), np.float32)
    rest = np.arange(start, stop)
    for k in reversed(range(len(axes))):
        above = rest // len(axes[k])
        points[:, k] = axes[k][rest - above * len(axes[k])]
        rest = above
    return points
