"""What a coder saves that knows the symmetries of a network of sines.

    python -m bench.rate.symmetries [--data DIR]

Hidden neurons may be permuted and their signs flipped without a change of the function: log2 n! + n bits of each
layer of n neurons say nothing. Here the biases of each hidden layer are made non-negative and sorted, and weights go
with them. The networks are those of :mod:`bench.harness.crops`, encoded by ``direct`` in both orders.

``biases sorted`` is what the sorted biases take as differences of neighbors, by the range coder of levels, at the step
that gives the error of the file in the trained order. ``saved`` compares weights and hidden biases of that file with
the canonical weights and these biases.
"""

from __future__ import annotations

import argparse
import math
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import coinr
from bench.harness import corpus, crops
from bench.harness.crops import Crop
from bench.harness.results import write_csv, write_json
from coinr.codec.coders.levels import SHAPES, LevelForm, scale_code

TOLERANCES = (0.1, 0.15, 0.3)

# Codes of the mean magnitude that are tried on both sides of the nearest one.
_AROUND = 8


def canonical(state_dict: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
    """Return the same function of odd activations with sorted non-negative biases in hidden layers."""
    made = OrderedDict((name, tensor.clone()) for name, tensor in state_dict.items())
    weights = [name for name in made if name.endswith(".weight")]
    for name, following in zip(weights, weights[1:], strict=False):
        bias = name.replace("weight", "bias")
        signs = torch.where(made[bias] < 0, -1.0, 1.0)
        order = (made[bias] * signs).argsort()
        made[bias] = (made[bias] * signs)[order]
        made[name] = (made[name] * signs[:, None])[order]
        made[following] = (made[following] * signs)[:, order]
    return made


def smallest(levels: NDArray[np.int64]) -> int:
    """Return the bytes of levels as one row, in the best form of a scalar quantizer."""
    row = levels.astype(np.int32)[None]
    code = scale_code(float(np.abs(row).mean()))
    forms = (
        LevelForm(0, shape, scale, by_row=by_row)
        for shape in range(len(SHAPES))
        for scale in range(max(0, code - _AROUND), code + _AROUND + 1)
        for by_row in (False, True)
    )
    return min(len(form.encode(row)) for form in forms)


def row(crop: Crop, tolerance: float) -> dict[str, Any]:
    """Return a line of the table."""
    state, ordered = crop.state_dict, canonical(crop.state_dict)
    change = float((crop.values(ordered) - crop.values(state)).abs().max())
    biases = [name for name in state if name.endswith(".bias")][:-1]
    blobs = [coinr.encode_state_dict(sd, tolerance=tolerance, profile="direct") for sd in (state, ordered)]
    sizes = [{one["name"]: one["bytes"] for one in coinr.inspect(blob).tensors} for blob in blobs]
    weights = [sum(size for name, size in one.items() if name.endswith(".weight")) for one in sizes]
    hidden = sum(sizes[0][name] for name in biases)
    decoded = coinr.decode_state_dict(blobs[0])
    by_differences = alone = 0
    for name in biases:
        if torch.equal(decoded[name], state[name]):  # exact: there is no step
            alone, by_differences = alone + sizes[0][name], by_differences + sizes[0][name]
            continue
        step = math.sqrt(12) * float((decoded[name] - state[name]).double().square().mean().sqrt())
        levels, sorted_levels = (np.rint(sd[name].double().numpy() / step).astype(np.int64) for sd in (state, ordered))
        alone += smallest(levels)
        by_differences += smallest(np.diff(sorted_levels, prepend=0))
    bits = sum(math.lgamma(len(state[name]) + 1) / math.log(2) + len(state[name]) for name in biases)
    return {
        "network": crop.name,
        "tolerance": tolerance,
        "bytes": len(blobs[0]),
        "weights": weights[0],
        "weights, canonical order": weights[1],
        "hidden biases": hidden,
        "biases, scalar": alone,
        "biases, sorted": by_differences,
        "in theory, percent": 100 * bits / 8 / len(blobs[0]),
        "saved by order, percent": 100 * (weights[0] + alone - weights[1] - by_differences) / len(blobs[0]),
        "saved, percent": 100 * (weights[0] + hidden - weights[1] - by_differences) / len(blobs[0]),
        "largest change of the output": change,
    }


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    corpus.add_data_option(parser)
    parser.add_argument("--cache", type=Path, default=crops.CACHE)
    parser.add_argument("--out", type=Path, default=Path("bench/results/rate/symmetries"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    networks = [crops.load(recipe, options.data, options.cache) for recipe in crops.recipes(options.data)]
    rows = [row(crop, tolerance) for crop in networks for tolerance in TOLERANCES]
    write_csv(options.out.with_suffix(".csv"), rows)
    write_json(options.out.with_suffix(".json"), {"tolerances": TOLERANCES, "networks": [one.name for one in networks]})


if __name__ == "__main__":
    main()
