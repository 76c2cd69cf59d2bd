"""Where commands write: names by default, checks before any work, outputs that are inputs too."""

import json
import os
import shutil

import numpy as np
import pytest
import torch

import coinr
from coinr import fitting
from coinr.cli import options
from coinr.codec import state_dict_file
from tests.cli.command import QUICK, fail, run, succeed


@pytest.fixture
def copies(made, tmp_path):
    """The files of the command line's tests, in a folder of their own."""
    for path in made.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_output_that_is_not_named_lies_beside_the_source(copies, monkeypatch):
    monkeypatch.chdir(copies)
    expected = (copies / "photo.coinr").read_bytes()
    os.remove("photo.coinr")
    assert succeed("encode", "photo.png", *QUICK).startswith("photo.coinr: ")
    assert (copies / "photo.coinr").read_bytes() == expected
    os.remove("photo.png")
    printed = succeed("decode", copies / "photo.coinr")
    assert printed == f"{copies / 'photo.png'}: {os.path.getsize('photo.png')} bytes\n"
    assert coinr.read_image("photo.png").shape == (50, 75, 3)
    assert succeed("preview", "photo.coinr") == f"photo.sheet.png: {os.path.getsize('photo.sheet.png')} bytes\n"
    os.remove("model.safetensors")
    printed = succeed("unpack", "model.coinr")
    assert printed == f"model.safetensors: {os.path.getsize('model.safetensors')} bytes\n"
    os.remove("model.safetensors")
    report = json.loads(succeed("unpack", "model.coinr", "--json"))
    assert report == {"file": "model.safetensors", "bytes": os.path.getsize("model.safetensors"), "tensors": 3}
    os.remove("model.coinr")
    succeed("pack", "model.safetensors", "--profile", "uniform")
    assert names(copies) == sorted(
        ["model.coinr", "model.safetensors", "photo.coinr", "photo.png", "photo.sheet.png", "report.json"]
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["encode", "photo.png"],
        ["decode", "photo.coinr"],
        ["pack", "model.safetensors"],
        ["unpack", "model.coinr"],
    ],
)
def test_only_an_output_that_is_named_is_written_over(copies, monkeypatch, arguments):
    monkeypatch.chdir(copies)
    before = {path.name: path.read_bytes() for path in copies.iterdir()}
    assert "exists already" in fail(1, *arguments)
    assert {path.name: path.read_bytes() for path in copies.iterdir()} == before


def test_the_default_of_other_kinds(tmp_path):
    sound = np.sin(np.arange(900) / 9).astype(np.float32)
    coinr.write_audio(tmp_path / "song.wav", sound, 8000)
    succeed("encode", tmp_path / "song.wav", *QUICK)
    os.remove(tmp_path / "song.wav")
    succeed("decode", tmp_path / "song.coinr")
    assert coinr.read_audio(tmp_path / "song.wav")[1] == 8000
    ball = (np.linalg.norm(np.indices((8, 8, 8)) - 3.5, axis=0) < 3).astype(np.float32)
    np.save(tmp_path / "ball.npy", ball)
    succeed("encode", tmp_path / "ball.npy", *QUICK[:-4], "--steps", "150")
    succeed("decode", tmp_path / "ball.coinr")
    assert (tmp_path / "ball.ply").read_bytes().startswith(b"ply")


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "photo.png", "photo.coinr", "-o", "photo.png"],
        ["compare", "photo.png", "photo.coinr", "-o", "link.png"],
        ["preview", "picture.png", "-o", "picture.png"],
        ["decode", "picture.png", "-o", "picture.png"],
        ["encode", "photo.png", "-o", "a.coinr", "--checkpoint", "a.coinr"],
        ["encode", "photo.png", "-o", "a.coinr", "--checkpoint", "photo.png"],
        ["pack", "start.coinr", "-o", "start.coinr"],
        ["pack", "model.safetensors", "-o", "start.coinr", "--base", "start.coinr"],
        ["unpack", "model.coinr", "-o", "model.safetensors", "--base", "model.safetensors"],
    ],
    ids=" ".join,
)
def test_an_output_is_no_input(copies, monkeypatch, arguments):
    monkeypatch.chdir(copies)
    (copies / "link.png").symlink_to("photo.png")
    shutil.copy("photo.coinr", "picture.png")
    shutil.copy("model.safetensors", "start.coinr")
    before = {path.name: path.read_bytes() for path in copies.iterdir()}
    assert "is an input of this command too" in fail(1, *arguments)
    assert {path.name: path.read_bytes() for path in copies.iterdir()} == before


@pytest.mark.parametrize("option", ["-o", "--checkpoint"])
def test_what_cannot_be_written_is_reported_before_the_fit(copies, monkeypatch, option):
    def fitted(*_, **__):
        raise AssertionError("the fit began")

    monkeypatch.setattr(fitting, "fit", fitted)
    (copies / "loop.coinr").symlink_to("loop.coinr")
    others = [] if option == "-o" else ["-o", copies / "a.coinr"]
    for path, words in (
        (copies / "loop.coinr", "Too many"),
        (copies / "no" / "a.coinr", "does not exist"),
        (copies / ("a" * 300 + ".coinr"), "longer than the file system allows"),
    ):
        assert words in fail(1, "encode", copies / "photo.png", *others, option, path)
    monkeypatch.setattr(os, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied", "x")))
    assert "Permission denied" in fail(1, "encode", copies / "photo.png", "-o", copies / "a.coinr")


def test_a_device_may_stand_behind_an_output(copies):
    (copies / "null.coinr").symlink_to("/dev/null")
    succeed("pack", copies / "model.safetensors", "-o", copies / "null.coinr", "--profile", "uniform")
    assert (copies / "null.coinr").is_symlink()
    assert (copies / "null.coinr").stat().st_size == 0


@pytest.mark.parametrize("command", ["decode", "compare", "preview"])
def test_threads_are_limited_while_a_command_runs(copies, monkeypatch, command):
    seen = []
    read = state_dict_file.open_source

    def watched(*arguments):
        seen.append((torch.get_num_threads(), os.environ.get("COINR_THREADS")))
        return read(*arguments)

    monkeypatch.setattr(state_dict_file, "open_source", watched)
    monkeypatch.setenv("COINR_THREADS", "7")
    before = torch.get_num_threads()
    original = [copies / "photo.png"] if command == "compare" else []
    for threads in (3, None):
        extra = [] if threads is None else ["--threads", threads]
        succeed(command, *original, copies / "photo.coinr", "-o", copies / "out.png", *extra)
        assert seen.pop() == ((3, "3") if threads else (before, "7"))
        assert (torch.get_num_threads(), os.environ["COINR_THREADS"]) == (before, "7")
    assert "--threads" in fail(2, command, *original, copies / "photo.coinr", "-o", copies / "b.png", "--threads", 0)
    assert "--nothing" in fail(2, command, copies / "photo.coinr", "--threads", 3, "--nothing")
    assert (torch.get_num_threads(), os.environ["COINR_THREADS"]) == (before, "7")


def test_json_has_no_infinities_and_no_nan(capsys):
    options.echo_json({"a": [float("nan"), float("inf"), (1.5, -float("inf"))]})
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {"a": [None, None, [1.5, None]]}


def test_an_unreadable_file_and_standard_input_are_reported(copies):
    for command in ("info", "verify", "decode", "unpack", "pack", "encode", "preview"):
        for path in ("-", copies / "none.coinr", copies if command != "encode" else ""):
            assert run(command, path).exit_code == 2
            assert str(path) in fail(2, command, path)
