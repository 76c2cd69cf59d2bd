"""What fitting, evaluation and storage need of a signal: sampled inputs, targets, a score and metadata."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

from coinr.runtime.loaded import Tensor

if TYPE_CHECKING:
    import torch
    from torch import nn


#: Coordinates that pass through a network at once: a few MB of activations at width 256.
CHUNK = 8192


@dataclass(frozen=True)
class Recipe:
    """The network and training that suit a kind of signal; whatever a caller does not choose is taken from here.

    Attributes
    ----------
    network : str
        Kind of network, as :func:`coinr.networks.build_network` knows it.
    width, hidden_layers, steps, batch, learning_rate
        As for :func:`coinr.fit`.
    budget_steps : int
        Steps of a fit within a size or for a quality, by :func:`coinr.compress`: of networks that may be larger.
    options : dict
        For each kind of network, what differs from its own defaults: ``{"siren": {"first_omega": 3000.0}}``.
    """

    network: str
    width: int
    hidden_layers: int
    steps: int
    budget_steps: int
    batch: int
    learning_rate: float
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Signal(ABC):
    """A sampled signal that a coordinate network can stand for.

    Attributes
    ----------
    kind : str
        ``"image"``, ``"audio"``, ``"shape"`` or ``"scene"``: the key of its metadata in a file.
    metric, unit : str
        Name and unit of its score, higher is better: ``"PSNR"``, ``"dB"``.
    in_features, out_features : int
        What a network maps: ``[N, in_features]`` coordinates to ``[N, out_features]`` values.
    count : int
        Samples: pixels, audio samples, voxels, rays.
    points : int
        Points at which a network is evaluated for one sample: 1, or the depths along a ray.
    recipe : Recipe
        Network and training that suit this signal.
    notes : tuple of str
        What reading the signal changed or left out, one short line each: ``"the first of 12 frames is taken"``. The
        command line prints them.
    source : str
        The file or folder that :func:`~coinr.open_signal` read it from; empty for arrays.
    """

    kind: ClassVar[str]
    metric: ClassVar[str]
    unit: ClassVar[str]
    recipe: Recipe

    points: int = 1
    notes: tuple[str, ...] = ()
    source: str = ""
    in_features: int
    out_features: int
    count: int

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.describe()}{f', from {self.source}' if self.source else ''}>"

    def describe(self) -> str:
        """Return kind and size in a few words."""
        return f"{self.kind} of {self.count} samples"

    @property
    def default_bits(self) -> int:
        """Return bits that the parameters of a network have at most where its width is not chosen.

        A quarter of those of the samples without any compression, 16 of each value where a kind of signal says nothing
        else.
        """
        return self.count * self.out_features * 16 // 4

    @property
    def eval_split(self) -> Signal:
        """Return samples that the score is computed on: the signal itself, or the held-out views of a scene."""
        return self

    def to(self, device: torch.device) -> Self:
        """Return the signal with its tensors, and those of signals in it, on a device; all else is the same."""
        moved = copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor | Signal):
                setattr(moved, name, value.to(device))
        return moved

    @abstractmethod
    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs ``[N, ...]`` and targets ``[N, out]``, float32, of the samples ``indices`` (int64 [N])."""

    def predict(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Return the network's values for inputs, ``[N, out]``; a scene renders its rays here."""
        from coinr.inputs.callbacks import call_module

        out: Tensor = call_module(network, inputs)
        return out

    def squared_error(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of squared errors that a fit minimizes (0-dim); a scene adds that of its coarse network."""
        return (self.predict(network, inputs) - targets).square().sum()

    @abstractmethod
    def partial_score(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """Return sums over samples (float64 [K]) that :meth:`score` needs; those of several chunks are added up."""

    @abstractmethod
    def score(self, total: Tensor) -> float:
        """Return the score from ``total``, the sum of all partial scores (float64 [K])."""

    @abstractmethod
    def meta(self) -> dict[str, Any]:
        """Return JSON values, as few bytes as possible, that decoding to the natural format needs."""
