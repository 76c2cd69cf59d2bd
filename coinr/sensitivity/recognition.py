"""Networks that are recognized by the names and shapes of their tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from coinr.sensitivity.chain import Chain
from coinr.sensitivity.fields import find_fields
from coinr.sensitivity.inference import infer
from coinr.sensitivity.layers import find_layers
from coinr.sensitivity.modulated import find_modulated
from coinr.sensitivity.probe import Guess
from coinr.sensitivity.tables import find_grid

Array = NDArray[Any]


class Model(Protocol):
    """A network with a guess of what it computes, which its text names."""

    @property
    def depth(self) -> int:
        """Return the number of layers."""

    @property
    def size(self) -> int:
        """Return the number of weights."""

    def replaced(self, tensors: Mapping[str, Array]) -> Model:
        """Return the network with the values of other tensors of the same names and shapes."""

    def outputs(self) -> Array:
        """Return outputs over the domain, float64 ``[N, b]``."""

    def squared_gains(self) -> dict[str, Array]:
        """Return, by name, the squared output error per squared error of a row of a tensor, float64 ``[out]``.

        Output errors are relative to the range of the outputs.
        """


def recognize(tensors: Mapping[str, Array], known: Guess | None = None) -> Sequence[Sequence[Model]] | None:
    """Return the networks that tensors are of, each as one model or more; None where one of them is not recognized.

    What a chain of layers computes is inferred unless it is ``known``.
    """
    layers = find_layers(tensors)
    if layers is not None:
        models = [Chain(layers, guess) for guess in ([known] if known else infer(layers))]
        return [models] if models else None
    fields = find_fields(tensors)
    if fields is not None:
        return [[field] for field in fields]
    modulated, grid = find_modulated(tensors), find_grid(tensors)
    return [modulated] if modulated else [[grid]] if grid else None
