"""Tasks for the tests of runs: quick, and with what goes wrong in one of many sources."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Copy:
    """Write the text of a source twice. Some texts are orders: to hang, to die, to write a lot."""

    note: str = ""
    seconds: float = 0.0

    suffix = ".out"

    def settings(self) -> dict[str, Any]:
        return {"note": self.note}

    def prepare(self) -> None:
        """Nothing is needed."""

    def __call__(self, source: Path, output: Path) -> dict[str, Any]:
        text = source.read_text()
        output.write_text("half")
        time.sleep(self.seconds)
        if text == "hang":
            time.sleep(1000)
        if text == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        for order, pid in (("die once ", os.getpid()), ("kill once ", os.getppid())):
            if text.startswith(order) and not (place := Path(text.removeprefix(order))).exists():
                place.touch()
                os.kill(pid, signal.SIGKILL)
        if text == "corrupt":
            raise ValueError("no such content")
        output.write_text(text * (200_000 if text == "large" else 2) + self.note)
        return {"score": 1.0, "metric": "score"}
