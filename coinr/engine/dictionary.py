"""Random dictionaries that are described by a seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coinr.engine import philox
from coinr.engine.backends import host_backend
from coinr.errors import InputError
from coinr.inputs.arguments import checked
from coinr.inputs.arrays import to_array
from coinr.runtime.ambient import independent

MAX_SIZE = 1 << 24  # largest n and M

# Largest |entry| of each kind, which bounds the integer sums of synthesis.
MAX_ENTRY = {"gaussian": 4, "rademacher": 1, "hadamard": 1}


@dataclass(frozen=True)
class Dictionary:
    """Describe a dictionary A of M integer atoms of dimension n, a pure function of its fields.

    Parameters
    ----------
    kind
        ``"gaussian"`` (centered popcounts, near normal), ``"rademacher"`` (±1) or ``"hadamard"`` (rows of
        Hadamard blocks with seeded signs, which correlate by a fast Walsh–Hadamard transform).
    n, M
        Signal dimension and number of atoms, each ``1 … 2**24``.
    seed
        The 64-bit Philox key, ``0 … 2**64 - 1``.
    stream
        ``0 … 2**32 - 1``; dictionaries of different streams are independent.

    Raises
    ------
    InputError
        If a field is out of range.
    """

    kind: str
    n: int
    M: int
    seed: int
    stream: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.kind not in philox.KINDS:
            raise InputError(f"dictionary kind {self.kind!r} is not one of {', '.join(philox.KINDS)}")
        for name, value, low, high in (
            ("n", self.n, 1, MAX_SIZE),
            ("M", self.M, 1, MAX_SIZE),
            ("seed", self.seed, 0, 2**64 - 1),
            ("stream", self.stream, 0, 2**32 - 1),
        ):
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise InputError(f"{name} must be an integer, not {value!r}")
            if not low <= value <= high:
                raise InputError(f"{name} must be in {low} … {high}, not {value}")
            object.__setattr__(self, name, int(value))

    @property
    def max_entry(self) -> int:
        """Return the largest absolute value that an entry can have."""
        return MAX_ENTRY[self.kind]

    @independent
    @checked
    def atoms(self, indices: Sequence[int] | NDArray[np.integer], *, backend: str | None = None) -> NDArray[np.int8]:
        """Return the atoms of the given indices, without the rest of the dictionary.

        Parameters
        ----------
        indices
            ``k`` integers in ``0 … M - 1``, in any order, repeats allowed.
        backend
            ``"native"`` (default) or ``"reference"``.

        Returns
        -------
        int8 ``[n, k]``.
        """
        atoms = np.atleast_1d(to_array(indices, "indices"))
        if atoms.ndim != 1 or (atoms.size and atoms.dtype.kind not in "iu"):
            raise InputError(f"indices must be a list of integers, not {indices!r}")
        atoms = atoms.astype(np.int64)
        outside = atoms[(atoms < 0) | (atoms >= self.M)]
        if outside.size:
            raise InputError(f"atom index {outside[0]} is outside 0 … {self.M - 1}")
        return host_backend(backend).entries(self, atoms).T

    @checked
    def materialize(self, *, backend: str | None = None) -> NDArray[np.int8]:
        """Return the whole dictionary: int8 ``[n, M]``, n·M bytes."""
        return self.atoms(np.arange(self.M), backend=backend)
