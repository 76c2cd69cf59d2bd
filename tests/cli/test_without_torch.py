"""Commands that read run without torch, and show what torch shows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from safetensors.torch import load_file

import coinr
from coinr.networks import network_meta
from tests.small_signals import nerf, siren
from tests.small_starts import near, start

# Runs commands, one a line of JSON, in a process that cannot import torch; prints what each prints. The file of the
# last command is read by functions of the package, too.
COMMANDS = """
import importlib.abc, json, sys
from click.testing import CliRunner

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise AssertionError("torch is imported")

sys.meta_path.insert(0, Refuse())
from coinr.cli import cli

for line in sys.stdin:
    result = CliRunner().invoke(cli, json.loads(line))
    assert result.exit_code == 0, (line, result.stderr, result.exception)
    print(json.dumps(result.stdout))
import coinr
blob = open(json.loads(line)[1], "rb").read()
assert coinr.verify(blob).totals == coinr.inspect(blob).totals
assert coinr.read_meta(blob) == coinr.inspect(blob, limits=coinr.Limits(tensors=100)).meta
assert "torch" not in sys.modules
"""


def without_torch(*commands: list[object]) -> list[str]:
    """Return what each command prints."""
    lines = "".join(json.dumps([str(word) for word in command]) + "\n" for command in commands)
    done = subprocess.run([sys.executable, "-c", COMMANDS], input=lines, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A coinr file of each kind of signal, one of weights of all kinds of dtypes, and one of differences to another."""
    folder = tmp_path_factory.mktemp("files")
    crossing = siren(3, 1, 24)
    torch.nn.init.zeros_(crossing.layers[-1].bias)  # so that there is a surface
    signals = {
        "image": (siren(2, 3, 24), {"image": [40, 56]}),
        "deep": (siren(2, 4, 24), {"image": [20, 30, 16]}),
        "wire": (coinr.Wire(2, 1, 8, 1, generator=torch.Generator().manual_seed(0)), {"image": [20, 20]}),
        "audio": (siren(1, 2, 24), {"audio": [3000, 8000]}),
        "shape": (crossing, {"shape": [14, 12, 10], "sdf": 2.5}),
        "scene": (nerf(), {"scene": [8, 8, 10.0, 1.0, 4.0, 4, 4, 2.0, 10.0]}),
    }
    for name, (network, meta) in signals.items():
        state = {key: value.detach() for key, value in network.state_dict().items()}
        blob = coinr.encode_state_dict(state, meta={**meta, **network_meta(network)})
        (folder / f"{name}.coinr").write_bytes(blob)
    weights = {
        "a": torch.randn(9, 7, generator=torch.Generator().manual_seed(0)),
        "half": torch.randn(20, 20).half(),
        "count": torch.arange(5),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5),
    }
    (folder / "weights.coinr").write_bytes(coinr.encode_state_dict(weights, seed=1))
    rare = {"b": torch.randn(30, 30).bfloat16(), "e": torch.randn(40).to(torch.float8_e5m2), "tied": weights["a"]}
    (folder / "rare.coinr").write_bytes(coinr.encode_state_dict(rare, lossless=["tied"]))
    np.savez(folder / "base.npz", a=weights["a"].numpy())
    moved = {"a": weights["a"] + 1e-3 * torch.randn(9, 7)}
    (folder / "moved.coinr").write_bytes(coinr.encode_state_dict(moved, base={"a": weights["a"]}))
    begin = start()
    (folder / "starts").mkdir()
    begin.save(folder / "starts" / "waves.start.coinr")
    (folder / "relative").mkdir()
    blob = coinr.pack_image(near(begin), 20, 30, start=begin, tolerance=0.01)
    (folder / "relative" / "picture.coinr").write_bytes(blob)
    return folder


