"""What the command line says of bad input, and that it leaves nothing behind."""

import os
import signal
import sys

import numpy as np
import pytest
import torch

import coinr
from coinr import cli
from tests.cli.command import QUICK, fail, run, succeed


def _bad_inputs(made, folder):
    """Commands that must fail with exit code 1, and what their message says."""
    (folder / "text.png").write_text("no picture")
    (folder / "empty.png").touch()
    (folder / "cut.png").write_bytes((made / "photo.png").read_bytes()[:-3000])
    (folder / "text.coinr").write_text("no coinr file")
    (folder / "empty.coinr").touch()
    (folder / "cut.coinr").write_bytes((made / "photo.coinr").read_bytes()[:-100])
    torch.save({"w": torch.nn.Linear(2, 2)}, folder / "pickle.pt")
    torch.save([torch.zeros(2)], folder / "list.pt")
    torch.save({"epoch": 3, "model": {"w": torch.zeros(2)}}, folder / "nested.pt")
    for suffix in ("pt", "npz", "safetensors"):
        (folder / f"text.{suffix}").write_text("no weights")
        (folder / f"empty.{suffix}").touch()
    np.savez(folder / "objects.npz", a=np.array([{}], dtype=object))
    (folder / "weights.txt").write_text("1 2 3")
    (folder / "folder.coinr").mkdir()
    a, png, model = folder / "a.coinr", made / "photo.png", folder / "a.safetensors"
    good = made / "photo.coinr"
    yield ["encode", folder / "text.png", "-o", a], "not an image"
    yield ["encode", folder / "empty.png", "-o", a], "the file is empty"
    yield ["encode", folder / "cut.png", "-o", a], "truncated"
    yield ["encode", folder, "-o", a], "transforms.json"
    yield ["encode", png, "-o", a, "--network", "nerf"], "nerf"
    yield ["encode", png, "-o", a, "--network", "mlp"], "mlp"
    yield ["encode", png, "-o", a, "--optimizer", "magic"], "magic"
    yield ["compare", png, folder / "text.coinr"], ""
    yield ["compare", png, good, "-o", folder / "a.txt"], "must end in .png"
    yield ["compare", folder / "cut.png", good], "truncated"
    yield ["preview", made / "model.coinr", "-o", folder / "a.png"], "unpack"
    yield ["preview", good, "-o", folder / "a"], "must end in .png"
    yield ["encode", png, "-o", folder / "a.png"], "must end in .coinr"
    yield ["encode", png, "-o", folder / "no" / "a.coinr"], "does not exist"
    yield ["encode", png, "-o", folder / "folder.coinr"], "is a directory"
    yield ["encode", png, "-o", a, "--device", "tpu9"], "cannot be used"
    yield ["encode", png, "-o", a, *QUICK, "--profile", "no"], "'no'"
    yield ["encode", png, "-o", a, *QUICK, "-O", "colour=3"], "colour"
    yield ["encode", png, "-o", a, *QUICK, "--backend", "no"], "'no'"
    yield ["decode", folder / "text.coinr", "-o", folder / "a.png"], ""
    yield ["decode", folder / "empty.coinr", "-o", folder / "a.png"], ""
    yield ["decode", folder / "cut.coinr", "-o", folder / "a.png"], "cut.coinr: truncated"
    yield ["decode", made / "model.coinr", "-o", folder / "a.png"], "unpack"
    yield ["decode", good, "-o", folder / "a.gif"], "must end in .png"
    yield ["decode", good, "-o", folder / "a.png", "--crop", "0,0,1,76"], "crop"
    yield ["decode", good, "-o", folder / "a.png", "--size", "0x4"], "height and width"
    yield ["decode", good, "-o", folder / "a.png", "--size", "99999x99999"], "crops"
    yield ["decode", good, "-o", folder / "a.png", "--scale", "1e8"], "height and width"
    yield ["decode", good, "-o", folder / "a.png", "--device", "tpu9"], "cannot be used"
    yield ["pack", folder / "pickle.pt", "-o", a], "not safe"
    yield ["pack", folder / "list.pt", "-o", a], "list"
    yield ["pack", folder / "nested.pt", "-o", a], "give --key model (1 tensor)"
    yield ["pack", folder / "objects.npz", "-o", a], ""
    yield ["pack", folder / "weights.txt", "-o", a], ".safetensors"
    for kind in ("text", "empty"):
        for suffix in ("pt", "npz", "safetensors"):
            yield ["pack", folder / f"{kind}.{suffix}", "-o", a], f"{kind}.{suffix}"
    yield ["unpack", folder / "text.coinr", "-o", model], ""
    yield ["unpack", folder / "cut.coinr", "-o", model], ""
    yield ["unpack", good, "-o", folder / "a.onnx"], "must end in .safetensors"
    yield ["info", folder / "text.coinr"], ""
    yield ["verify", folder / "cut.coinr"], ""


