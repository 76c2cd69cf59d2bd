"""The command line with a network that both sides have, and with several seeds."""

import json

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

import coinr
from coinr.cli import cli


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def files(tmp_path):
    """Two checkpoints of one run and the folder they are in."""
    start = {"a.weight": torch.randn(24, 24), "a.bias": torch.randn(24), "steps": torch.arange(9)}
    tuned = {name: w + 0.01 * torch.randn(w.shape) if w.is_floating_point() else w for name, w in start.items()}
    save_file(start, tmp_path / "start.safetensors")
    save_file(tuned, tmp_path / "tuned.safetensors")
    return tmp_path


def pack(files, *arguments):
    result = run("pack", files / "tuned.safetensors", "-o", files / "a.coinr", *arguments)
    assert result.exit_code == 0, result.output
    return (files / "a.coinr").read_bytes()


def test_a_packed_difference_comes_back(files):
    alone, relative = pack(files), pack(files, "--base", files / "start.safetensors")
    assert len(relative) < 0.5 * len(alone)
    done = run("unpack", files / "a.coinr", "-o", files / "b.safetensors", "--base", files / "start.safetensors")
    assert done.exit_code == 0, done.output
    want = coinr.decode_state_dict(relative, base=load_file(files / "start.safetensors"))
    got = load_file(files / "b.safetensors")
    assert all(torch.equal(got[name], want[name]) for name in want)


def test_a_base_that_is_missing_or_wrong_is_named_on_one_line(files):
    pack(files, "--base", files / "start.safetensors")
    for command in (
        ("unpack", files / "a.coinr", "-o", files / "b.safetensors"),
        ("verify", files / "a.coinr"),
    ):
        for arguments, what in (
            ((), "give it with --base"),
            (("--base", files / "tuned.safetensors"), "and the base given is"),
        ):
            result = run(*command, *arguments)
            assert result.exit_code == 1
            assert what in result.stderr
            assert result.stderr.count("\n") == 1
    message = json.loads(run("verify", files / "a.coinr", "--json").stdout)["message"]
    assert message.endswith("give it with --base")
    assert not (files / "b.safetensors").exists()
    assert run("verify", files / "a.coinr", "--base", files / "start.safetensors").exit_code == 0
    assert run("verify", files / "a.coinr", "--base", files / "none.safetensors").exit_code == 2


def test_info_needs_no_base(files):
    pack(files, "--base", files / "start.safetensors")
    report = json.loads(run("info", files / "a.coinr", "--json").stdout)
    assert len(report["base"]) == 32
    assert {row["coder"] for row in report["tensors"]} == {"difference"}
    assert f"relative to {report['base']}" in run("info", files / "a.coinr").stdout


def test_the_best_of_several_seeds(files):
    options = ("--profile", "paper", "-O", "M=256", "--tolerance", "0.4")
    sizes = [len(pack(files, *options, "--seed", seed)) for seed in range(3)]
    assert len(pack(files, *options, "--seeds", 3)) == min(sizes)
    assert run("pack", files / "tuned.safetensors", "-o", files / "a.coinr", "--seeds", 0).exit_code == 2
    result = run("pack", files / "tuned.safetensors", "-o", files / "a.coinr", "-O", "seeds=3")
    assert (result.exit_code, "not seeds" in result.stderr) == (2, True)
