"""Every command that a text of the project names can be run as it is written."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

ROOT = Path(__file__).parents[1]

TEXTS = [
    path
    for suffix in ("*.md", "*.py")
    for path in sorted(ROOT.rglob(suffix))
    if not {"build", "demo_out", ".venv", "cache"} & set(path.relative_to(ROOT).parts)
]
COMMANDS = sorted(
    {
        (module, tuple(re.findall(r"(?<![\w-])--[a-z][a-z-]*", rest)))
        for path in TEXTS
        for module, rest in re.findall(r"python -m ((?:bench|examples)[\w.]*)([^`#\n]*)", path.read_text())
    }
)
TARGETS = set(re.findall(r"\bmake ([a-z-]+)`", "".join(path.read_text() for path in TEXTS)))


def test_the_texts_name_commands():
    assert len({module for module, _ in COMMANDS}) > 20
    assert {"setup", "test", "bench", "fuzz", "asan", "tsan"} <= TARGETS


# `examples.weights` takes no arguments; tests/examples/test_examples.py runs it.
@pytest.mark.parametrize("module", sorted({module for module, _ in COMMANDS} - {"examples.weights"}))
def test_a_module_named_in_a_text_has_help_and_the_options_named(module, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [module, "--help"])
    package = hasattr(sys.modules.get(module), "__path__")
    monkeypatch.delitem(sys.modules, f"{module}.__main__" if package else module, raising=False)
    with pytest.raises(SystemExit) as end, mock.patch.dict(os.environ):
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert end.value.code == 0
    printed = capsys.readouterr().out
    named = {option for other, options in COMMANDS if other == module for option in options}
    assert [option for option in sorted(named) if not re.search(rf"{option}(?![\w-])", printed)] == []


def test_targets_named_in_a_text_exist():
    made = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert made >= TARGETS
    printed = subprocess.run(["make", "--silent", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^make ([a-z-]+) ", printed, re.MULTILINE)) <= made
