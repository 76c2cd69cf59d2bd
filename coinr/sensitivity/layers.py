"""The layers of a network, found from the names and shapes of its tensors."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Layer:
    """An affine map.

    Attributes
    ----------
    weight, bias : ndarray
        float32 or complex64, ``[out, in]`` and ``[out]``; the bias is zero where the layer has none.
    names : tuple of str
        Names of the weight and, if there is one, of the bias.
    numbers : mapping of str to float
        Tensors of one element beside them, by the last part of their names.
    """

    weight: Array
    bias: Array
    names: tuple[str, ...]
    numbers: Mapping[str, float]

    @property
    def scale(self) -> float:
        """Return the root mean square of the weights times the root of the number of inputs."""
        wide = self.weight.astype(np.complex128 if np.iscomplexobj(self.weight) else np.float64)
        return math.sqrt(np.vdot(wide, wide).real / len(wide))

    def replaced(self, tensors: Mapping[str, Array]) -> Layer:
        """Return the layer with the values of other tensors of the same names and shapes."""
        weight, *bias = (_single(tensors[name]) for name in self.names)
        return replace(self, weight=weight, bias=bias[0] if bias else self.bias)


def find_layers(tensors: Mapping[str, Array]) -> list[Layer] | None:
    """Return the layers of a chain of affine maps, from the first to the last; None where tensors are no such chain.

    Each output of a layer is an input of the next, in the order of the tensors or of the numbers in their names. Every
    tensor must be the weight of a layer, its bias, or a single number.
    """
    layers = _in_order(tensors)
    if layers is None:
        names = sorted(tensors, key=_numbered)
        layers = None if names == list(tensors) else _in_order({name: tensors[name] for name in names})
    return layers


def _numbered(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key by which numbers in names follow each other as numbers, and words come after them."""
    keys: list[tuple[int, int, str]] = []
    for at, part in enumerate(re.split(r"(\d+)", name)):
        digits = part.lstrip("0")
        keys.append((0, len(digits), digits) if at % 2 else (1, 0, part))
    return keys


def group_tensors(tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Return the tensors of each layer by the last part of their names, by the name of the layer."""
    groups: dict[str, dict[str, Array]] = {}
    for name, tensor in tensors.items():
        layer, _, part = name.rpartition(".")
        groups.setdefault(layer, {})[part] = tensor
    return groups


def _in_order(tensors: Mapping[str, Array]) -> list[Layer] | None:
    groups = group_tensors(tensors)
    numbers: dict[str, float] = {}
    layers: list[Layer] = []
    for name, parts in groups.items():
        singles = {part: float(np.real(one.reshape(()))) for part, one in parts.items() if one.size == 1 >= one.ndim}
        if len(singles) == len(parts):
            numbers |= singles  # of an activation, which stands beside its affine map
            continue
        found = make_layer(name, parts, numbers)
        if found is None or (layers and layers[-1].weight.shape[0] != found.weight.shape[1]):
            return None
        layers.append(found)
        numbers = {}
    return layers if len(layers) > 1 else None


def make_layer(group: str, parts: Mapping[str, Array], numbers: Mapping[str, float] | None = None) -> Layer | None:
    """Return the layer of a group of tensors; None unless it is one matrix and at most one vector of its outputs."""
    matrices = [part for part, one in parts.items() if one.ndim == 2]
    vectors = [part for part in parts if part not in matrices]
    if len(matrices) != 1 or len(vectors) > 1:
        return None
    weight = _single(parts[matrices[0]])
    if any(parts[part].shape != (len(weight),) for part in vectors):
        return None
    bias = _single(parts[vectors[0]]) if vectors else np.zeros(len(weight), weight.dtype)
    if not (np.isfinite(weight).all() and np.isfinite(bias).all() and weight.any()):
        return None
    prefix = f"{group}." if group else ""
    return Layer(weight, bias, tuple(prefix + part for part in (*matrices, *vectors)), numbers or {})


def _single(tensor: Array) -> Array:
    if tensor.dtype in (np.float32, np.complex64):
        return tensor
    with np.errstate(over="ignore"):
        return tensor.astype(np.complex64 if np.iscomplexobj(tensor) else np.float32)
