"""Small SIRENs that are trained to the end: of crops of pictures, and of a sound. Each takes half a minute, once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from bench.harness import signals, training
from bench.harness.networks import Siren
from bench.harness.signals import Samples
from coinr.files.state_dicts import read_state_dict_file, write_state_dict_file

CACHE = Path("bench/cache/crops")

STEPS, BATCH = 6000, 2048

# Rows and columns of the pictures.
_CROP = slice(192, 320), slice(256, 448)


class Recipe(NamedTuple):
    """Signal, kind of it, sizes (inputs, hidden layers, width, outputs), first omega, learning rate."""

    signal: str
    kind: str
    sizes: tuple[int, int, int, int]
    first_omega: float
    learning_rate: float

    @property
    def name(self) -> str:
        """Return a name such as ``siren-3x64-kodim03``."""
        return f"siren-{self.sizes[1]}x{self.sizes[2]}-{self.signal}"


def recipes(data: Path | None) -> list[Recipe]:
    """Return all networks; their signals are those of the data folder, else bundled and generated."""
    one, two, three, music = (
        ("kodim03", "kodim19", "kodim23", "bach") if data else ("coffee", "astronaut", "chelsea", "tones")
    )
    return [
        Recipe(three, "picture", (2, 2, 32, 3), 30.0, 2e-3),
        Recipe(one, "picture", (2, 3, 64, 3), 30.0, 1e-3),
        Recipe(two, "picture", (2, 3, 64, 3), 30.0, 1e-3),
        Recipe(music, "sound", (1, 3, 64, 1), 3000.0, 5e-4),
    ]


@dataclass(frozen=True)
class Crop:
    """A trained network and its signal.

    Attributes
    ----------
    name : str
        Of the recipe.
    network : Siren
        Trained.
    samples : Samples
        Of the signal, all of which is evaluated.
    kind : str
        ``"picture"`` or ``"sound"``.
    """

    name: str
    network: Siren
    samples: Samples
    kind: str

    @property
    def state_dict(self) -> OrderedDict[str, Tensor]:
        """Return the trained tensors."""
        return OrderedDict((name, tensor.detach()) for name, tensor in self.network.state_dict().items())

    @torch.no_grad()
    def values(self, state_dict: Mapping[str, Tensor]) -> Tensor:
        """Return the output everywhere."""
        return training.values_of(self.network, state_dict, self.samples.inputs)

    def evaluate(self, state_dict: Mapping[str, Tensor]) -> float:
        """Return PSNR of a picture, SNR of a sound, in dB."""
        return next(iter(training.scores(self.kind, self.values(state_dict), self.samples.targets).values()))

    def loss(self, seed: int = 0) -> _Loss:
        """Return the mean squared error on random batches of the signal."""
        return _Loss(self, torch.Generator().manual_seed(seed))


class _Loss:
    def __init__(self, crop: Crop, generator: torch.Generator) -> None:
        self._crop, self._generator = crop, generator

    def __call__(self, state_dict: Mapping[str, Tensor]) -> Tensor:
        samples = self._crop.samples
        chosen = torch.randint(len(samples.inputs), (2 * BATCH,), generator=self._generator)
        out = functional_call(self._crop.network, dict(state_dict), (samples.inputs[chosen],))
        return (out - samples.targets[chosen]).square().mean()


def samples_of(recipe: Recipe, data: Path | None) -> Samples:
    """Return the samples of a recipe's signal: of a picture, a crop of 128 × 192 pixels."""
    if recipe.kind == "sound":
        return signals.sound(recipe.signal, data)
    pixels = signals.pixels_of(recipe.signal, data)[_CROP]
    height, width = pixels.shape[:2]
    axes = [(2 * torch.arange(n) + 1) / n - 1 for n in (height, width)]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    values = torch.from_numpy(pixels.copy()).reshape(-1, 3) / 127.5 - 1
    return Samples(grid, values, grid, values)


def load(recipe: Recipe, data: Path | None, cache: Path = CACHE) -> Crop:
    """Train a network, or recall it."""
    samples = samples_of(recipe, data)
    network = Siren(recipe.sizes, torch.Generator().manual_seed(0), first_omega=recipe.first_omega)
    path = cache / f"{recipe.name}.safetensors"
    if not path.exists():
        training.train(network, samples, steps=STEPS, batch=BATCH, learning_rate=recipe.learning_rate, seed=0)
        cache.mkdir(parents=True, exist_ok=True)
        write_state_dict_file(path, network.state_dict())
    network.load_state_dict(read_state_dict_file(path))
    return Crop(recipe.name, network, samples, recipe.kind)
