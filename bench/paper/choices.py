"""Measure what the paper leaves open for its codec, on SIRENs fitted to bundled photos.

    python -m bench.paper.choices --out bench/results/paper_choices.json

Each question is a key of the result:

- ``curves``: loss in dB and bytes by M, s, cut (rows, columns or flattened) and order of the indices;
- ``sensitivity``: the increase of the squared error when one matrix alone is off by the same relative error;
- ``rule``: the smallest s that brings normal vectors to the rule's relative error, by n and M.

Networks are fitted once and kept under ``--cache``.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch
from rich.progress import track

import coinr
from bench.harness.arrays import layout_of, planes_of, tensor_of
from bench.harness.results import write_json
from coinr.codec import baselines
from coinr.codec.coders import DICTIONARY, UNIFORM, DictionaryParams, UniformParams
from coinr.codec.profiles import paper_rules
from coinr.codec.profiles.paper import solve
from coinr.codec.tensors import Cut, from_planes
from coinr.files.state_dicts import read_state_dict_file, write_state_dict_file
from coinr.signals.image.rendering import render_image
from coinr.signals.metrics import psnr

# Photo, hidden layers, width, steps.
NETWORKS = (
    ("coffee", 2, 20, 3000),
    ("coffee", 2, 32, 3000),
    ("coffee", 3, 64, 3000),
    ("coffee", 3, 128, 1500),
)
ATOMS = (1 << 12, 1 << 14, 1 << 16)
FRACTIONS = (0.33, 0.36, 0.38, 0.40, 0.42, 0.45, 0.5)
RULE_SIZES = ((16, 256), (32, 256), (64, 128), (128, 64), (256, 32), (512, 8), (1024, 4), (2048, 2))
EXACT_BITS = 16


def fit_network(photo: str, hidden_layers: int, width: int, steps: int, cache: Path) -> tuple[Any, coinr.Siren]:
    """Return the picture and a network fitted to it, from the cache if it is there."""
    picture = getattr(skimage.data, photo)()
    path = cache / f"{photo}-{hidden_layers}x{width}-{steps}.safetensors"
    if not path.exists():
        fit = coinr.fit(picture, width=width, hidden_layers=hidden_layers, steps=steps)
        cache.mkdir(parents=True, exist_ok=True)
        write_state_dict_file(path, fit.network.state_dict())
    return picture, coinr.Siren.from_state_dict(read_state_dict_file(path))


def quality(picture: Any, sd: OrderedDict[str, torch.Tensor]) -> float:
    """Return PSNR in dB of the picture that the network shows with these tensors."""
    return psnr(picture, render_image(coinr.Siren.from_state_dict(sd), *picture.shape[:2]))


def at_16_bit(sd: OrderedDict[str, torch.Tensor]) -> tuple[OrderedDict[str, torch.Tensor], dict[str, int]]:
    """Return every tensor after a 16-bit uniform quantizer, and its payload bytes."""
    decoded, sizes = OrderedDict(), {}
    for name, tensor in sd.items():
        params, layout = UniformParams(EXACT_BITS), layout_of(tensor)
        payload = UNIFORM.encode(UNIFORM.quantize(planes_of(tensor), EXACT_BITS), params)
        decoded[name] = tensor_of(UNIFORM.decode(memoryview(payload), params, layout, 0), layout)
        sizes[name] = len(payload)
    return decoded, sizes


def cuts(width: int) -> dict[str, Cut]:
    """Return the ways to cut a hidden matrix."""
    ways = {"rows": Cut(False, width), "columns": Cut(True, width)}
    return ways | ({"flattened": Cut(False, width * width)} if width <= 32 else {})


def curves(picture: Any, network: coinr.Siren) -> Iterator[dict[str, Any]]:
    """Yield one row for each cut, M and s: bytes of hidden layers and of the whole, loss against the fp32 network."""
    sd = OrderedDict(network.state_dict())
    hidden = [name for name, tensor in sd.items() if tuple(tensor.shape) == (network.width, network.width)]
    whole = quality(picture, sd)
    exact, sizes = at_16_bit(sd)
    baseline = len(baselines.encode(sd, "uniform16"))
    for way, cut in cuts(network.width).items():
        for M in ATOMS:
            for row in _path(sd, hidden, cut, M):
                values = exact | row.pop("decoded")
                row["total_bytes"] = row["sorted_bytes"] + sum(sizes[name] for name in sd if name not in hidden)
                yield {
                    "cut": way,
                    "M": M,
                    **row,
                    "ratio_to_16_bit_brotli": row["total_bytes"] / baseline,
                    "loss_db": whole - quality(picture, values),
                }


def _path(sd: OrderedDict[str, torch.Tensor], hidden: list[str], cut: Cut, M: int) -> Iterator[dict[str, Any]]:
    """Yield the hidden layers at several s from one pursuit."""
    layouts = {name: layout_of(sd[name]) for name in hidden}
    vectors = {name: cut.apply(planes_of(sd[name]), layouts[name]) for name in hidden}
    stack = np.concatenate(list(vectors.values()))
    dictionary = coinr.Dictionary("gaussian", cut.n, M, 0)
    sparsities = sorted({min(paper_rules.largest_sparsity(cut.n), round(fraction * cut.n)) for fraction in FRACTIONS})
    code = coinr.omp(stack.astype(np.float32), dictionary, sparsities[-1])
    per_layer = len(stack) // len(hidden)
    for s in sparsities:
        row: dict[str, Any] = {"n": cut.n, "s": s, "sorted_bytes": 0, "list_bytes": 0, "decoded": {}}
        row["residual_db"] = 10 * math.log10(code.path[:, s].sum() / code.path[:, 0].sum())
        for k, name in enumerate(hidden):
            part = np.ascontiguousarray(code.indices[k * per_layer : (k + 1) * per_layer, :s])
            values = solve(vectors[name], part, dictionary)
            for key, ordered in (("sorted_bytes", True), ("list_bytes", False)):
                params = DictionaryParams(cut, "gaussian", M, s, sorted=ordered)
                payload = DICTIONARY.encode(DICTIONARY.quantize(part, values, params), params)
                row[key] += len(payload)
            decoded = DICTIONARY.decode(memoryview(payload), params, layouts[name], 0)
            row["decoded"][name] = tensor_of(decoded, layouts[name])
        yield row


def sensitivity(picture: Any, network: coinr.Siren) -> dict[str, float]:
    """Return rise of the squared error when one weight matrix alone is off by 1 % (normal noise), mean of 3 draws."""
    sd = OrderedDict(network.state_dict())
    clean = 10 ** (-quality(picture, sd) / 10)
    rises = {}
    for name, tensor in sd.items():
        if tensor.ndim < 2:
            continue
        noise = (
            np.random.default_rng(0).standard_normal((3, *tensor.shape)) * float(tensor.square().mean().sqrt()) / 100
        )
        errors = []
        for draw in noise:
            layout = layout_of(tensor)
            moved = tensor_of(from_planes(planes_of(tensor) + draw.reshape(1, -1), layout), layout)
            errors.append(10 ** (-quality(picture, OrderedDict(sd, **{name: moved})) / 10))
        rises[name] = float(np.mean(errors)) - clean
    return rises


def rule() -> Iterator[dict[str, Any]]:
    """Yield the smallest s / n with which normal vectors reach the rule's error; None where 2s < n does not."""
    target = paper_rules.RULES[paper_rules.LATEST].tolerance ** 2
    for n, B in RULE_SIZES:
        W = np.random.default_rng(n).standard_normal((B, n)).astype(np.float32)
        for M in (1 << 14, 1 << 16):
            code = coinr.omp(W, coinr.Dictionary("gaussian", n, M, 0), min(paper_rules.largest_sparsity(n), M))
            reached = np.flatnonzero(code.path.sum(0) <= target * code.path[:, 0].sum())
            s = int(reached[0]) if reached.size else None
            yield {
                "n": n,
                "M": M,
                "B": B,
                "s": s,
                "s_over_n": s and s / n,
                "residual_at_most": float(10 * math.log10(code.path[:, -1].sum() / code.path[:, 0].sum())),
            }


def main(arguments: list[str] | None = None) -> None:
    """Measure, print as it goes, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("bench/results/paper_choices.json"))
    parser.add_argument("--cache", type=Path, default=Path("bench/cache"))
    options = parser.parse_args(arguments)
    result: dict[str, Any] = {"seed": 0, "networks": []}
    for photo, hidden_layers, width, steps in track(NETWORKS, "networks", disable=not sys.stderr.isatty()):
        picture, network = fit_network(photo, hidden_layers, width, steps, options.cache)
        row = {
            "photo": photo,
            "hidden_layers": hidden_layers,
            "width": width,
            "psnr": quality(picture, OrderedDict(network.state_dict())),
            "sensitivity": sensitivity(picture, network),
            "curves": list(curves(picture, network)),
        }
        result["networks"].append(row)
        print(f"{photo} ({hidden_layers}, {width}): {row['psnr']:.2f} dB", flush=True)
        write_json(options.out, result)
    result["rule"] = list(rule())
    write_json(options.out, result)


if __name__ == "__main__":
    main()
