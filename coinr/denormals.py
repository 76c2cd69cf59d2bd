"""Denormal numbers as zeros while networks are trained.

Numbers below 2⁻¹²⁶ take a processor many times as long, and networks of Gaussians, whose activations fall to nothing,
are full of them: a step of such a network was measured to take five times as long as without.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def denormals_as_zeros() -> Iterator[None]:
    """Within, this thread takes denormals for zeros where the processor can; afterwards it does as it did before.

    Threads that torch starts within do so too, those that it has already do not.
    """
    before = int((torch.tensor(2.0**-100) * 2.0**-40).view(torch.int32)) == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
