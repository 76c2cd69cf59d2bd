"""Networks in files without torch: what metadata and tensors say of them, and their values at coordinates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.engine.threads import available_threads
from coinr.errors import FormatError, InputError
from coinr.inputs.naming import only_name
from coinr.networks.families import FAMILIES, Described, Family, Layouts, MlpFamily
from coinr.networks.programs import computation_of_mlp


def family_in(meta: Mapping[str, Any]) -> tuple[Family, tuple[Any, ...]]:
    """Return the family that metadata name, and the stored settings.

    Raises
    ------
    InputError
        If they name none.
    FormatError
        If they name several.
    """
    kind = only_name(FAMILIES, meta, "the metadata names no network", "the metadata names several networks")
    settings = meta[kind]
    return FAMILIES[kind], tuple(settings) if isinstance(settings, list) else (settings,)


class Description(Described):
    """What a file says of a network.

    Parameters
    ----------
    meta
        With what :func:`~coinr.networks.network_meta` gave.
    layouts
        Of all tensors.
    number_of
        The value of a tensor of one number, by its name.

    Attributes
    ----------
    kind : str
        The name of the family.

    Raises
    ------
    InputError
        If the metadata names no network.
    FormatError
        If it names several, or its settings and the tensors do not describe the network that it names.
    """

    def __init__(self, meta: Mapping[str, Any], layouts: Layouts, number_of: Callable[[str], float]) -> None:
        self.family, settings = family_in(meta)
        self.kind = self.family.kind
        try:
            self._config = self.family.config_of(layouts, settings)
            self._config |= self.family.stored_settings(self._config, number_of)
        except InputError as error:
            raise FormatError(f"the metadata says {self.kind}, but {error}") from error

    @property
    def config(self) -> dict[str, Any]:
        """Return JSON values: sizes and settings."""
        return dict(self._config)

    @property
    def in_features(self) -> int:
        """Return the number of coordinates of an MLP."""
        features: int = self._config["in_features"]
        return features

    @property
    def out_features(self) -> int:
        """Return the number of values of an MLP."""
        features: int = self._config["out_features"]
        return features


class ArrayNetwork(Description):
    """An MLP whose weights are arrays; the extension computes it.

    Parameters
    ----------
    meta
        As for :class:`Description`.
    arrays
        All tensors, with the names of their dtypes.

    Raises
    ------
    InputError, FormatError
        As for :class:`Description`.
    """

    family: MlpFamily

    def __init__(self, meta: Mapping[str, Any], arrays: Mapping[str, tuple[str, NDArray[Any]]]) -> None:
        layouts = {name: (dtype, array.shape) for name, (dtype, array) in arrays.items()}
        super().__init__(meta, layouts, lambda name: float(arrays[name][1][0]))
        numbers = self.family.numbers_of(self._config, lambda name: float(arrays[name][1][0]))
        computation = computation_of_mlp(self.family, self._config, numbers)
        self._program = computation.program()
        self._tensors = [arrays[name][1] for name in computation.names]

    def __call__(self, coordinates: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return float32 [N, out_features] for float32 coordinates [N, in_features]."""
        return self._program.forward(self._tensors, [coordinates], len(coordinates), available_threads())
