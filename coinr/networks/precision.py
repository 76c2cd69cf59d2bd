"""Networks and state dicts of other precisions in that of files: float32 and complex64."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from coinr.networks.network import Network

_SINGLE = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float64: torch.float32,
    torch.complex32: torch.complex64,
    torch.complex128: torch.complex64,
}


def single_state(state_dict: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
    """Return copies, floating tensors in float32, complex ones in complex64 and others as they are."""
    return OrderedDict(
        (name, tensor.detach().to(_SINGLE.get(tensor.dtype, tensor.dtype), copy=True))
        for name, tensor in state_dict.items()
    )


def single_network(network: nn.Module) -> nn.Module:
    """Return a network of this package in single precision: itself if it is, else a copy; other modules as they are."""
    if not isinstance(network, Network) or all(tensor.dtype not in _SINGLE for tensor in network.state_dict().values()):
        return network
    made = copy.deepcopy(network)
    made.load_state_dict(single_state(network.state_dict()), assign=True)
    return made
