"""Metadata of .safetensors files through pack and unpack."""

import json
import struct

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import coinr
from coinr.files.state_dicts import read_state_dict_file
from tests.cli.command import fail, run, state_dict, succeed

METADATA = {"format": "pt", "epoch": "3", "größe": '∞ "quoted" \n'}


def metadata_of(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


def packed(folder, metadata, *options):
    save_file(dict(state_dict()), folder / "a.safetensors", metadata=metadata)
    succeed("pack", folder / "a.safetensors", "-o", folder / "a.coinr", "--profile", "lossless", *options)
    return coinr.read_meta((folder / "a.coinr").read_bytes())


@pytest.mark.parametrize("metadata", [METADATA, {"epoch": "3"}, {"format": "flax"}])
def test_metadata_comes_back(tmp_path, metadata):
    assert packed(tmp_path, metadata) == {"safetensors": metadata}
    assert succeed("unpack", tmp_path / "a.coinr", "-o", tmp_path / "b.safetensors") == ""
    assert metadata_of(tmp_path / "b.safetensors") == metadata
    back = load_file(tmp_path / "b.safetensors")
    assert all(torch.equal(back[name], tensor) for name, tensor in state_dict().items())
    report = json.loads(succeed("unpack", tmp_path / "a.coinr", "-o", tmp_path / "b.safetensors", "--json"))
    assert set(report) == {"file", "bytes", "tensors"}


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_metadata_that_says_nothing_takes_no_bytes(tmp_path, metadata):
    assert packed(tmp_path, metadata) == {}
    assert (tmp_path / "a.coinr").read_bytes() == coinr.encode_state_dict(
        read_state_dict_file(tmp_path / "a.safetensors"), profile="lossless"
    )
    succeed("unpack", tmp_path / "a.coinr", "-o", tmp_path / "b.safetensors")
    assert metadata_of(tmp_path / "b.safetensors") == {"format": "pt"}


def test_metadata_may_be_left_out(tmp_path):
    assert packed(tmp_path, METADATA, "--no-metadata") == {}


def test_other_formats_have_no_place_for_it_and_that_is_noted(tmp_path):
    packed(tmp_path, METADATA)
    for suffix in (".pt", ".npz"):
        result = run("unpack", tmp_path / "a.coinr", "-o", tmp_path / f"b{suffix}", "--json")
        assert result.exit_code == 0
        assert f"note: {tmp_path / 'a.coinr'}: {suffix} has no place for the metadata" in result.stderr
        assert json.loads(result.stdout)["notes"] == [result.stderr.split(".coinr: ")[1].strip()]


@pytest.mark.parametrize("value", [3, ["a"], {"a": 1}])
def test_metadata_of_others_under_this_name_is_left_out(tmp_path, value):
    coinr.save(tmp_path / "a.coinr", state_dict(), profile="lossless", meta={"safetensors": value})
    result = run("unpack", tmp_path / "a.coinr", "-o", tmp_path / "b.safetensors")
    assert result.exit_code == 0
    assert "note: " in result.stderr
    assert metadata_of(tmp_path / "b.safetensors") == {"format": "pt"}


def test_metadata_that_is_too_large_is_refused_with_a_way_out(tmp_path):
    save_file(dict(state_dict()), tmp_path / "a.safetensors", metadata={"a": "x" * (1 << 20)})
    words = fail(1, "pack", tmp_path / "a.safetensors", "-o", tmp_path / "a.coinr")
    assert "a.safetensors: " in words
    assert "--no-metadata" in words
    assert not (tmp_path / "a.coinr").exists()
    succeed("pack", tmp_path / "a.safetensors", "-o", tmp_path / "a.coinr", "--no-metadata")


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
def test_small_floats_are_kept_bit_for_bit(tmp_path, dtype):
    bits = torch.arange(256, dtype=torch.uint8)
    save_file({"w": bits.view(getattr(torch, dtype)).reshape(16, 16)}, tmp_path / "a.safetensors")
    succeed("pack", tmp_path / "a.safetensors", "-o", tmp_path / "a.coinr")
    succeed("unpack", tmp_path / "a.coinr", "-o", tmp_path / "b.safetensors")
    back = load_file(tmp_path / "b.safetensors")["w"]
    assert back.dtype == getattr(torch, dtype)
    assert torch.equal(back.view(torch.uint8).flatten(), bits)


@pytest.mark.parametrize(
    ("dtype", "size", "name"),
    [
        ("F8_E4M3FNUZ", 8, "float8_e4m3fnuz"),
        ("F8_E8M0", 8, "float8_e8m0fnu"),
        ("F6_E2M3", 6, "F6_E2M3"),
        ("F4", 4, "float4_e2m1fn_x2"),
    ],
)
def test_other_small_floats_are_refused_by_name(tmp_path, dtype, size, name):
    header = json.dumps({"w": {"dtype": dtype, "shape": [8], "data_offsets": [0, size]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))
    words = fail(1, "pack", tmp_path / "a.safetensors", "-o", tmp_path / "a.coinr")
    assert name in words
    assert "damaged" not in words


@pytest.mark.parametrize("length", [640, 896, 1152, 1408])
def test_a_header_whose_length_begins_as_a_pickle_does(tmp_path, length):
    path = tmp_path / "a.safetensors"
    save_file({"w": torch.ones(3)}, path, metadata={"a": ""})
    short = int.from_bytes(path.read_bytes()[:8], "little")
    save_file({"w": torch.ones(3)}, path, metadata={"a": "x" * (length - short)})
    assert path.read_bytes()[:2] == bytes([0x80, length >> 8])
    assert torch.equal(read_state_dict_file(path)["w"], torch.ones(3))
