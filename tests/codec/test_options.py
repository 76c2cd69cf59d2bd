"""The options of an encoding are those of the public function, and are checked before anything is encoded."""

import inspect
from dataclasses import fields

import numpy as np
import pytest
import torch

import coinr
from coinr.codec.coders import CODERS
from coinr.codec.options import EncodeOptions, option_names
from coinr.codec.profiles.tasks import PROFILES, check_options
from coinr.errors import InputError
from tests.cli.command import succeed


def test_names_and_defaults_are_those_of_the_public_function():
    parameters = list(inspect.signature(coinr.encode_state_dict).parameters.values())
    assert [one.name for one in parameters] == ["sd", *option_names(), "options"]
    defaults = {one.name: one.default for one in fields(EncodeOptions)}
    assert {one.name: one.default for one in parameters[1:-1]} == {name: defaults[name] for name in option_names()}


@pytest.mark.parametrize("name", ["seed", "seeds", "profile"])
def test_the_command_line_tells_the_defaults(name):
    text = " ".join(succeed("pack", "--help").split())
    before, _, after = text.partition(f" --{name} ")
    assert f"[default: {getattr(EncodeOptions, name)}]" in after[:150]


def test_numpy_scalars_become_numbers_of_python():
    options = EncodeOptions(seed=np.int64(3), tolerance=np.float32(0.5))
    assert (type(options.seed), type(options.tolerance)) == (int, float)


def test_arguments_that_are_unknown_are_the_profiles():
    options = EncodeOptions.from_arguments({"profile": "uniform", "bits": 9, "seeds": 2})
    assert (options.profile_options, options.seeds) == ({"bits": 9}, 2)


@pytest.mark.parametrize(
    "arguments",
    [
        {"seed": -1},
        {"seed": "1"},
        {"seeds": 0},
        {"profile": "best"},
        {"tolerance": -1.0},
        {"tolerance": float("nan")},
        {"nonfinite": "drop"},
        {"lossless": "*"},
        {"threads": 0},
        {"target_bytes": 0},
        {"target_bits": 2.0, "tolerance": 0.1},
        {"bits": 9},
        {"profile": "uniform", "bits": 17},
        {"profile": "sparse", "M": 1000},
        {"profile": "paper", "kind": "wavelet"},
        {"profile": "lossless", "s": 3},
    ],
)
def test_wrong_options_are_refused_before_anything_is_encoded(arguments, monkeypatch):
    for coder in CODERS.values():
        monkeypatch.setattr(coder, "encode", None)
    with pytest.raises(InputError):
        check_options(EncodeOptions.from_arguments(arguments))
    with pytest.raises(InputError):
        coinr.encode_state_dict({"w": torch.ones(3, 3)}, **arguments)


@pytest.mark.parametrize("profile", PROFILES)
def test_right_options_are_checked_without_encoding(profile, monkeypatch):
    for coder in CODERS.values():
        monkeypatch.setattr(coder, "encode", None)
    check_options(EncodeOptions(profile=profile))


@pytest.mark.parametrize("name", ["tolerance", "errors", "target_bits"])
def test_what_a_search_decides_is_refused(name):
    value = {"w": 0.1} if name == "errors" else 1.0
    with pytest.raises(InputError, match=f"^{name} cannot be given here"):
        coinr.search({"w": torch.ones(3, 3)}, lambda sd: 1.0, min_score=0.0, **{name: value})
