"""The largest memory of a process within a block."""

from __future__ import annotations

import threading
from pathlib import Path


class Memory:
    """The largest memory of this process within a block, in bytes more than before it.

    Attributes
    ----------
    anonymous : int
        What the process allocates, by samples a millisecond apart.
    resident : int
        The same, and mapped pages of files.
    """

    def __enter__(self) -> Memory:
        Path("/proc/self/clear_refs").write_text("5")
        self._before = _status()
        self._peak, self._done = self._before["RssAnon"], threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._take()
        self.anonymous = self._peak - self._before["RssAnon"]
        self.resident = _status()["VmHWM"] - self._before["VmRSS"]

    def _watch(self) -> None:
        while not self._done.wait(0.001):
            self._take()

    def _take(self) -> None:
        self._peak = max(self._peak, _status()["RssAnon"])


def _status() -> dict[str, int]:
    """Return the sizes of this process, in bytes."""
    rows = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {row[0][:-1]: int(row[1]) << 10 for row in rows if row[-1] == "kB"}
