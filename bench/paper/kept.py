"""Measured rows kept in a file of JSON lines, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Kept:
    """What was measured, by key. A last line that was cut is left out."""

    def __init__(self, path: Path) -> None:
        """``path`` need not exist."""
        self._path = path
        self._known: dict[str, Any] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            for line in path.read_text().splitlines():
                try:
                    stored = json.loads(line)
                except json.JSONDecodeError:
                    continue
                self._known[stored["key"]] = stored["value"]

    def measured(self, key: str, measure: Callable[[], Any]) -> Any:
        """The value under ``key``: JSON, measured now unless it was before."""
        if key not in self._known:
            self._known[key] = measure()
            with self._path.open("a") as file:
                file.write("\n" + json.dumps({"key": key, "value": self._known[key]}))
        return self._known[key]
