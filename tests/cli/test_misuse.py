"""Every command with wrong things: one line on stderr, exit code 1 or 2, nothing written, never a traceback."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import coinr
from tests.cli.command import QUICK, fail, run, succeed

#: Commands with a place for a file that they read, and what follows.
READERS = {
    "encode": ["encode", "FILE", "-o", "OUT.coinr"],
    "encode --start": ["encode", "PHOTO", "--start", "FILE", "-o", "OUT.coinr"],
    "learn-start": ["learn-start", "FILE", "-o", "OUT.start.coinr"],
    "decode": ["decode", "FILE", "-o", "OUT.png"],
    "decode --start": ["decode", "CODED", "--start", "FILE", "-o", "OUT.png"],
    "compare": ["compare", "PHOTO", "FILE", "-o", "OUT.png"],
    "compare original": ["compare", "FILE", "CODED", "-o", "OUT.png"],
    "preview": ["preview", "FILE", "-o", "OUT.png"],
    "pack": ["pack", "FILE", "-o", "OUT.coinr"],
    "pack --base": ["pack", "MODEL", "--base", "FILE", "-o", "OUT.coinr"],
    "unpack": ["unpack", "FILE", "-o", "OUT.pt"],
    "unpack --base": ["unpack", "RELATIVE", "--base", "FILE", "-o", "OUT.pt"],
    "info": ["info", "FILE"],
    "verify": ["verify", "FILE"],
    "verify --base": ["verify", "RELATIVE", "--base", "FILE"],
}

#: Files that no command takes.
WRONG = {
    "empty": b"",
    "one byte": b"P",
    "text": b"no such file\n",
    "noise": np.random.default_rng(0).bytes(5000),
    "zeros": bytes(3000),
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "page": b"<html><body>404</body></html>",
    "long text": b"v 0 0 0\n" * 9 + b"f 1 2 9\n",
    "json": b'{"frames": [{"file_path": 3}]}',
    "half a pickle": b"\x80\x02}q\x00X",
    "PNG alone": b"\x89PNG\r\n\x1a\n",
    "RIFF alone": b"RIFF\0\0\0\0WAVE",
    "coinr alone": b"\x8fCNR",
    "a later coinr": b"\x8fCNR\x09\0\0\0",
    "PLY alone": b"ply\nformat ascii 1.0\nelement vertex 9\nend_header\n",
    "half a zip": b"PK\x03\x04" + bytes(30),
}


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory):
    """Right files of every kind, wrong ones, and an empty folder for outputs."""
    folder = tmp_path_factory.mktemp("misuse")
    (folder / "out").mkdir()
    for name, data in WRONG.items():
        (folder / name).write_bytes(data)
    for name in ("photo.coinr", "model.coinr", "model.safetensors", "photo.png"):
        (folder / name).write_bytes((made / name).read_bytes())
    sound = np.sin(np.arange(600) / 9).astype(np.float32)
    coinr.write_audio(folder / "song.wav", sound, 8000)
    succeed("encode", folder / "song.wav", "-o", folder / "song.coinr", *QUICK)
    start = {"w": torch.randn(30, 30, generator=torch.Generator().manual_seed(0))}
    tuned = {"w": start["w"] + 0.001 * torch.eye(30)}
    coinr.save(folder / "relative.coinr", tuned, base=start)
    assert coinr.inspect((folder / "relative.coinr").read_bytes()).base is not None
    return folder


@pytest.fixture(autouse=True)
def _emptied(folder):
    yield
    for path in (folder / "out").iterdir():
        path.unlink()


def fill(folder, arguments, file):
    places = {
        "FILE": file,
        "PHOTO": folder / "photo.png",
        "CODED": folder / "photo.coinr",
        "MODEL": folder / "model.safetensors",
        "RELATIVE": folder / "relative.coinr",
    }
    return [
        folder / "out" / f"o{part.removeprefix('OUT')}" if part.startswith("OUT") else places.get(part, part)
        for part in arguments
    ]


@pytest.mark.parametrize("reader", READERS)
def test_files_of_no_kind_are_refused_by_every_command(folder, reader):
    for name in WRONG:
        message = fail(1, *fill(folder, READERS[reader], folder / name))
        assert str(folder / name) in message, message
        assert len(message) < 600
    for place in (folder / "none", folder / "out"):
        result = run(*fill(folder, READERS[reader], place))
        assert result.exit_code in (1, 2)
        assert "rror: " in result.stderr
        assert result.stderr.count("\n") == 1
    assert list((folder / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("reader", "wrong"),
    [
        *itertools.product(["decode", "preview", "compare"], ["model.coinr", "model.safetensors", "photo.png"]),
        *itertools.product(["pack", "pack --base"], ["photo.png", "photo.coinr", "song.wav"]),
        *itertools.product(["unpack", "info", "verify"], ["model.safetensors", "photo.png", "song.wav"]),
        *itertools.product(["encode", "compare original"], ["photo.coinr", "model.safetensors"]),
        ("compare", "song.coinr"),
        ("compare original", "song.wav"),
        ("unpack --base", "model.safetensors"),
        ("verify --base", "photo.png"),
    ],
)
def test_files_of_another_kind_are_refused(folder, reader, wrong):
    message = fail(1, *fill(folder, READERS[reader], folder / wrong))
    assert len(message) < 600
    assert list((folder / "out").iterdir()) == []


NUMBERS = ["-1", "0", "1e400", "nan", "inf", "99999999999999999999999", "x", "", "1.5", "½", "--", "0x10"]


def numbered():
    """Options that take numbers, each with a command that would work without it."""
    encode = ["encode", "PHOTO", "-o", "OUT.coinr", *QUICK[:4], "--steps", "1"]
    decode, pack = ["decode", "CODED", "-o", "OUT.png"], ["pack", "MODEL", "-o", "OUT.coinr", "--profile", "uniform"]
    for option in ("--width", "--hidden-layers", "--steps", "--batch", "--learning-rate", "--time-budget", "--target",
                   "--checkpoint-every", "--grid", "--samples", "--near", "--far", "--target-bpp", "--min-psnr",
                   "--threads", "--device", "--network", "--optimizer", "--backend"):  # fmt: skip
        yield [*encode, option]
    for option in (
        "--scale",
        "--size",
        "--crop",
        "--rate",
        "--grid",
        "--views",
        "--turntable",
        "--threads",
        "--device",
    ):
        yield [*decode, option]
    for option in ("--tolerance", "--target-bytes", "--target-bits", "--seed", "--seeds", "--threads", "--profile",
                   "--key", "--strip-prefix", "-O"):  # fmt: skip
        yield [*pack, option]


@pytest.mark.parametrize("command", list(numbered()), ids=lambda command: f"{command[0]} {command[-1]}")
def test_values_out_of_range_are_reported_on_one_line(folder, command):
    refused = 0
    for value in NUMBERS:
        if command[-1] == "--steps" and value.startswith("9"):
            continue  # a fit without end, as asked for
        result = run(*fill(folder, command, None), value)
        for path in (folder / "out").iterdir():
            assert result.exit_code == 0
            path.unlink()
        if result.exit_code:
            refused += 1
            assert result.exit_code in (1, 2), (value, result.exception)
            assert isinstance(result.exception, SystemExit), (value, result.exception)
            assert result.stderr.count("\n") == 1, (value, result.stderr)
            assert ": error: " in result.stderr
    assert refused >= 3


CONTRADICTIONS = [
    (["encode", "PHOTO", "-o", "OUT.coinr", "--target-bytes", "900", "--min-psnr", "30"], "exclude each other"),
    (["encode", "PHOTO", "-o", "OUT.coinr", "--target-bytes", "900", "--width", "9"], "decides --width"),
    (["encode", "PHOTO", "-o", "OUT.coinr", "--target-bytes", "900", "--tolerance", "0.1"], "decides --tolerance"),
    (["encode", "PHOTO", "-o", "OUT.coinr", "--refine"], "--refine needs a target"),
    (["encode", "PHOTO", "-o", "OUT.coinr", "--checkpoint-every", "3"], "--checkpoint-every needs --checkpoint"),
    (["encode", "PHOTO", "-o", "OUT.coinr", "--grid", "64"], "--grid is for meshes; this signal of kind image"),
    (["encode", "PHOTO", "-o", "OUT.coinr", "--samples", "8,8"], "--samples is for scenes"),
    (["encode", "PHOTO", "-o", "OUT.coinr", "--near", "1"], "--near is for scenes"),
    (["encode", "SONG", "-o", "OUT.coinr", "--min-psnr", "30"], "--min-psnr is for pictures and scenes"),
    (["decode", "CODED", "-o", "OUT.png", "--scale", "2", "--size", "3x3"], "not both"),
    (["decode", "CODED", "-o", "OUT.png", "--rate", "8000"], "--rate is not for"),
    (["decode", "CODED", "-o", "OUT.png", "--grid", "8"], "--grid is not for"),
    (["decode", "CODED", "-o", "OUT.png", "--views", "8"], "--views is not for"),
    (["pack", "MODEL", "-o", "OUT.coinr", "--target-bytes", "900", "--tolerance", "1"], "exclude each other"),
    (["pack", "MODEL", "-o", "OUT.coinr", "--target-bytes", "900", "--target-bits", "1"], "exclude each other"),
    (["pack", "MODEL", "-o", "OUT.coinr", "--base-key", "x"], "--base-key needs --base"),
    (["info", "CODED", "--backends"], "--backends alone"),
    (["info", "--json"], "give a FILE"),
]


@pytest.mark.parametrize(
    ("command", "words"), CONTRADICTIONS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_options_that_contradict_each_other_or_the_signal_are_wrong_usage(folder, command, words):
    filled = [folder / "song.wav" if part == "SONG" else part for part in fill(folder, command, None)]
    assert words in fail(2, *filled)
    assert list((folder / "out").iterdir()) == []


def test_volumes_have_a_grid_of_their_own(folder, tmp_path):
    np.save(tmp_path / "v.npy", np.indices((4, 4, 4)).sum(0) > 5)
    assert "--grid is for meshes" in fail(2, "encode", tmp_path / "v.npy", "-o", tmp_path / "v.coinr", "--grid", 9)


def test_what_the_system_refuses_is_reported_on_one_line(folder, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", "x")

    monkeypatch.setattr("coinr.files.reading.Path.read_bytes", refuse)
    monkeypatch.setattr("coinr.files.reading.Path.open", refuse)
    for reader in READERS.values():
        assert "Permission denied" in fail(1, *fill(folder, reader, folder / "photo.coinr"))


@pytest.mark.parametrize("arguments", [["info", "photo.coinr", "--json"], ["--help"], ["encode", "--help"]])
def test_a_reader_that_is_gone_ends_a_command_in_silence(folder, arguments):
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-m", "coinr", *arguments], stdout=writer, stderr=subprocess.PIPE, cwd=folder, check=False,
        env=os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(coinr.__file__))},
    )  # fmt: skip
    os.close(writer)
    assert result.stderr == b""
    assert result.returncode == 1
