"""Batches of samples in random order, and the samples that progress is evaluated on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Largest number of steps, and of samples in them, that are drawn at once.
_STEPS, _SAMPLES = 32, 1 << 17

# Places of an order that are computed at once: their numbers stay in a core's cache.
_PLACES = 1 << 14

# Samples that progress is evaluated on; the final score is that of all.
_EVAL_SAMPLES = 16384


class Permutation:
    """A random order of the numbers below ``count``, computed place by place in memory of O(sqrt(count)).

    The numbers fill a grid row by row. Each row is rotated by a random number of columns, then each column by a random
    number of rows, then both once more. Numbers that fall on the grid's end, beyond ``count``, are moved again.

    Parameters
    ----------
    count : int
        At least 1.
    generator : torch.Generator
        Source of the rotations, on the device of the numbers.
    """

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self._count, self._bits = count, (count - 1).bit_length() // 2
        self._columns = 1 << self._bits
        self._rows = -(-count // self._columns)
        self._rotations = [
            torch.randint(length, (lines,), generator=generator, device=generator.device)
            for lines, length in ((self._rows, self._columns), (self._columns, self._rows)) * 2
        ]

    def at(self, places: Tensor) -> Tensor:
        """Return the numbers at ``places`` of the order, both int64 [N] below ``count``."""
        numbers = self._move(places)
        while len(beyond := torch.nonzero(numbers >= self._count)[:, 0]):
            numbers[beyond] = self._move(numbers[beyond])
        return numbers

    def _move(self, places: Tensor) -> Tensor:
        row, column = places >> self._bits, places
        for right, down in zip(self._rotations[::2], self._rotations[1::2], strict=True):
            column = (column + right.index_select(0, row)) & (self._columns - 1)
            row = row + down.index_select(0, column)
            row -= self._rows * (row >= self._rows)
        return (row << self._bits) | column


class Sampler:
    """Draw batches of samples of signals of one size, many steps at a time.

    All samples are taken once in a random order before one is taken again in the next order. Batches depend only on
    the seed, the number of samples and the batch size. Signals of at most ``batch`` samples are taken whole in every
    step.

    Parameters
    ----------
    count, eval_count : int
        Samples of the signal, and of the split that it is evaluated on.
    batch : int
        Samples of a step.
    seed : int
        Of the generator.
    device : torch.device
        Of the indices.

    Attributes
    ----------
    eval_indices : Tensor
        int64 [N]: a fixed random choice of at most 16384 of ``eval_count`` samples.
    before : dict
        Where the last drawn block of steps begins: ``generator``, its state before the order that the first sample is
        from, and ``place``, the number of samples that were taken of that order.
    """

    def __init__(self, count: int, eval_count: int, batch: int, seed: int, device: torch.device) -> None:
        self._generator = torch.Generator(device).manual_seed(seed)
        order = Permutation(eval_count, self._generator)
        self.eval_indices = order.at(torch.arange(min(eval_count, _EVAL_SAMPLES), device=device))
        self._whole = torch.arange(count, device=device) if count <= batch else None
        self._count, self._batch, self._device = count, batch, device
        self._state, self._order, self._place = self._next_order()
        self.before = self._position()

    def draw(self) -> Tensor:
        """Return samples of the next :func:`block_steps` steps, int64 [steps, batch]."""
        self.before = self._position()
        steps = block_steps(self._batch)
        if self._whole is not None:
            return self._whole.expand(steps, -1)
        parts, missing = [], steps * self._batch
        while missing:
            if self._place == self._count:
                self._state, self._order, self._place = self._next_order()
            end = min(self._count, self._place + missing, self._place + _PLACES)
            parts.append(self._order.at(torch.arange(self._place, end, device=self._device)))
            missing -= end - self._place
            self._place = end
        return torch.cat(parts).reshape(steps, self._batch)

    def rewind(self, before: dict[str, Any]) -> None:
        """Go back to a place that :attr:`before` was.

        Raises
        ------
        ValueError
            If there is no such place.
        """
        self._generator.set_state(before["generator"].cpu())
        self._state, self._order, self._place = self._next_order()
        if before["place"] not in range(self._count + 1):
            raise ValueError(f"place {before['place']!r} is not in 0 .. {self._count}")
        self._place = before["place"]

    def _next_order(self) -> tuple[Tensor, Permutation, int]:
        """Return the generator's state, the order that it then gives, and a place of 0."""
        state = self._generator.get_state()
        return state, Permutation(self._count, self._generator), 0

    def _position(self) -> dict[str, Any]:
        return {"generator": self._state, "place": self._place}


def block_steps(batch: int) -> int:
    """Return the number of steps whose samples are drawn at once."""
    return max(1, min(_STEPS, _SAMPLES // batch))