def test_bad_input_is_reported_on_one_line_and_leaves_nothing(made, out):
    for arguments, message in _bad_inputs(made, out):
        before = sorted(out.iterdir())
        assert message in fail(1, *arguments), arguments
        assert sorted(out.iterdir()) == before, arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["encode", "PHOTO", "FILE"], "several signals need a folder"),
        (["encode", "no.png", "-o", "a.coinr"], "no.png"),
        (["encode", "PHOTO", "-o", "a.coinr", "--samples", "3"], "COARSE,FINE"),
        (["encode", "PHOTO", "-o", "a.coinr", "--width", "0"], "--width"),
        (["encode", "PHOTO", "-o", "a.coinr", "--steps", "many"], "many"),
        (["encode", "PHOTO", "-o", "a.coinr", "--seed", "-1"], "--seed"),
        (["encode", "PHOTO", "-o", "a.coinr", "-O", "bits"], "KEY=VALUE"),
        (["encode", "PHOTO", "-o", "a.coinr", "-O", "seed=4"], "seed"),
        (["encode", "PHOTO", "-o", "a.coinr", "--tolerance", "-1"], "--tolerance"),
        (["decode", "FILE", "-o", "a.png", "--scale", "2", "--size", "3x4"], "not both"),
        (["decode", "FILE", "-o", "a.png", "--size", "3"], "HxW"),
        (["decode", "FILE", "-o", "a.png", "--size", "-3x4"], "HxW"),
        (["decode", "FILE", "-o", "a.png", "--crop", "1,2,3"], "Y,X,H,W"),
        (["decode", "FILE", "-o", "a.png", "--scale", "0"], "--scale"),
        (["decode", "FILE", "-o", "a.png", "--scale", "inf"], "scale"),
        (["decode", "FILE", "-o", "a.png", "--scale", "nan"], "scale"),
        (["decode", "FILE", "-o", "a.png", "--rate", "8000"], "--rate is not for a file of kind image"),
        (["decode", "FILE", "-o", "a.png", "--depth"], "--depth is not for"),
        (["info", "FILE", "--backends"], "--backends alone"),
        (["info", "--json"], "give a FILE"),
        (["nothing"], "nothing"),
        (["verify", "--fast", "FILE"], "--fast"),
    ],
    ids=lambda value: " ".join(value[:1] + value[2:]) if isinstance(value, list) else None,
)
def test_wrong_usage_is_reported_on_one_line(made, out, monkeypatch, arguments, message):
    monkeypatch.chdir(out)
    names = {"PHOTO": made / "photo.png", "FILE": made / "photo.coinr"}
    assert message in fail(2, *(names.get(argument, argument) for argument in arguments))
    assert list(out.iterdir()) == []


def test_an_existing_output_survives_a_failure(made, out):
    (out / "a.coinr").write_bytes(b"precious")
    fail(1, "encode", made / "photo.png", "-o", out / "a.coinr", *QUICK, "--backend", "no")
    assert [(path.name, path.read_bytes()) for path in out.iterdir()] == [("a.coinr", b"precious")]
    succeed("encode", made / "photo.png", "-o", out / "a.coinr", *QUICK)
    assert coinr.verify((out / "a.coinr").read_bytes())


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(28, "No space left on device"), 1, "No space left on device"),
        (PermissionError(13, "Permission denied", "x.png"), 1, "Permission denied: x.png"),
        (MemoryError(), 1, "not enough memory"),
        (coinr.FormatError("two\nlines"), 1, "two lines"),
    ],
    ids=["disk full", "permission", "memory", "newline"],
)
def test_failures_while_writing_leave_nothing(made, out, monkeypatch, error, code, message):
    def refuse(*_):
        raise error

    monkeypatch.setattr(os, "fsync", refuse)
    for arguments in (
        ["decode", made / "photo.coinr", "-o", out / "a.png"],
        ["pack", made / "model.safetensors", "-o", out / "a.coinr", "--profile", "uniform"],
        ["unpack", made / "model.coinr", "-o", out / "a.pt"],
        ["encode", made / "photo.png", "-o", out / "a.coinr", *QUICK],
    ):
        assert message in fail(code, *arguments)
        assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "source", "to"),
    [
        ("decode", "photo.coinr", "a.png"),
        ("preview", "photo.coinr", "a.png"),
        ("pack", "model.safetensors", "a.coinr"),
        ("unpack", "model.coinr", "a.pt"),
        ("encode", "photo.png", "a.coinr"),
    ],
)
def test_an_interruption_is_reported_on_one_line_and_leaves_nothing(made, out, monkeypatch, command, source, to):
    monkeypatch.setattr(os, "fsync", lambda _: signal.raise_signal(signal.SIGINT))
    # processes in the background of a shell begin with the signal ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = run(command, made / source, "-o", out / to, *(QUICK if command == "encode" else ()))
    finally:
        signal.signal(signal.SIGINT, before)
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "coinr: interrupted\n")
    assert list(out.iterdir()) == []


def test_an_interrupted_process_waits_for_no_thread(monkeypatch):
    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)
    for code in (1, 130):
        monkeypatch.setattr(cli.cli, "main", lambda code=code, **_: sys.exit(code))
        with pytest.raises(SystemExit) as raised:
            cli.main()
        assert raised.value.code == code
    assert ended == [130]
