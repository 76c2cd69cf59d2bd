"""Which entry of a checkpoint is a state dict, and names without a prefix."""

import pytest
import torch

import coinr
from coinr.files.state_dicts import read_state_dict_file
from coinr.inputs.checkpoints import pick_state_dict, state_dicts

WEIGHTS = {"a.weight": torch.ones(3, 2), "a.bias": torch.zeros(3)}


def trained():
    module = torch.nn.Linear(2, 3)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return module.state_dict(), optimizer.state_dict()


def checkpoint():
    model, optimizer = trained()
    return {
        "epoch": 3,
        "model": model,
        "ema": {"decay": 0.9, "shadow": {"net": WEIGHTS | {"c": torch.ones(1)}}},
        "optimizer": optimizer,
        "models": [model, WEIGHTS],
        "dotted.name": {"inner": WEIGHTS},
    }


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("model", ["weight", "bias"]),
        ("ema.shadow.net", ["a.weight", "a.bias", "c"]),
        ("models.1", ["a.weight", "a.bias"]),
        ("dotted.name.inner", ["a.weight", "a.bias"]),
        ("optimizer.state.0", ["step", "exp_avg", "exp_avg_sq"]),
    ],
)
def test_dots_lead_to_an_entry(tmp_path, key, names):
    torch.save(checkpoint(), tmp_path / "run.ckpt")
    assert list(read_state_dict_file(tmp_path / "run.ckpt", key)) == names


def test_a_nested_checkpoint_is_refused_with_the_entries_that_are_state_dicts(tmp_path):
    torch.save(checkpoint() | {"zero": WEIGHTS | {"c": torch.ones(1), "d": torch.ones(1)}}, tmp_path / "run.ckpt")
    with pytest.raises(coinr.InputError, match=r"run\.ckpt: .*several entries") as caught:
        read_state_dict_file(tmp_path / "run.ckpt")
    message = str(caught.value)
    assert message.index("key='zero' (4 tensors)") < message.index("ema.shadow.net"), "those with most tensors first"
    for part in ("key='model' (2 tensors)", "key='ema.shadow.net' (3 tensors)", "key='models.1' (2 tensors)"):
        assert part in message
    assert message.index("ema.shadow.net") < message.index("key='model'"), "those with most tensors first"
    assert "'optimizer' looks like an optimizer's state" in message
    assert "optimizer.state" not in message
    assert "\n" not in message


def test_every_entry_that_is_named_can_be_taken():
    whole = checkpoint()
    found = state_dicts(whole)
    assert len(found) == 5
    for path, count in found:
        assert len(pick_state_dict(whole, ".".join(path))) == count


@pytest.mark.parametrize("key", [None, "optimizer"])
def test_an_optimizers_state_is_recognized_as_one(key):
    whole = trained()[1] if key is None else {"optimizer": trained()[1], "net": WEIGHTS}
    with pytest.raises(coinr.InputError, match="looks like an optimizer's state") as caught:
        pick_state_dict(whole, key)
    assert (key is None) != ("give key='net' (2 tensors)" in str(caught.value))
    assert str(caught.value).count("optimizer's state") == 1
    with pytest.raises(coinr.StateDictError, match="looks like an optimizer's state"):
        coinr.encode_state_dict(trained()[1])


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("modle", r"no entry 'modle'; did you mean 'model'\? there are 'epoch', 'model'"),
        ("model.weight.x", "no entry 'weight.x' in 'model'"),
        ("model.weights", r"no entry 'weights' in 'model'; did you mean 'weight'\?"),
        ("epoch", "the entry 'epoch' is of type int, not a state dict; give key="),
        ("model.weight", "is of type Tensor"),
        ("models", "is of type list"),
        ("ema", "the entry 'ema' is a checkpoint of several entries"),
        ("", "no entry ''"),
    ],
)
def test_keys_that_lead_nowhere_are_reported(key, words):
    with pytest.raises(coinr.InputError, match=words):
        pick_state_dict(checkpoint(), key)


def test_a_plain_state_dict_needs_no_key():
    assert pick_state_dict(WEIGHTS) is WEIGHTS
    with pytest.raises(coinr.InputError, match="without a key the whole is taken"):
        pick_state_dict(WEIGHTS, "a.bias")
    with pytest.raises(coinr.InputError, match="no state dict in it"):
        pick_state_dict({"epoch": {"value": 3}})


def test_values_that_are_no_tensors_are_left_to_the_codec():
    sd = WEIGHTS | {"epoch": 3, "loss": [1.0, 2.0]}
    assert pick_state_dict(sd) is sd


def test_lists_that_hold_themselves_are_no_entries():
    endless: list[object] = []
    endless += [endless, 3]
    sd = WEIGHTS | {"a": endless}
    assert pick_state_dict(sd) is sd
    endless.append(WEIGHTS)
    with pytest.raises(coinr.InputError, match="a checkpoint of several entries"):
        pick_state_dict(sd)


def test_a_prefix_is_taken_off_the_names_that_have_it():
    sd = {"module._orig_mod.a": torch.ones(1), "module.b": torch.ones(2), "c": torch.ones(3)}
    assert list(pick_state_dict(sd, strip_prefix="module.")) == ["_orig_mod.a", "b", "c"]
    assert list(pick_state_dict(sd, strip_prefix="module._orig_mod.")) == ["a", "module.b", "c"]
    assert list(pick_state_dict({"net": sd}, "net", "module.")) == ["_orig_mod.a", "b", "c"]
    with pytest.raises(coinr.InputError, match=r"no name begins with the prefix 'model\.'; names are 'module\."):
        pick_state_dict(sd, strip_prefix="model.")
    with pytest.raises(coinr.InputError, match="two tensors are named 'b'"):
        pick_state_dict(sd | {"b": torch.ones(1)}, strip_prefix="module.")


def test_the_codec_names_the_entries_too():
    with pytest.raises(coinr.StateDictError, match=r"\['ema'\]\['shadow'\]\['net'\] \(3 tensors\) or \['model'\]"):
        coinr.encode_state_dict(checkpoint())


def test_names_with_dots_go_before_levels():
    assert pick_state_dict({"a": {"b": WEIGHTS}, "a.b": {"c": {"w": torch.ones(1)}}}, "a.b.c").keys() == {"w"}
