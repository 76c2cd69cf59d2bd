"""Denormal numbers as zeros while networks are trained, and as what they are elsewhere.

Numbers below 2⁻¹²⁶ take a processor many times as long, and networks of Gaussians, whose activations fall to nothing,
are full of them: a step of such a network was measured to take five times as long as without.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_SMALLEST_NORMAL = sys.float_info.min


def flushes_denormals() -> bool:
    """Whether this thread takes denormals for zeros."""
    return _SMALLEST_NORMAL / 2 == 0


@contextmanager
def flush_denormals(flush: bool) -> Iterator[None]:
    """Take denormals for zeros, or not, where the processor can; afterwards do as before.

    This holds for the present thread and for those that torch starts within, not for threads that it has already.
    """
    before = flushes_denormals()
    torch.set_flush_denormal(flush)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@contextmanager
def denormals_as_zeros() -> Iterator[None]:
    """Take denormals for zeros within; see :func:`flush_denormals`."""
    with flush_denormals(True):
        yield
