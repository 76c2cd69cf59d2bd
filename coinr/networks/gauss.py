"""Networks of Gaussian activations, in the layout of WIRE's code."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from coinr.inputs.arguments import checked
from coinr.networks.families import GAUSS, check_positive
from coinr.networks.network import Mlp, bare_linear, fill_usual


class _GaussLayer(nn.Module):
    """Compute exp(−(scale (W x + b))²)."""

    def __init__(self, fan_in: int, fan_out: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.linear = bare_linear(fan_in, fan_out)

    def forward(self, x: Tensor) -> Tensor:
        z = functional.linear(x, self.linear.weight * self.scale, self.linear.bias * self.scale)
        return torch.exp(-(z * z))


class Gauss(Mlp):
    """A Gauss network: exp(−(scale z)²) of each affine map z, then one affine map (Ramasinghe & Lucey 2022).

    The state dict is float32, in the layout of WIRE's code: ``net.i.linear.weight`` [m, fan_in],
    ``net.i.linear.bias`` [m] for i = 0..h, then ``net.{h+1}.weight`` [b, m], ``net.{h+1}.bias`` [b]. All start at
    U(±1/√fan_in).

    Parameters
    ----------
    in_features, out_features, width, hidden_layers : int
        a, b, m and h as for :class:`~coinr.Siren`.
    scale : float
        Narrowness of the Gaussians, positive: 10 for pictures, 30 to 40 for occupancy.
    frequencies, base, lowest, generator
        As for :class:`~coinr.Siren`.

    Raises
    ------
    InputError
        If a size or a number is out of range.
    """

    family, kind = GAUSS, "gauss"
    parity = 1

    @checked
    def __init__(
        self,
        in_features: int,
        out_features: int,
        width: int,
        hidden_layers: int,
        scale: float = 10.0,
        frequencies: int = 0,
        base: float = 2.0,
        lowest: float = 1.0,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(in_features, out_features, width, hidden_layers, frequencies, base, lowest)
        self.scale = check_positive("scale", scale)
        *fans, last = self.fans()
        self.net = nn.Sequential(*(_GaussLayer(*fan, self.scale) for fan in fans), bare_linear(*last))
        for module in self.net.modules():
            if isinstance(module, nn.Linear):
                fill_usual(module, generator)

    def plain_forward(self, x: Tensor) -> Tensor:
        """Implement :meth:`Mlp.plain_forward`."""
        out: Tensor = self.net(self.encode(x))
        return out
