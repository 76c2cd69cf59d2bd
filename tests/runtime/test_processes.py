"""Functions that are applied in other processes."""

import math
import os
import pickle
import sys
import threading
import time
import types

import pytest

from coinr.errors import BackendError, InputError
from coinr.runtime import processes
from coinr.runtime.processes import map_in_processes


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(processes, "PATIENCE", 0.0)


class Evaluated:
    """Futures of Python expressions that two other processes evaluate: those read after both have started."""

    def __init__(self, items):
        self.items, self.starting, self.read = items, True, 0
        self.futures = map_in_processes(lambda item: "here", eval, self._source(), 2)
        while next(self.futures).result() == "here":
            pass
        self.starting = False

    def _source(self):
        while self.starting:
            yield "'there'"
        for item in self.items:
            self.read += 1
            yield item

    def __iter__(self):
        return (future for future in self.futures if future.exception() or future.result() != "there")

    def values(self):
        return [future.result() for future in self]


def test_results_come_in_order_from_several_processes():
    found = Evaluated([f"({k}, __import__('os').getpid(), __import__('time').sleep({(k % 2) / 50}))" for k in range(8)])
    values = found.values()
    assert [value[0] for value in values] == list(range(8))
    pids = {value[1] for value in values}
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_short_work_and_one_process_stay_in_the_calling_process(monkeypatch):
    monkeypatch.setattr(processes, "PATIENCE", 60.0)
    monkeypatch.setattr(processes, "Process", None)
    for count in (1, 2):
        futures = map_in_processes(math.sqrt, math.sqrt, [4.0, 9.0], count)
        assert [future.result() for future in futures] == [2.0, 3.0]


@pytest.mark.parametrize("count", [1, 2])
def test_errors_are_those_of_their_items(monkeypatch, count):
    monkeypatch.setattr(processes, "PATIENCE", 60.0)

    def items():
        yield from (4.0, -1.0, 9.0)
        raise KeyError("the caller's")

    futures = list(map_in_processes(math.sqrt, math.sqrt, items(), count))
    assert [future.result() for future in futures[::2]] == [2.0, 3.0]
    assert isinstance(futures[1].exception(), ValueError)
    assert isinstance(futures[3].exception(), KeyError)


def test_errors_in_other_processes_come_back():
    def items():
        yield from ("1 / 0", "1 + 1", "lambda: 1", "2 + 1")
        raise KeyError("the caller's")

    division, two, function, three, last = Evaluated(items())
    assert isinstance(division.exception(), ZeroDivisionError)
    assert "pickle" in str(function.exception())
    assert (two.result(), three.result()) == (2, 3)
    assert isinstance(last.exception(), KeyError)


def test_a_process_that_ends_early_is_an_error():
    with pytest.raises(BackendError, match="exit code 3"):
        Evaluated(["__import__('os')._exit(3)"]).values()


def test_a_python_without_an_executable_cannot_start_others(monkeypatch):
    monkeypatch.setattr(sys, "executable", "")
    futures = map_in_processes(math.sqrt, math.sqrt, [4.0, 9.0, 16.0], 2)
    assert next(futures).result() == 2.0
    with pytest.raises(BackendError, match="sys.executable"):
        next(futures)


def test_items_are_read_a_few_ahead():
    evaluated = Evaluated(f"{k} + 0" for k in range(1000))
    for k, future in enumerate(evaluated):
        assert future.result() == k
        assert evaluated.read <= k + 2 * 2 + 1
        if k == 9:
            break
    evaluated.futures.close()
    assert evaluated.read < 20


def test_items_may_change_once_the_next_is_read():
    def one_list():
        item = ["0"]
        for k in range(8):
            item[0] = str(k)
            yield item

    team = processes._Team(pickle.dumps("".join), 2)
    try:
        while not team.ready():
            pass
        assert [future.result() for future in team.map(processes._Items(one_list()))] == [str(k) for k in range(8)]
    finally:
        team.close()


def test_closing_ends_processes_that_work():
    evaluated = Evaluated(["__import__('os').getpid()"] * 8 + ["__import__('time').sleep(1000)"] * 4)
    iterator = iter(evaluated)
    pids = {next(iterator).result() for _ in range(8)}
    begin = time.monotonic()
    evaluated.futures.close()
    assert time.monotonic() - begin < 100
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_closing_waits_for_no_lock_of_threads():
    """Garbage may be collected while a thread starts: threads that end then wait for the lock of that start."""
    evaluated = Evaluated(["__import__('time').sleep(1000)"] * 4)
    with threading._active_limbo_lock:
        evaluated.futures.close()


def test_what_cannot_be_sent_is_refused(monkeypatch):
    with pytest.raises(InputError, match="threads=1"):
        next(map_in_processes(math.sqrt, lambda item: item, [1.0], 2))
    elsewhere = types.ModuleType("elsewhere")
    exec("def function(item):\n    return item", elsewhere.__dict__)
    monkeypatch.setitem(sys.modules, "elsewhere", elsewhere)

    def endless():
        while True:
            yield 1.0

    with pytest.raises(InputError, match=r"threads=1 .*elsewhere"):
        for _ in map_in_processes(math.sqrt, elsewhere.function, endless(), 2):
            pass


def test_a_process_that_ends_takes_its_item_alone_with_it():
    items = [str(k) for k in range(40)]
    items[7] = "__import__('os')._exit(3)"
    found = list(Evaluated(items))
    assert [k for k, future in enumerate(found) if isinstance(future.exception(), BackendError)] == [7]
    assert [future.result() for k, future in enumerate(found) if k != 7] == [k for k in range(40) if k != 7]
