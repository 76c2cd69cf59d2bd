"""The trained networks that coders are compared on, made once and kept in a cache.

    python -m bench.harness.corpus [--data DIR] [--networks a,b] [--cache bench/cache/rate]

Trains what is missing, smallest first, each saved as soon as it is ready: ``NAME.safetensors`` (the state dict),
``NAME.eval.safetensors`` (inputs and targets on which it is evaluated) and ``NAME.json`` (how it was trained).
A trained entry needs the signal no more: ``load(name).evaluate(sd)`` is its quality in dB with any tensors.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from safetensors.torch import load_file
from torch import Tensor, nn

import coinr
from bench.harness import signals, training
from bench.harness.grids import HashGrid, Modulated
from bench.harness.networks import ACTIVATIONS, NAMED, Encoded, Siren, named_siren
from coinr.files.state_dicts import read_state_dict_file, write_state_dict_file
from coinr.files.writing import write_atomic
from coinr.networks import Gauss, RadianceField, Wire

CACHE = Path("bench/cache/rate")


@dataclass(frozen=True)
class Recipe:
    """How one entry is made. ``family`` and ``sizes`` (hidden layers, width) name the network.

    ``frequency`` is the omega of sines and wavelets or the scale of Gaussians where it is not the family's; of a sound
    that of the first layer. ``encoding`` is the number of frequencies of a positional encoding, of a hash grid the
    binary logarithm of the rows of a level, and of COIN++ the length of the latents.
    """

    family: str
    sizes: tuple[int, int]
    kind: str
    signal: str
    steps: int
    batch: int
    learning_rate: float
    seed: int = 0
    frequency: float | None = None
    encoding: int = 0

    @property
    def name(self) -> str:
        """Return a name such as ``siren-3x64-kodim03``; ``-f60``, ``-e8``, ``-seed1`` follow where they are given."""
        given = f"-f{self.frequency:g}" if self.frequency else ""
        given += f"-e{self.encoding}" if self.encoding else ""
        given += f"-seed{self.seed}" if self.seed else ""
        return f"{self.family}-{self.sizes[0]}x{self.sizes[1]}-{self.signal}{given}"


_ENDS = {"photo": (2, 3), "picture": (2, 3), "crop": (2, 3), "shape": (3, 1), "volume": (3, 1)}
_ENDS |= {"sound": (1, 1), "clip": (1, 1)}

# State dicts of hash grids, by family.
_GRIDS = {"grid": "table", "grids": "tables", "tcnn": "flat"}


def untrained(recipe: Recipe) -> nn.Module:
    """Return the untrained network of a recipe."""
    generator = torch.Generator().manual_seed(recipe.seed)
    hidden, width = recipe.sizes
    if recipe.family == "nerf":
        return RadianceField(hidden, width, hidden // 2 - 1, 10, 4, generator)
    if recipe.family in _GRIDS:
        return HashGrid(hidden, width, recipe.encoding, _GRIDS[recipe.family], generator)
    if recipe.family == "coinpp":
        latents = (signals.patch_count(recipe.signal), recipe.encoding)
        return Modulated(hidden, width, latents, recipe.frequency or 30.0, generator)
    inputs, outputs = _ENDS[recipe.kind]
    if recipe.family == "gauss":
        return Gauss(inputs, outputs, width, hidden, scale=recipe.frequency or 20.0, generator=generator)
    if recipe.family == "wire":
        return Wire(inputs, outputs, width, hidden, omega=recipe.frequency or 20.0, scale=10.0, generator=generator)
    if recipe.family in ACTIVATIONS:
        return Encoded((inputs, hidden, width, outputs), recipe.family, recipe.encoding, generator)
    if recipe.family == "inric":
        return coinr.Siren(inputs, outputs, width, hidden, 30.0, None, 16, 1.4, math.pi, generator=generator)
    sizes = (inputs, hidden, width, outputs)
    if recipe.family in ("coin", "unit"):
        return named_siren(sizes, generator, **NAMED[recipe.family])
    options: dict[str, Any] = {}
    if recipe.kind in ("sound", "clip"):
        options = {"first_omega": recipe.frequency or 3000.0}
    elif recipe.frequency:
        options = {"first_omega": recipe.frequency, "omega": recipe.frequency}
    return Siren(sizes, generator, finer=recipe.family == "finer", **options)


def recipes(data: Path | None) -> list[Recipe]:
    """Return all entries in the order of training; signals are those of the data folder, else bundled and generated."""
    one, two = ("kodim03", "kodim19") if data else ("coffee", "astronaut")
    music, statue, view = ("bach", "lucy", "lego") if data else ("tones", "knot", "spheres")
    return [
        Recipe("siren", (2, 32), "photo", one, 8000, 4096, 2e-3),
        Recipe("siren", (2, 32), "photo", two, 8000, 4096, 2e-3),
        Recipe("siren", (3, 64), "photo", one, 8000, 4096, 2e-3),
        Recipe("wire", (2, 64), "photo", one, 3000, 4096, 5e-3),
        Recipe("gauss", (3, 128), "shape", statue, 3000, 4096, 2e-3),
        Recipe("siren", (3, 128), "sound", music, 6000, 4096, 5e-4),
        Recipe("siren", (3, 64), "photo", two, 8000, 4096, 2e-3),
        Recipe("siren", (3, 128), "photo", one, 8000, 4096, 1e-3),
        Recipe("nerf", (4, 64), "scene", view, 6000, 320, 2e-3),
        Recipe("siren", (5, 64), "photo", one, 8000, 4096, 1e-3),
        Recipe("finer", (3, 64), "photo", two, 8000, 4096, 1e-3),
        Recipe("siren", (3, 128), "photo", two, 8000, 4096, 1e-3),
    ]


@dataclass(frozen=True)
class Entry:
    """A trained network.

    Attributes
    ----------
    recipe : Recipe
        How it was made.
    state_dict : OrderedDict of str to Tensor
        Its tensors; float32 or complex64.
    eval_samples : dict of str to Tensor
        ``inputs`` and ``targets`` on which it is evaluated.
    info : dict
        Seconds of training and the scores reached.
    """

    recipe: Recipe
    state_dict: OrderedDict[str, Tensor]
    eval_samples: dict[str, Tensor]
    info: dict[str, Any]

    @property
    def name(self) -> str:
        """Return the recipe's name."""
        return self.recipe.name

    @property
    def parameters(self) -> int:
        """Return floating-point numbers; a complex one counts twice."""
        return sum(t.numel() * (2 if t.is_complex() else 1) for t in self.state_dict.values())

    def network(self) -> nn.Module:
        """Return a module that holds the trained tensors."""
        network = untrained(self.recipe)
        network.load_state_dict(self.state_dict)
        return network

    def scores(self, state_dict: Mapping[str, Tensor]) -> dict[str, float]:
        """Return all quality numbers with these tensors, see :func:`bench.harness.training.scores`."""
        values = training.values_of(untrained(self.recipe), state_dict, self.eval_samples["inputs"])
        return training.scores(self.recipe.kind, values, self.eval_samples["targets"])

    def evaluate(self, state_dict: Mapping[str, Tensor]) -> float:
        """Return quality in dB with these tensors: PSNR, or SNR of a sound. Deterministic on one machine."""
        return next(iter(self.scores(state_dict).values()))


