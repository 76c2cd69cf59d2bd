"""Feature grids: tables whose rows are interpolated, and a ReLU network of what comes out.

Which rows meet at a point, the weights do not tell. So the network runs on features that are interpolated between rows
of random choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.sensitivity.graph import COORDINATES, Node, NodeRun, graph_derivatives, run_graph
from coinr.sensitivity.layers import Layer, find_layers
from coinr.sensitivity.probe import signs

Array = NDArray[Any]

# Widest row, and fewest rows, of a table; most levels of resolution.
_WIDEST, _FEWEST_ROWS, _MOST_LEVELS = 8, 64, 32

# Points at which the network runs, and the corners that are interpolated between: those of a square.
_POINTS, _CORNERS = 256, 4


def find_grid(tensors: Mapping[str, Array]) -> Grid | None:
    """Return the grid that tensors are of; None if they are of none.

    All tables have rows of one length, and the first layer takes a row of each level: of each table, or of a single
    table that holds all levels.
    """
    tables = {name: one for name, one in tensors.items() if _is_table(one)}
    layers = find_layers({name: one for name, one in tensors.items() if name not in tables}) if tables else None
    widths = {one.shape[1] for one in tables.values()}
    if layers is None or len(widths) > 1 or any(np.iscomplexobj(layer.weight) for layer in layers):
        return None
    levels, left = divmod(layers[0].weight.shape[1], widths.pop())
    if left or not 1 < levels <= _MOST_LEVELS or len(tables) not in (1, levels):
        return None
    return Grid(tables, layers, levels)


def _is_table(tensor: Array) -> bool:
    return tensor.ndim == 2 and tensor.shape[1] <= _WIDEST and len(tensor) >= _FEWEST_ROWS


@cache
def _corners() -> tuple[Array, Array]:
    """Return random places in a table, in 0 … 1, and the weights of those corners, ``[points, levels, 4]`` both."""
    generator = np.random.default_rng(0)
    places = generator.random((_POINTS, _MOST_LEVELS, _CORNERS))
    x, y = generator.random((2, _POINTS, _MOST_LEVELS))
    return places, np.stack(((1 - x) * (1 - y), (1 - x) * y, x * (1 - y), x * y), -1)


@dataclass(frozen=True, eq=False)
class Grid:
    """Tables ``[rows, columns]`` by name, the layers after them, and how many levels they interpolate."""

    tables: Mapping[str, Array]
    layers: Sequence[Layer]
    levels: int

    def __str__(self) -> str:
        return f"ReLU of rows of tables, {self.levels} levels at points that are not known"

    @property
    def depth(self) -> int:
        """Return the number of layers."""
        return len(self.layers)

    @property
    def size(self) -> int:
        """Return the number of weights."""
        return sum(layer.weight.size for layer in self.layers) + sum(one.size for one in self.tables.values())

    def replaced(self, tensors: Mapping[str, Array]) -> Grid:
        """Return the grid with the values of other tensors of the same names and shapes."""
        tables = {name: tensors[name] for name in self.tables}
        return Grid(tables, [layer.replaced(tensors) for layer in self.layers], self.levels)

    def outputs(self) -> Array:
        """Return outputs for features of random rows, float64 ``[N, b]``."""
        return self._run()[-1].outputs.astype(np.float64)

    def squared_gains(self) -> dict[str, Array]:
        """Return, by name, the squared gain of each row of a tensor."""
        made = self._run()
        outputs = made[-1].outputs
        last = {len(made) - 1: signs(*outputs.shape)}
        by_weights, by_biases = graph_derivatives(self._nodes(), made, last, 1)
        unit = outputs.shape[1] * float(np.ptp(outputs)) ** 2
        found = {
            name: rows / unit
            for layer, *squares in zip(self.layers, by_weights[1:], by_biases[1:], strict=True)
            for name, rows in zip(layer.names, squares, strict=False)
        }
        # errors of the corners are independent of each other
        by_feature = by_biases[0].reshape(self.levels, -1).sum(1) * np.square(_corners()[1]).sum(2).mean() / unit
        by_table = by_feature if len(self.tables) > 1 else [by_feature.sum()]
        own = zip(self.tables.items(), by_table, strict=True)
        return found | {name: np.full(len(table), total / len(table)) for (name, table), total in own}

    def _run(self) -> list[NodeRun]:
        places, weights = _corners()
        tables = [*self.tables.values()] * (self.levels // len(self.tables))
        features = []
        for level, table in enumerate(tables):
            rows = table[(places[:, level] * len(table)).astype(int)]
            features.append((rows * weights[:, level, :, None]).sum(1))
        return run_graph(self._nodes(), {COORDINATES: np.concatenate(features, 1).astype(np.float32)})

    def _nodes(self) -> list[Node]:
        """Return the features as a node of their own, and the layers."""
        columns = self.layers[0].weight.shape[1]
        features = Layer(np.eye(columns, dtype=np.float32), np.zeros(columns, np.float32), (), {})
        nodes = [Node(features, (COORDINATES,), False)]
        for position, layer in enumerate(self.layers):
            nodes.append(Node(layer, (position,), position < len(self.layers) - 1))
        return nodes
