"""What networks compute, for the extension: their layers one by one, without torch."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from coinr.engine.native import MlpProgram
from coinr.networks.families import MlpFamily, fans


class Input(NamedTuple):
    """Coordinates and the frequencies of their encoding, and where they begin: a row of a buffer."""

    features: int
    frequencies: tuple[float, ...]
    buffer: int = 0
    row: int = 0


class Layer(NamedTuple):
    """An affine map and its activation, as ``csrc/mlp/program.hpp`` says."""

    activation: str
    storage: str
    fan_in: int
    fan_out: int
    in_buffer: int
    in_row: int
    out_buffer: int
    out_row: int
    omega: float = 1.0
    scale: float = 1.0


class Computation(NamedTuple):
    """What a network computes, and the names of its weights and biases, layer by layer."""

    inputs: tuple[Input, ...]
    layers: tuple[Layer, ...]
    names: tuple[str, ...]

    def program(self) -> MlpProgram:
        """Return the program that computes it; the same one for equal layers."""
        return _program(self.inputs, self.layers)


@functools.lru_cache(maxsize=256)
def _program(inputs: tuple[Input, ...], layers: tuple[Layer, ...]) -> MlpProgram:
    return MlpProgram(inputs, layers)


def frequencies_of(count: int, base: float, lowest: float) -> tuple[float, ...]:
    """Return lowest · base^i for each i < count."""
    return tuple(lowest * base**i for i in range(count))


def computation_of_mlp(
    family: MlpFamily, config: Mapping[str, Any], numbers: Sequence[tuple[float, float]] = ()
) -> Computation:
    """Return what an MLP computes.

    Parameters
    ----------
    family, config
        As :meth:`MlpFamily.checked` gives them.
    numbers
        Of each layer with complex wavelets: omega and scale.
    """
    last = config["hidden_layers"] + 1
    frequencies = frequencies_of(config["frequencies"], config["base"], config["lowest"])
    layers, names = [], []
    for k, fan in enumerate(fans(config)):
        activation, storage, omega, scale = "none", "real", 1.0, 1.0
        if k < last:
            activation = _ACTIVATIONS[family.kind]
            omega, scale = numbers[k] if numbers else (config.get("omega", 1.0), config.get("scale", 1.0))
            omega = config.get("first_omega", omega) if k == 0 and not numbers else omega
        if family.kind == "wire" and k > 0:
            activation, storage = ("gabor_complex", "complex") if k < last else ("none", "real_part")
        layers.append(Layer(activation, storage, *fan, k, 0, k + 1, 0, omega, scale))
        names += [f"{family.layer_name(k, last)}.{name}" for name in ("weight", "bias")]
    return Computation((Input(config["in_features"], frequencies),), tuple(layers), tuple(names))


_ACTIVATIONS = {"siren": "sine", "finer": "finer", "gauss": "gauss", "relu": "relu", "wire": "gabor"}
