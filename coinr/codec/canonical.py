"""State dicts in canonical order: hidden neurons of networks of known kind, sorted before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coinr.codec.options import EncodeOptions
from coinr.codec.profiles.tasks import check_options
from coinr.errors import FormatError, InputError
from coinr.inputs.arguments import describe_value
from coinr.inputs.state_dicts import StateDict, plain_tensors, to_state_dict
from coinr.networks import NETWORKS, Network, network_from
from coinr.networks.symmetries import to_canonical


def in_order(sd: StateDict, options: EncodeOptions) -> Mapping[str, Any]:
    """Return a state dict, in canonical order where the options ask for that.

    Raises
    ------
    InputError
        If it cannot be brought into that order, or other options refer to the order that it has.
    """
    if not options.canonical:
        return to_state_dict(sd)
    check_options(options)
    network = known_network(sd, options.meta)
    tensors = plain_tensors(to_state_dict(sd))
    _check_ties(tensors)
    return to_canonical(tensors, network.neurons()).state_dict


def known_network(sd: StateDict, meta: Mapping[str, Any] | None) -> Network:
    """Return the network of a state dict: the module that was given, or the one that metadata names.

    Raises
    ------
    InputError
        If the kind is not known, or the tensors are not those of such a network.
    """
    if isinstance(sd, Network) and type(sd) in NETWORKS.values():
        return sd
    if not any(kind in NETWORKS for kind in meta or {}):
        raise InputError(
            f"canonical order is that of a network of known kind: give a module of coinr.networks, or meta that names "
            f"one of {', '.join(NETWORKS)}, not {describe_value(sd)} alone"
        )
    try:
        return network_from(meta or {}, plain_tensors(to_state_dict(sd)))
    except FormatError as error:
        raise InputError(f"this state dict has no canonical order: {error}") from error


def _check_ties(tensors: Mapping[str, Any]) -> None:
    """Raise InputError if tensors share memory: they would not be equal in canonical order."""
    names: dict[int, str] = {}
    for name, tensor in tensors.items():
        other = names.setdefault(tensor.data_ptr(), name)
        if tensor.numel() and other != name:
            raise InputError(f"tensors {other!r} and {name!r} are tied, so the network has no canonical order")
