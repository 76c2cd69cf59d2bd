"""Coinr files as a data set of torch."""

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import coinr
from coinr.errors import FormatError, InputError, LimitError, ReferenceNetworkError


def network(seed):
    generator = torch.Generator().manual_seed(seed)
    return {"a.weight": torch.randn(8, 4, generator=generator), "a.bias": torch.full((8,), float(seed))}


def to_vector(sd):
    return torch.cat([tensor.flatten() for tensor in sd.values()])


@pytest.fixture
def paths(tmp_path):
    made = [tmp_path / f"{seed}.coinr" for seed in range(6)]
    for seed, path in enumerate(made):
        coinr.save(path, network(seed), profile="lossless")
    return made


def test_items_are_decoded_files(paths):
    data = coinr.StateDictDataset(paths)
    assert isinstance(data, Dataset)
    assert len(data) == 6
    assert data.paths == list(map(str, paths))
    for index in (0, 5, -1, np.int64(2), torch.tensor(3)):
        want = network(int(index) % 6)
        assert list(data[index]) == list(want)
        assert all(torch.equal(data[index][name], want[name]) for name in want)
    with pytest.raises(IndexError):
        data[6]
    assert [sd["a.bias"][0].item() for sd in data] == list(range(6))


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_a_loader_with_workers_gives_batches_in_order(paths, context):
    # threads of the extension run in this process already
    large = coinr.encode_state_dict({"w": torch.randn(512, 512)}, profile="uniform", bits=4)
    coinr.decode_state_dict(large)
    (paths[5]).write_bytes(coinr.encode_state_dict(network(5), profile="uniform", bits=16))
    data = coinr.StateDictDataset(paths, to_vector)
    loader = DataLoader(data, batch_size=3, num_workers=2, multiprocessing_context=context)
    batches = list(loader)
    assert [tuple(batch.shape) for batch in batches] == [(3, 40), (3, 40)]
    got = torch.cat(batches)
    assert torch.equal(got[:5], torch.stack([to_vector(network(seed)) for seed in range(5)]))
    assert torch.equal(got[5], data[5])


def test_the_default_collation_stacks_by_name(paths):
    (batch,) = DataLoader(coinr.StateDictDataset(paths), batch_size=6)
    assert batch["a.weight"].shape == (6, 8, 4)
    assert batch["a.bias"][:, 0].tolist() == list(range(6))


def test_a_worker_decodes_with_one_thread(paths, monkeypatch):
    from coinr.codec import dataset
    from coinr.engine.threads import available_threads

    monkeypatch.setenv("COINR_THREADS", "3")
    monkeypatch.setattr(dataset, "load", lambda *_, **__: available_threads())
    data = coinr.StateDictDataset(paths)
    assert data[0] == 3
    monkeypatch.setattr(dataset, "get_worker_info", object)
    assert data[0] == 1


def test_pickled_it_is_the_same(paths):
    data = pickle.loads(pickle.dumps(coinr.StateDictDataset(paths, to_vector)))
    assert torch.equal(data[1], to_vector(network(1)))


def test_base_and_limits_are_for_all_files(tmp_path):
    base, sd = network(1), network(1)
    sd["a.weight"] = sd["a.weight"] + 1e-3
    path = tmp_path / "d.coinr"
    coinr.save(path, sd, base=base)
    assert coinr.inspect(path.read_bytes()).totals["parameters"] == 40
    module = torch.nn.Module()
    module.a = torch.nn.Linear(4, 8)
    module.load_state_dict(base)
    data = coinr.StateDictDataset([path], base=module)
    assert torch.equal(to_vector(data[0]), to_vector(coinr.load(path, base=base)))
    with pytest.raises(ReferenceNetworkError, match=r"d\.coinr"):
        coinr.StateDictDataset([path])[0]
    with pytest.raises(LimitError, match=r"d\.coinr"):
        coinr.StateDictDataset([path], base=base, limits=coinr.Limits(decoded_bytes=8))[0]


def test_files_are_opened_when_their_item_is_taken(tmp_path):
    path = tmp_path / "later.coinr"
    data = coinr.StateDictDataset([path])
    with pytest.raises(FileNotFoundError):
        data[0]
    path.write_bytes(b"no file of ours")
    with pytest.raises(FormatError, match=r"later\.coinr"):
        data[0]


@pytest.mark.parametrize("what", ["a.coinr", b"a", 3, [3], [None], ["a\0b"], None])
def test_what_is_no_sequence_of_paths_is_refused(what):
    with pytest.raises(InputError, match="path"):
        coinr.StateDictDataset(what)
