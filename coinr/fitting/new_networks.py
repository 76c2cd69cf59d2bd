"""Untrained networks for signals, of a size that suits them."""

from __future__ import annotations

import torch
from torch import nn

from coinr.errors import InputError
from coinr.networks import build_network
from coinr.signals.signal import Signal

# Bits of a parameter in a file, a little more than the codec's default takes.
_BITS = 10

# Narrower networks show hardly anything.
_NARROWEST = 8


def new_network(
    signal: Signal,
    kind: str | None = None,
    *,
    width: int | None = None,
    hidden_layers: int | None = None,
    seed: int = 0,
) -> nn.Module:
    """Return an untrained network for a signal, by its recipe where an argument is absent.

    The width is :func:`default_width` then.

    Raises
    ------
    InputError
        If an argument is out of range, or the kind does not suit the signal.
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
    """The width of a network that is not chosen: that of the signal's recipe, or less where the signal is small.

    It is the largest at which the parameters, at 10 bits each, take at most the signal's
    :attr:`~coinr.signals.signal.Signal.default_bits`: a quarter of what the samples take without any compression, an
    eighth for voxels; but 8 at least. Pictures of 160 x 160 colours, 3 s of sound at 44.1 kHz, volumes of 101 x 101 x
    101 voxels, and all that is larger have the recipe's width.

    Parameters
    ----------
    signal : Signal
        What is to be fitted.
    kind : str
        Of the network.
    hidden_layers : int
        Its depth.
    """
    widest = signal.recipe.width
    most = signal.default_bits / _BITS
    for width in range(widest, _NARROWEST, -1):
        if _count(signal, kind, width, hidden_layers) <= most:
            return width
    return min(widest, _NARROWEST)


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


def _count(signal: Signal, kind: str, width: int, hidden_layers: int) -> int:
    """Real parameters of a network."""
    with torch.device("meta"):  # sizes alone: nothing is allocated
        network = _build(signal, kind, width, hidden_layers, 0)
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in network.parameters())
