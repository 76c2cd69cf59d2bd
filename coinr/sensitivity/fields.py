"""Radiance fields: NeRFs whose layers are recognized by their names and shapes, and what they render, in NumPy.

A field is seen by cameras as those of the Blender scenes (Mildenhall et al. 2020): at a distance of 4 in the upper half
space, looking at [-1, 1]³, with depths from 2 to 6 and a white background.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.sensitivity.activations import Encoding
from coinr.sensitivity.graph import COORDINATES, DIRECTIONS, Node, NodeRun, graph_derivatives, run_graph
from coinr.sensitivity.layers import Layer, group_tensors, make_layer
from coinr.sensitivity.probe import points, signs

Array = NDArray[Any]


@dataclass(frozen=True)
class _Layout:
    """Names of layers by their part; numbers order the layers of a part.

    The color is seen from a direction, through the feature where there is one; density is not. Points are joined with
    what a layer gives before or after it, and have the sines of an encoding in one order or the other.
    """

    names: Mapping[str, str]
    points_first: bool = True
    sines_first: bool = False


# Of nerf-pytorch, whose names coinr has, of nerf_pl, and of nerfacc.
_LAYOUTS = (
    _Layout(
        {
            "trunk": r"pts_linears\.(\d+)",
            "feature": r"feature_linear()",
            "view": r"views_linears\.(\d+)",
            "density": r"alpha_linear()",
            "color": r"rgb_linear()",
        }
    ),
    _Layout(
        {
            "trunk": r"xyz_encoding_(\d+)\.0",
            "feature": r"xyz_encoding_final()",
            "view": r"dir_encoding\.(\d+)",
            "density": r"sigma(?:\.0)?()",
            "color": r"rgb\.0()",
        }
    ),
    _Layout(
        {
            "trunk": r"base\.hidden_layers\.(\d+)",
            "feature": r"bottleneck_layer\.output_layer()",
            "view": r"rgb_layer\.hidden_layers\.(\d+)",
            "density": r"sigma_layer\.output_layer()",
            "color": r"rgb_layer\.output_layer()",
        },
        points_first=False,
        sines_first=True,
    ),
)

# Cameras and rays.
_DISTANCE, _NEAR, _FAR = 4.0, 2.0, 6.0

# Samples on a ray. As many rays as keep the products of samples and weights below a limit, within bounds.
_SAMPLES, _PRODUCTS, _RAYS = 48, 1 << 28, (24, 192)

# Least range of the rendered colors of a field that shows something.
_LEAST_RANGE = 0.05

# Errors of the weights that should change the output by this share of its range may change it by so many times more.
_TRIED, _MOST_CHANGE = 10 ** (-50 / 20), 2.0


def find_fields(tensors: Mapping[str, Array]) -> list[Field] | None:
    """Return the radiance fields that tensors are of, such as a coarse and a fine one; None if there are others."""
    groups = group_tensors(tensors)
    for layout in _LAYOUTS:
        found: dict[str, dict[tuple[str, int], Layer | None]] = {}
        for name, group in groups.items():
            place = _part_of(name, layout.names)
            if place is None:
                break
            prefix, part, number = place
            found.setdefault(prefix, {})[part, number] = make_layer(name, group)
        else:
            fields = [_make_field(layers, layout) for layers in found.values()]
            return [field for field in fields if field] if fields and all(fields) else None
    return None


def _part_of(name: str, layout: Mapping[str, str]) -> tuple[str, str, int] | None:
    """Return prefix, part and number of a layer's name; None if the layout has no such layer."""
    for part, pattern in layout.items():
        found = re.fullmatch(rf"((?:.*\.)?){pattern}", name)
        if found:
            return found[1], part, int(found[2] or 0)
    return None


