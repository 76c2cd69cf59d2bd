"""Throughput of the trellis and of the entropy coder of levels, on one core; each result is checked.

python -m pytest bench/speed/test_levels.py -m bench --benchmark-only
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from coinr.codec.coders.levels import LevelForm, scale_code
from coinr.engine import native

pytestmark = pytest.mark.bench

# Rows and columns: a tensor of a small network, and hidden layers of larger ones.
SIZES = [8, 128, 512]
FORMS = {
    "mixed": {},
    "mixed-by-row-and-column": {"by_row": True, "by_column": True},
    "plain": {"mixed": False},
    "rans": {"mixed": False, "rans": True},
}
NO_TABLE = np.zeros(0, np.uint8)


def targets(size: int) -> NDArray[np.float64]:
    """Return normally distributed targets in steps."""
    return np.random.default_rng(0).standard_normal(size**2) * 6


def choose(x: NDArray[np.float64], log_states: int) -> NDArray[np.int32]:
    """Return integers at about 3.6 bits each."""
    bits = native.level_costs(log_states, 4, round(16 * float(np.abs(x).mean())), 32).reshape(1, 2, -1)
    return native.choose_levels(log_states, x, np.array([0.6]), bits, NO_TABLE)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("log_states", [0, 3, 5, 8])
def test_choose(benchmark: BenchmarkFixture, log_states: int, size: int) -> None:
    """Measure targets to integers."""
    x = targets(size)
    k = benchmark(choose, x, log_states)
    values = native.level_values(k[None], log_states)[0]
    assert np.square(values - x).mean() < 1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("direction", ["encode", "decode"])
def test_code(benchmark: BenchmarkFixture, direction: str, form: str, size: int) -> None:
    """Measure integers to bytes, or bytes to values."""
    k = choose(targets(size), 3).reshape(size, size)
    values = native.level_values(k, 3)
    level_form = LevelForm(3, 4, scale_code(float(np.abs(values).mean())), **FORMS[form])
    data = level_form.encode(k)
    if direction == "encode":
        assert benchmark(level_form.encode, k) == data
    else:
        assert np.array_equal(benchmark(level_form.decode, data, size, size)[0], values)
    benchmark.extra_info["bits"] = 8 * len(data) / k.size
