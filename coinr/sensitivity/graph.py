"""Networks that are no chain: layers that join the outputs of others with the network's inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.sensitivity.layers import Layer

Array = NDArray[Any]

#: Stand for the network's own inputs among those of a node.
COORDINATES, DIRECTIONS = -1, -2


@dataclass(frozen=True, eq=False)
class Node:
    """A layer, with a ReLU after it if it is ``rectified``.

    ``inputs`` are positions of earlier nodes, or :data:`COORDINATES` or :data:`DIRECTIONS`; they are joined in order.
    """

    layer: Layer
    inputs: tuple[int, ...]
    rectified: bool = True


@dataclass(frozen=True, eq=False)
class NodeRun:
    """Joined inputs ``[N, in]``, the first column of each of them, and outputs ``[N, out]``."""

    inputs: Array
    starts: list[int]
    outputs: Array


def run_graph(nodes: Sequence[Node], given: Mapping[int, Array]) -> list[NodeRun]:
    """Run nodes in order on the network's inputs, ``[N, columns]`` each."""
    made: list[NodeRun] = []
    for node in nodes:
        parts = [given[one] if one < 0 else made[one].outputs for one in node.inputs]
        joined = parts[0] if len(parts) == 1 else np.concatenate(parts, 1)
        z = joined @ node.layer.weight.T + node.layer.bias
        starts = [0, *accumulate(part.shape[1] for part in parts)]
        made.append(NodeRun(joined, starts, np.maximum(z, 0) if node.rectified else z))
    return made


def graph_derivatives(
    nodes: Sequence[Node], made: Sequence[NodeRun], derivatives: Mapping[int, Array], samples: int
) -> tuple[list[Array], list[Array]]:
    """Return, for each node, the squared derivatives of numbers by weights and by biases.

    They are means over the numbers; by weights, sums over a row: arrays ``[out]``, float64.

    Parameters
    ----------
    nodes, made
        The graph, and what :func:`run_graph` returned.
    derivatives
        Of the numbers by outputs of nodes, ``[N, out]`` by position.
    samples
        How many consecutive points each number depends on, such as those of a ray.
    """
    reached = dict(derivatives)
    by_weights, by_biases = [], []
    for position in range(len(nodes) - 1, -1, -1):
        node, run = nodes[position], made[position]
        derivative = reached.pop(position)
        if node.rectified:
            derivative = derivative * (run.outputs > 0)
        rays = derivative.reshape(-1, samples, derivative.shape[1])
        inputs = run.inputs.reshape(len(rays), samples, -1)
        # of a row, |Σ d yᵀ|² over the samples, from products of the samples' inputs
        products = inputs @ inputs.transpose(0, 2, 1)
        by_weights.append(((products @ rays) * rays).sum((0, 1), dtype=np.float64) / len(rays))
        by_biases.append(np.square(rays.sum(1), dtype=np.float64).mean(0))
        passed = derivative @ node.layer.weight
        for one, start, end in zip(node.inputs, run.starts, run.starts[1:], strict=False):
            if one >= 0:
                reached[one] = reached.get(one, 0) + passed[:, start:end]
    return by_weights[::-1], by_biases[::-1]
