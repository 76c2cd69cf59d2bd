"""Candidates are decoded once, when they are made; those that coders return are within the limit."""

from collections import Counter

import pytest
import torch

import coinr
from coinr.codec.coders import CODERS
from coinr.codec.distortion import DistortionLimit, measure
from coinr.codec.options import EncodeOptions
from coinr.codec.quantize import direct, sparse, uniform
from coinr.codec.state_dict import read_state_dict
from coinr.codec.tensors import to_planes
from tests.grids import fast_where


@pytest.fixture
def decoded(monkeypatch):
    """How often each payload was decoded, by coder and bytes."""
    calls = Counter()
    for coder in CODERS.values():

        def decode(payload, *rest, of=coder, original=coder.decode):
            calls[of.name, bytes(payload)] += 1
            return original(payload, *rest)

        monkeypatch.setattr(coder, "decode", decode)
    return calls


@pytest.mark.parametrize(
    ("profile", "effort", "payloads"),
    fast_where(
        lambda profile, effort, payloads: profile in ("auto", "uniform"),
        [
            ("auto", "best", 36),
            ("auto", "default", 11),
            ("sparse", "best", 10),
            ("direct", "best", 22),
            ("uniform", "best", 10),
        ],
    ),
)
def test_each_payload_is_decoded_once(profile, effort, payloads, decoded):
    torch.manual_seed(0)
    sd = coinr.Siren(2, 3, 64, 3).state_dict()
    coinr.encode_state_dict(sd, profile=profile, effort=effort, tolerance=None if profile == "uniform" else 0.15)
    # at best, the search of the default effort may come to the same integers
    twice = effort == "best" and profile in ("auto", "direct")
    assert set(decoded.values()) <= ({1, 2} if twice else {1})
    assert sum(decoded.values()) == payloads


@pytest.mark.parametrize(("dtype", "payloads"), [(torch.float32, 0), (torch.float64, 0), (torch.float16, 10)])
def test_fast_decodes_where_the_dtype_rounds_further(dtype, payloads, decoded):
    torch.manual_seed(0)
    coinr.encode_state_dict(coinr.Siren(2, 3, 64, 3).to(dtype), effort="fast", tolerance=0.15)
    assert len(decoded) == payloads


@pytest.mark.parametrize(
    "dtype",
    fast_where(lambda dtype: dtype == torch.float32, [torch.float32, torch.float16, torch.bfloat16, torch.complex64]),
)
@pytest.mark.parametrize(
    ("coder", "effort"), [(direct, "default"), (direct, "fast"), (sparse, "best"), (uniform, "best")]
)
@pytest.mark.parametrize("share", [0.5, 0.01])
def test_candidates_are_within_the_limit(coder, effort, dtype, share):
    values = torch.randn(16, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    [entry] = read_state_dict({"w": values.to(dtype)})
    rows = torch.linspace(0.5, 1.5, 16 * entry.layout.planes, dtype=torch.float64).numpy()
    limit = DistortionLimit(share, 1.2 * share, distortion_weights=rows)
    found = coder.candidates(entry, limit, EncodeOptions(threads=1, effort=effort))
    assert found
    for candidate in found:
        payload = memoryview(candidate.payload)
        decoded = CODERS[candidate.coder].decode(payload, candidate.params, entry.layout, 0)
        assert candidate.distortion == measure(to_planes(decoded, entry.dtype) - entry.planes, entry.planes, limit)
        assert limit.satisfied_by(candidate.distortion)
