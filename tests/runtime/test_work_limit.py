"""What long work may spend: a limit is passed by one unit of work at most."""

import math
import time

import pytest
import torch

import coinr
from coinr.codec.rate_control import encode_to_size
from coinr.errors import InputError
from coinr.optimize.refine.encode import ScaledEncoder
from coinr.runtime.work_limit import WorkLimit
from tests.clocks import Clock
from tests.grids import fast_where


@pytest.fixture
def clock(monkeypatch):
    """The clock and the CPU's clock of all that follows."""
    made = Clock()
    monkeypatch.setattr(time, "perf_counter", made)
    monkeypatch.setattr(time, "process_time", made)
    return made


def test_a_unit_is_begun_only_where_there_is_room_for_one_of_each_kind(clock):
    limit = WorkLimit(10.0)
    with limit.unit():
        clock.now += 2
    assert limit.left() == 8
    assert not limit.out_of_time()
    with limit.unit("file"):
        clock.now += 3
    assert not limit.out_of_time()
    with limit.unit("score"):
        clock.now += 1
    assert limit.left() == 4
    assert limit.out_of_time()
    assert limit.part(0.5).left() == 2
    clock.now += 100
    assert limit.seconds() == pytest.approx(0.1)
    assert WorkLimit().seconds() is None
    assert not WorkLimit().part(0.5).used_up()


def test_seconds_of_cpu_are_those_of_units_alone(clock):
    limit = WorkLimit()
    limit.cpu_seconds = 10.0
    clock.now += 100
    with limit.unit("file"):
        clock.now += 3
    assert limit.cpu_spent == 3
    assert not limit.used_up()
    assert limit.used_up(share=0.5)
    with limit.unit("file"):
        clock.now += 4.5
    assert limit.used_up()
    assert not limit.out_of_time()


def sizes(clock, seconds):
    """Encode in a second, to files that are halved by twice the error, and the errors that were tried."""
    tried = []

    def encode(tolerance):
        tried.append(tolerance)
        clock.now += seconds
        return b"x" * round(1000 / tolerance**0.3)

    return encode, tried


def test_a_size_ends_with_the_best_file_by_then(clock):
    encode, tried = sizes(clock, 1.0)
    everything = len(encode_to_size(encode, 400, 100)[0]), len(tried)
    encode, tried = sizes(clock, 1.0)
    limit = WorkLimit(everything[1] - 1.5)
    blob, _ = encode_to_size(encode, 400, 100, limit=limit)
    assert len(tried) < everything[1]
    assert 0 < len(blob) <= 400
    assert limit.left() > -1


def test_a_size_that_there_was_no_time_for_is_tried_once_more_and_said_to_be_so(clock):
    encode, tried = sizes(clock, 1.0)
    with pytest.raises(InputError, match=r"out of reach in the time given: the smallest of 2 files has \d+ bytes"):
        encode_to_size(encode, 20, 100, limit=WorkLimit(0.5))
    assert len(tried) == 2


def test_the_tolerance_of_the_last_file_is_its_own(clock):
    encode, tried = sizes(clock, 1.0)
    blob, tolerance = encode_to_size(encode, 400, 100, limit=WorkLimit(0.5))
    assert len(tried) == 2
    assert encode(tolerance) == blob


@pytest.fixture
def work(clock, monkeypatch):
    """A loss whose gradient takes 100 seconds, a metric that takes one, files that take 4000; and what was done."""
    generator = torch.Generator().manual_seed(0)
    sd = {"w": torch.randn(8, 8, generator=generator), "v": torch.randn(8, generator=generator)}
    expected = {name: tensor + 0.01 for name, tensor in sd.items()}
    events = []
    encode = ScaledEncoder.encode

    def slowly(self, scale):
        clock.now += 4000
        events.append("file")
        return encode(self, scale)

    def loss(state_dict):
        clock.now += 100.0 if torch.is_grad_enabled() else 0.0
        events.append("step" if torch.is_grad_enabled() else "look")
        return sum((state_dict[name] - expected[name]).square().mean() for name in sd)

    def evaluate(state_dict):
        clock.now += 1.0
        events.append("score")
        return -10 * math.log10(float(sum((state_dict[name] - expected[name]).square().mean() for name in sd)))

    monkeypatch.setattr(ScaledEncoder, "encode", slowly)
    return sd, loss, evaluate, events


@pytest.mark.parametrize("wish", [{"min_score": 35.0}, {"target_bytes": 110}, {}])
def test_a_refinement_spends_on_itself_no_more_than_300_steps(clock, work, wish):
    sd, loss, evaluate, events = work
    coinr.refine(sd, loss, steps=20, evaluate=evaluate, **wish)
    # the first call of the loss tells which tensors are used
    assert events.count("step") == 21
    assert clock.now - 20 * 100 <= 300 * 100
    assert events.count("file") >= 1


def test_it_is_lifted_where_one_can_wait(clock, work):
    sd, loss, evaluate, events = work
    arguments = {"steps": 2, "evaluate": evaluate, "min_score": 35.0}
    files = []
    for thorough in (False, True):
        events.clear()
        coinr.refine(sd, loss, thorough=thorough, **arguments)
        files.append(events.count("file"))
    assert files[0] <= 7 < files[1]


@pytest.mark.parametrize("seconds", fast_where(lambda seconds: seconds < 4000, [3000, 30_000]))
@pytest.mark.parametrize("thorough", [False, True])
@pytest.mark.parametrize("wish", [{"min_score": 30.0}, {"target_bytes": 110}, {}])
def test_seconds_bound_all_of_a_refinement(clock, work, seconds, thorough, wish):
    sd, loss, evaluate, events = work
    coinr.refine(sd, loss, steps=10**9, evaluate=evaluate, seconds=float(seconds), thorough=thorough, **wish)
    # a file and its score, or two where the first misses the target
    assert clock.now <= seconds + 4002 * (2 if seconds < 4000 and wish else 1)
    assert events.count("step") >= 0.0065 * seconds


def test_seconds_bound_a_search(clock):
    generator = torch.Generator().manual_seed(0)
    sd = {"w": torch.randn(24, 24, generator=generator), "v": torch.randn(24, generator=generator)}

    def evaluate(state_dict):
        clock.now += 10
        return -10 * math.log10(float(sum((state_dict[name] - sd[name]).square().mean() for name in sd)) + 1e-4)

    plain = coinr.search(sd, evaluate, min_score=20.0)
    begin = clock.now
    found = coinr.search(sd, evaluate, min_score=20.0, seconds=60.0)
    assert found.score >= 20
    assert found.calls <= 7 < plain.calls
    assert clock.now - begin <= 70
    # one call leaves nothing to go by but a file without loss
    assert coinr.search(sd, evaluate, min_score=39.9999, seconds=5.0).score >= 39.9999
    sized = coinr.search(sd, evaluate, target_bytes=500, seconds=25.0)
    assert len(sized.blob) <= 500
    assert sized.calls <= 3
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="seconds must be positive and finite"):
            coinr.search(sd, evaluate, target_bytes=500, seconds=bad)
