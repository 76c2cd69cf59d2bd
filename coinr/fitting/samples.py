"""Which samples of a signal a step sees."""

from __future__ import annotations

import torch
from torch import Tensor

#: Steps, and samples in all, that are drawn at once.
_STEPS, _SAMPLES = 32, 1 << 17


class Sampler:
    """Random batches of the samples of signals of one size, drawn many steps at a time.

    Batches depend on the seed, the number of samples and the batch alone. Signals of at most ``batch`` samples are
    taken whole in every step.

    Attributes
    ----------
    judged : Tensor
        int64: a fixed random choice of at most ``most`` of ``judged_count`` samples.
    before : Tensor
        State of the generator before the block of steps that was drawn last.
    """

    def __init__(
        self, count: int, judged_count: int, batch: int, seed: int, device: torch.device, *, most: int
    ) -> None:
        self._generator = torch.Generator(device).manual_seed(seed)
        self.judged = torch.randperm(judged_count, generator=self._generator, device=device)[:most]
        self.before = self._generator.get_state()
        self._whole = torch.arange(count, device=device) if count <= batch else None
        self._count, self._batch, self._device = count, batch, device

    def draw(self) -> Tensor:
        """Samples of the next :func:`block_steps` steps, int64 [steps, batch]."""
        self.before = self._generator.get_state()
        steps = block_steps(self._batch)
        if self._whole is not None:
            return self._whole.expand(steps, -1)
        shape = (steps, self._batch)
        return torch.randint(self._count, shape, generator=self._generator, device=self._device)

    def rewind(self, before: Tensor) -> None:
        """Go to where :attr:`before` was taken."""
        self._generator.set_state(before.cpu())


def block_steps(batch: int) -> int:
    """Steps whose samples are drawn at once."""
    return max(1, min(_STEPS, _SAMPLES // batch))
