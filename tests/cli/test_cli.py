import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import coinr
from coinr import cli
from coinr.cli import _Commands
from coinr.files import state_dicts
from tests.cli import command as made_by
from tests.cli.command import QUICK, fail, run, succeed

COMMANDS = ("encode", "learn-start", "decode", "compare", "preview", "pack", "unpack", "info", "verify")


@pytest.fixture(scope="module")
def photo():
    return made_by.photo()


@pytest.fixture(scope="module")
def state_dict():
    return made_by.state_dict()


def test_encode_reports_what_the_file_gives(made, photo):
    report = json.loads((made / "report.json").read_text())
    blob = (made / "photo.coinr").read_bytes()
    assert report["signal"] == "image 50 x 75, 3 channels of 8 bits"
    assert report["bytes"] == len(blob)
    assert report["bits_per_pixel"] == pytest.approx(8 * len(blob) / photo[..., 0].size)
    assert report["psnr"] == pytest.approx(coinr.psnr(photo, coinr.open_file(blob).render()), abs=1e-5)
    assert report["psnr_before_coding"] == pytest.approx(report["psnr"], abs=0.05)


def test_encode_prints_one_line(made, out):
    line = succeed("encode", made / "photo.png", "-o", out / "a.coinr", *QUICK)
    assert (out / "a.coinr").read_bytes() == (made / "photo.coinr").read_bytes(), "the same command, the same file"
    assert re.fullmatch(
        r"\S+a\.coinr: \d+ bytes, \d+\.\d{3} bits per pixel, PSNR [\d.]+ dB \([\d.]+ dB before coding\)\n", line
    )


def test_encode_by_the_profile_of_the_paper(made, out):
    succeed(
        "encode",
        made / "photo.png",
        "-o",
        out / "a.coinr",
        "--width",
        64,
        "--hidden-layers",
        1,
        "--steps",
        5,
        "--profile",
        "paper",
        "-O",
        "M=1024",
    )
    coders = {row["coder"] for row in coinr.inspect((out / "a.coinr").read_bytes()).tensors}
    assert "dictionary" in coders


def test_encode_takes_its_options(made, out):
    base = ["encode", made / "photo.png", "-o", out / "a.coinr", *QUICK]
    before = (made / "photo.coinr").read_bytes()
    changes = (["--seed", 1], ["-O", "bits=9"], ["--batch", 100], ["--learning-rate", 3e-3], ["--tolerance", 1e-5],
               ["--lossless", "*.bias"])  # fmt: skip
    for change in changes:
        succeed(*base, *change)
        assert (out / "a.coinr").read_bytes() != before, change
    succeed(*base, "--threads", 1, "--device", "cpu")
    assert (out / "a.coinr").read_bytes() == before
    succeed(*base, "--time-budget", 0.05, "--steps", 10**9)


def test_image_metadata_is_small(made):
    blob = (made / "photo.coinr").read_bytes()
    assert coinr.read_meta(blob) == {"image": [50, 75], "siren": 30}


def test_grey_pictures(out, photo):
    coinr.write_image(out / "grey.png", photo[..., 0])
    succeed("encode", out / "grey.png", "-o", out / "a.coinr", *QUICK)
    succeed("decode", out / "a.coinr", "-o", out / "back.png")
    assert coinr.read_image(out / "back.png").shape == (50, 75)


@pytest.mark.parametrize(
    ("arguments", "size", "crop"),
    [
        ([], (50, 75), None),
        (["--scale", "2"], (100, 150), None),
        (["--scale", "0.1"], (5, 8), None),
        (["--scale", "1e-9"], (1, 1), None),
        (["--size", "33x21"], (33, 21), None),
        (["--size", "33X21"], (33, 21), None),
        (["--scale", "3", "--crop", "10,20,40,30"], (150, 225), (10, 20, 40, 30)),
        (["--size", "1000000x1000000", "--crop", "5,6,7,8"], (10**6, 10**6), (5, 6, 7, 8)),
    ],
)
def test_decode_renders_at_any_size(made, out, arguments, size, crop):
    text = succeed("decode", made / "photo.coinr", "-o", out / "a.png", *arguments, "--json")
    image = coinr.read_image(out / "a.png")
    expected = coinr.open_file((made / "photo.coinr").read_bytes()).render(*size, crop=crop)
    assert np.array_equal(image, expected)
    height, width = expected.shape[:2]
    assert json.loads(text) == {"file": str(out / "a.png"), "height": height, "width": width, "of": list(size)}


