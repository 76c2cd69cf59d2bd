"""Writes the golden files of the current format version; run by hand, once a version: ``python tests/golden/make.py``.

A test never runs this. Existing files are never overwritten.
"""

import hashlib
import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

import coinr
from coinr.table import VERSION


def weights(*shape: int, seed: int, scale: float = 0.1) -> torch.Tensor:
    """Normal float32 numbers."""
    made = np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * np.float32(scale)
    return torch.from_numpy(made)


def standard() -> OrderedDict[str, torch.Tensor]:
    """A SIREN of width 64: two dictionary layers, 16-bit first layer and biases."""
    sizes = [2, 64, 64, 64, 3]
    layers = OrderedDict()
    for k, (a, b) in enumerate(zip(sizes, sizes[1:], strict=False)):
        layers[f"layers.{k}.weight"] = weights(b, a, seed=2 * k)
        layers[f"layers.{k}.bias"] = weights(b, seed=2 * k + 1)
    return layers


def tiny() -> OrderedDict[str, torch.Tensor]:
    """Width 20: hidden matrices flattened to n = 400."""
    return OrderedDict(
        [
            ("first.weight", weights(20, 2, seed=1)),
            ("hidden.weight", weights(20, 20, seed=2)),
            ("last.weight", weights(3, 20, seed=3)),
        ]
    )


def mixed() -> OrderedDict[str, torch.Tensor]:
    """Every dtype family, ties, scalars, empties."""
    shared = weights(24, 32, seed=5)
    return OrderedDict(
        [
            ("z.half", weights(40, 30, seed=6).half()),
            ("a.brain", weights(33, 17, seed=7).bfloat16()),
            ("double", weights(16, 48, seed=8).double()),
            ("complex", torch.complex(weights(20, 24, seed=9), weights(20, 24, seed=10))),
            ("tied.one", shared),
            ("tied.two", shared),
            ("steps", torch.arange(7)),
            ("mask", torch.tensor([True, False, True])),
            ("omega_0", torch.tensor(30.0)),
            ("empty", torch.empty(0, 4)),
            ("zeros", torch.zeros(50)),
            ("embedding", weights(900, 2, seed=11)),
        ]
    )


CASES = {
    "paper_standard": (standard, {}),
    "paper_tiny": (tiny, {"M": 4096}),
    "paper_mixed": (mixed, {"M": 2048, "tolerance": 0.05, "seed": 2**64 - 1}),
    "paper_hadamard": (standard, {"kind": "hadamard", "M": 1000, "seed": 12345678901234567890}),
    "paper_rademacher_lists": (standard, {"kind": "rademacher", "M": 3000, "sorted": False, "bits": 9}),
    "uniform_8": (mixed, {"profile": "uniform", "bits": 8, "meta": {"kind": "example", "size": [3, 4]}}),
    "uniform_11": (standard, {"profile": "uniform", "bits": 11}),
    "lossless": (mixed, {"profile": "lossless"}),
}


def digest(sd: OrderedDict[str, torch.Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and raw bytes, in order."""
    state = hashlib.sha256()
    for name, tensor in sd.items():
        state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        state.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return state.hexdigest()


def main() -> None:
    """Write ``v<version>/<case>.coinr`` and ``v<version>/hashes.json``."""
    folder = Path(__file__).parent / f"v{VERSION}"
    if (folder / "hashes.json").exists():
        raise SystemExit(f"{folder} exists; golden files are never regenerated")
    folder.mkdir(exist_ok=True)
    hashes = {}
    for case, (make, arguments) in CASES.items():
        blob = coinr.encode_state_dict(make(), **({"profile": "paper"} | arguments))
        (folder / f"{case}.coinr").write_bytes(blob)
        hashes[case] = digest(coinr.decode_state_dict(blob))
    (folder / "hashes.json").write_text(json.dumps(hashes, indent=1) + "\n")


if __name__ == "__main__":
    main()
