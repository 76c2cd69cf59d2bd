"""Throughput of the native engine: dictionary, selection, pursuit and synthesis. Each benchmark checks its result."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.speed.omp_shapes import SEED, SHAPES, targets, wrong_picks
from coinr.engine import _C, philox

pytestmark = pytest.mark.bench

KINDS = sorted(philox.KINDS)
ENTRIES_PER_ROUND = 1 << 22


def shape_id(shape: tuple[int, int, int, int]) -> str:
    """Return name of a parametrized case."""
    return "n{}-M{}-B{}-s{}".format(*shape)


def run(benchmark: BenchmarkFixture, rounds: int, function: Any, *arguments: object) -> Any:
    """Return result of the measured function; one call warms up."""
    return benchmark.pedantic(function, arguments, rounds=rounds, warmup_rounds=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [64, 256, 1024, 16384])
def test_dictionary(benchmark: BenchmarkFixture, kind: str, n: int) -> None:
    """Measure entries per second of each kind."""
    indices = np.arange(ENTRIES_PER_ROUND // n)
    benchmark.extra_info["entries"] = ENTRIES_PER_ROUND
    got = run(benchmark, 5, _C.entries, philox.KINDS[kind], n, 2**24, SEED, 0, indices, 1)
    np.testing.assert_array_equal(got[-3:], philox.entries(kind, n, SEED, 0, indices[-3:]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=shape_id)
def test_correlate_argmax(benchmark: BenchmarkFixture, kind: str, shape: tuple[int, int, int, int]) -> None:
    """Measure one pass over the dictionary."""
    n, M, B, _ = shape
    R = targets(n, B)
    benchmark.extra_info["operations"] = 2 * n * M * B
    best, value = run(benchmark, 3, _C.correlate_argmax, R, philox.KINDS[kind], M, SEED, 0, 1)
    assert wrong_picks(R, kind, M, best[:, None], 16)[0] == 0
    atoms = philox.entries(kind, n, SEED, 0, best).astype(np.float64)
    np.testing.assert_allclose(value, (atoms * R).sum(1) / np.linalg.norm(atoms, axis=1), rtol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=shape_id)
def test_omp(benchmark: BenchmarkFixture, kind: str, shape: tuple[int, int, int, int], threads: int) -> None:
    """Measure a whole pursuit."""
    n, M, B, s = shape
    W = targets(n, B)
    benchmark.extra_info["operations"] = 2 * n * M * B * s
    indices, values, path = run(benchmark, 3, _C.omp, W, philox.KINDS[kind], M, SEED, 0, s, threads)
    assert wrong_picks(W, kind, M, indices, 1 if n >= 4096 else 3)[0] == 0
    atoms = philox.entries(kind, n, SEED, 0, indices[0]).astype(np.float64)
    left = W[0] - values[0] @ atoms
    np.testing.assert_allclose(left @ left, path[0, -1], rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "B", "s"), [(64, 4096, 24), (256, 1024, 64), (4096, 64, 512)])
def test_synthesis(benchmark: BenchmarkFixture, kind: str, n: int, B: int, s: int) -> None:
    """Measure integer synthesis of weights."""
    generator = np.random.default_rng(0)
    M = 65536
    indices = generator.integers(0, M, (B, s)).astype(np.int32)
    q = generator.integers(-128, 128, (B, s)).astype(np.int32)
    benchmark.extra_info["entries"] = n * B * s
    got = run(benchmark, 3, _C.synthesize, indices, q, 2.0**-10, philox.KINDS[kind], n, M, SEED, 0, 1)
    want = q[-1].astype(np.int64) @ philox.entries(kind, n, SEED, 0, indices[-1]).astype(np.int64)
    np.testing.assert_array_equal(got[-1], want.astype(np.float32) * np.float32(2.0**-10))
