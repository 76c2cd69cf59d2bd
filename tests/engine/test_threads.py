"""Threads: requests, the environment, and the limit of all together."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

import coinr
from coinr.codec.quantize import sparse, sparse_rdo
from coinr.engine import _C, backends
from coinr.engine.threads import MAX_THREADS, available_threads, limited_threads, parallel_map


@pytest.fixture
def sd(generator: np.random.Generator) -> dict[str, torch.Tensor]:
    """Tensors of which some go into sparse codes, some into dense ones."""
    sparse = generator.laplace(size=(4, 16, 16)) * (generator.random((4, 16, 16)) < 0.1)
    return {f"w{i}": torch.from_numpy(matrix.astype(np.float32)) for i, matrix in enumerate(sparse)}


@pytest.fixture
def blob() -> bytes:
    """A file whose decoding makes atoms."""
    return coinr.encode_state_dict({"w": torch.randn(64, 64)}, profile="paper", M=512, s=4)


BAD = ["0", "000", "-1", "1.5", "all", " ", "1e3", "²"]


@pytest.mark.parametrize("value", BAD)
def test_a_bad_number_in_the_environment_is_an_error_wherever_threads_are_used(value, blob, monkeypatch):
    monkeypatch.setenv("COINR_THREADS", value)
    network, dictionary = {"w": torch.ones(2, 3)}, coinr.Dictionary("gaussian", 8, 30, 0)
    for work in (
        lambda: coinr.decode_state_dict(blob),
        lambda: coinr.decode_tensor(blob, "w"),
        lambda: coinr.verify(blob),
        lambda: coinr.encode_state_dict(network),
        lambda: coinr.omp(np.ones((2, 8), np.float32), dictionary, 2),
        lambda: dictionary.atoms([3]),
    ):
        with pytest.raises(coinr.BackendError, match="COINR_THREADS must be a positive integer") as caught:
            work()
        assert repr(value) in str(caught.value)
    native = next(row for row in backends.backends() if row["backend"] == "native")
    assert not native["usable"]
    assert repr(value) in native["detail"]


@pytest.mark.parametrize("value", ["1", "007", "256", "257", "100000", "9" * 5000])
def test_any_positive_number_in_the_environment_will_do(value, blob, monkeypatch):
    want = coinr.decode_state_dict(blob)["w"]
    monkeypatch.setenv("COINR_THREADS", value)
    assert available_threads() == min(int(value[:9]), MAX_THREADS)
    assert torch.equal(coinr.decode_state_dict(blob)["w"], want)


def test_a_machine_of_many_cores_uses_no_more_than_one_operation_may(monkeypatch, blob):
    monkeypatch.delenv("COINR_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(1000)), raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 1000)
    assert available_threads() == MAX_THREADS
    coinr.decode_state_dict(blob)


def test_more_threads_than_allowed_are_as_many_as_allowed(sd, monkeypatch):
    W, dictionary = np.ones((2, 8), np.float32), coinr.Dictionary("gaussian", 8, 30, 0)
    np.testing.assert_array_equal(
        coinr.omp(W, dictionary, 2, threads=10_000).indices, coinr.omp(W, dictionary, 2, threads=1).indices
    )
    monkeypatch.setattr(sparse_rdo, "_SHARES", (1.0,))
    one = {"w": sd["w0"]}
    want = coinr.encode_state_dict(one, profile="sparse", form="sparse", M=256, beam=1, threads=1)
    assert coinr.encode_state_dict(one, profile="sparse", form="sparse", M=256, beam=1, threads=10_000) == want


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True])
def test_numbers_of_threads_that_are_none_are_refused(threads):
    dictionary = coinr.Dictionary("gaussian", 8, 30, 0)
    for work in (
        lambda: coinr.encode_state_dict({"w": torch.ones(2)}, threads=threads),
        lambda: coinr.omp(np.ones((2, 8), np.float32), dictionary, 2, threads=threads),
        lambda: coinr.fit(np.ones((4, 4)), steps=1, threads=threads),
    ):
        with pytest.raises(coinr.InputError, match="threads") as caught:
            work()
        assert repr(threads) in str(caught.value)


@pytest.mark.parametrize(("threads", "items"), [(4, 4), (5, 3), (7, 2), (3, 8), (2, 5)])
def test_items_side_by_side_share_the_threads(threads, items, monkeypatch):
    """All workers meet before any goes on, so that all their shares are held at the same time."""
    monkeypatch.setenv("COINR_THREADS", str(threads))
    workers = min(threads, items)
    meeting = threading.Barrier(workers)
    first = set(range(workers))

    def share(item: int) -> tuple[int, int, int]:
        held = threading.get_ident(), available_threads(), torch.get_num_threads()
        if item in first:
            meeting.wait(30)
        return held

    found = list(parallel_map(share, range(items)))[:workers]
    assert len({one[0] for one in found}) == workers
    assert sum(one[1] for one in found) <= threads
    assert sum(one[2] for one in found) <= threads
    assert min(one[1] for one in found) == threads // workers


def test_the_last_item_takes_the_threads_of_those_that_are_done(monkeypatch):
    monkeypatch.setenv("COINR_THREADS", "6")
    ready = threading.Event()

    def share(item: int) -> list[int]:
        if item < 2:
            assert ready.wait(30)
            return []
        shares = [available_threads()]
        ready.set()
        for _ in range(3000):
            if shares[-1] == 6:
                break
            time.sleep(0.01)
            shares.append(available_threads())
        return shares

    shares = list(parallel_map(share, range(3)))[2]
    assert (shares[0], shares[-1]) == (2, 6)
    assert shares == sorted(shares)


def third_fails(item: int) -> int:
    if item == 3:
        raise coinr.InputError("item 3")
    return item


def test_parallel_map_keeps_order_passes_errors_on_and_leaves_no_limit(monkeypatch):
    monkeypatch.setenv("COINR_THREADS", "3")
    torch_threads = torch.get_num_threads()
    assert list(parallel_map(lambda item: item * item, range(20))) == [item * item for item in range(20)]
    with pytest.raises(coinr.InputError, match="item 3"):
        list(parallel_map(third_fails, range(9)))
    assert list(parallel_map(third_fails, [])) == []
    assert available_threads() == 3
    assert torch.get_num_threads() == torch_threads
    later = []
    thread = threading.Thread(target=lambda: later.append((available_threads(), torch.get_num_threads())))
    thread.start()
    thread.join()
    assert later == [(3, torch_threads)]


def test_a_limit_holds_within_and_is_never_widened(monkeypatch):
    monkeypatch.setenv("COINR_THREADS", "8")
    with limited_threads(3):
        assert available_threads() == 3
        assert available_threads(5) == 3
        assert available_threads(2) == 2
        with limited_threads(7):
            assert available_threads() == 3
        with limited_threads(None):
            assert available_threads() == 3
    assert available_threads() == 8


class Counted:
    """The extension, with the threads noted that each call is given."""

    def __init__(self) -> None:
        self.given: list[int] = []

    def __getattr__(self, name: str):
        function = getattr(_C, name)
        if name not in ("pursue", "synthesize", "entries", "omp"):
            return function

        def counted(*arguments):
            # omp is followed by whether it is exact
            self.given.append(arguments[-2] if name == "omp" else arguments[-1])
            return function(*arguments)

        return counted


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    calls = Counted()
    monkeypatch.setattr(sparse_rdo, "native", calls)
    monkeypatch.setattr(backends._load("native"), "extension", calls)
    return calls


@pytest.mark.parametrize("source", ["argument", "environment"])
def test_encoding_takes_no_more_threads_than_it_may(source, sd, counted, monkeypatch):
    """Four tensors on four threads: no operation of any, decoding to verify included, has more than one."""
    monkeypatch.setenv("COINR_THREADS", "4" if source == "environment" else "64")
    threads = None if source == "environment" else 4
    options = {"tolerance": 0.5, "effort": "best"}
    monkeypatch.setattr(sparse, "_EFFORT", ((1 << 62, 1 << 8, 1),))
    assert coinr.encode_state_dict(sd, threads=1, **options) == coinr.encode_state_dict(sd, **options)
    assert counted.given
    counted.given = []
    blob = coinr.encode_state_dict(sd, threads=threads, **options)
    several, counted.given = counted.given, []
    assert several
    assert several.count(1) >= 4
    assert max(several) <= 4
    monkeypatch.setattr("coinr.codec.candidates.parallel_map", all_at_once)
    assert coinr.encode_state_dict(sd, threads=threads, **options) == blob
    assert counted.given
    assert set(counted.given) == {1}


def all_at_once(function, items):
    """As :func:`parallel_map`, where no item is done before all have ended."""
    ended = threading.Barrier(len(items))

    def last(item):
        made = function(item)
        ended.wait(60)
        return made

    return parallel_map(last, items)


def test_one_thread_is_one_thread_in_every_profile(sd, counted, monkeypatch):
    monkeypatch.setenv("COINR_THREADS", "64")
    monkeypatch.setattr(sparse, "_EFFORT", ((1 << 62, 1 << 8, 1),))
    for profile, options in {"auto": {}, "sparse": {}, "direct": {}, "paper": {"M": 256}}.items():
        coinr.encode_state_dict(sd, profile=profile, tolerance=0.6, threads=1, **options)
    assert counted.given
    assert set(counted.given) == {1}
