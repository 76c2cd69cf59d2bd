"""Coordinate networks that coinr can fit, store and rebuild by itself."""

from coinr.networks.encoding import encode
from coinr.networks.gauss import Gauss
from coinr.networks.nerf import Nerf, RadianceField
from coinr.networks.network import Mlp, Network
from coinr.networks.registry import NETWORKS, build_network, network_from, network_meta
from coinr.networks.relu import Relu
from coinr.networks.rendering import Rays, render_rays
from coinr.networks.siren import Finer, Siren
from coinr.networks.wire import Wire

__all__ = [
    "NETWORKS",
    "Finer",
    "Gauss",
    "Mlp",
    "Nerf",
    "Network",
    "RadianceField",
    "Rays",
    "Relu",
    "Siren",
    "Wire",
    "build_network",
    "encode",
    "network_from",
    "network_meta",
    "render_rays",
]
