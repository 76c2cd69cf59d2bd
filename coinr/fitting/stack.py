"""The trained tensors of equal networks as one stack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from coinr.errors import InputError


class Stack:
    """The trained tensors of K equal networks, stacked to tensors [K, ...].

    Inside its context the networks' parameters are views of the stack, so that a change of the stack changes the
    networks. On leaving, each network gets its own storage back.

    Parameters
    ----------
    networks : sequence of nn.Module
        With equal names and shapes of trained parameters, on one device.

    Attributes
    ----------
    names : list of str
        Names of the trained parameters.
    tensors : list of Tensor
        Leaf tensors [K, ...], in the order of the names.
    parameters : list of list of nn.Parameter
        Those of each network, in the order of the names.

    Raises
    ------
    InputError
        If there is nothing to train, or the networks are not equal.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        named = [{name: p for name, p in network.named_parameters() if p.requires_grad} for network in networks]
        self.names = list(named[0])
        if not self.names:
            raise InputError("the network has no parameter to fit")
        shapes = [{name: (p.shape, p.dtype) for name, p in parameters.items()} for parameters in named]
        if any(other != shapes[0] for other in shapes) or len({id(network) for network in networks}) < len(networks):
            raise InputError("the networks must be several, with equal names and shapes of parameters")
        self.parameters = [list(parameters.values()) for parameters in named]
        self.tensors = [
            torch.stack([p.detach() for p in column]).requires_grad_() for column in zip(*self.parameters, strict=True)
        ]
        self._own = [[p.data for p in parameters] for parameters in self.parameters]

    def __enter__(self) -> Self:
        for k, parameters in enumerate(self.parameters):
            for parameter, stacked in zip(parameters, self.tensors, strict=True):
                parameter.data = stacked.detach()[k]
        return self

    def __exit__(self, *_: object) -> None:
        for parameters, storages in zip(self.parameters, self._own, strict=True):
            for parameter, storage in zip(parameters, storages, strict=True):
                parameter.data = storage.copy_(parameter.data)

    @torch.no_grad()
    def assign(self, tensors: Sequence[Tensor]) -> None:
        """Copy the values of ``tensors``, [K, ...] each, into the stack."""
        for mine, theirs in zip(self.tensors, tensors, strict=True):
            mine.copy_(theirs)

    def copy(self) -> list[Tensor]:
        """Return copies of the values, [K, ...] each."""
        return [tensor.detach().clone() for tensor in self.tensors]
