"""Allocation of the error budget to groups of tensors, from the score that each group's error costs.

A group of n parameters saves n / 2 bits for each octave of its squared error, and what it costs is proportional to the
squared error. So the bits are fewest, at a given total cost, where the cost of each group is proportional to its n.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

# Tensors with less than this share of all parameters are measured together.
_LEAST_SHARE = 0.002

# Widest change of an error by one measurement, each way.
_FINER, _COARSER = 1 / 4, 4.0

# Losses below this share of an equal part are taken as that: they may be due to chance.
_LEAST_LOSS = 0.02


def group_tensors(sd: Mapping[str, Any], names: list[str], most: int) -> list[list[str]]:
    """Return at most ``most`` groups of tensors: the largest alone, the others together."""
    counts = {name: _count(sd[name]) for name in names}
    total = sum(counts.values())
    order = sorted(names, key=lambda name: -counts[name])
    alone = [name for name in order if counts[name] >= _LEAST_SHARE * total][: most - 1]
    rest = [name for name in order if name not in alone]
    return [[name] for name in alone] + ([rest] if rest else [])


def with_decoded(sd: Mapping[str, Any], decoded: Mapping[str, Tensor], group: list[str]) -> dict[str, Any]:
    """Return the state dict with one group as it was decoded."""
    return {name: decoded[name] if name in group else value for name, value in sd.items()}


def error_factors(sd: Mapping[str, Any], parts: list[list[str]], losses: list[float]) -> dict[str, float]:
    """Return by what each tensor's error is multiplied so that bits are fewest at the same total loss.

    Parameters
    ----------
    sd
        Names to tensors.
    parts
        Groups of names.
    losses
        By how much the score falls where one group alone is decoded and the others are as they were.

    Returns
    -------
    dict of str to float
        By name, sqrt(p_g / l_g) with p_g the group's share of all parameters and l_g its share of the loss, within
        limits. All are scaled so that the losses, in proportion to squared errors, add up to as much as before.
    """
    counts = np.array([sum(_count(sd[name]) for name in part) for part in parts], np.float64)
    total = max(sum(max(loss, 0.0) for loss in losses), math.ulp(0.0))
    equal = counts / counts.sum()
    shares = np.maximum(np.maximum(losses, 0.0) / total, _LEAST_LOSS * equal)
    logs = np.clip(np.log(equal / shares) / 2, math.log(_FINER), math.log(_COARSER))
    by = np.exp(logs) / math.sqrt(float((shares * np.exp(2 * logs)).sum() / shares.sum()))
    return {name: float(factor) for part, factor in zip(parts, by, strict=True) for name in part}


def _count(value: Any) -> int:
    return int(math.prod(value.shape))
