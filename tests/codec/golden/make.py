"""Write the golden files that this format version lacks; run by hand: ``python tests/codec/golden/make.py``.

A test never runs this. Existing files are never overwritten; a new coder adds cases.
"""

import hashlib
import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

import coinr
from coinr.codec.format.container import File
from coinr.codec.format.shared_table import examples_of
from coinr.codec.format.tensor_table import VERSION


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


def exact() -> OrderedDict[str, torch.Tensor]:
    """What the exact coder stores: weights of every precision, counters, grids, masks, odd bit patterns."""
    noise = torch.from_numpy(np.random.default_rng(12).integers(0, 256, 256, dtype=np.uint8))
    return OrderedDict(
        [
            ("single", weights(40, 30, seed=13)),
            ("double", weights(9, 16, seed=14).double() / 3),
            ("half", weights(33, 7, seed=15).half()),
            ("brain", weights(33, 7, seed=16).bfloat16()),
            ("complex", torch.complex(weights(12, 10, seed=17), weights(12, 10, seed=18))),
            ("counter", torch.arange(300)),
            ("grid", (torch.arange(24)[:, None] * 5 + torch.arange(20)).int()),
            ("levels", (weights(50, 9, seed=19) * 200).round().to(torch.int8)),
            ("mask", weights(20, 31, seed=20) > 0.1),
            ("column", weights(90, 1, seed=21) > 0),
            ("any", noise.view(torch.float32)),
            ("float8", weights(60, seed=22).to(torch.float8_e4m3fn)),
            ("bias", weights(64, seed=23)),
        ]
    )


def neighbour() -> OrderedDict[str, torch.Tensor]:
    """``mixed`` after a little more training, so to say."""
    near = OrderedDict()
    for k, (name, tensor) in enumerate(mixed().items()):
        if name == "tied.two":
            near[name] = near["tied.one"]
        elif (tensor.is_floating_point() or tensor.is_complex()) and tensor.dim() > 1:
            near[name] = (tensor + weights(*tensor.shape, seed=40 + k, scale=0.01)).to(tensor.dtype)
        else:
            near[name] = tensor
    return near


def large() -> OrderedDict[str, torch.Tensor]:
    """A matrix above the size from which integers are coded as tokens, rows and columns of different size."""
    rows, columns = weights(521, 1, seed=24, scale=0.6).exp(), weights(1, 509, seed=25, scale=0.6).exp()
    return OrderedDict([("grid", (weights(521, 509, seed=26) * rows * columns).half())])


def ascending() -> OrderedDict[str, torch.Tensor]:
    """Layers whose biases are sorted, of one sign and of both, few and many; one is almost sorted."""
    layers = OrderedDict()
    for k, (rows, low) in enumerate([(64, 0.0), (20, 0.0), (300, -0.2), (48, 0.0)]):
        biases = np.sort(np.random.default_rng(60 + k).uniform(low, 0.05, rows).astype(np.float32))
        if k == 3:
            biases[[5, 6, 30, 33]] = biases[[6, 5, 33, 30]]
        layers[f"layers.{k}.weight"] = weights(rows, 6, seed=50 + k)
        layers[f"layers.{k}.bias"] = torch.from_numpy(biases)
    return layers


def layered(scale: float) -> OrderedDict[str, torch.Tensor]:
    """A network of several dtypes near to ``layered(0)``."""
    return OrderedDict(
        (name, (tensor + scale * weights(*tensor.shape, seed=70 + k)).to(tensor.dtype))
        for k, (name, tensor) in enumerate((tiny() | {"half": weights(9, 7, seed=4).half()}).items())
    )


def shared_base() -> OrderedDict[str, torch.Tensor]:
    """A base with statistics: tables of four files that are relative to it."""
    base = layered(0.0)
    headers = [File(coinr.encode_state_dict(layered(0.1 * k), base=base)).header for k in range(1, 5)]
    examples, columns = examples_of(headers)
    base["statistics.table"] = torch.tensor(list(examples), dtype=torch.uint8).reshape(-1, columns)
    return base


def shared() -> OrderedDict[str, torch.Tensor]:
    """A network whose file has its table from that base."""
    return layered(0.07)


CASES = {
    "paper_standard": (standard, {}),
    "paper_tiny": (tiny, {"M": 4096}),
    "paper_mixed": (mixed, {"M": 2048, "tolerance": 0.05, "seed": 2**64 - 1}),
    "paper_hadamard": (standard, {"kind": "hadamard", "M": 1000, "seed": 12345678901234567890}),
    "paper_rademacher_lists": (standard, {"kind": "rademacher", "M": 3000, "sorted": False, "bits": 9}),
    "uniform_8": (mixed, {"profile": "uniform", "bits": 8, "meta": {"kind": "example", "size": [3, 4]}}),
    "uniform_11": (standard, {"profile": "uniform", "bits": 11}),
    "lossless": (mixed, {"profile": "lossless"}),
    "exact": (exact, {"profile": "lossless", "nonfinite": "lossless"}),
    "direct": (mixed, {"profile": "direct", "tolerance": 0.5}),
    "direct_rows": (standard, {"profile": "direct"}),
    "direct_ascending": (ascending, {"profile": "direct"}),
    "direct_tokens": (large, {"profile": "direct", "tolerance": 7.0}),
    "auto": (mixed, {"profile": "auto"}),
    "sparse_dense": (standard, {"profile": "sparse", "form": "dense"}),
    "sparse": (standard, {"profile": "sparse", "form": "sparse", "M": 1 << 12, "tolerance": 10.0}),
    "relative_paper": (neighbour, {"base": "lossless", "M": 2048, "tolerance": 0.05}),
    "relative_uniform": (neighbour, {"base": "lossless", "profile": "uniform", "tolerance": 0.001}),
    "shared_base": (shared_base, {"profile": "lossless"}),
    "shared": (shared, {"base": "shared_base", "profile": "auto", "meta": {"kind": "example"}}),
}

#: Cases that are relative to what another one decodes to.
BASES = {case: arguments["base"] for case, (_, arguments) in CASES.items() if "base" in arguments}


def base(case: str) -> OrderedDict[str, torch.Tensor] | None:
    """The network that a case is relative to, decoded from the golden file of this version."""
    if case not in BASES:
        return None
    return coinr.load(Path(__file__).parent / f"v{VERSION}" / f"{BASES[case]}.coinr")


def digest(sd: OrderedDict[str, torch.Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and raw bytes, in order."""
    state = hashlib.sha256()
    for name, tensor in sd.items():
        state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        state.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return state.hexdigest()


def main() -> None:
    """Write the missing ones of ``v<version>/<case>.coinr`` and their lines in ``v<version>/hashes.json``."""
    folder = Path(__file__).parent / f"v{VERSION}"
    folder.mkdir(exist_ok=True)
    known = folder / "hashes.json"
    hashes = json.loads(known.read_text()) if known.exists() else {}
    for case, (make, arguments) in CASES.items():
        if case not in hashes:
            blob = coinr.encode_state_dict(make(), **{"profile": "paper"} | arguments | {"base": base(case)})
            with (folder / f"{case}.coinr").open("xb") as file:
                file.write(blob)
            hashes[case] = digest(coinr.decode_state_dict(blob, base=base(case)))
    known.write_text(json.dumps(hashes, indent=1) + "\n")


if __name__ == "__main__":
    main()
