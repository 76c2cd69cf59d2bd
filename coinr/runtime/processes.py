"""A function applied to many items in several processes: threads run the Python code of one item at a time."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection, Pipe
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from coinr.errors import BackendError, InputError, first_line

_A = TypeVar("_A")
_B = TypeVar("_B")

#: Seconds of work in the calling process before others are started: about what it takes to start one.
PATIENCE = 1.5

# Items that are read ahead for each process, so that none waits for the caller.
_AHEAD = 2

# Threads of a process: in the environment, as libraries read it when they are loaded.
_THREADS = ("COINR_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def map_in_processes(
    function: Callable[[_A], _B], single: Callable[[_A], _B], items: Iterable[_A], processes: int
) -> Generator[Future[_B], None, None]:
    """Yield a finished future of ``function(item)`` for every item, in order.

    The first items are computed in the calling process, until that has taken as long as starting others does. Then
    ``processes`` others compute with one thread each. Items are read a few ahead, and pickled when they are read, so
    that they may change afterwards. An error of the iterable is that of the last future. Closing the generator ends
    the processes.

    Parameters
    ----------
    function
        For the calling process.
    single
        The same for the other ones; it is pickled.

    Raises
    ------
    InputError
        If ``single`` cannot be pickled, or not be read in another process.
    BackendError
        If no process can be started. One that ends early is the error of its item.
    """
    source = _Items(items)
    if processes > 1:
        work = _pickled(single)
        team: _Team[_B] | None = None
        spent = 0.0
        try:
            while team is None or not team.ready():
                begin = time.perf_counter()
                future = source.take(lambda item: call_now(function, item))
                if future is None:
                    return
                yield future
                spent += time.perf_counter() - begin
                if team is None and spent >= PATIENCE:
                    team = _Team(work, processes)
            yield from team.map(source)
        finally:
            if team is not None:
                team.close()
        return
    while (future := source.take(lambda item: call_now(function, item))) is not None:
        yield future


def call_now(function: Callable[[_A], _B], item: _A) -> Future[_B]:
    """Return a finished future of a call in this process."""
    future: Future[_B] = Future()
    try:
        future.set_result(function(item))
    except Exception as error:
        future.set_exception(error)
    return future


def _pickled(function: Callable[..., Any]) -> bytes:
    try:
        return pickle.dumps(function)
    except Exception as error:  # pickling fails in many ways
        raise InputError(
            f"an option cannot be sent to another process; give threads=1 ({first_line(error)})"
        ) from error


class _Items(Generic[_A]):
    """An iterable that is read one by one; an error of its own is the future of its last item."""

    def __init__(self, items: Iterable[_A]) -> None:
        self._items: Iterator[_A] = iter(items)

    def take(self, begin: Callable[[_A], Future[_B]]) -> Future[_B] | None:
        """Return what ``begin`` makes of the next item; None after the last."""
        try:
            return begin(next(self._items))
        except StopIteration:
            return None
        except Exception as error:
            self._items = iter(())
            future: Future[_B] = Future()
            future.set_exception(error)
            return future


class _Team(Generic[_B]):
    """Processes that apply one function, each used by one thread of this process at a time."""

    def __init__(self, work: bytes, processes: int) -> None:
        self._work, self._processes, self._closed = work, processes, False
        self._starting: list[Process] = []
        self._all: list[Process] = []
        self._idle: SimpleQueue[Process] = SimpleQueue()
        self._threads = ThreadPoolExecutor(processes)
        try:
            for _ in range(processes):
                self._all.append(Process(work))
        except BaseException:
            self.close()
            raise
        self._starting = list(self._all)

    def ready(self) -> bool:
        """Return whether all processes can take items; raise InputError if one cannot read the function."""
        for process in [one for one in self._starting if one.answers()]:
            process.receive()
            self._starting.remove(process)
            self._idle.put(process)
        return not self._starting

    def map(self, source: _Items[_A]) -> Iterator[Future[_B]]:
        """Yield a finished future for every item that is left."""
        pending: deque[Future[_B]] = deque()
        more = True
        while more or pending:
            while more and len(pending) < _AHEAD * self._processes:
                future = source.take(lambda item: self._threads.submit(self._call, pickle.dumps(item)))
                if future is None:
                    more = False
                else:
                    pending.append(future)
            if pending:
                with contextlib.suppress(Exception):  # the future holds it
                    pending[0].result()
                yield pending.popleft()

    def _call(self, item: bytes) -> _B:
        process = self._idle.get()
        try:
            process.send(item)
            result: _B = process.receive()
            return result
        finally:
            self._idle.put(process if process.lives() else self._replaced(process))

    def _replaced(self, ended: Process) -> Process:
        """Return a new process in place of one that has ended; that one where none can be started."""
        try:
            if not self._closed:
                process = Process(self._work)
                self._all.append(process)
                process.receive()
                return process
        except (OSError, BackendError):
            pass
        return ended

    def close(self) -> None:
        """End all processes at once, also those that work; their threads end soon after.

        Threads are not waited for: this may run when garbage is collected, in the middle of the start of a thread,
        whose lock an ending thread needs.
        """
        self._closed = True
        for process in self._all:
            process.kill()
        self._threads.shutdown(wait=False, cancel_futures=True)


class Process:
    """A new process of Python, which imports nothing of the caller's program, and ends with this one.

    Parameters
    ----------
    work
        The pickled function that it applies to items.
    threads
        That it computes with.

    Attributes
    ----------
    connection : Connection
        To it; it can be waited for.
    """

    def __init__(self, work: bytes, threads: int = 1) -> None:
        if not sys.executable:
            raise BackendError("this Python has no sys.executable to start other processes with; give threads=1")
        self.connection, theirs = Pipe()
        with theirs:
            code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve({theirs.fileno()})"
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                env={**os.environ, **dict.fromkeys(_THREADS, str(threads))},
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.PIPE,  # it ends with this process, and serve then ends the other one
                start_new_session=True,  # an interruption from the keyboard is for the caller
            )
        self.send(work)

    def answers(self) -> bool:
        """Return whether there is an answer, or the process has ended."""
        return self.connection.poll()

    def lives(self) -> bool:
        """Return whether the process has not ended."""
        return self._process.poll() is None

    def send(self, data: bytes) -> None:
        """Send pickled bytes; a process that has ended is an error of :meth:`receive`."""
        with contextlib.suppress(OSError):
            self.connection.send_bytes(data)

    def receive(self) -> Any:
        """Return the next answer; raise the error that it is, or BackendError if the process has ended."""
        try:
            failed, value = self.connection.recv()
        except (EOFError, OSError) as error:
            code = self._process.wait()
            raise BackendError(f"a process that coinr had started ended early, with exit code {code}") from error
        if failed:
            raise value
        return value

    def kill(self) -> None:
        """End the process. The connection is closed with its last user, as a thread may still read from it."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()


def serve(handle: int) -> None:
    """Read a function from a connection, then items one by one, and answer with pairs: whether it failed, result.

    This process ends as soon as the one that started it does, also amid an item.
    """
    lifeline = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    with Connection(handle) as connection, contextlib.suppress(EOFError, ConnectionError):
        try:
            function = pickle.loads(connection.recv_bytes())
        except (EOFError, ConnectionError):
            raise
        except Exception as error:
            words = f"an option cannot be read in another process; give threads=1 ({first_line(error)})"
            connection.send((True, InputError(words)))
            return
        connection.send((False, None))
        while True:
            connection.send_bytes(_answer(function, connection.recv_bytes()))


def _end_with(lifeline: int) -> None:
    """Wait until the other end of a pipe is closed, which happens when its process ends, then end this process."""
    os.read(lifeline, 1)
    os._exit(1)


def _answer(function: Callable[[Any], Any], item: bytes) -> bytes:
    try:
        return pickle.dumps((False, function(pickle.loads(item))))
    except Exception as error:
        try:
            pickle.loads(data := pickle.dumps((True, error)))
        except Exception:  # errors of other libraries may not survive pickling
            return pickle.dumps((True, RuntimeError(f"{type(error).__name__}: {error}")))
        return data
