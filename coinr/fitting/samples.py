"""Batches of samples in random order, and the samples that progress is evaluated on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from coinr.engine.native import Permutation

# Largest number of steps, and of samples in them, that are drawn at once.
_STEPS, _SAMPLES = 32, 1 << 17

# Samples that progress is evaluated on; the final score is that of all.
_EVAL_SAMPLES = 16384


def random_order(count: int, generator: torch.Generator) -> Permutation:
    """Return a random order of the numbers below ``count``, in memory of O(sqrt(count)).

    Its rotations of rows and columns are drawn from a generator of the CPU.
    """
    rows, columns = Permutation.grid(count)
    drawn = [
        torch.randint(length, (lines,), generator=generator, dtype=torch.int32).numpy()
        for lines, length in ((rows, columns), (columns, rows)) * 2
    ]
    return Permutation(count, drawn)


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
    threads : int
        Threads that draw; they do not change the indices.

    Attributes
    ----------
    eval_indices : Tensor
        int64 [N]: a fixed random choice of at most 16384 of ``eval_count`` samples.
    before : dict
        Where the last drawn block of steps begins: ``generator``, its state before the order that the first sample is
        from, and ``place``, the number of samples that were taken of that order.
    """

    def __init__(self, count: int, eval_count: int, batch: int, seed: int, device: torch.device, threads: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._count, self._batch, self._device, self._threads = count, batch, device, threads
        chosen = torch.empty(min(eval_count, _EVAL_SAMPLES), dtype=torch.int64)
        random_order(eval_count, self._generator).numbers(0, chosen.numpy(), threads)
        self.eval_indices = chosen.to(device)
        self._whole = torch.arange(count, device=device) if count <= batch else None
        self._state, self._order, self._place = self._next_order()
        self.before = self._position()

    def draw(self) -> Tensor:
        """Return samples of the next :func:`block_steps` steps, int64 [steps, batch]."""
        self.before = self._position()
        steps = block_steps(self._batch)
        if self._whole is not None:
            return self._whole.expand(steps, -1)
        drawn, done = torch.empty(steps * self._batch, dtype=torch.int64), 0
        while done < len(drawn):
            if self._place == self._count:
                self._state, self._order, self._place = self._next_order()
            part = drawn[done : done + self._count - self._place]
            self._order.numbers(self._place, part.numpy(), self._threads)
            self._place += len(part)
            done += len(part)
        return drawn.reshape(steps, self._batch).to(self._device)

    def rewind(self, before: dict[str, Any]) -> None:
        """Go back to a place that :attr:`before` was.

        Raises
        ------
        ValueError
            If there is no such place.
        """
        self._generator.set_state(before["generator"])
        self._state, self._order, self._place = self._next_order()
        if before["place"] not in range(self._count + 1):
            raise ValueError(f"place {before['place']!r} is not in 0 .. {self._count}")
        self._place = before["place"]

    def _next_order(self) -> tuple[Tensor, Permutation, int]:
        """Return the generator's state, the order that it then gives, and a place of 0."""
        state = self._generator.get_state()
        return state, random_order(self._count, self._generator), 0

    def _position(self) -> dict[str, Any]:
        return {"generator": self._state, "place": self._place}


def block_steps(batch: int) -> int:
    """Return the number of steps whose samples are drawn at once."""
    return max(1, min(_STEPS, _SAMPLES // batch))
