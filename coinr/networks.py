"""Coordinate networks that coinr can fit by itself."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from coinr.errors import InputError


class Siren(nn.Module):
    """A SIREN (Sitzmann et al. 2020): sines of affine maps, then one affine map.

    With ``a = in_features``, ``b = out_features``, ``m = width`` and ``h = hidden_layers`` the network has h + 2 linear
    layers and a·m + h·m² + m·b weights (besides biases)::

        y_0 = sin(omega (W_0 x + b_0)),   y_i = sin(omega (W_i y_{i-1} + b_i)),   out = W_{h+1} y_h + b_{h+1}

    The state dict is plain float32, in this order: ``layers.0.weight`` [m, a], ``layers.0.bias`` [m], then
    ``layers.i.weight`` [m, m], ``layers.i.bias`` [m] for i = 1..h, then ``layers.{h+1}.weight`` [b, m] and
    ``layers.{h+1}.bias`` [b]. ``omega`` is not part of it: see :attr:`config`.

    Weights start at U(±1/a) in the first layer and U(±√(6/m)/omega) in all others; biases at U(±1/√fan_in).

    Parameters
    ----------
    in_features, out_features, width : int
        a, b and m, at least 1.
    hidden_layers : int
        h, at least 0.
    omega : float
        Frequency factor of every sine, positive and finite.
    generator : torch.Generator, optional
        Source of the initial weights (a CPU generator); torch's global one if absent.

    Raises
    ------
    InputError
        If a size or ``omega`` is out of range.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        width: int,
        hidden_layers: int,
        omega: float = 30.0,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        sizes = {"in_features": in_features, "out_features": out_features, "width": width}
        for name, size in sizes.items():
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise InputError(f"{name} must be an integer >= 1, got {size!r}")
        if isinstance(hidden_layers, bool) or not isinstance(hidden_layers, int) or hidden_layers < 0:
            raise InputError(f"hidden_layers must be an integer >= 0, got {hidden_layers!r}")
        if isinstance(omega, bool) or not isinstance(omega, (int, float)) or not 0 < omega < 1e30:
            raise InputError(f"omega must be a positive number below 1e30, got {omega!r}")
        self.in_features = in_features
        self.out_features = out_features
        self.width = width
        self.hidden_layers = hidden_layers
        self.omega = float(omega)
        widths = [in_features] + [width] * (hidden_layers + 1) + [out_features]
        self.layers = nn.ModuleList(
            nn.utils.skip_init(nn.Linear, fan_in, fan_out)  # type: ignore[no-untyped-call]
            for fan_in, fan_out in itertools.pairwise(widths)
        )
        self._initialise(generator)

    def _initialise(self, generator: torch.Generator | None) -> None:
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Linear)
            fan_in = layer.in_features
            bound = 1 / fan_in if i == 0 else math.sqrt(6 / fan_in) / self.omega
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            nn.init.uniform_(layer.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=generator)

    @property
    def config(self) -> dict[str, int | float]:
        """JSON values that rebuild the network without its weights: ``Siren(**network.config)``."""
        return {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "width": self.width,
            "hidden_layers": self.hidden_layers,
            "omega": self.omega,
        }

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, Tensor], omega: float = 30.0) -> Siren:
        """Return the network that holds the tensors of ``state_dict``, whose shapes tell its sizes.

        Parameters
        ----------
        state_dict : mapping of str to Tensor
            The float32 tensors of a :class:`Siren`, in any order; they are used, not copied.
        omega : float
            The frequency factor, the only number that the tensors do not tell.

        Raises
        ------
        InputError
            If the tensors are not those of a SIREN, or ``omega`` is out of range.
        """
        hidden_layers = len(state_dict) // 2 - 2
        first, last = state_dict.get("layers.0.weight"), state_dict.get(f"layers.{hidden_layers + 1}.weight")
        if hidden_layers < 0 or first is None or first.ndim != 2 or last is None or last.ndim != 2:
            raise InputError("the tensors are not those of a Siren (layers.0.weight, layers.0.bias, ...)")
        (width, in_features), out_features = first.shape, last.shape[0]
        # shapes are compared before anything is allocated
        expected = _state_dict_shapes(in_features, out_features, width, hidden_layers)
        if {name: tuple(tensor.shape) for name, tensor in state_dict.items()} != expected:
            raise InputError(f"the tensors are not those of a Siren of {hidden_layers} hidden layers of width {width}")
        if any(tensor.dtype != torch.float32 for tensor in state_dict.values()):
            raise InputError("the tensors of a Siren are float32")
        # a generator of its own: loading must not advance torch's global one
        network = cls(in_features, out_features, width, hidden_layers, omega, generator=torch.Generator())
        network.load_state_dict(state_dict, assign=True)
        return network

    def forward(self, x: Tensor) -> Tensor:
        """Return float32 [..., out_features] for float32 coordinates [..., in_features]."""
        *sines, last = self.layers
        for layer in sines:
            assert isinstance(layer, nn.Linear)
            # omega scales the small parameters, not the [..., width] activations: one pass over memory fewer
            x = torch.sin(functional.linear(x, layer.weight * self.omega, layer.bias * self.omega))
        out: Tensor = last(x)
        return out


def _state_dict_shapes(
    in_features: int, out_features: int, width: int, hidden_layers: int
) -> dict[str, tuple[int, ...]]:
    widths = [in_features] + [width] * (hidden_layers + 1) + [out_features]
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
        shapes |= {f"layers.{i}.weight": (fan_out, fan_in), f"layers.{i}.bias": (fan_out,)}
    return shapes