def test_sizes_and_crops_have_rows_first(made, out):
    succeed("decode", made / "photo.coinr", "-o", out / "whole.png", "--size", "40x90")
    succeed("decode", made / "photo.coinr", "-o", out / "part.png", "--size", "40x90", "--crop", "3,50,30,20")
    whole, part = coinr.read_image(out / "whole.png"), coinr.read_image(out / "part.png")
    assert whole.shape == (40, 90, 3)
    assert part.shape == (30, 20, 3)
    assert np.abs(part.astype(int) - whole[3:33, 50:70]).max() <= 1
    printed = succeed("decode", "--help")
    assert "--size HxW" in printed
    assert "--crop Y,X,H,W" in printed


def test_decode_needs_nothing_else(made, out, photo):
    assert succeed("decode", made / "photo.coinr", "-o", out / "a.png", "--device", "cpu") == ""
    report = json.loads((made / "report.json").read_text())
    assert coinr.psnr(photo, coinr.read_image(out / "a.png")) == pytest.approx(report["psnr"], abs=1e-5)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth", ".npz"])
def test_pack_and_unpack(out, state_dict, suffix):
    state_dicts.write_state_dict_file(out / f"in{suffix}", state_dict)
    succeed("pack", out / f"in{suffix}", "-o", out / "a.coinr", "--profile", "lossless")
    succeed("unpack", out / "a.coinr", "-o", out / f"out{suffix}")
    back = state_dicts.read_state_dict_file(out / f"out{suffix}")
    assert set(back) == set(state_dict)
    for name, tensor in state_dict.items():
        assert torch.equal(torch.as_tensor(back[name]), tensor)
    if suffix != ".safetensors":  # which sorts names
        assert list(back) == list(state_dict)


def test_pack_reports(made, out):
    line = succeed("pack", made / "model.safetensors", "-o", out / "a.coinr", "--profile", "uniform")
    size = r"\S+a\.coinr: \d+ bytes for \d+, [\d.]+ bits per parameter"
    assert re.fullmatch(rf"{size}; predicted output error: (not known|-[\d.]+ dB of its range) \(.+\)\n", line)
    report = json.loads(succeed("pack", made / "model.safetensors", "-o", out / "a.coinr", "--json"))
    assert report["file_bytes"] == len((out / "a.coinr").read_bytes())
    assert report["parameters"] == 620
    assert report["output_error"].keys() == {"db", "basis"}
    succeed("pack", made / "model.safetensors", "-o", out / "b.coinr", "--output-error", -70)
    assert (out / "b.coinr").stat().st_size > report["file_bytes"]


def test_pack_options_reach_the_codec(made, out, state_dict):
    options = [
        "--profile",
        "uniform",
        "-O",
        "bits=6",
        "--lossless",
        "a.*",
        "--seed",
        2**64 - 1,
        "--backend",
        "reference",
    ]
    succeed("pack", made / "model.safetensors", "-o", out / "a.coinr", *options)
    report = coinr.inspect((out / "a.coinr").read_bytes())
    rows = {row["name"]: row for row in report.tensors}
    assert report.seed == 2**64 - 1
    assert (rows["z.weight"]["coder"], rows["z.weight"]["bits"]) == ("uniform", 6)
    assert rows["a.bias"]["coder"] == "exact"
    succeed("pack", made / "model.safetensors", "-o", out / "a.coinr", "--profile", "uniform", "--tolerance", "1e-4")
    back = coinr.load(out / "a.coinr")["z.weight"]
    assert (back - state_dict["z.weight"]).norm() <= 1e-4 * state_dict["z.weight"].norm()


def test_pack_of_nonfinite_weights(out):
    save_file({"w": torch.tensor([1.0, float("nan")])}, out / "m.safetensors")
    assert "'w'" in fail(1, "pack", out / "m.safetensors", "-o", out / "a.coinr")
    succeed("pack", out / "m.safetensors", "-o", out / "a.coinr", "--lossless-nonfinite")
    assert coinr.load(out / "a.coinr")["w"].isnan().tolist() == [False, True]


