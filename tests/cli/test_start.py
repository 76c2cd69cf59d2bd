"""The commands with starts: learning one, files relative to it, and each way of finding it."""

import json

import numpy as np
import pytest

import coinr
from tests.cli.command import fail, photo, run, succeed
from tests.small_signals import ball, siren
from tests.small_starts import near, start

LEARN = ("--width", 12, "--hidden-layers", 1, "--steps", 3, "--batch", 60, "--threads", 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of three photos and a text, one photo, a start, and a file that needs it."""
    place = tmp_path_factory.mktemp("starts")
    (place / "photos").mkdir()
    for k in range(3):
        coinr.write_image(place / "photos" / f"{k}.png", np.rot90(photo(), k).copy())
    (place / "photos" / "LICENSE").write_text("free\n")
    (place / "photos" / ".hidden").write_text("x")
    coinr.write_image(place / "one.png", photo())
    (place / "there").mkdir()
    start().save(place / "there" / "waves.start.coinr")
    height, width = photo().shape[:2]
    (place / "one.coinr").write_bytes(coinr.pack_image(near(start()), height, width, start=start(), tolerance=0.01))
    return place


@pytest.fixture(autouse=True)
def _no_starts(monkeypatch):
    monkeypatch.delenv("COINR_STARTS", raising=False)


def test_a_start_is_learned_used_and_found(folder, tmp_path):
    result = run("learn-start", folder / "photos", "-o", tmp_path / "mine.start.coinr", *LEARN)
    assert result.exit_code == 0, result.stderr
    assert (
        result.stderr
        == f"coinr: note: {folder / 'photos' / 'LICENSE'}: left out: its content is of no kind that can be read\n"
    )
    made = coinr.open_start(tmp_path / "mine.start.coinr")
    assert result.stdout == (
        f"{tmp_path / 'mine.start.coinr'}: {len(made.blob)} bytes, the start 'mine' ({made.short_hash}) of 3 signals\n"
    )
    encoded = succeed(
        "encode", folder / "one.png", "--start", tmp_path / "mine.start.coinr", "-o", tmp_path / "a.coinr",
        "--steps", 3, "--tolerance", 0.01, "--threads", 1,
    )  # fmt: skip
    assert encoded.startswith(f"start: 'mine' ({made.short_hash}), needed to decode\n{tmp_path / 'a.coinr'}: ")
    succeed("decode", tmp_path / "a.coinr", "-o", tmp_path / "a.png")  # the start lies beside it
    restored = coinr.open_file(tmp_path / "a.coinr", start=made).render()
    assert np.array_equal(coinr.read_image(tmp_path / "a.png"), restored)


def test_json_of_learning_and_of_encoding(folder, tmp_path):
    output = tmp_path / "b.start.coinr"
    said = json.loads(
        succeed("learn-start", folder / "one.png", folder / "photos" / "0.png", "-o", output, *LEARN,
                "--method", "joint", "--name", "two photos", "--json")
    )  # fmt: skip
    made = coinr.open_start(output)
    assert said.pop("seconds") >= 0
    assert said == {
        "file": str(output),
        "name": "two photos",
        "hash": made.hash,
        "bytes": len(made.blob),
        "signal": "image",
        "network": {"kind": "siren", **made.config},
        "method": "joint",
        "learned_steps": 0,
        "signals": 2,
        "notes": [],
    }
    encoded = json.loads(
        succeed("encode", folder / "one.png", "--start", output, "-o", tmp_path / "a.coinr", "--steps", 2, "--json",
                "--tolerance", 0.01)
    )  # fmt: skip
    assert encoded["start"] == {"name": "two photos", "hash": made.hash}
    assert encoded["needs_start"] is True
    assert encoded["steps"] == 2


def test_a_target_is_met_relative_to_the_start(folder, tmp_path):
    waves, out = folder / "there" / "waves.start.coinr", tmp_path / "a.coinr"
    command = ("encode", folder / "one.png", "--start", waves, "-o", out, "--steps", 3, "--threads", 1)
    said = json.loads(succeed(*command, "--target-bytes", 300, "--json"))
    assert said["bytes"] == out.stat().st_size <= 300
    assert said["start"] == {"name": "waves", "hash": start().hash}
    assert [step["step"] for step in said["report"]] == ["fit", "code differences", "code"]
    assert said["needs_start"] is True
    assert "out of reach" in fail(1, *command[:-4], "--steps", 1, "--min-psnr", 90)


def test_info_says_what_a_start_is_and_which_is_needed(folder):
    one = start()
    said = json.loads(succeed("info", folder / "there" / "waves.start.coinr", "--json"))
    expected = {"name": "waves", "hash": one.hash, "method": "maml", "signal": "image", "learned_steps": 2}
    assert said["start"] == expected
    assert said["network"] == {"kind": "siren", **one.config}
    assert f"start: name waves, hash {one.hash}, method maml, signal image, learned_steps 2\n" in succeed(
        "info", folder / "there" / "waves.start.coinr"
    )
    assert json.loads(succeed("info", folder / "one.coinr", "--json"))["start"] == {
        "needs": "waves",
        "hash": one.short_hash,
    }
    assert f"start: needs waves, hash {one.short_hash}\n" in succeed("info", folder / "one.coinr")


def test_info_of_files_whose_keys_mean_something_else(tmp_path):
    weights = siren(2, 3, 8).state_dict()
    coinr.save(tmp_path / "a.coinr", weights, meta={"start": "Monday", "base": [1, 2]})
    assert json.loads(succeed("info", tmp_path / "a.coinr", "--json"))["start"] is None
    coinr.save(tmp_path / "b.coinr", weights, meta={"start": {"name": "Monday"}})
    assert "does not name a start" in json.loads(succeed("info", tmp_path / "b.coinr", "--json"))["start"]["error"]


READERS = {
    "decode": lambda folder, out: ("decode", folder / "one.coinr", "-o", out / "a.png"),
    "decode by torch": lambda folder, out: ("decode", folder / "one.coinr", "-o", out / "b.png", "--device", "cpu"),
    "compare": lambda folder, out: ("compare", folder / "one.png", folder / "one.coinr"),
    "preview": lambda folder, out: ("preview", folder / "one.coinr", "-o", out / "c.png"),
    "verify": lambda folder, out: ("verify", folder / "one.coinr"),
    "unpack": lambda folder, out: ("unpack", folder / "one.coinr", "-o", out / "d.safetensors"),
    "unpack to torch": lambda folder, out: ("unpack", folder / "one.coinr", "-o", out / "d.pt"),
}


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_finds_the_start_or_says_which_is_missing(folder, tmp_path, monkeypatch, reader):
    command, one = READERS[reader](folder, tmp_path), start()
    missing = fail(1, *command)
    assert (
        f"one.coinr: needs the start 'waves' ({one.short_hash}), which is not beside the file, in COINR_STARTS"
        in missing
    )
    assert missing.endswith(": give it with --start\n")
    assert list(tmp_path.iterdir()) == []
    start(siren(2, 3, 9), "tides").save(tmp_path / "tides.start.coinr")
    wrong = fail(1, *command, "--start", tmp_path / "tides.start.coinr")
    assert f"needs the start 'waves' ({one.short_hash}), and the one given is 'tides' (" in wrong
    given = succeed(*command, "--start", folder / "there" / "waves.start.coinr")
    monkeypatch.setenv("COINR_STARTS", str(folder / "there"))
    assert succeed(*command) == given


def test_several_files_of_one_start(folder, tmp_path, monkeypatch):
    other = tmp_path / "two.coinr"
    other.write_bytes((folder / "one.coinr").read_bytes())
    named = ("--start", folder / "there" / "waves.start.coinr")
    assert succeed("verify", folder / "one.coinr", other, *named).count("intact") == 2
    succeed("unpack", folder / "one.coinr", other, "-o", tmp_path / "out", *named)
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_wrong_calls(folder, tmp_path):
    waves, photos, out = folder / "there" / "waves.start.coinr", folder / "photos", tmp_path / "a.start.coinr"
    assert "must end in .start.coinr" in fail(1, "learn-start", photos, "-o", tmp_path / "a.coinr")
    assert "name the output of several signals with -o" in fail(2, "learn-start", photos, folder / "one.png")
    assert "--method must be one of maml, reptile, joint" in fail(1, "learn-start", photos, "-o", out, "--method", "no")
    assert "--inner-steps is no option of --method 'joint'" in fail(
        1, "learn-start", photos, "-o", out, "--method", "joint", "--inner-steps", 3
    )
    (tmp_path / "empty").mkdir()
    assert "there is no signal in this folder" in fail(1, "learn-start", tmp_path / "empty", "-o", out)
    np.save(tmp_path / "v.npy", ball(8))
    assert "learn from one kind" in fail(1, "learn-start", folder / "one.png", tmp_path / "v.npy", "-o", out)
    assert "--grid is for meshes" in fail(2, "learn-start", folder / "one.png", "-o", out, "--grid", 9)
    text = photos / "LICENSE"
    assert "of no kind that can be read" in fail(1, "learn-start", text, "-o", out)
    for option in (("--width", 8), ("--network", "siren"), ("--target-bytes", 900, "--network", "siren")):
        assert "--start decides the network" in fail(
            2, "encode", folder / "one.png", "--start", waves, "-o", tmp_path / "a.coinr", *option
        )
    assert "the file holds no start" in fail(1, "decode", folder / "one.coinr", "--start", folder / "one.coinr")
    assert "the start 'waves' is for signals of kind image, not shape" in fail(
        1, "encode", tmp_path / "v.npy", "--start", waves, "-o", tmp_path / "a.coinr"
    )
    base = tmp_path / "base.npz"
    np.savez(base, **start().arrays)
    assert "give --base or --start, not both" in fail(
        2, "verify", folder / "one.coinr", "--base", base, "--start", waves
    )
    assert "intact" in succeed("verify", folder / "one.coinr", "--base", base)
    assert not list(tmp_path.glob("*.coinr"))


def test_an_output_that_is_not_named(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p").mkdir()
    coinr.write_image(tmp_path / "p" / "a.png", photo())
    succeed("learn-start", "p", *LEARN)
    assert coinr.open_start("p.start.coinr").name == "p"
    assert "exists already" in fail(1, "learn-start", "p", *LEARN)
