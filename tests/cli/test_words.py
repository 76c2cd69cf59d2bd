"""What messages and help of the command line say: options in place of arguments, defaults, commands that are near."""

import re

import click
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import coinr
from coinr.cli import cli
from coinr.cli.messages import PROFILE_KEYS, in_options
from tests.cli.command import fail, run, succeed

COMMANDS = ("encode", "learn-start", "decode", "compare", "preview", "pack", "unpack", "info", "verify")


def command(name):
    return cli.get_command(None, name)


@pytest.mark.parametrize(
    ("name", "message", "expected"),
    [
        ("pack", "target_bytes 9 is out of reach", "--target-bytes 9 is out of reach"),
        ("pack", "give tolerance or target_bits", "give tolerance or --target-bits"),
        ("pack", "tolerance must be a number ≥ 0", "--tolerance must be a number ≥ 0"),
        ("pack", "profile 'no' is not one of auto", "--profile 'no' is not one of auto"),
        ("pack", "give key='model' or key='my ema'", "give --key model or --key 'my ema'"),
        ("pack", "nonfinite='lossless' stores it", "--lossless-nonfinite stores it"),
        ("pack", "bits must be an integer", "-O bits must be an integer"),
        ("encode", "min_score must be below 1", "--min-score must be below 1"),
        ("encode", "kind must be one of siren", "--network must be one of siren"),
        ("encode", "hidden_layers=3, width=9", "--hidden-layers 3, --width 9"),
        ("encode", "a picture of width 3 has a target", "a picture of width 3 has a target"),
        ("encode", "/x/target_bytes.png: damaged", "/x/target_bytes.png: damaged"),
        ("encode", "tensor 'target_bytes' and target_bytes/a", "tensor 'target_bytes' and target_bytes/a"),
        ("pack", "lossless pattern 'w' matches no tensor", "--lossless 'w' matches no tensor"),
        ("encode", "it may hold weights, which coinr.save stores", "it may hold weights, which coinr pack stores"),
        ("unpack", "target_bytes 9", "target_bytes 9"),
        ("unpack", "give it as base", "give it with --base"),
        ("decode", "give it as start", "give it with --start"),
        ("decode", "a.txt: the output must end in .png", "a.txt: the output must end in .png"),
    ],
)
def test_messages_speak_of_options(name, message, expected):
    assert in_options(message, command(name)) == expected


@pytest.fixture
def folder(tmp_path):
    weights = {"module.w": torch.arange(64.0).reshape(8, 8), "module.b": torch.arange(8.0)}
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(2))])
    run = {"epoch": 3, "state_dict": weights, "ema": {"net": dict(weights)}, "optimizer": optimizer.state_dict()}
    torch.save(run, tmp_path / "run.ckpt")
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    save_file(weights, tmp_path / "model.bin")
    np.save(tmp_path / "one.npy", weights["module.w"].numpy())
    return tmp_path


def test_an_entry_of_a_checkpoint_is_packed_under_names_without_a_prefix(folder):
    arguments = ["--profile", "lossless", "-o", folder / "a.coinr"]
    for key in ("state_dict", "ema.net"):
        succeed("pack", folder / "run.ckpt", "--key", key, "--strip-prefix", "module.", *arguments)
        back = coinr.load(folder / "a.coinr")
        assert list(back) == ["w", "b"]
        assert torch.equal(back["w"], torch.arange(64.0).reshape(8, 8))
    succeed("pack", folder / "model.bin", *arguments)
    assert set(coinr.load(folder / "a.coinr")) == {"module.w", "module.b"}
    succeed("pack", folder / "one.npy", *arguments)
    assert list(coinr.load(folder / "a.coinr")) == ["one"]


