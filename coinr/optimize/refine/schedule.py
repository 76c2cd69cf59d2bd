"""The learning rate over a training: linear warmup, then cosine decay."""

from __future__ import annotations

import math

# Steps of the warmup, and the largest share of the training that it may take.
_WARMUP_STEPS, _WARMUP_SHARE = 100, 0.1


def warmup_cosine(step: int, done: float) -> float:
    """Return the factor of a learning rate in a step, of which ``done`` is the share of the training that is over.

    min(1, max((step + 1) / 100, done / 0.1)) · (1 + cos(π · done)) / 2.
    """
    return min(1.0, max((step + 1) / _WARMUP_STEPS, done / _WARMUP_SHARE)) * (1 + math.cos(math.pi * done)) / 2
