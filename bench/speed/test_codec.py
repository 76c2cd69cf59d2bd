"""Throughput of the codec: encode and decode of state dicts by size and effort, each result checked.

python -m pytest bench/speed/test_codec.py -m bench --benchmark-only
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import coinr
from bench.speed.decode import nerf, siren
from coinr.codec.allocate.default_errors import TOLERANCE
from coinr.codec.effort import EFFORTS

pytestmark = pytest.mark.bench

# The SIRENs of the paper's experiment C1 by hidden layers and width, and a NeRF of 595 844 parameters.
NETWORKS = {
    "2x32": lambda: siren(2, 32),
    "3x64": lambda: siren(3, 64),
    "3x128": lambda: siren(3, 128),
    "nerf": nerf,
}
LARGE = 1 << 20

# Seconds on one core (decode) or on all cores (encode) that a (3, 64) network may take.
DECODE_LIMIT = 0.010
ENCODE_LIMIT = {"fast": 0.1, "default": 0.3, "best": 5.0}


def error(decoded, sd) -> float:
    """Return the largest relative error of a tensor."""
    return max(float((decoded[name] - tensor).norm() / tensor.norm()) for name, tensor in sd.items())


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("network", NETWORKS)
def test_encode(benchmark, network, effort):
    """Measure state dict to bytes, all cores."""
    sd = NETWORKS[network]()
    blob = benchmark.pedantic(coinr.encode_state_dict, (sd,), {"effort": effort}, rounds=3, warmup_rounds=1)
    benchmark.extra_info |= {"bytes": len(blob), "parameters": coinr.inspect(blob).totals["parameters"]}
    assert error(coinr.decode_state_dict(blob), sd) <= TOLERANCE
    if network == "3x64" and benchmark.enabled:
        assert benchmark.stats.stats.median < ENCODE_LIMIT[effort]


@pytest.mark.parametrize("effort", ["fast", "default"])
@pytest.mark.parametrize("network", NETWORKS)
def test_decode(benchmark, network, effort, monkeypatch):
    """Measure bytes to state dict, one core."""
    monkeypatch.setenv("COINR_THREADS", "1")
    sd = NETWORKS[network]()
    blob = coinr.encode_state_dict(sd, effort=effort)
    decoded = benchmark(coinr.decode_state_dict, blob)
    benchmark.extra_info |= {"work": coinr.inspect(blob).totals["work"]}
    assert error(decoded, sd) <= TOLERANCE
    if network == "3x64" and benchmark.enabled:
        assert benchmark.stats.stats.median < DECODE_LIMIT


@pytest.mark.parametrize("profile", ["uniform", "lossless"])
def test_large_tensor(benchmark, profile, monkeypatch):
    """Measure a million weights in one tensor, one core."""
    monkeypatch.setenv("COINR_THREADS", "1")
    sd = {"table": torch.from_numpy(np.random.default_rng(0).standard_normal(LARGE).astype(np.float32))}
    blob = coinr.encode_state_dict(sd, profile=profile)
    decoded = benchmark(coinr.decode_state_dict, blob)
    benchmark.extra_info |= {"bytes": len(blob), "weights": LARGE}
    assert error(decoded, sd) < 1e-4
