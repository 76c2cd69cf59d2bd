"""What networks of known kind compute, so that it need not be inferred from their weights."""

from __future__ import annotations

from coinr.networks import Finer, Gauss, Mlp, Network, Siren, Wire
from coinr.sensitivity.activations import Activation, Encoding, FinerSine, Gabor, Gaussian, Rectifier, Sine
from coinr.sensitivity.probe import Guess


def known_activations(network: Network) -> Guess | None:
    """Return what a network's chain of layers computes; None for a radiance field, which is no chain."""
    if not isinstance(network, Mlp):
        return None
    first, hidden = _activations(network)
    encoding = Encoding(network.in_features, network.frequencies, network.base, network.lowest)
    return Guess(encoding, first, hidden)


def _activations(network: Mlp) -> tuple[Activation, Activation]:
    """Return those of the first layer and of the others."""
    if isinstance(network, Siren):
        kind = FinerSine if isinstance(network, Finer) else Sine
        return kind(network.first_omega), kind(network.omega)
    if isinstance(network, Gauss):
        return Gaussian(network.scale), Gaussian(network.scale)
    if isinstance(network, Wire):
        config = network.config
        omega, scale, first_omega = (float(config[name]) for name in ("omega", "scale", "first_omega"))
        return Gabor(first_omega, scale), Gabor(omega, scale)
    return Rectifier(), Rectifier()
