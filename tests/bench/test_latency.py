"""The script that measures whole commands, on one of them."""

from __future__ import annotations

import json
import sys

import pytest

from bench.speed import latency


@pytest.mark.slow
def test_commands_are_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(latency, "COMMANDS", {"coinr info": ["info", "picture.coinr"]})
    monkeypatch.setattr(sys, "argv", ["latency", "--repeats", "1", "--out", str(tmp_path / "latency.json")])
    latency.main()
    found = json.loads((tmp_path / "latency.json").read_text())
    assert [row["command"] for row in found["commands"]] == ["coinr info"]
    assert 0 < found["commands"][0]["seconds"] < 60
