"""Many state dicts encoded at once."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

import coinr
from coinr.codec.many import _Item
from coinr.errors import InputError, StateDictError
from coinr.runtime import processes


def network(seed):
    generator = torch.Generator().manual_seed(seed)
    return {
        "a.weight": torch.randn(8, 4, generator=generator),
        "a.bias": torch.randn(8, generator=generator),
        "count": torch.tensor(seed),
    }


def test_files_are_those_of_single_calls_in_order():
    sds = [network(seed) for seed in range(5)]
    options = {"profile": "sparse", "tolerance": 0.05, "meta": {"a": 1}}
    want = [coinr.encode_state_dict(sd, 3, **options) for sd in sds]
    assert list(coinr.encode_state_dicts(sds, 3, **options)) == want
    assert list(coinr.encode_state_dicts(iter(sds), seed=3, threads=1, **options)) == want
    assert list(coinr.encode_state_dicts([])) == []


@pytest.mark.slow
def test_other_processes_give_the_same_files(monkeypatch):
    ready = processes._Team.ready
    monkeypatch.setattr(processes, "PATIENCE", 0.0)
    monkeypatch.setattr(processes._Team, "ready", lambda team: any(iter(lambda: ready(team), True)) or True)
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
    module[2].weight = module[0].weight
    items = [network(0), module, {"w": np.ones((3, 3))}, {"h": torch.ones(4, 4, dtype=torch.bfloat16)}]
    options = {"profile": "direct", "base": network(0)}
    want = [coinr.encode_state_dict(item, **options) for item in items]
    files = coinr.encode_state_dicts([*items, *items, {"w": "x"}], threads=2, **options)
    assert [next(files) for _ in range(8)] == want + want
    with pytest.raises(StateDictError, match=r"^state dict 8: "):
        next(files)


def test_iterables_are_read_one_by_one():
    read = []

    def source():
        for seed in range(100):
            read.append(seed)
            yield network(seed)

    files = coinr.encode_state_dicts(source(), profile="uniform")
    assert read == []
    next(files)
    assert len(read) < 10
    files.close()
    assert list(files) == []


def test_errors_name_the_index_and_come_in_their_place():
    files = coinr.encode_state_dicts([network(0), {"w": torch.tensor([float("nan")])}, network(1)])
    next(files)
    with pytest.raises(StateDictError, match=r"^state dict 1: tensor 'w' holds NaN"):
        next(files)

    def source():
        yield network(0)
        raise OSError("no more")

    files = coinr.encode_state_dicts(source())
    next(files)
    with pytest.raises(OSError, match="no more") as caught:
        next(files)
    assert caught.value.__notes__ == ["while encoding state dict 1"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tolerance": -1.0}, "tolerance"),
        ({"profile": "x"}, "profile"),
        ({"bits": 3}, "bits"),
        ({"threads": 0}, "threads"),
        ({"seed": -1}, "seed"),
    ],
)
def test_options_are_checked_at_once(options, words):
    with pytest.raises(InputError, match=words):
        coinr.encode_state_dicts([], **options)


@pytest.mark.parametrize("one", [network(0), nn.Sequential(nn.Linear(2, 2)), nn.ModuleList([nn.Linear(2, 2)])])
def test_one_state_dict_is_not_taken_for_many(one):
    with pytest.raises(InputError, match=f"one {type(one).__name__}"):
        coinr.encode_state_dicts(one)


def test_a_state_dict_is_sent_with_its_ties_and_without_the_memory_around_it():
    flat = torch.arange(1e5, dtype=torch.float64)
    sd = {
        "part": flat[10:14].reshape(2, 2),
        "turned": flat[:6].reshape(2, 3).T,
        "half": torch.ones(3, dtype=torch.bfloat16),
        "empty": torch.empty(0, 3),
        "array": np.arange(4)[::-1],
        "complex": torch.ones(2, dtype=torch.complex64).mul(1j).conj(),
    }
    sd["again"] = sd["part"]
    data = pickle.dumps(_Item(sd))
    assert len(data) < 3000
    with torch.device("meta"), torch.inference_mode():  # the caller's settings change nothing
        assert pickle.dumps(_Item(sd)) == data
    back = pickle.loads(data).sd
    assert back["again"] is back["part"]
    assert coinr.encode_state_dict(back, profile="lossless") == coinr.encode_state_dict(sd, profile="lossless")
    with pytest.raises(StateDictError, match="'w'"):
        pickle.dumps(_Item({"w": None}))