def add_data_option(parser: argparse.ArgumentParser, *, needed: bool = False) -> None:
    """Add ``--data``, a Path or None: the data folder, by default that of the environment variable ``COINR_DATA``."""
    default = os.environ.get("COINR_DATA")
    text = "data folder; also COINR_DATA" + ("" if needed else "; else bundled and generated signals")
    parser.add_argument("--data", type=Path, default=default, required=needed and default is None, help=text)


def names(data: Path | None = None) -> list[str]:
    """Return names of all entries, trained or not."""
    return [recipe.name for recipe in recipes(data)]


def ready(cache: Path = CACHE) -> list[str]:
    """Return names of the entries in the cache, in the order they were trained."""
    stored = sorted(cache.glob("*.json"), key=lambda path: path.stat().st_mtime)
    return [path.stem for path in stored]


def load(name: str, *, cache: Path = CACHE) -> Entry:
    """Return a trained entry.

    Raises
    ------
    FileNotFoundError
        If it was never trained here.
    """
    info = json.loads((cache / f"{name}.json").read_text())
    stored = info.pop("recipe")
    recipe = Recipe(**(stored | {"sizes": tuple(stored["sizes"])}))
    tensors = read_state_dict_file(cache / f"{name}.safetensors")
    ordered = OrderedDict((key, tensors[key]) for key in info.pop("tensors"))
    return Entry(recipe, ordered, load_file(cache / f"{name}.eval.safetensors"), info)


def build(recipe: Recipe, data: Path | None, cache: Path = CACHE) -> Entry:
    """Train an entry and save it; one already trained by the same recipe is loaded."""
    path = cache / f"{recipe.name}.json"
    if path.exists() and (entry := load(recipe.name, cache=cache)).recipe == recipe:
        return entry
    samples = signals.KINDS[recipe.kind](recipe.signal, data)
    network = untrained(recipe)
    begin = time.perf_counter()
    training.train(
        network,
        samples,
        steps=recipe.steps,
        batch=recipe.batch,
        learning_rate=recipe.learning_rate,
        seed=recipe.seed,
    )
    seconds = time.perf_counter() - begin
    state = OrderedDict((key, value.detach().clone()) for key, value in network.state_dict().items())
    eval_samples = OrderedDict(inputs=samples.eval_inputs.contiguous(), targets=samples.eval_targets.contiguous())
    reached = Entry(recipe, state, eval_samples, {}).scores(state)
    cache.mkdir(parents=True, exist_ok=True)
    write_state_dict_file(cache / f"{recipe.name}.safetensors", state)
    write_state_dict_file(cache / f"{recipe.name}.eval.safetensors", eval_samples)
    info = {"recipe": asdict(recipe), "tensors": list(state), "seconds": seconds, "scores": reached}
    write_atomic(path, json.dumps(info, indent=1).encode() + b"\n")
    return load(recipe.name, cache=cache)


def train_all(of: Callable[[Path | None], list[Recipe]], cache: Path, description: str | None) -> None:
    """Train what is missing of the recipes that ``of`` makes and print what there is; the command of a corpus."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--networks", help="names, with commas between; all by default")
    parser.add_argument("--cache", type=Path, default=cache)
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = [r for r in of(options.data) if not options.networks or r.name in options.networks.split(",")]
    for recipe in track(chosen, "training", disable=not sys.stderr.isatty()):
        entry = build(recipe, options.data, options.cache)
        numbers = ", ".join(f"{key} {value:.3f}" for key, value in entry.info["scores"].items())
        print(f"{entry.name}: {numbers}; {entry.parameters} parameters, {entry.info['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    train_all(recipes, CACHE, __doc__)
