"""Networks of sines: SIREN and FINER."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from coinr.inputs.arguments import checked
from coinr.networks.families import FINER, SIREN, check_positive
from coinr.networks.network import Mlp, bare_linear, fill_uniform


class Siren(Mlp):
    """A SIREN (Sitzmann et al. 2020): sines of affine maps, then one affine map.

    With ``a = in_features``, ``b = out_features``, ``m = width`` and ``h = hidden_layers`` the network has h + 2 linear
    layers and a·m + h·m² + m·b weights (besides biases)::

        y_0 = sin(first_omega (W_0 x + b_0)),   y_i = sin(omega (W_i y_{i-1} + b_i)),   out = W_{h+1} y_h + b_{h+1}

    The state dict is plain float32, in this order: ``layers.0.weight`` [m, a], ``layers.0.bias`` [m], then
    ``layers.i.weight`` [m, m], ``layers.i.bias`` [m] for i = 1..h, then ``layers.{h+1}.weight`` [b, m] and
    ``layers.{h+1}.bias`` [b]. The other numbers are not part of it: see :attr:`config`.

    Weights start at U(±1/a) in the first layer and U(±√(6/m)/omega) in all others; biases at U(±1/√fan_in).

    Parameters
    ----------
    in_features, out_features, width : int
        a, b and m, at least 1.
    hidden_layers : int
        h, at least 0.
    omega : float
        Frequency factor of every sine, positive and finite.
    first_omega : float, optional
        That of the first layer, if another: 3000 suits a sound.
    frequencies, base, lowest : int, float, float
        Positional encoding of x, none by default, see :func:`~coinr.networks.encoding.encode`; then
        a = in_features · (1 + 2 · frequencies). With 16, 1.4 and π this is the network of INRIC.
    generator : torch.Generator, optional
        Source of the initial weights (a CPU generator); torch's global one if absent.

    Raises
    ------
    InputError
        If a size or a number is out of range.
    """

    family, kind = SIREN, "siren"
    parity = -1

    @checked
    def __init__(
        self,
        in_features: int,
        out_features: int,
        width: int,
        hidden_layers: int,
        omega: float = 30.0,
        first_omega: float | None = None,
        frequencies: int = 0,
        base: float = 2.0,
        lowest: float = 1.0,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(in_features, out_features, width, hidden_layers, frequencies, base, lowest)
        self.omega = check_positive("omega", omega)
        self.first_omega = self.omega if first_omega is None else check_positive("first_omega", first_omega)
        self.layers = nn.ModuleList(bare_linear(*fan) for fan in self.fans())
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Linear)
            fan_in = layer.in_features
            fill_uniform(layer.weight, 1 / fan_in if i == 0 else math.sqrt(6 / fan_in) / self.omega, generator)
            fill_uniform(layer.bias, 1 / math.sqrt(fan_in), generator)

    def plain_forward(self, x: Tensor) -> Tensor:
        """Implement :meth:`Mlp.plain_forward`."""
        first, *sines, last = self.layers
        assert isinstance(first, nn.Linear)
        # of half precision, coordinates and phases would be too coarse
        with torch.autocast(x.device.type, enabled=False):
            x = self.wave(self.encode(x), first, self.first_omega)
        for layer in sines:
            assert isinstance(layer, nn.Linear)
            x = self.wave(x, layer, self.omega)
        out: Tensor = last(x)
        return out

    def half_period(self, layer: int) -> float:
        """Implement :meth:`Mlp.half_period`: sin(omega (z + π / omega)) = -sin(omega z)."""
        omega = np.float32(self.omega if layer else self.first_omega)  # as it multiplies float32 parameters
        return math.pi / float(omega)

    def wave(self, x: Tensor, layer: nn.Linear, omega: float) -> Tensor:
        """Apply one layer and its activation."""
        # omega scales the small parameters, not the [..., width] activations: one pass over memory fewer
        return torch.sin(functional.linear(x, layer.weight * omega, layer.bias * omega))


class Finer(Siren):
    """A FINER network (Liu et al. 2024): as :class:`Siren`, with sin(omega (|z| + 1) z) of each affine map z.

    No gradient flows through the factor |z| + 1, as in the authors' code. State dict and errors are those of
    :class:`Siren`; the first layer's biases start at U(±first_bias).

    Parameters
    ----------
    in_features, out_features, width, hidden_layers, omega, first_omega, frequencies, base, lowest, generator
        As for :class:`Siren`.
    first_bias : float
        Bound of the first layer's biases at the start: the wider, the higher the frequencies.
    """

    family, kind = FINER, "finer"

    @checked
    def __init__(
        self,
        in_features: int,
        out_features: int,
        width: int,
        hidden_layers: int,
        omega: float = 30.0,
        first_omega: float | None = None,
        frequencies: int = 0,
        base: float = 2.0,
        lowest: float = 1.0,
        *,
        first_bias: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            in_features,
            out_features,
            width,
            hidden_layers,
            omega,
            first_omega,
            frequencies,
            base,
            lowest,
            generator=generator,
        )
        first = self.layers[0]
        assert isinstance(first, nn.Linear)
        fill_uniform(first.bias, check_positive("first_bias", first_bias), generator)

    def half_period(self, layer: int) -> float:
        """Implement :meth:`Mlp.half_period`: the frequency varies, so there is none."""
        return math.inf

    def wave(self, x: Tensor, layer: nn.Linear, omega: float) -> Tensor:
        """Apply one layer and its activation."""
        z = functional.linear(x, layer.weight, layer.bias)
        return torch.sin(omega * (z.detach().abs() + 1) * z)