def test_unpack_of_an_image_gives_its_network(made, out):
    succeed("unpack", made / "photo.coinr", "-o", out / "m.safetensors")
    network = coinr.Siren.from_state_dict(load_file(out / "m.safetensors"))
    assert network.config["width"] == 12


def test_info(made):
    blob = (made / "photo.coinr").read_bytes()
    text = succeed("info", made / "photo.coinr")
    signal, network, rest = text.split("\n", 2)
    assert signal == "image 50 x 75, 3 channels of 8 bits"
    assert network.startswith("network: kind siren, in_features 2, out_features 3, width 12, hidden_layers 1, omega 30")
    assert rest == f'colours: sRGB\n{coinr.inspect(blob)}\nmetadata: {{"image": [50, 75], "siren": 30}}\n'
    value = json.loads(succeed("info", made / "photo.coinr", "--json"))
    config = coinr.load_network(blob).config
    assert (value.pop("file"), value.pop("signal")) == (str(made / "photo.coinr"), signal)
    assert value.pop("network") == {"kind": "siren", **config}
    assert (value.pop("colours"), value.pop("start")) == ("sRGB", None)
    assert value == coinr.inspect(blob).to_dict()
    assert "metadata" not in succeed("info", made / "model.coinr")


def test_info_of_backends():
    rows = json.loads(succeed("info", "--backends", "--json"))
    assert [row["backend"] for row in rows if row["default"]] == ["native"]
    assert all(isinstance(row[key], bool) for row in rows for key in ("usable", "default"))
    assert {row["usable"] for row in rows if row["backend"] in ("native", "reference")} == {True}
    text = succeed("info", "--backends")
    assert re.search(r"^native +usable .*\(default\)$", text, re.MULTILINE)
    assert re.search(r"^reference +usable +NumPy", text, re.MULTILINE)


def test_verify(made):
    assert re.fullmatch(r"\S+: intact, 3 tensors in \d+ bytes\n", succeed("verify", made / "model.coinr"))
    value = json.loads(succeed("verify", made / "model.coinr", "--json"))
    assert value["ok"] is True
    assert value["file_bytes"] == len((made / "model.coinr").read_bytes())


def test_verify_of_a_damaged_file(made, out):
    data = bytearray((made / "model.coinr").read_bytes())
    data[-6] ^= 4
    (out / "bad.coinr").write_bytes(data)
    fail(1, "verify", out / "bad.coinr")
    result = run("verify", out / "bad.coinr", "--json")
    assert result.exit_code == 1
    value = json.loads(result.stdout)
    assert value["ok"] is False
    assert value["error"] == "ChecksumError"
    assert value["message"] in result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(command):
    text = succeed(command, "--help")
    assert f"coinr {command} " in text
    assert re.search(rf"^ +coinr {command} \S", text, re.MULTILINE), "examples keep their lines"


def test_no_arguments_show_the_help():
    for arguments in ([], *([command] for command in COMMANDS if command != "info")):
        result = run(*arguments)
        assert result.exit_code == 2
        assert "Usage:" in result.stderr
    assert succeed("--version") == f"coinr {coinr.__version__}\n"
    assert _Commands.list_commands(cli.cli, None) == list(COMMANDS)


def process(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "coinr", *map(str, arguments)], capture_output=True, text=True, **options
    )


def test_help_does_not_wait_for_torch():
    code = "import sys, coinr.cli; coinr.cli.cli.main(['--help'], standalone_mode=True)"
    check = f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr)); {code}"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert result.returncode == 0
    assert result.stdout.startswith("Usage:")
    assert result.stderr == "False\n"


def test_a_real_process_decodes(made, out):
    result = process("decode", made / "photo.coinr", "-o", out / "a.png", "--scale", "0.5", "--quiet")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    with Image.open(out / "a.png") as image:
        assert image.size == (38, 25)


@pytest.mark.slow
def test_a_real_process_fails_on_one_line(made, out):
    result = process("verify", made / "photo.png", "--quiet")
    assert result.returncode == 1
    assert result.stdout == ""
    assert re.fullmatch(r"coinr: error: [^\n]+\n", result.stderr)


@pytest.mark.slow
def test_a_closed_pipe_is_no_traceback(made):
    command = f"{sys.executable} -m coinr info {made / 'photo.coinr'} --json | true"
    result = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert result.stderr == ""