def _make_field(layers: Mapping[tuple[str, int], Layer | None], layout: _Layout) -> Field | None:
    """Return the field of layers by part and number; None where they do not fit together."""
    parts: dict[str, list[Layer]] = {}
    for part, number in sorted(layers):
        layer = layers[part, number]
        if layer is None or np.iscomplexobj(layer.weight):
            return None
        parts.setdefault(part, []).append(layer)
    if not {"trunk", "view", "density", "color"} <= parts.keys():
        return None
    nodes: list[Node] = []
    last = COORDINATES
    columns = parts["trunk"][0].weight.shape[1]
    for layer in parts["trunk"]:
        joined = nodes and layer.weight.shape[1] == columns + len(nodes[-1].layer.weight)
        both = (COORDINATES, last) if layout.points_first else (last, COORDINATES)
        nodes.append(Node(layer, both if joined else (last,)))
        last = len(nodes) - 1
    density = len(nodes)
    nodes.append(Node(parts["density"][0], (last,), False))
    for layer in parts.get("feature", []):
        nodes.append(Node(layer, (last,), False))
        last = len(nodes) - 1
    seen_columns = parts["view"][0].weight.shape[1] - len(nodes[last].layer.weight)
    inputs: tuple[int, ...] = (last, DIRECTIONS)
    for layer in parts["view"]:
        nodes.append(Node(layer, inputs))
        inputs = (len(nodes) - 1,)
    nodes.append(Node(parts["color"][0], inputs, False))
    widths = {COORDINATES: columns, DIRECTIONS: seen_columns} | {
        k: len(one.layer.weight) for k, one in enumerate(nodes)
    }
    fits = all(node.layer.weight.shape[1] == sum(widths[one] for one in node.inputs) for node in nodes)
    if not fits or len(parts["density"][0].weight) != 1 or len(parts["color"][0].weight) != 3:
        return None
    encodings = [_encoding(count, layout) for count in (columns, seen_columns)]
    if None in encodings:
        return None
    field = Field(nodes, density, *encodings)  # type: ignore[arg-type]
    rendered = field.outputs()
    shows = bool(np.isfinite(rendered).all()) and np.ptp(rendered) > _LEAST_RANGE
    return field if shows and field.follows_gains() else None


def _encoding(columns: int, layout: _Layout) -> Encoding | None:
    """Return the encoding of points or directions that has so many columns: of NeRF, with frequencies 2^i."""
    count, left = divmod(columns - 3, 6)
    return None if left or count < 0 else Encoding(3, count, sines_first=layout.sines_first)


@cache
def _rays(count: int) -> tuple[Array, Array]:
    """Return origins and unit directions of rays, float64 ``[count, 3]`` both."""
    spread = points(5, count)
    azimuth, height = math.pi * spread[:, 0], (1 + spread[:, 1]) / 2
    level = np.sqrt(1 - height**2)
    origins = _DISTANCE * np.stack((level * np.cos(azimuth), level * np.sin(azimuth), height), 1)
    directions = spread[:, 2:] - origins
    return origins, directions / np.linalg.norm(directions, axis=1, keepdims=True)


@dataclass(frozen=True, eq=False)
class _Seen:
    """What rays see: colors ``[rays, 3]``, and what their derivatives need, ``[rays, samples, ...]``."""

    rendered: Array
    colors: Array
    weights: Array
    left: Array
    runs: list[NodeRun]


