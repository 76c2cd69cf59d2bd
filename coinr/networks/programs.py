"""What networks compute, for the extension: their layers one by one, without torch."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from coinr.engine.native import MlpProgram
from coinr.networks.families import FAMILIES, MlpFamily, fans


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
    family: MlpFamily, config: Mapping[str, Any], numbers: Iterable[tuple[float, float]] = ()
) -> Computation:
    """Return what an MLP computes.

    Parameters
    ----------
    family, config
        As :meth:`MlpFamily.checked` gives them.
    numbers
        Of each layer with complex wavelets: omega and scale.
    """
    return _computation_of_mlp(family.kind, tuple(config.items()), tuple(numbers))


@functools.lru_cache(maxsize=256)
def _computation_of_mlp(
    kind: str, items: tuple[tuple[str, Any], ...], numbers: tuple[tuple[float, float], ...]
) -> Computation:
    family, config = FAMILIES[kind], dict(items)
    assert isinstance(family, MlpFamily)
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


def computation_of_field(
    depth: int, width: int, skip: int | None, point_frequencies: int, view_frequencies: int
) -> Computation:
    """Return what a radiance field computes of points and directions: red, green, blue and density.

    The buffers are the encoded points, followed by the layer that they are joined to; the outputs of the other layers;
    features, followed by the encoded directions; the layer of the directions; and the outputs.
    """
    points = Input(3, frequencies_of(point_frequencies, 2.0, 1.0))
    encoded, views = (3 * (1 + 2 * count) for count in (point_frequencies, view_frequencies))
    layers: list[Layer] = []
    at, rows, used = 0, encoded, 1  # where the next layer reads, and buffers that are taken
    for k in range(depth):
        begin, to = (encoded, 0) if k == skip else (0, used)
        layers.append(Layer("relu", "real", rows, width, at, 0, to, begin))
        at, rows, used = to, begin + width, used + (to == used)
    features, seen, out = used, used + 1, used + 2
    layers += [
        Layer("relu", "real", rows, 1, at, 0, out, 3),
        Layer("none", "real", rows, width, at, 0, features, 0),
        Layer("relu", "real", width + views, width // 2, features, 0, seen, 0),
        Layer("sigmoid", "real", width // 2, 3, seen, 0, out, 0),
    ]
    directions = Input(3, frequencies_of(view_frequencies, 2.0, 1.0), features, width)
    modules = [f"pts_linears.{k}" for k in range(depth)]
    modules += ["alpha_linear", "feature_linear", "views_linears.0", "rgb_linear"]
    names = tuple(f"{module}.{name}" for module in modules for name in ("weight", "bias"))
    return Computation((points, directions), tuple(layers), names)
