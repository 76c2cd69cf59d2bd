"""The README's Python runs, and the files it names for its numbers exist."""

import re
from pathlib import Path

import coinr

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()


def test_python_examples_run(capsys):
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert blocks
    model = coinr.Siren(2, 3, 20, 2)
    for block in blocks:
        names = {"model": model}
        exec(compile(block, "README.md", "exec"), names)
        assert names["weight"].shape == (20, 20)
    assert "layers.1.weight" in capsys.readouterr().out


def test_every_named_file_exists():
    named = set(re.findall(r"`((?:bench|coinr|tests)/[\w/.]+)`", TEXT)) | set(re.findall(r"\]\(([\w.]+)\)", TEXT))
    assert len(named) >= 5
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
