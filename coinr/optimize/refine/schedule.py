"""How learning rates rise and fall."""

from __future__ import annotations

import math

# Steps in which learning rates rise, and the part of the training that this may take at most.
_WARM, _PART = 100, 0.1


def cosine(step: int, done: float) -> float:
    """The share of a learning rate in a step, ``done`` of the training being over: a short rise, then half a cosine."""
    return min(1.0, max((step + 1) / _WARM, done / _PART)) * (1 + math.cos(math.pi * done)) / 2
