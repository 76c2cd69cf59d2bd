"""Networks by name, and the metadata that rebuilds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from coinr.errors import FormatError, InputError
from coinr.inputs.arguments import checked
from coinr.networks.description import family_in
from coinr.networks.gauss import Gauss
from coinr.networks.nerf import Nerf
from coinr.networks.network import Network
from coinr.networks.relu import Relu
from coinr.networks.siren import Finer, Siren
from coinr.networks.wire import Wire

_CLASSES: tuple[type[Network], ...] = (Siren, Finer, Gauss, Wire, Relu, Nerf)

#: Every network that a file can hold, by its kind.
NETWORKS: Mapping[str, type[Network]] = {network.kind: network for network in _CLASSES}


@checked
def build_network(kind: str, config: Mapping[str, Any], generator: torch.Generator | None = None) -> Network:
    """Return a network with fresh weights.

    Parameters
    ----------
    kind : str
        ``siren``, ``finer``, ``gauss``, ``wire``, ``relu`` or ``nerf``.
    config : mapping
        Arguments of its class, such as the ``config`` of another network.
    generator : torch.Generator, optional
        Source of the initial weights (a CPU generator); torch's global one if absent.

    Raises
    ------
    InputError
        If there is no such kind, or an argument is unknown, missing or out of range.
    """
    if kind not in NETWORKS:
        raise InputError(f"kind must be one of {', '.join(NETWORKS)}, got {kind!r}")
    try:
        return NETWORKS[kind](**config, generator=generator)
    except TypeError as error:
        raise InputError(f"config of {kind}: {str(error).partition('__init__() ')[2] or error}") from None


def network_meta(network: nn.Module) -> dict[str, Any]:
    """Return the metadata that rebuilds ``network`` from its tensors, see :func:`network_from`.

    It is ``{kind: settings}`` with what does not follow from the tensors. Defaults at the end are left out, and a
    single number stands without brackets: ``{"siren":30}``, ``{"siren":[30,3000]}``, ``{"nerf":[]}``.

    Raises
    ------
    InputError
        If ``network`` is not one of :data:`NETWORKS`.
    """
    if type(network) not in _CLASSES:
        raise InputError(f"network must be one of {', '.join(c.__name__ for c in _CLASSES)}, got {type(network)}")
    assert isinstance(network, Network)
    try:
        config = network.config
    except (RuntimeError, TypeError, ValueError) as error:  # numbers kept in tensors that are none any more
        raise InputError(f"the tensors are not those of a {type(network).__name__}") from error
    values = [config[name] for name in network.family.settings]
    defaults = [values[0] if default is None else default for default in network.family.settings.values()]
    while len(values) > 1 and values[-1] == defaults[len(values) - 1]:
        values.pop()
    short = [int(value) if float(value).is_integer() else value for value in values]
    return {network.kind: short[0] if len(short) == 1 else short}


def network_from(meta: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> Network:
    """Return the network that metadata and tensors describe; other keys of the metadata are ignored.

    Parameters
    ----------
    meta : mapping
        With what :func:`network_meta` gave.
    state_dict : mapping of str to Tensor
        The tensors of the network, in any order; they are used, not copied.

    Raises
    ------
    InputError
        If the metadata names no network.
    FormatError
        If it names several, or its settings and the tensors do not describe the network that it names. Nothing is
        allocated before their shapes are known to fit.
    """
    family, settings = family_in(meta)
    try:
        return NETWORKS[family.kind].from_state_dict(state_dict, *settings)
    except InputError as error:
        raise FormatError(f"the metadata says {family.kind}, but {error}") from error
