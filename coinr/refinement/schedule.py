"""How learning rates rise and fall."""

from __future__ import annotations

import math

#: Steps in which learning rates rise.
WARM = 100


def cosine(step: int, done: float) -> float:
    """The share of a learning rate in a step, ``done`` of the training being over: a short rise, then half a cosine."""
    return min(1.0, (step + 1) / WARM) * (1 + math.cos(math.pi * done)) / 2