def test_a_base_may_be_an_entry_of_a_checkpoint(folder):
    base = ["--base", folder / "run.ckpt"]
    arguments = ["pack", folder / "run.ckpt", "--key", "state_dict", "-o", folder / "a.coinr", *base]
    assert "give --base-key state_dict (2 tensors) or --base-key ema.net" in fail(1, *arguments)
    succeed(*arguments, "--base-key", "ema.net")
    succeed("verify", folder / "a.coinr", *base, "--base-key", "ema.net")
    assert "--base-key" in fail(1, "unpack", folder / "a.coinr", *base)
    succeed("unpack", folder / "a.coinr", *base, "--base-key", "ema.net", "-o", folder / "b.pt")
    assert "--base-key needs --base" in fail(2, "verify", folder / "a.coinr", "--base-key", "x")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run.ckpt"], "give --key state_dict (2 tensors) or --key ema.net (2 tensors)"),
        (["run.ckpt"], "'optimizer' looks like an optimizer's state"),
        (["optimizer.pt"], "looks like an optimizer's state"),
        (["run.ckpt", "--key", "optimizer"], "looks like an optimizer's state"),
        (["run.ckpt", "--key", "state-dict"], "did you mean 'state_dict'?"),
        (["run.ckpt", "--key", "epoch"], "the entry 'epoch' is of type int"),
        (["model.bin", "--strip-prefix", "net."], "no name begins with the prefix 'net.'; names are 'module."),
    ],
)
def test_what_is_no_state_dict_is_reported(folder, arguments, words):
    message = fail(1, "pack", folder / arguments[0], *arguments[1:], "-o", folder / "a.coinr")
    assert words in message
    assert arguments[0] in message
    assert not (folder / "a.coinr").exists()


@pytest.mark.parametrize(
    ("wrong", "meant"), [("encod", "encode"), ("unpak", "unpack"), ("Verify", "verify"), ("comparison", "compare")]
)
def test_a_command_that_is_near_is_named(wrong, meant):
    assert f"no command '{wrong}'; did you mean '{meant}'?" in fail(2, wrong)


def test_other_words_are_given_what_commands_there_are():
    assert "there are encode, learn-start, decode, compare" in fail(2, "xyz")
    assert "Did you mean one of: '--scale', '--shard', '--start'?" in fail(2, "decode", "--scal", "2")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_tells_its_default(name):
    for option in command(name).params:
        if isinstance(option, click.Option) and not (option.is_flag and not option.secondary_opts):
            assert option.show_default or "[default: " in option.help, option.name
            assert not option.required
            assert option.help


def test_the_keys_of_profiles_are_all_reported():
    for profiles, keys in PROFILE_KEYS.items():
        for profile in profiles.split(", "):
            with pytest.raises(coinr.InputError, match="this profile has: ") as e:
                coinr.encode_state_dict({"w": torch.ones(2, 2)}, profile=profile, unknown=1)
            printed = str(e.value).partition("this profile has: ")[2]
            assert set(printed.split(", ")) == (set(keys) or {"none"})
    for name in ("encode", "pack"):
        text = succeed(name, "--help")
        assert re.search(r"^ +paper: kind \(gaussian\), M \(65536\)", text, re.MULTILINE)


@pytest.mark.parametrize(("given", "meant"), [("tolerence", "tolerance"), ("losless", "lossless"), ("bist", "bits")])
def test_an_argument_that_is_misspelt_is_guessed(given, meant):
    with pytest.raises(coinr.InputError, match=f"unknown option '{given}'; did you mean '{meant}'\\? this profile"):
        coinr.encode_state_dict({"w": torch.ones(2, 2)}, profile="uniform", **{given: 1})


def test_the_defaults_of_fits_are_those_of_the_signals():
    from coinr.signals.audio.signal import AudioSignal
    from coinr.signals.image.signal import ImageSignal
    from coinr.signals.scene.signal import SceneSignal
    from coinr.signals.shape.signal import ShapeSignal

    text = succeed("encode", "--help")
    for signal in (ImageSignal, AudioSignal, ShapeSignal, SceneSignal):
        recipe = signal.recipe
        row = [recipe.network, recipe.width, recipe.hidden_layers, recipe.steps, recipe.batch, recipe.learning_rate]
        assert re.search(rf"^ +{signal.kind} +{' +'.join(map(str, row))}$", text, re.MULTILINE), signal.kind


def test_exit_codes_are_reported():
    text = " ".join(run("--help").stdout.split())
    for words in ("0 when all was done", "1 when it failed", "2 when it was called", "130 when it was interrupted"):
        assert words in text


def test_a_target_in_bits_that_is_out_of_reach_is_no_option_that_was_not_given(folder):
    message = fail(1, "pack", folder / "model.bin", "-o", folder / "a.coinr", "--target-bits", 0.1)
    assert "0 bytes are out of reach" in message
    assert "--target-bytes" not in message
