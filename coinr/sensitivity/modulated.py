"""Networks with shift modulations (COIN++): a chain, and an affine map from latents to shifts of its hidden biases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.sensitivity.activations import Encoding, Sine
from coinr.sensitivity.chain import points_of
from coinr.sensitivity.inference import infer_sines
from coinr.sensitivity.layers import Layer, find_layers, group_tensors, make_layer
from coinr.sensitivity.probe import Guess, run, signs, squared_derivatives

Array = NDArray[Any]

# Matrices of a network at most, so that others take no time.
_MOST_MATRICES = 64

# Latents whose networks run, evenly chosen among those that are given.
_LATENTS = 8


def find_modulated(tensors: Mapping[str, Array]) -> list[Modulated]:
    """Return the network with modulations that tensors are of, with each sine that is possible; nothing if none is.

    The map has as many rows as all hidden layers together. Matrices with as many columns as it, alone in their groups,
    are latents. Without latents the phases of the sines are shifted by a radian: as much as makes a difference.
    """
    groups = group_tensors(tensors)
    matrices = {name: one for name, one in tensors.items() if one.ndim == 2}
    for name, parts in groups.items() if len(matrices) <= _MOST_MATRICES else ():
        own = [f"{name}.{part}" if name else part for part in parts]
        weight = next((one for one in parts.values() if one.ndim == 2), None)
        if weight is None:
            continue
        latents = {key: one for key, one in matrices.items() if _is_latents(key, one, weight.shape[1], groups)}
        rows = [len(one) for key, one in matrices.items() if key not in latents and key not in own]
        if sum(rows) - len(weight) not in rows:  # those of the output layer
            continue
        shifts = make_layer(name, parts)
        layers = find_layers({key: one for key, one in tensors.items() if key not in latents and key not in own})
        if shifts and layers and sum(len(layer.weight) for layer in layers[:-1]) == len(weight):
            return _inferred(Modulated(layers, shifts, latents))
    return []


def _is_latents(name: str, tensor: Array, columns: int, groups: Mapping[str, Mapping[str, Array]]) -> bool:
    beside = groups[name.rpartition(".")[0]].values()
    return tensor.ndim == 2 and tensor.shape[1] == columns and all(one.shape[1:] == (columns,) for one in beside)


def _inferred(network: Modulated) -> list[Modulated]:
    """Return the network with each sine that is possible; nothing where none is."""
    variants = [network.shifted(latent) for latent in network.chosen()]
    return [replace(network, guess=guess) for guess in infer_sines(variants)]


@dataclass(frozen=True, eq=False)
class Modulated:
    """A chain whose hidden biases are shifted by a map of latents, ``[N, columns]`` by name."""

    layers: Sequence[Layer]
    shifts: Layer
    latents: Mapping[str, Array]
    guess: Guess = Guess(Encoding(2), Sine(30.0), Sine(30.0))

    def __str__(self) -> str:
        given = f"{sum(map(len, self.latents.values()))} latents" if self.latents else "latents that are not known"
        return f"{self.guess}, shifted by {given}"

    @property
    def depth(self) -> int:
        """Return the number of layers."""
        return len(self.layers) + 1

    @property
    def size(self) -> int:
        """Return the number of weights."""
        return sum(layer.weight.size for layer in (*self.layers, self.shifts)) + sum(
            one.size for one in self.latents.values()
        )

    def replaced(self, tensors: Mapping[str, Array]) -> Modulated:
        """Return the network with the values of other tensors of the same names and shapes."""
        return Modulated(
            [layer.replaced(tensors) for layer in self.layers],
            self.shifts.replaced(tensors),
            {name: tensors[name] for name in self.latents},
            self.guess,
        )

    def outputs(self) -> Array:
        """Return outputs over the domain for each of some latents, float64 ``[N, b]``."""
        made = [run(self.shifted(latent), self.guess, self._points()).outputs for latent in self.chosen()]
        return np.concatenate(made).astype(np.float64)

    def squared_gains(self) -> dict[str, Array]:
        """Return, by name, the squared gain of each row of a tensor."""
        latents = self.chosen()
        low, high, weights, biases = math.inf, -math.inf, [], []
        for latent in latents:
            layers = self.shifted(latent)
            with np.errstate(all="ignore"):
                made = run(layers, self.guess, self._points())
                by_weights, by_biases = squared_derivatives(layers, self.guess, made)
            low, high = min(low, float(made.outputs.min())), max(high, float(made.outputs.max()))
            weights.append(by_weights)
            biases.append(by_biases)
        unit = made.outputs.shape[1] * (high - low) ** 2
        found: dict[str, Array] = {}
        for position, layer in enumerate(self.layers):
            squares = [np.mean([one[position] for one in some], 0) / unit for some in (weights, biases)]
            found |= dict(zip(layer.names, squares, strict=False))
        by_shift = np.array([np.concatenate(one[:-1]) for one in biases]) / unit
        lengths = np.square(latents).sum(1)
        found |= dict(zip(self.shifts.names, ((by_shift * lengths[:, None]).mean(0), by_shift.mean(0)), strict=False))
        by_latent = float(by_shift.mean(0) @ np.square(self.shifts.weight, dtype=np.float64).sum(1))
        total = sum(map(len, self.latents.values()))
        # the error of one latent is seen in its own share of the outputs
        return found | {name: np.full(len(one), by_latent / total) for name, one in self.latents.items()}

    def _points(self) -> Array:
        return points_of(self.layers, self.guess.encoding.inputs)

    def shifted(self, latent: Array) -> list[Layer]:
        """Return the layers with the hidden biases that a latent gives them."""
        values = (self.shifts.weight @ latent + self.shifts.bias).astype(np.float32)
        found, start = [], 0
        for layer in self.layers[:-1]:
            end = start + len(layer.weight)
            found.append(replace(layer, bias=layer.bias + values[start:end]))
            start = end
        return [*found, self.layers[-1]]

    def chosen(self) -> Array:
        """Return some of the latents, or two that stand for all, float64 ``[N, columns]``."""
        if self.latents:
            every = np.concatenate([*self.latents.values()]).astype(np.float64)
            chosen: Array = every[np.linspace(0, len(every) - 1, min(len(every), _LATENTS)).round().astype(int)]
            return chosen
        columns = self.shifts.weight.shape[1]
        assert isinstance(self.guess.hidden, Sine)
        phase = self.guess.hidden.omega * float(np.sqrt(np.mean(np.square(self.shifts.weight, dtype=np.float64))))
        one: Array = signs(columns, 1)[:, 0] / (phase * math.sqrt(columns))
        return np.stack((np.zeros(columns), one))