def test_info_verify_and_unpack(files, tmp_path):
    names = sorted(path.stem for path in files.glob("*.coinr") if path.stem != "moved")
    printed = without_torch(
        *(["info", files / f"{name}.coinr", "--json"] for name in names),
        ["verify", *(files / f"{name}.coinr" for name in names)],
        ["verify", files / "moved.coinr", "--base", files / "base.npz"],
        ["unpack", files / "moved.coinr", "-o", tmp_path / "m.safetensors", "--base", files / "base.npz"],
        ["unpack", files / "weights.coinr", "-o", tmp_path / "w.npz"],
        ["unpack", files / "rare.coinr", "-o", tmp_path / "r.safetensors"],
    )
    described = {name: json.loads(text) for name, text in zip(names, printed, strict=False)}
    assert described["image"]["signal"] == "image 40 x 56, 3 channels of 8 bits"
    assert described["scene"]["network"] == {"kind": "nerf", **nerf().config}
    assert described["wire"]["network"]["omega"] == 20.0
    assert described["rare"]["network"] is None
    weights = coinr.load(files / "weights.coinr")
    with np.load(tmp_path / "w.npz") as arrays:
        assert all(np.array_equal(arrays[name], tensor.numpy()) for name, tensor in weights.items())
        assert sorted(arrays.files) == sorted(weights)
    for name, base in (("r", None), ("m", dict(np.load(files / "base.npz")))):
        source = {"r": "rare", "m": "moved"}[name]
        expected, found = coinr.load(files / f"{source}.coinr", base=base), load_file(tmp_path / f"{name}.safetensors")
        for key, tensor in expected.items():
            assert found[key].dtype == tensor.dtype
            assert torch.equal(found[key].reshape(-1).view(torch.uint8), tensor.reshape(-1).view(torch.uint8))


def test_signals_are_rendered_as_by_torch(files, tmp_path, monkeypatch):
    monkeypatch.setattr("coinr.networks.network.fused", lambda network: None)  # by torch's own operations
    without_torch(
        ["decode", files / "image.coinr", "-o", tmp_path / "image.png"],
        ["decode", files / "image.coinr", "-o", tmp_path / "part.png", "--scale", 3, "--crop", "10,20,30,40"],
        ["decode", files / "deep.coinr", "-o", tmp_path / "deep.png"],
        ["decode", files / "wire.coinr", "-o", tmp_path / "wire.bmp", "--threads", 1],
        ["decode", files / "audio.coinr", "-o", tmp_path / "audio.wav", "--rate", 9000],
        ["decode", files / "shape.coinr", "-o", tmp_path / "shape.npy"],
    )
    image, wire = (coinr.open_file(files / f"{name}.coinr") for name in ("image", "wire"))
    crop = image.render(120, 168, crop=(10, 20, 30, 40))
    for name, expected in (("image.png", image.render()), ("part.png", crop), ("wire.bmp", wire.render())):
        shown = np.asarray(Image.open(tmp_path / name))
        assert shown.shape == expected.shape
        assert np.ptp(shown) > 20
        _within_a_level(shown, expected)
    deep = coinr.read_image(tmp_path / "deep.png")
    _within_a_level(deep, coinr.open_file(files / "deep.coinr").render(), 16)
    sound, rate = soundfile.read(tmp_path / "audio.wav", dtype="int16")
    assert rate == 9000
    rendered = coinr.open_file(files / "audio.coinr").render(9000)
    _within_a_level(sound, np.rint(rendered.astype(np.float64) * 32768).clip(-32768, 32767), 16)
    shape = coinr.open_file(files / "shape.coinr")
    field = np.load(tmp_path / "shape.npy")
    assert field.dtype == np.float32
    assert np.abs(field - shape.render()).max() < 1e-5 * np.abs(field).max()


def test_files_relative_to_a_start(files, tmp_path):
    relative, begin = files / "relative" / "picture.coinr", files / "starts" / "waves.start.coinr"
    printed = without_torch(
        ["info", begin, "--json"],
        ["info", relative, "--json"],
        ["decode", relative, "-o", tmp_path / "a.png", "--start", begin],
        ["verify", relative, "--start", begin],
        ["unpack", relative, "-o", tmp_path / "a.npz", "--start", begin],
        ["info", files / "image.coinr"],
    )
    assert json.loads(printed[0])["start"]["hash"].startswith(json.loads(printed[1])["start"]["hash"])
    expected = coinr.open_file(relative, start=coinr.open_start(begin))
    _within_a_level(np.asarray(Image.open(tmp_path / "a.png")), expected.render())
    with np.load(tmp_path / "a.npz") as arrays:
        assert all(np.array_equal(arrays[k], t.numpy()) for k, t in expected.network.state_dict().items())


@pytest.mark.slow
def test_surfaces_are_made_without_torch(files, tmp_path):
    without_torch(["decode", files / "shape.coinr", "-o", tmp_path / "mesh.ply", "--grid", 9])
    assert (tmp_path / "mesh.ply").read_bytes()[:3] == b"ply"


def _within_a_level(shown: np.ndarray, expected: np.ndarray, bits: int = 8) -> None:
    """Values differ by one level at most, and only where rounding turns; more often with 16 bits."""
    difference = np.abs(shown.astype(np.int64) - expected.astype(np.int64))
    assert difference.max() <= 1
    assert (difference > 0).mean() < (0.001 if bits == 8 else 0.2)
