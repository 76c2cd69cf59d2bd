"""Matrices with structure that no network has cost about as much work as normal ones of their size."""

import contextlib
import time

import pytest
import torch

import coinr
from coinr.codec.allocate.default_errors import distortion_limits
from coinr.codec.coders.levels import NO_STEPS
from coinr.codec.distortion import DistortionLimit
from coinr.codec.effort import BEST
from coinr.codec.encoder import Encoder
from coinr.codec.options import EncodeOptions
from coinr.codec.profiles.auto import encode_tensor
from coinr.codec.quantize import costs, sparse, trellis
from coinr.codec.quantize.problem import QuantizationProblem
from coinr.codec.quantize.sparse_rdo import PursuitSearch
from coinr.codec.state_dict import read_state_dict
from tests.grids import fast_where

SIDE = 32


def normal(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def structured(n=SIDE):
    """Names to ``[n, n]`` matrices that repeat themselves, or are nearly empty."""
    rows = torch.arange(n)
    one_hot = torch.zeros(n, n)
    one_hot[n // 2, n // 3] = 1.0
    few = normal(n, n) * (torch.rand(n, n, generator=torch.Generator().manual_seed(1)) < 0.03)
    outlier = normal(n, n)
    outlier[0, 0] = 1e6
    return {
        "zeros": torch.zeros(n, n),
        "constant": torch.full((n, n), 0.1),
        "nearly constant": 0.1 + 1e-4 * normal(n, n),
        "identity": torch.eye(n),
        "diagonal": torch.diag(normal(n)),
        "permutation": torch.eye(n)[torch.randperm(n, generator=torch.Generator().manual_seed(2))],
        "one row a column": torch.eye(n)[rows % 3],
        "one hot": one_hot,
        "few": few,
        "mask": torch.triu(torch.full((n, n), -1e9), 1),
        "outlier": outlier,
        "repeated row": normal(n).expand(n, n).contiguous(),
        "blocks": torch.kron(normal(n // 4, n // 4), torch.ones(4, 4)),
        "rank one": normal(n, 1) @ normal(1, n),
        "signs": torch.sign(normal(n, n)),
    }


@pytest.fixture
def pursuits(monkeypatch):
    """How many pursuits were made."""
    made = []
    pursue = PursuitSearch.pursue
    monkeypatch.setattr(PursuitSearch, "pursue", lambda self, *rest: made.append(rest) or pursue(self, *rest))
    return made


@pytest.mark.parametrize("name", structured())
def test_structure_that_a_pursuit_cannot_see_is_not_pursued(name, pursuits):
    tensor = structured()[name]
    blob = coinr.encode_state_dict({"w": tensor})
    assert not pursuits
    decoded = coinr.decode_state_dict(blob)["w"]
    assert (decoded - tensor).norm() <= 0.15 * tensor.norm()


@pytest.mark.parametrize("scales", [[0.0, 1.0], [1.0, 1e6], [1e-30, 1e30]])
@pytest.mark.parametrize("profile", ["auto", "sparse"])
def test_few_vectors_that_take_all_the_bits_are_not_pursued(scales, profile, pursuits):
    small, large = scales
    tensor = normal(8, 512) * small
    tensor[3] = normal(512) * large
    blob = coinr.encode_state_dict({"w": tensor}, profile=profile)
    assert not pursuits
    assert (coinr.decode_state_dict(blob)["w"] - tensor).norm() <= 0.15 * tensor.norm()


def test_costs_of_integers_are_made_as_far_as_their_rows_and_columns_reach(monkeypatch):
    entries = []
    bits_of = costs._costs
    monkeypatch.setattr(costs, "_costs", lambda *given: entries.append(given[-1]) or bits_of(*given))
    scales = torch.logspace(-4, 2, SIDE)
    for tensor in (normal(SIDE, SIDE) * scales, normal(SIDE, SIDE) * scales[:, None]):
        entries.clear()
        coinr.encode_state_dict({"w": tensor}, profile="direct", effort="best")
        # rows or columns of a size or two share a table; the largest weights need most of a long one
        assert sum(entries) <= 0.3 * len(entries) * max(entries)


def test_integers_do_not_depend_on_how_far_their_costs_are_made(monkeypatch):
    entry = read_state_dict({"w": normal(SIDE, SIDE) * torch.logspace(-3, 1, SIDE)})[0]
    problem = QuantizationProblem(entry.planes.reshape(SIDE, SIDE), 0.01, 0.01)
    made = []
    for margin in (costs._MARGIN, costs._ENTRIES):
        monkeypatch.setattr(costs, "_MARGIN", margin)
        made += [trellis.quantize(problem, NO_STEPS, NO_STEPS, 0.01, states, BEST) for states in (0, 8)]
    assert [(one.k == other.k).all() for one, other in zip(made[:2], made[2:], strict=True)] == [True, True]


def test_codes_that_may_win_are_pursued(pursuits):
    coinr.encode_state_dict({"w": normal(16, 16)}, profile="sparse", tolerance=12.0)
    assert pursuits


@pytest.mark.parametrize("name", structured())
@pytest.mark.parametrize("share", fast_where(lambda share: share == 0.3, [0.3, 0.8]))
def test_sizes_are_met_or_given_up_in_few_tries(name, share, monkeypatch):
    tensor = structured(12)[name]
    sd = {"w": tensor, "v": normal(12)}
    size = int(share * len(coinr.encode_state_dict(sd, profile="direct")))
    tries = []
    encode = Encoder.encode
    monkeypatch.setattr(Encoder, "encode", lambda self, *rest: tries.append(rest) or encode(self, *rest))
    with contextlib.suppress(coinr.InputError):  # out of reach
        assert len(coinr.encode_state_dict(sd, profile="direct", target_bytes=size)) <= size
    assert len(tries) <= 24


@pytest.mark.parametrize("name", ["constant", "one hot", "mask"])
def test_large_ones_are_tried_in_no_dictionary_and_settle_soon(name, monkeypatch):
    entry = read_state_dict({"w": structured(192)[name]})
    (limit,) = distortion_limits(entry, 0.15)
    passes = []
    quantize = trellis.quantize
    monkeypatch.setattr(trellis, "quantize", lambda *given: passes.append(given) or quantize(*given))
    monkeypatch.setattr(sparse, "candidates", None)
    encode_tensor(entry[0], limit, EncodeOptions(threads=1))
    assert 1 <= len(passes) <= 5


def test_small_complex_matrices_may_be_pursued():
    planes = normal(2, 3, 20)
    entry = read_state_dict({"w": torch.complex(*planes)})[0]
    found = sparse.candidates(entry, DistortionLimit(0.9, 0.9), EncodeOptions(threads=1))
    assert found
    assert all(candidate.distortion.error <= 0.9 for candidate in found)


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["auto", "sparse", "direct", "uniform", "lossless"])
def test_structure_costs_no_more_than_ten_times_a_normal_matrix(profile):
    def seconds(tensor):
        begin = time.process_time()
        coinr.encode_state_dict({"w": tensor}, profile=profile, threads=1)
        return time.process_time() - begin

    seconds(normal(48, 48))
    usual = max(seconds(normal(48, 48)) for _ in range(3))
    times = {name: min(seconds(tensor) for _ in range(2)) for name, tensor in structured(48).items()}
    assert {name: taken / usual for name, taken in times.items() if taken > 10 * usual} == {}
