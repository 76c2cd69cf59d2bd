"""Untrained networks for signals, of a suitable size."""

from __future__ import annotations

import torch
from torch import nn

from coinr.errors import InputError
from coinr.networks import build_network
from coinr.signals.signal import Signal

# Bits of a parameter in a file, a little more than the codec's default takes.
_BITS = 10

# Least default width; narrower networks represent hardly anything.
_MIN_WIDTH = 8


def new_network(
    signal: Signal,
    kind: str | None = None,
    *,
    width: int | None = None,
    hidden_layers: int | None = None,
    seed: int = 0,
) -> nn.Module:
    """Return an untrained network for a signal, with the values of its recipe for arguments that are None.

    The default of ``width`` is :func:`default_width`.

    Parameters
    ----------
    signal : Signal
        To be fitted.
    kind : str, optional
        Of the network, see :func:`coinr.networks.build_network`.
    width, hidden_layers : int, optional
        Of the network.
    seed : int
        Of the initial weights.

    Raises
    ------
    InputError
        If an argument is out of range, or this kind cannot represent the signal.
    """
    kind = signal.recipe.network if kind is None else kind
    hidden_layers = signal.recipe.hidden_layers if hidden_layers is None else hidden_layers
    if (kind == "nerf") != (signal.kind == "scene"):
        raise InputError(
            f"signals of kind {signal.kind} cannot be fitted by networks of kind {kind!r}: scenes need 'nerf'"
        )
    width = default_width(signal, kind, hidden_layers) if width is None else width
    return _build(signal, kind, width, hidden_layers, seed)


def default_width(signal: Signal, kind: str, hidden_layers: int) -> int:
    """Return the default width of a network: that of the signal's recipe, or less where the signal is small.

    It is the largest width up to the recipe's at which parameters of 10 bits each fit into the signal's
    :attr:`~coinr.signals.signal.Signal.default_bits`, and at least 8. These bits are a quarter of the uncompressed
    samples, or an eighth for voxels. Signals have the recipe's width from about 165 x 165 color pixels, 3 s of sound at
    44.1 kHz or 101 x 101 x 101 voxels on.

    Parameters
    ----------
    signal : Signal
        To be fitted.
    kind : str
        Of the network.
    hidden_layers : int
        Of the network.
    """
    widest = signal.recipe.width
    most = signal.default_bits / _BITS
    for width in range(widest, _MIN_WIDTH, -1):
        if count_parameters(signal, kind, width, hidden_layers) <= most:
            return width
    return min(widest, _MIN_WIDTH)


def _build(signal: Signal, kind: str, width: int, hidden_layers: int, seed: int) -> nn.Module:
    if kind == "nerf":
        sizes = {"depth": hidden_layers, "width": width}
    else:
        sizes = {
            "in_features": signal.in_features,
            "out_features": signal.out_features,
            "width": width,
            "hidden_layers": hidden_layers,
        }
    options = signal.recipe.options.get(kind, {})
    return build_network(kind, {**sizes, **options}, torch.Generator().manual_seed(seed))


def count_parameters(signal: Signal, kind: str | None, width: int, hidden_layers: int) -> int:
    """Count the real parameters of the network that :func:`new_network` returns; a complex one counts twice."""
    with torch.device("meta"):  # shapes only: nothing is allocated
        network = new_network(signal, kind, width=width, hidden_layers=hidden_layers)
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in network.parameters())
