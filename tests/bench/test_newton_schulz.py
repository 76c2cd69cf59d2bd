"""Fits by Muon with other numbers of steps of its iteration."""

import pytest

from bench.signals.newton_schulz import psnr
from coinr.fitting import optimizers


@pytest.mark.slow
def test_the_number_of_steps_counts_and_is_restored():
    four, again, five = (psnr("chelsea", None, 0, 2, iterations) for iterations in (4, 4, 5))
    assert four == again
    assert four != five
    assert optimizers._ITERATIONS == 4
    assert optimizers.OPTIMIZERS["muon"] is optimizers.Muon
