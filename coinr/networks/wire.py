"""Networks of complex Gabor wavelets: WIRE, in the layout of its authors' code."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from coinr.inputs.arguments import checked
from coinr.networks.families import WIRE, check_positive
from coinr.networks.fused import is_plain
from coinr.networks.network import Mlp, bare_linear, fill_usual
from coinr.networks.programs import Computation, computation_of_mlp
from coinr.networks.symmetries import Neurons


class _GaborLayer(nn.Module):
    """Compute exp(i omega z − |scale z|²) of z = W x + b. Both numbers are float32 buffers of one element."""

    omega_0: Tensor
    scale_0: Tensor

    def __init__(self, fan_in: int, fan_out: int, dtype: torch.dtype, omega: float, scale: float) -> None:
        super().__init__()
        self.register_buffer("omega_0", torch.full((1,), omega, dtype=torch.float32))
        self.register_buffer("scale_0", torch.full((1,), scale, dtype=torch.float32))
        self.linear = bare_linear(fan_in, fan_out, dtype)

    def forward(self, x: Tensor) -> Tensor:
        z = self.linear(x)
        if not z.is_complex():
            return _polar(torch.exp(-((self.scale_0 * z) ** 2)), self.omega_0 * z)
        # in real arithmetic, which torch vectorizes
        u, v = z.real, z.imag
        return _polar(torch.exp(-self.omega_0 * v - self.scale_0**2 * (u * u + v * v)), self.omega_0 * u)


def _polar(amplitude: Tensor, phase: Tensor) -> Tensor:
    """Return amplitude · exp(i phase).

    The derivative of :func:`torch.polar` divides by the magnitude, whose square underflows far from a wavelet's center.
    """
    return torch.complex(amplitude * torch.cos(phase), amplitude * torch.sin(phase))


class Wire(Mlp):
    """WIRE (Saragadam et al. 2023): complex Gabor wavelets; the real part of a last affine map is the value.

    The state dict has the layout of WIRE's code: ``net.i.omega_0`` [1], ``net.i.scale_0`` [1] (float32, not trained),
    ``net.i.linear.weight`` [m, fan_in], ``net.i.linear.bias`` [m] for i = 0..h, then ``net.{h+1}.weight`` [b, m],
    ``net.{h+1}.bias`` [b]; weights and biases are float32 for i = 0 and complex64 for all others. They start at
    U(±1/√fan_in), real and imaginary parts alike.

    Parameters
    ----------
    in_features, out_features, width, hidden_layers : int
        a, b, m and h as for :class:`~coinr.Siren`; m counts complex numbers.
    omega, scale : float
        Frequency and narrowness of the wavelets, positive.
    first_omega : float, optional
        Frequency in the first layer, if another.
    frequencies, base, lowest, generator
        As for :class:`~coinr.Siren`.

    Raises
    ------
    InputError
        If a size or a number is out of range.
    """

    family, kind = WIRE, "wire"

    @checked
    def __init__(
        self,
        in_features: int,
        out_features: int,
        width: int,
        hidden_layers: int,
        frequencies: int = 0,
        base: float = 2.0,
        lowest: float = 1.0,
        *,
        omega: float = 20.0,
        scale: float = 10.0,
        first_omega: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(in_features, out_features, width, hidden_layers, frequencies, base, lowest)
        omega, scale = check_positive("omega", omega), check_positive("scale", scale)
        first_omega = omega if first_omega is None else check_positive("first_omega", first_omega)
        (first, *hidden), last = self.fans()[:-1], self.fans()[-1]
        self.net = nn.Sequential(
            _GaborLayer(*first, torch.float32, first_omega, scale),
            *(_GaborLayer(*fan, torch.complex64, omega, scale) for fan in hidden),
            bare_linear(*last, torch.complex64),
        )
        for module in self.net.modules():
            if isinstance(module, nn.Linear):
                fill_usual(module, generator)

    def neurons(self) -> list[Neurons]:
        """Implement :meth:`Network.neurons`: the first layer, as complex biases have no order that saves bytes."""
        return super().neurons()[:1]

    @property
    def config(self) -> dict[str, int | float]:
        """Return :attr:`Mlp.config` with the ``omega``, ``scale`` and ``first_omega`` of the first two layers."""
        layers = [layer for layer in self.net if isinstance(layer, _GaborLayer)]
        first, second = layers[0], layers[min(1, len(layers) - 1)]
        return super().config | {
            "omega": float(second.omega_0),
            "scale": float(second.scale_0),
            "first_omega": float(first.omega_0),
        }

    def computation(self) -> Computation | None:
        """Implement :meth:`Mlp.computation`; None where omega or scale of a layer are to be trained."""
        tensors = [(layer.omega_0, layer.scale_0) for layer in self.net if isinstance(layer, _GaborLayer)]
        if not all(is_plain(t) and t.shape == (1,) and not t.requires_grad for pair in tensors for t in pair):
            return None
        numbers = [(float(omega), float(scale)) for omega, scale in tensors]
        return computation_of_mlp(self.family, super().config, numbers)

    def plain_forward(self, x: Tensor) -> Tensor:
        """Implement :meth:`Mlp.plain_forward`."""
        out: Tensor = self.net(self.encode(x))
        return out.real
