"""What canonical order saves: files of networks of known kind with their neurons in trained and in canonical order.

    python -m bench.rate.symmetries [--cache bench/cache/rate]

Hidden neurons may be permuted and, of odd and even activations, their signs flipped without a change of the function:
log2 n! + n bits of each layer of n neurons say nothing. A bias of a sine may also be reduced by multiples of its half
period, which takes log2 of the ratio of both ranges from each. The networks are those of :mod:`bench.harness.corpus`
that are trained. Files are those of the default profile, by effort: each tensor has the same error in both orders.
Seconds are CPU time.
"""

from __future__ import annotations

import argparse
import math
from functools import partial
from pathlib import Path
from typing import Any

import torch

import coinr
from bench.harness import corpus
from bench.harness.corpus import Entry
from bench.harness.networks import Siren
from bench.harness.results import write_csv, write_json
from bench.harness.timing import cpu_times
from coinr.codec.api import make_encoder
from coinr.codec.options import EncodeOptions
from coinr.networks import NETWORKS, Network
from coinr.sensitivity.known import known_activations

EFFORTS = ("fast", "default")

# Calls that are timed, of which the fastest counts.
_CALLS = 5


def known_network(entry: Entry) -> Network:
    """Return a network of the corpus as one of the package, which says what its activations are."""
    if entry.recipe.family == "nerf":
        return coinr.Nerf.from_state_dict({f"coarse.{name}": tensor for name, tensor in entry.state_dict.items()})
    network = corpus.untrained(entry.recipe)
    if isinstance(network, Siren):
        settings = network.omegas[-1], network.omegas[0]
        return NETWORKS[entry.recipe.family].from_state_dict(entry.state_dict, *settings)
    network.load_state_dict(entry.state_dict)
    assert isinstance(network, Network)
    return network


def spare_bits(network: Network) -> float:
    """Return the bits that say nothing: of places, of free signs, and of whole half periods by the range of biases."""
    bits = 0.0
    for neurons in network.neurons():
        bias = network.state_dict()[f"{neurons.layer}.bias"]
        n, ratio = len(bias), 2 * float(bias.abs().max()) / neurons.half_period
        bits += math.lgamma(n + 1) / math.log(2) + n * (neurons.parity != 0) + n * math.log2(max(1.0, ratio))
    return bits


def row(entry: Entry, effort: str) -> dict[str, Any]:
    """Return a line of the table."""
    network = known_network(entry)
    prefix = "coarse." if entry.recipe.family == "nerf" else ""
    found: dict[str, Any] = {"network": entry.name, "effort": effort}
    for order, canonical in (("trained", False), ("canonical", True)):
        options: dict[str, Any] = {"effort": effort, "canonical": canonical}
        blob = _encode(network, EncodeOptions(**options))
        tensors = {one["name"]: one["bytes"] for one in coinr.inspect(blob).tensors}
        decoded = coinr.decode_state_dict(blob)
        found |= {
            f"bytes, {order}": len(blob),
            f"biases, {order}": sum(tensors[f"{neurons.layer}.bias"] for neurons in network.neurons()),
            f"weights, {order}": sum(size for name, size in tensors.items() if name.endswith(".weight")),
            f"score, {order}": entry.evaluate({name.removeprefix(prefix): one for name, one in decoded.items()}),
            f"seconds, {order}": min(cpu_times(partial(coinr.encode_state_dict, network, **options), least=_CALLS)),
        }
    return found | {
        "saved, percent": 100 * (1 - found["bytes, canonical"] / found["bytes, trained"]),
        "in theory, percent": 100 * spare_bits(network) / 8 / found["bytes, trained"],
    }


def _encode(network: Network, options: EncodeOptions) -> bytes:
    """Return the file of a network whose activations are known in either order, so that errors are the same."""
    encoder = make_encoder(network, options)
    encoder.known = known_activations(network)
    return encoder.encode(None)


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=corpus.CACHE)
    parser.add_argument("--out", type=Path, default=Path("bench/results/rate/symmetries"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    entries = [corpus.load(name, cache=options.cache) for name in corpus.ready(options.cache)]
    rows = [row(entry, effort) for entry in entries for effort in EFFORTS]
    write_csv(options.out.with_suffix(".csv"), rows)
    write_json(options.out.with_suffix(".json"), {"efforts": EFFORTS, "networks": [one.name for one in entries]})


if __name__ == "__main__":
    main()
