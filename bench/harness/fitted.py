"""SIRENs of first frequency 30 that :func:`coinr.fit` fits to pictures, as benches of coders take them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

import coinr
from coinr.optimize.compress.evaluate import Evaluator
from coinr.signals.image.signal import ImageSignal

#: Pixels of a step.
BATCH = 4096


def _siren(signal: ImageSignal, width: int, hidden_layers: int) -> coinr.Siren:
    return coinr.Siren(2, signal.out_features, width, hidden_layers, generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True)
class Fitted:
    """A network of a picture, as :class:`bench.harness.measure.Bench` takes it.

    Attributes
    ----------
    name : str
        Of picture, sizes and steps.
    signal : ImageSignal
        The picture.
    hidden_layers, width : int
        Of the SIREN.
    state_dict : OrderedDict of str to Tensor
        Its tensors.
    seconds : float
        That the fit took.
    """

    name: str
    signal: ImageSignal
    hidden_layers: int
    width: int
    state_dict: OrderedDict[str, Tensor]
    seconds: float

    @classmethod
    def of(cls, image: str, signal: ImageSignal, sizes: tuple[int, int], steps: int, cache: Path) -> Fitted:
        """Fit a network of ``sizes`` (hidden layers, width), or recall it."""
        hidden_layers, width = sizes
        name = f"siren-{hidden_layers}x{width}-{image}-{steps}"
        made = coinr.fit(
            signal,
            _siren(signal, width, hidden_layers),
            steps=steps,
            batch=BATCH,
            device="cpu",
            checkpoint=cache / f"{name}.checkpoint",
        )
        tensors = OrderedDict((key, tensor.detach()) for key, tensor in made.network.state_dict().items())
        return cls(name, signal, hidden_layers, width, tensors, made.seconds)

    @property
    def parameters(self) -> int:
        """Return numbers in the state dict."""
        return sum(tensor.numel() for tensor in self.state_dict.values())

    def network(self) -> nn.Module:
        """Return a module that holds the tensors."""
        network = _siren(self.signal, self.width, self.hidden_layers)
        network.load_state_dict(self.state_dict)
        return network

    @cached_property
    def _evaluator(self) -> Evaluator:
        return Evaluator(self.network(), self.signal)

    def scores(self, state_dict: Mapping[str, Tensor]) -> dict[str, float]:
        """Return PSNR of the 8-bit picture."""
        return {"psnr": self.evaluate(state_dict)}

    @torch.no_grad()
    def evaluate(self, state_dict: Mapping[str, Tensor]) -> float:
        """Return the same number alone."""
        return self._evaluator(state_dict)
