"""Random batches of samples, and the samples that progress is evaluated on."""

from __future__ import annotations

import torch
from torch import Tensor

# Largest number of steps, and of samples in them, that are drawn at once.
_STEPS, _SAMPLES = 32, 1 << 17

# Samples that progress is evaluated on; the final score is that of all.
_EVAL_SAMPLES = 16384


class Sampler:
    """Draw random batches of samples of signals of one size, many steps at a time.

    Batches depend only on the seed, the number of samples and the batch size. Signals of at most ``batch`` samples are
    taken whole in every step.

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
    before : Tensor
        State of the generator before the last drawn block of steps.
    """

    def __init__(self, count: int, eval_count: int, batch: int, seed: int, device: torch.device) -> None:
        self._generator = torch.Generator(device).manual_seed(seed)
        self.eval_indices = torch.randperm(eval_count, generator=self._generator, device=device)[:_EVAL_SAMPLES]
        self.before = self._generator.get_state()
        self._whole = torch.arange(count, device=device) if count <= batch else None
        self._count, self._batch, self._device = count, batch, device

    def draw(self) -> Tensor:
        """Return samples of the next :func:`block_steps` steps, int64 [steps, batch]."""
        self.before = self._generator.get_state()
        steps = block_steps(self._batch)
        if self._whole is not None:
            return self._whole.expand(steps, -1)
        shape = (steps, self._batch)
        return torch.randint(self._count, shape, generator=self._generator, device=self._device)

    def rewind(self, before: Tensor) -> None:
        """Set the generator to a state that :attr:`before` had."""
        self._generator.set_state(before.cpu())


def block_steps(batch: int) -> int:
    """Return the number of steps whose samples are drawn at once."""
    return max(1, min(_STEPS, _SAMPLES // batch))
