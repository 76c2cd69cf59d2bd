"""How errors of a network's weights change its output, predicted from the weights alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.sensitivity.probe import Guess
from coinr.sensitivity.recognition import Model, recognize

# Smaller changes of the output count as this one, -200 dB.
_LEAST_ERROR = 1e-10

# Least sensitivity of a row, as a share of the mean: estimates are inexact, and hold for small errors.
_LEAST_WEIGHT = 2.0**-8


@dataclass(frozen=True, eq=False)
class Gain:
    """How the output follows errors of one tensor.

    Attributes
    ----------
    output : float
        Root mean squared error of the output, as a share of its range, for a root mean squared error of 1 in every
        number of the tensor.
    rows : ndarray
        float64 ``[out]``: the share of each row in the squared error, mean 1.
    """

    output: float
    rows: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Gains:
    """The gain of each tensor by name, and what the network was taken for, in words."""

    network: str
    tensors: Mapping[str, Gain]


def predict_gains(tensors: Mapping[str, NDArray[Any]], known: Guess | None = None) -> Gains | None:
    """Return the gains of networks that tensors are of; None where none is recognized, or one shows no signal.

    What a chain of layers computes is inferred unless it is ``known``. Where several activations are possible, the
    largest gain of each row counts, and of several encodings of coordinates with one activation the mean of squares. Of
    several networks, such as a coarse and a fine radiance field, the output of each is one of its own: gains are such
    that each keeps the whole level.
    """
    networks = recognize(tensors, known)
    if networks is None:
        return None
    total = sum(models[0].size for models in networks)
    squares: dict[str, NDArray[np.float64]] = {}
    for models in networks:
        share = models[0].size / total
        found = [[model.squared_gains() for model in alike] for alike in _alike(models)]
        squares |= {name: share * rows for name, rows in _largest_mean(found).items()}
    with np.errstate(all="ignore"):
        gains = {name: _gain(rows) for name, rows in squares.items()}
    if not all(math.isfinite(gain.output) for gain in gains.values()):
        return None
    return Gains(_words(networks), gains)


def predict_error(
    original: Mapping[str, NDArray[Any]], decoded: Mapping[str, NDArray[Any]]
) -> tuple[float, str] | None:
    """Return the output error in dB of decoded tensors, and what the network was taken for; None as above.

    Networks run with both at points of their domain, with each activation that is possible; the largest error counts,
    and the mean over encodings as above. It is -200 where no output changes.
    """
    networks = recognize(original)
    if networks is None:
        return None
    groups = [alike for models in networks for alike in _alike(models)]
    largest = max(np.mean([_squared_change(model, decoded) for model in alike]) for alike in groups)
    return 20 * math.log10(max(math.sqrt(largest), _LEAST_ERROR)), _words(networks)


def _alike(models: Sequence[Model]) -> list[list[Model]]:
    """Return models in groups that differ in the encoding of coordinates alone, which their texts do not name."""
    groups: dict[str, list[Model]] = {}
    for model in models:
        groups.setdefault(str(model), []).append(model)
    return list(groups.values())


def _squared_change(model: Model, decoded: Mapping[str, NDArray[Any]]) -> float:
    """Return the squared output error of decoded tensors."""
    outputs = model.outputs()
    change = model.replaced(decoded).outputs() - outputs
    return float(np.mean(change**2) / np.ptp(outputs) ** 2)


def _words(networks: Sequence[Sequence[Model]]) -> str:
    texts = [" or ".join(dict.fromkeys(map(str, models))) for models in networks]
    return " and ".join(f"{models[0].depth} layers, {text}" for models, text in zip(networks, texts, strict=True))


def _largest_mean(groups: Sequence[Sequence[Mapping[str, NDArray[Any]]]]) -> Mapping[str, NDArray[Any]]:
    """Return, by name, the largest over groups of the mean over each group."""
    first = groups[0][0]
    if len(groups) == len(groups[0]) == 1:
        return first
    # one operation for all tensors
    means = [np.mean([np.concatenate([one[name] for name in first]) for one in group], 0) for group in groups]
    ends = np.cumsum([len(rows) for rows in first.values()])
    return dict(zip(first, np.split(np.max(means, 0), ends[:-1]), strict=True))


def _gain(squares: NDArray[np.float64]) -> Gain:
    """Return the gain of a tensor, given the squared gain of each row."""
    total = float(squares.sum())
    rows = np.maximum(squares * (squares.size / (total or 1.0)), _LEAST_WEIGHT)
    return Gain(math.sqrt(total), rows * (rows.size / rows.sum()))
