"""The README's Python runs, what it names exists, and it names all that is public."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import coinr

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def run(block, **names):
    exec(compile(block, "README.md", "exec"), names)
    return names


def test_weights(capsys):
    names = run(BLOCKS[0], model=coinr.Siren(2, 3, 20, 2))
    assert names["weight"].shape == (20, 20)
    assert "layers.1.weight" in capsys.readouterr().out


def test_signals(tmp_path, monkeypatch):
    rows, columns = np.mgrid[:20, :30]
    photo = np.stack((12 * rows, 8 * columns, 100 + rows + columns), -1).astype(np.uint8)
    coinr.write_image(tmp_path / "photo.png", photo)
    monkeypatch.chdir(tmp_path)
    names = run(BLOCKS[1])
    assert coinr.psnr(photo, names["picture"].render()) > 30
    assert names["big"].shape == (40, 60, 3)
    assert isinstance(names["network"], coinr.Siren)
    assert 0.98 * 3000 <= len(names["made"].blob) <= 3000
    assert len(names["fits"]) == 2


@pytest.mark.slow
def test_refinement():
    generator = torch.Generator().manual_seed(0)
    model = coinr.Siren(2, 3, 20, 2, generator=generator)
    x = torch.rand(256, 2, generator=generator) * 2 - 1
    names = run(BLOCKS[2], model=model, x=x, y=torch.sin(3 * x @ torch.ones(2, 3)))
    assert 0.98 * 700 <= len(names["refined"].blob) <= 700
    decoded = coinr.decode_state_dict(names["refined"].blob)
    assert all(torch.equal(tensor, decoded[name]) for name, tensor in model.state_dict().items())
    assert len(BLOCKS) == 3


def test_every_named_file_exists():
    named = set(re.findall(r"`((?:bench|coinr|tests)/[\w/.]+)`", TEXT)) | set(re.findall(r"\]\(([\w.]+)\)", TEXT))
    assert len(named) >= 5
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("name", coinr.__all__)
def test_every_public_name_is_told(name):
    assert re.search(rf"\b{name}\b", TEXT)


def test_every_name_told_exists():
    told = set(re.findall(r"\bcoinr\.([a-z_A-Z]+)\(", TEXT)) | set(re.findall(r"`coinr\.([a-z_A-Z]+)`", TEXT))
    assert len(told) >= 10
    assert [name for name in sorted(told) if not hasattr(coinr, name)] == []


def test_every_command_and_option_told_exists():
    from coinr.cli import cli

    fenced = "".join(TEXT.split("```")[1::2])
    lines = re.findall(r"^coinr (\w+)(.*)", fenced, re.MULTILINE)
    assert {command for command, _ in lines} >= {"encode", "decode", "compare", "preview", "pack", "unpack", "info"}
    for command, rest in lines:
        known = {option for p in cli.get_command(None, command).params for option in p.opts}
        assert set(re.findall(r"(?<= )--?[a-z-]+", rest.partition("#")[0])) <= known
