"""How near a signal that came back is to the one that was given."""

from __future__ import annotations

import math

import numpy as np

from coinr.errors import InputError
from coinr.signals.image import Picture, unit_image


def psnr(image: Picture, other: Picture) -> float:
    """Return the peak signal-to-noise ratio of two pictures in dB: 10 log10(peak² / mean squared error).

    The mean runs over all pixels and channels; equal pictures give infinity.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    a, b = unit_image(image), unit_image(other)
    if a.shape != b.shape:
        raise InputError(f"images of one shape are needed, got {list(a.shape)} and {list(b.shape)}")
    error = float(np.mean((a - b) ** 2))
    return math.inf if error == 0 else -10 * math.log10(error)
