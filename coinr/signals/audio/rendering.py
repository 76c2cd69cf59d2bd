"""The sound that a network gives.

A sound is a NumPy array [N] (mono) or [N, C], floating or int16; floating 1.0 is full scale. It fills [-1, 1] whatever
its length, and a sample stands for the middle of its time: sample i of N lies at (2i + 1)/N - 1. Sampling a network at
more points in [-1, 1] therefore gives the same sound at a higher rate, not shifted.

A network's values are the sound times 2^k, k chosen so that the loudest sample lies in (1/2, 1]: quiet sounds are
learned as well as loud ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coinr.errors import InputError
from coinr.inputs.arguments import checked
from coinr.networks.description import ArrayNetwork
from coinr.progress import show_progress
from coinr.runtime.ambient import independent
from coinr.runtime.loaded import Module
from coinr.signals.audio.files import MAX_SAMPLES, MOST_CHANNELS
from coinr.signals.grids import sample_grid


@independent
@show_progress("render")
@checked
def render_audio(network: Module | ArrayNetwork, count: int, exponent: int = 0) -> NDArray[np.float32]:
    """Return ``count`` samples of the sound that ``network`` gives, float32 [N] or [N, C].

    Parameters
    ----------
    network : nn.Module or ArrayNetwork
        Maps float32 [N, 1] in [-1, 1] to [N, C]; it runs on its own device.
    count : int
        Samples, 1 .. 2^28.
    exponent : int
        The network's values are the sound times 2^exponent.

    Raises
    ------
    InputError
        If ``count`` is out of range, or the network gives another shape or values that are not finite.
    """
    if not 1 <= count <= MAX_SAMPLES:
        raise InputError(f"a sound has 1 .. {MAX_SAMPLES} samples, got {count}")
    if not -128 <= exponent <= 128:
        raise InputError(f"exponent must be in -128 .. 128, got {exponent}")
    times = ((2 * np.arange(count) + 1) / count - 1).astype(np.float32)
    parts = [values for _, values in sample_grid(network, [times], range(1, MOST_CHANNELS + 1), "sound")]
    sound: NDArray[np.float32] = np.concatenate(parts).astype(np.float32, copy=False) * np.float32(2.0**-exponent)
    return sound[:, 0] if sound.shape[1] == 1 else sound


def describe_sound(count: int, rate: int, channels: int) -> str:
    """Return length, rate and channels in a few words."""
    return f"audio {count / rate:.2f} s at {rate} Hz, {channels} channel{'s' * (channels != 1)}"
