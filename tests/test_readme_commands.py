"""Every command line of README and docs runs as it stands, on small files that are made here."""

import glob
import json
import math
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import coinr
from coinr.meta.options import METHODS
from coinr.signals.signal import Recipe
from tests.cli.command import run
from tests.documents import PAGES, fenced
from tests.small_signals import RATE, disc_views, tones

#: What is not run: it installs, or is a run of the tests or the demo, which have tests of their own.
NOT_RUN = ("pip install ", "make ")

#: What is run.
RUN = "coinr "

#: Training in place of that which suits a signal, which takes minutes.
QUICK = {"batch": 256, "learning_rate": 3e-3}


def blocks():
    """Fenced blocks of commands."""
    return [block for page in PAGES for block in fenced(page)]


def lines():
    """Their lines without comments, but for those that go on a comment."""
    stripped = (line.partition("#")[0].strip() for block in blocks() for line in block.splitlines())
    return [line for line in stripped if line]


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setenv("COINR_THREADS", "1")  # one process for many files: each takes a second to start
    for kind, network in (("Image", "siren"), ("Audio", "siren"), ("Shape", "siren"), ("Scene", "nerf")):
        steps = {"Image": 40, "Shape": 100}.get(kind, 8)
        recipe = Recipe(network, width=12, hidden_layers=1, steps=steps, budget_steps=steps, **QUICK)
        monkeypatch.setattr(getattr(coinr, f"{kind}Signal"), "recipe", recipe)

    for options in METHODS.values():
        monkeypatch.setitem(options, "steps", 2)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with what the commands read."""
    monkeypatch.chdir(tmp_path)
    rows, columns = np.mgrid[:64, :80]
    coinr.write_image("photo.png", np.stack((100 + rows // 4, 110 + columns // 5, 120 + 0 * rows), -1).astype(np.uint8))
    coinr.write_audio("song.wav", tones(), RATE)
    trimesh = pytest.importorskip("trimesh")
    trimesh.creation.box((50, 1, 1)).export("statue.ply")
    np.savez("volume.npz", occupancy=np.linalg.norm(np.indices((9, 9, 9)) - 4, axis=0) < 3)
    views, poses = disc_views([0, 60, 120, 180, 240, 300], 6)
    Path("lego").mkdir()
    frames = []
    for k, (view, pose) in enumerate(zip(views, poses, strict=True)):
        coinr.write_image(f"lego/{k}.png", view)
        whole = np.vstack((pose, [0, 0, 0, 1])) if len(pose) == 3 else pose
        frames.append({"file_path": f"{k}.png", "transform_matrix": whole.tolist()})
    angle = 2 * math.atan(0.5 / 1.2)
    Path("lego/transforms.json").write_text(json.dumps({"camera_angle_x": angle, "frames": frames}))
    save_file({"w": torch.randn(20, 20), "b": torch.randn(20)}, "model.safetensors")
    torch.save({"w": torch.randn(4, 4)}, "a.pt")
    save_file({"w": torch.randn(4, 4)}, "b.safetensors")
    Path("photos").mkdir()
    for k in range(2):
        coinr.write_image(f"photos/{k}.png", np.full((8, 9, 3), 90 * k, np.uint8))
    return tmp_path


def commands():
    """The command lines, each once, and whether it names a size or a quality, for which many networks are tried."""
    split = (shlex.split(line) for line in dict.fromkeys(lines()) if not line.startswith(NOT_RUN))
    return [(words[1:], any(word.startswith(("--target-", "--min-")) for word in words)) for words in split]


def succeeds(arguments):
    result = run(*(path for word in arguments for path in (sorted(glob.glob(word)) if "*" in word else [word])))
    assert result.exit_code == 0, (arguments, result.stderr)
    if "-o" in arguments:
        assert Path(arguments[arguments.index("-o") + 1]).stat().st_size > 0


def test_every_command_runs(files, quick):
    ran = [arguments for arguments, budget in commands() if not budget]
    made = ["learn-start", "encode", "pack"]  # what others read
    for arguments in sorted(ran, key=lambda arguments: (*made, arguments[0]).index(arguments[0])):
        succeeds(arguments)
    assert {arguments[0] for arguments in ran} == {
        "encode", "learn-start", "decode", "compare", "preview", "pack", "unpack", "info", "verify"
    }  # fmt: skip


@pytest.mark.slow
def test_every_command_with_a_budget_runs(files, quick):
    ran = [arguments for arguments, budget in commands() if budget]
    for arguments in ran:
        succeeds(arguments)
    assert len(ran) >= 3


def test_every_line_is_run_or_named_above():
    known = (*NOT_RUN, RUN)
    for block in blocks():
        for line in block.splitlines():
            assert line.startswith(known) or not line.partition("#")[0].strip(), line