@dataclass(frozen=True, eq=False)
class Field:
    """A field: ``nodes`` of which one at ``density`` is the density, and the last is the color."""

    nodes: Sequence[Node]
    density: int
    encoding: Encoding
    seen_encoding: Encoding

    def __str__(self) -> str:
        return "radiance field of ReLU of encoded coordinates"

    @property
    def depth(self) -> int:
        """Return the number of layers."""
        return len(self.nodes)

    @property
    def size(self) -> int:
        """Return the number of weights."""
        return sum(node.layer.weight.size for node in self.nodes)

    def replaced(self, tensors: Mapping[str, Array]) -> Field:
        """Return the field with the values of other tensors of the same names and shapes."""
        nodes = [replace(node, layer=node.layer.replaced(tensors)) for node in self.nodes]
        return replace(self, nodes=nodes)

    def outputs(self) -> Array:
        """Return rendered colors, ``[rays, 3]``."""
        return self._seen.rendered

    def squared_gains(self) -> dict[str, Array]:
        """Return, by name, the squared gain of each row of a tensor."""
        seen = self._seen
        derivatives = self._derivatives(seen)
        by_weights, by_biases = graph_derivatives(self.nodes, seen.runs, derivatives, _SAMPLES)
        unit = 3 * float(np.ptp(seen.rendered)) ** 2
        return {
            name: rows / unit
            for node, *squares in zip(self.nodes, by_weights, by_biases, strict=True)
            for name, rows in zip(node.layer.names, squares, strict=False)
        }

    def follows_gains(self) -> bool:
        """Return whether small errors of the weights change the output as the gains say.

        They change it far more where rays end at densities near zero, as in untrained fields: the last sample of a ray
        hides the background if its density is positive, however small.
        """
        gains, generator = self.squared_gains(), np.random.default_rng(0)
        tensors = {
            name: values
            for node in self.nodes
            for name, values in zip(node.layer.names, (node.layer.weight, node.layer.bias), strict=False)
        }
        sizes = {name: math.sqrt(np.mean(np.square(values, dtype=np.float64))) for name, values in tensors.items()}
        predicted = math.sqrt(sum(gains[name].sum() * sizes[name] ** 2 for name in tensors))
        if not 0 < predicted < math.inf:
            return False
        changed = {
            name: values + _TRIED / predicted * sizes[name] * generator.standard_normal(values.shape, np.float32)
            for name, values in tensors.items()
        }
        change = self.replaced(changed).outputs() - self.outputs()
        root = math.sqrt(np.mean(np.square(change))) / float(np.ptp(self.outputs()))
        return root <= _MOST_CHANGE * _TRIED

    @cached_property
    def _seen(self) -> _Seen:
        count = min(max(_PRODUCTS // (_SAMPLES * self.size), _RAYS[0]), _RAYS[1])
        origins, directions = _rays(count)
        depths = _NEAR + (np.arange(_SAMPLES) + 0.5) * (_FAR - _NEAR) / _SAMPLES
        places = (origins[:, None] + directions[:, None] * depths[:, None]).reshape(-1, 3)
        encoded = np.repeat(self.seen_encoding.value(directions), _SAMPLES, 0)
        with np.errstate(all="ignore"):
            runs = run_graph(self.nodes, {COORDINATES: self.encoding.value(places), DIRECTIONS: encoded})
            density = np.maximum(runs[self.density].outputs.reshape(count, _SAMPLES), 0)
            colors = 1 / (1 + np.exp(-runs[-1].outputs.reshape(count, _SAMPLES, 3)))
            optical = density * _gaps()
            left = np.exp(-np.cumsum(optical, 1))  # light that passes each sample
            weights = np.concatenate((np.ones((count, 1)), left[:, :-1]), 1) - left
            rendered = 1 + (weights[..., None] * (colors - 1)).sum(1)
        return _Seen(rendered, colors, weights, left, runs)

    def _derivatives(self, seen: _Seen) -> dict[int, Array]:
        """Return derivatives of the rendered colors, in one random direction each, by colors and density."""
        direction = signs(len(seen.rendered), 3)[:, None]
        by_color = direction * seen.weights[..., None] * seen.colors * (1 - seen.colors)
        contrast = ((seen.colors - 1) * direction).sum(-1)
        behind = seen.weights * contrast
        behind = behind[:, ::-1].cumsum(1)[:, ::-1] - behind  # what later samples show
        by_density = _gaps() * (seen.left * contrast - behind)
        by_density *= self._is_dense(seen)
        return {
            len(self.nodes) - 1: by_color.reshape(-1, 3).astype(np.float32),
            self.density: by_density.reshape(-1, 1).astype(np.float32),
        }

    def _is_dense(self, seen: _Seen) -> Array:
        return seen.runs[self.density].outputs.reshape(seen.weights.shape) > 0


def _gaps() -> Array:
    """Return the length of each sample's part of a ray; the last one has no end."""
    gaps = np.full(_SAMPLES, (_FAR - _NEAR) / _SAMPLES)
    gaps[-1] = 1e10
    return gaps
