"""What all networks share: plain state dicts, and rebuilding from tensors and a few stored settings."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from coinr.errors import InputError
from coinr.inputs.arguments import checked
from coinr.inputs.dtypes import dtype_name
from coinr.networks.encoding import encode
from coinr.networks.families import SIZES, Described, Family, MlpFamily, check_sizes, fans
from coinr.networks.fused import FusedModule, fused, is_plain, run
from coinr.networks.programs import Computation, computation_of_mlp
from coinr.networks.symmetries import Neurons


class Network(FusedModule, Described):
    """A network that a file can hold: its tensors, and the settings that do not follow from their shapes.

    Attributes
    ----------
    family : Family
        What is common to all networks of this class.
    kind : str
        The name of the family in metadata and on the command line.
    """

    family: Family
    kind: ClassVar[str]

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return JSON values that rebuild the network without its weights: ``type(network)(**network.config)``."""

    @abstractmethod
    def neurons(self) -> list[Neurons]:
        """Return the hidden layers whose neurons may change places, see :mod:`coinr.networks.symmetries`."""

    @classmethod
    @checked
    def from_state_dict(cls, state_dict: Mapping[str, Tensor], *settings: Any) -> Self:
        """Return the network that holds the tensors of ``state_dict``; its sizes follow from their shapes.

        Parameters
        ----------
        state_dict : mapping of str to Tensor
            The tensors of such a network, in any order; they are used, not copied.
        *settings : number
            What does not follow from the tensors, in the order of the family's settings; defaults for those left out.

        Raises
        ------
        InputError
            If the tensors are not those of such a network, or a number is out of range.
        """
        if not all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state_dict.items()):
            raise InputError(f"the state dict of a {cls.__name__} holds tensors only, by their names")
        layouts = {name: (dtype_name(tensor.dtype), tuple(tensor.shape)) for name, tensor in state_dict.items()}
        config = cls.family.config_of(layouts, settings)
        # on "meta" nothing is allocated, and no random number is drawn
        with torch.device("meta"):
            network = cls(**config)
        network.load_state_dict(state_dict, assign=True)
        return network


def bare_linear(fan_in: int, fan_out: int, dtype: torch.dtype = torch.float32) -> nn.Linear:
    """Return a linear layer on the default device with uninitialized tensors."""
    return nn.Linear(fan_in, fan_out, dtype=dtype, device="meta").to_empty(device=torch.get_default_device())


def fill_uniform(tensor: Tensor, bound: float, generator: torch.Generator | None) -> None:
    """Draw every real number of a real or complex tensor from U(±bound)."""
    real = torch.view_as_real(tensor.detach()) if tensor.is_complex() else tensor
    nn.init.uniform_(real, -bound, bound, generator=generator)


def fill_usual(layer: nn.Linear, generator: torch.Generator | None) -> None:
    """Draw the weights and biases of a layer from U(±1/√fan_in), as torch does by default."""
    for parameter in (layer.weight, layer.bias):
        fill_uniform(parameter, 1 / math.sqrt(layer.in_features), generator)


class Mlp(Network):
    """A network of h + 2 affine maps with one activation between them.

    With ``a = in_features``, ``b = out_features``, ``m = width``, ``h = hidden_layers`` and ``L = frequencies`` it has
    a (1 + 2 L)·m + h·m² + m·b weights besides biases. Coordinates pass through
    :func:`~coinr.networks.encoding.encode` first, which does nothing with L = 0.
    """

    family: MlpFamily
    #: Of the activation: -1 if it is odd, 1 if it is even, else 0.
    parity: ClassVar[int] = 0

    @checked
    def __init__(
        self,
        in_features: int,
        out_features: int,
        width: int,
        hidden_layers: int,
        frequencies: int,
        base: float,
        lowest: float,
    ) -> None:
        super().__init__()
        given = {
            "in_features": in_features,
            "out_features": out_features,
            "width": width,
            "hidden_layers": hidden_layers,
            "frequencies": frequencies,
            "base": base,
            "lowest": lowest,
        }
        sizes = check_sizes(given)
        self.in_features, self.out_features = in_features, out_features
        self.width, self.hidden_layers = width, hidden_layers
        self.frequencies, self.base, self.lowest = frequencies, sizes["base"], sizes["lowest"]

    @property
    def config(self) -> dict[str, Any]:
        """Return JSON values that rebuild the network without its weights: ``type(network)(**network.config)``."""
        names = ("in_features", "out_features", "width", "hidden_layers", *self.family.settings)
        return {name: getattr(self, name) for name in names}

    def forward(self, x: Tensor) -> Tensor:
        """Return float32 [..., out_features] for float32 coordinates [..., in_features]."""
        found = fused(self)
        if found is None or not is_plain(x) or not x.ndim or x.shape[-1] != self.in_features:
            return self.plain_forward(x)
        rows = x.reshape(-1, self.in_features)
        return run(self, found, [rows], len(rows)).reshape(*x.shape[:-1], self.out_features)

    @abstractmethod
    def plain_forward(self, x: Tensor) -> Tensor:
        """Return the values of :meth:`forward` by torch's operations, one by one."""

    def plain_values(self, inputs: Sequence[Tensor], count: int) -> Tensor:
        """Implement :meth:`FusedModule.plain_values`."""
        return self.plain_forward(inputs[0])

    def computation(self) -> Computation | None:
        """Implement :meth:`FusedModule.computation`."""
        return computation_of_mlp(self.family, self.config)

    def half_period(self, layer: int) -> float:
        """Return the change of a bias that changes the sign of a neuron's output; infinite where there is none."""
        return math.inf

    def neurons(self) -> list[Neurons]:
        """Implement :meth:`Network.neurons`."""
        last = self.hidden_layers + 1
        names = [self.family.layer_name(i, last) for i in range(last + 1)]
        return [
            Neurons(name, ((after, 0),), self.parity, self.half_period(i))
            for i, (name, after) in enumerate(itertools.pairwise(names))
        ]

    def fans(self) -> list[tuple[int, int]]:
        """Return the numbers of inputs and outputs of each layer."""
        return fans({name: getattr(self, name) for name in SIZES})

    def encode(self, x: Tensor) -> Tensor:
        """Return the input of the first layer, [..., a (1 + 2 L)], for coordinates [..., a]."""
        return encode(x, self.frequencies, self.base, self.lowest)
