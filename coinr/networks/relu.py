"""ReLU networks with positional encoding."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from coinr.inputs.arguments import checked
from coinr.networks.families import RELU
from coinr.networks.network import Mlp, bare_linear, fill_usual


class Relu(Mlp):
    """A ReLU network whose inputs are the positional encoding of NeRF.

    The state dict is float32 and has the names of :class:`~coinr.Siren`, ``layers.i.weight`` and ``layers.i.bias``;
    ``layers.0.weight`` is [m, a (1 + 2 L)]. All start at U(±1/√fan_in).

    Parameters
    ----------
    in_features, out_features, width, hidden_layers : int
        a, b, m and h as for :class:`~coinr.Siren`.
    frequencies, base, lowest : int, float, float
        L, 10 by default, and the other arguments of :func:`~coinr.networks.encoding.encode`.
    generator : torch.Generator, optional
        As for :class:`~coinr.Siren`.

    Raises
    ------
    InputError
        If a size or a number is out of range.
    """

    family, kind = RELU, "relu"

    @checked
    def __init__(
        self,
        in_features: int,
        out_features: int,
        width: int,
        hidden_layers: int,
        frequencies: int = 10,
        base: float = 2.0,
        lowest: float = 1.0,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(in_features, out_features, width, hidden_layers, frequencies, base, lowest)
        self.layers = nn.ModuleList(bare_linear(*fan) for fan in self.fans())
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            fill_usual(layer, generator)

    def plain_forward(self, x: Tensor) -> Tensor:
        """Implement :meth:`Mlp.plain_forward`."""
        *rectified, last = self.layers
        x = self.encode(x)
        for layer in rectified:
            x = functional.relu(layer(x))
        out: Tensor = last(x)
        return out
