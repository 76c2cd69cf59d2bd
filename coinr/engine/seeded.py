"""What every backend needs to know of a dictionary: the numbers that its atoms are a function of."""

from __future__ import annotations

from typing import Protocol


class Seeded(Protocol):
    """Fields of a :class:`~coinr.engine.dictionary.Dictionary`, which says what they mean."""

    @property
    def kind(self) -> str:
        """``"gaussian"``, ``"rademacher"`` or ``"hadamard"``."""
        ...

    @property
    def n(self) -> int:
        """Signal dimension."""
        ...

    @property
    def M(self) -> int:
        """Number of atoms."""
        ...

    @property
    def seed(self) -> int:
        """64-bit Philox key."""
        ...

    @property
    def stream(self) -> int:
        """32 bits; dictionaries of different streams are independent."""
        ...
