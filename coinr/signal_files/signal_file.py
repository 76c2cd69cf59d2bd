"""What all signals in files share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np

from coinr.errors import FormatError, InputError
from coinr.inputs.arguments import describe_value
from coinr.networks.description import ArrayNetwork, Description
from coinr.networks.families import Described, Family, MlpFamily
from coinr.runtime.loaded import Module
from coinr.signals.image.picture import Panels
from coinr.signals.signal import Signal

if TYPE_CHECKING:
    from coinr.networks import Mlp, Network

#: What a signal is shown by: a network of torch, or one of arrays; a description cannot be rendered.
ShownBy = Module | Description


class SignalFile(ABC):
    """A signal in a file: a network, and how to sample it.

    Attributes
    ----------
    kind : str
        As that of the :class:`~coinr.signals.signal.Signal` that was fitted, and the key of the metadata.
    network : Network or ArrayNetwork
        The network; of arrays where torch is not needed.
    """

    kind: ClassVar[str]
    network: Network | Description

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.describe()}, shown by a {self.network.kind}>"

    @classmethod
    @abstractmethod
    def from_meta(cls, network: ShownBy, meta: Mapping[str, Any]) -> Self:
        """Return the signal that ``network`` and the metadata of a file describe.

        Raises
        ------
        FormatError
            If they do not describe one.
        """

    @abstractmethod
    def describe(self) -> str:
        """Return kind and size in a few words: ``image 512 x 768, 3 channels of 8 bits``."""

    @abstractmethod
    def restore(self, signal: Signal | None = None) -> Any:
        """Return the signal in its natural form at its own size; of a scene, the test views of ``signal``.

        Raises
        ------
        InputError
            If ``signal`` is another kind or size.
        """

    @abstractmethod
    def metrics(self, signal: Signal, restored: Any) -> dict[str, Any]:
        """Return metrics of a :meth:`restore` result against ``signal``, by name; None where one is not defined."""

    @abstractmethod
    def panels(self, restored: Any, signal: Signal | None = None) -> tuple[Panels, int]:
        """Return pictures of a :meth:`restore` result, beside ``signal`` if there is one, and how many go in a row."""

    def remarks(self, restored: Any) -> tuple[str, ...]:
        """Return remarks on a :meth:`restore` result that its pictures do not show, one short line each."""
        return ()

    def rates(self, size: int) -> dict[str, float]:
        """Return the bits of a file of ``size`` bytes for one unit of the signal, by the name of the unit."""
        return {}

    def check_kind(self, signal: Signal) -> None:
        """Raise InputError if the signal is of another kind."""
        if signal.kind != self.kind:
            raise InputError(f"the file holds a signal of kind {self.kind}, the original is of kind {signal.kind}")

    def check_size(self, mine: str, original: str) -> None:
        """Raise InputError if two descriptions of sizes differ."""
        if mine != original:
            raise InputError(f"the file holds {self.kind} of {mine}, the original has {original}")


def family_of(network: ShownBy) -> Family | None:
    """Return the family of a network of this package, or of a description; None for other modules."""
    return network.family if isinstance(network, Described) else None


def check_mlp(network: ShownBy, kind: str, in_features: int, out_features: range) -> Mlp | ArrayNetwork:
    """Return the network; FormatError unless it has the inputs and outputs of a kind of signal."""
    family = family_of(network)
    if not isinstance(family, MlpFamily):
        title = type(network).__name__ if family is None else family.title
        raise FormatError(f"a signal of kind {kind} is not shown by a {title}")
    shown = cast("Mlp | ArrayNetwork", network)
    if shown.in_features != in_features or shown.out_features not in out_features:
        outputs = " or ".join(map(str, out_features))
        raise FormatError(
            f"a signal of kind {kind} has {in_features} inputs and {outputs} outputs, "
            f"not {shown.in_features} and {shown.out_features}"
        )
    return shown


def check_restored(restored: Any, shape: tuple[int, ...]) -> None:
    """Raise InputError unless an array is finite and of the shape that :meth:`SignalFile.restore` gives."""
    if not isinstance(restored, np.ndarray) or restored.shape != shape or restored.dtype.kind not in "biuf":
        raise InputError(f"restored must be an array {list(shape)}, as restore gave it, got {describe_value(restored)}")
    if not np.isfinite(restored).all():
        raise InputError("restored holds NaN or infinite values")


def numbers(meta: Mapping[str, Any], key: str, counts: tuple[int, ...]) -> list[float]:
    """Return the list of finite numbers under ``key``, as many as one of ``counts``; FormatError otherwise."""
    values = meta.get(key)
    if not isinstance(values, list) or len(values) not in counts:
        raise FormatError(f"{key} metadata {str(values)[:60]} is not a list of {' or '.join(map(str, counts))} numbers")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise FormatError(f"{key} metadata holds {str(value)[:60]}, which is not a number")
    return values


def whole(key: str, values: list[float], low: int = 1, high: int = 2**31 - 1) -> list[int]:
    """Return the values if all are integers in low .. high; FormatError otherwise."""
    for value in values:
        if not isinstance(value, int) or not low <= value <= high:
            raise FormatError(f"{key} metadata holds {str(value)[:60]}, which is not in {low} .. {high}")
    return [int(value) for value in values]
