"""The fields of a dictionary that the backends read: its atoms are a pure function of them."""

from __future__ import annotations

from typing import Protocol


class SeededDictionary(Protocol):
    """A dictionary by its fields, such as a :class:`~coinr.engine.dictionary.Dictionary`, where they are explained."""

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
