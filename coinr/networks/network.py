"""What all networks share: plain state dicts, and rebuilding from tensors and a few stored settings."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from coinr.errors import InputError
from coinr.inputs.arguments import checked, describe_value
from coinr.networks.encoding import encode

#: Shapes of the tensors of a state dict, by name.
Shapes = Mapping[str, tuple[int, ...]]

#: More are refused before anything is made: sizes that no machine holds, or that take minutes to list.
MOST_WEIGHTS = 1 << 30
MOST_LAYERS = 1 << 10


class Network(nn.Module, ABC):
    """A network that a file can hold: its tensors, and the settings that do not follow from their shapes.

    Attributes
    ----------
    kind : str
        Its name in metadata and on the command line.
    settings : dict of str to number or None
        The arguments of the constructor that do not follow from the tensors, with their defaults, in the order in
        which they are stored; None stands for the first of them.
    """

    kind: ClassVar[str]
    settings: ClassVar[Mapping[str, float | None]] = {}

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return JSON values that rebuild the network without its weights: ``type(network)(**network.config)``."""

    @classmethod
    @abstractmethod
    def sizes(cls, shapes: Shapes, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the constructor that follow from shapes and settings.

        Raises
        ------
        KeyError, IndexError, ValueError
            If the tensors are not those of such a network.
        """

    @classmethod
    @checked
    def from_state_dict(cls, state_dict: Mapping[str, Tensor], *settings: Any) -> Self:
        """Return the network that holds the tensors of ``state_dict``; its sizes follow from their shapes.

        Parameters
        ----------
        state_dict : mapping of str to Tensor
            The tensors of such a network, in any order; they are used, not copied.
        *settings : number
            What does not follow from the tensors, in the order of :attr:`settings`; defaults for those left out.

        Raises
        ------
        InputError
            If the tensors are not those of such a network, or a number is out of range.
        """
        if len(settings) > len(cls.settings):
            raise InputError(f"a {cls.__name__} has {len(cls.settings)} settings, got {len(settings)}")
        given = {**cls.settings, **dict(zip(cls.settings, settings, strict=False))}
        if not all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state_dict.items()):
            raise InputError(f"the state dict of a {cls.__name__} holds tensors only, by their names")
        found = {name: tuple(tensor.shape) for name, tensor in state_dict.items()}
        if sum(map(math.prod, found.values())) > 2 * MOST_WEIGHTS:
            raise InputError(f"the tensors are not those of a {cls.__name__} that can be made: they are too large")
        # on "meta" nothing is allocated, and no random number is drawn: shapes are compared before memory is spent
        with torch.device("meta"):
            try:
                sizes = cls.sizes(found, given)
                network = cls(**sizes, **given)
            except InputError:
                raise
            except (KeyError, IndexError, ValueError, RuntimeError):  # RuntimeError: more bytes than can be counted
                raise InputError(f"the tensors are not those of a {cls.__name__}") from None
        expected = network.state_dict()
        if found != {name: tuple(tensor.shape) for name, tensor in expected.items()}:
            raise InputError(f"the tensors are not those of a {cls.__name__} of {sizes}")
        for name, tensor in expected.items():
            if state_dict[name].dtype != tensor.dtype:
                raise InputError(
                    f"the tensors are not those of a {cls.__name__}: {name} is {state_dict[name].dtype}, "
                    f"not {tensor.dtype}"
                )
        network.load_state_dict(state_dict, assign=True)
        return network


def check_count(name: str, value: object, least: int, most: int = 1 << 24) -> int:
    """Return ``value``; InputError unless it is an integer in ``least`` .. ``most``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} must be an integer >= {least}, got {describe_value(value)}")
    if value > most:
        raise InputError(f"{name} must be at most {most}, got {describe_value(value)}")
    return value


def check_weights(count: int) -> None:
    """Raise an InputError if a network of so many weights is larger than any that can be made."""
    if count > MOST_WEIGHTS:
        raise InputError(f"a network has at most {MOST_WEIGHTS} weights, these sizes give {describe_value(count)}")


def check_positive(name: str, value: object) -> float:
    """Return ``value`` as a float; InputError unless it lies between 1e-30 and 1e30."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1e-30 < value < 1e30:
        raise InputError(f"{name} must be a positive number below 1e30, and above 1e-30, got {value!r}")
    return float(value)


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

    settings: ClassVar[Mapping[str, float | None]] = {"frequencies": 0, "base": 2.0, "lowest": 1.0}

    #: Names of the modules with the weights of a layer that has an activation, and of the last; ``{}`` is its number.
    layer_names: ClassVar[tuple[str, str]] = ("layers.{}", "layers.{}")
    #: Tensors of every layer but the last, which has two.
    tensors_per_layer: ClassVar[int] = 2

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
        self.in_features = check_count("in_features", in_features, 1)
        self.out_features = check_count("out_features", out_features, 1)
        self.width = check_count("width", width, 1)
        self.hidden_layers = check_count("hidden_layers", hidden_layers, 0, MOST_LAYERS)
        self.frequencies = check_count("frequencies", frequencies, 0)
        check_weights(sum(fan_in * fan_out for fan_in, fan_out in self.fans()))
        self.base = check_positive("base", base)
        self.lowest = check_positive("lowest", lowest)
        if frequencies * math.log(self.base) + math.log(self.lowest) > math.log(1e30):
            raise InputError(f"{frequencies} frequencies of base {base} exceed 1e30")

    @property
    def config(self) -> dict[str, Any]:
        """Return JSON values that rebuild the network without its weights: ``type(network)(**network.config)``."""
        names = ("in_features", "out_features", "width", "hidden_layers", *self.settings)
        return {name: getattr(self, name) for name in names}

    @classmethod
    def sizes(cls, shapes: Shapes, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Implement :meth:`Network.sizes`."""
        hidden_layers = (len(shapes) - 2) // cls.tensors_per_layer - 1
        if hidden_layers < 0:
            raise ValueError("too few tensors")
        first, last = (
            shapes[name.format(k) + ".weight"] for name, k in zip(cls.layer_names, (0, hidden_layers + 1), strict=True)
        )
        width, encoded = first
        in_features, rest = divmod(encoded, 1 + 2 * check_count("frequencies", settings["frequencies"], 0))
        if rest:
            raise ValueError(f"{encoded} inputs are not those of an encoding")
        return {
            "in_features": in_features,
            "out_features": last[0],
            "width": width,
            "hidden_layers": hidden_layers,
        }

    def fans(self) -> list[tuple[int, int]]:
        """Return the numbers of inputs and outputs of each layer."""
        first = self.in_features * (1 + 2 * self.frequencies)
        return list(itertools.pairwise([first] + [self.width] * (self.hidden_layers + 1) + [self.out_features]))

    def encode(self, x: Tensor) -> Tensor:
        """Return the input of the first layer, [..., a (1 + 2 L)], for coordinates [..., a]."""
        return encode(x, self.frequencies, self.base, self.lowest)
