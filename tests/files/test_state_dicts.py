"""State dicts in other formats, and atomic writes."""

import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch

import coinr
from coinr.files.state_dicts import read_state_dict_file, write_state_dict_file
from coinr.files.writing import write_atomic


def example():
    return OrderedDict(
        [
            ("z.weight", torch.randn(4, 3)),
            ("a.bias", torch.randn(4)),
            ("steps", torch.tensor(7)),
            ("half", torch.ones(2).half()),
        ]
    )


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth", ".npz"])
def test_round_trip(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    sd = example()
    write_state_dict_file(path, sd)
    back = read_state_dict_file(path)
    assert set(back) == set(sd)
    for name in sd:
        value = torch.as_tensor(back[name])
        assert value.dtype == sd[name].dtype
        assert torch.equal(value, sd[name])
    assert list(tmp_path.iterdir()) == [path]


def test_order_is_kept_where_the_format_has_one(tmp_path):
    for suffix in (".pt", ".npz"):
        write_state_dict_file(tmp_path / f"m{suffix}", example())
        assert list(read_state_dict_file(tmp_path / f"m{suffix}")) == list(example())


def test_objects_are_never_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (print, ("unpickled",))

    torch.save({"w": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(coinr.InputError, match="unpickling"):
        read_state_dict_file(tmp_path / "bomb.pt")
    np.savez(tmp_path / "bomb.npz", w=np.array([{}], object))
    with pytest.raises(coinr.InputError):
        read_state_dict_file(tmp_path / "bomb.npz")
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(coinr.InputError):
        read_state_dict_file(tmp_path / "raw.pt")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".npz"])
@pytest.mark.parametrize("content", [b"", b"nonsense" * 9, b"PK\x03\x04 broken", b"\x80\x02.", b"\x80\x02h\x05."])
def test_damaged_files_are_input_errors(tmp_path, suffix, content):
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    with pytest.raises(coinr.InputError, match="bad"):
        read_state_dict_file(path)


def test_other_suffixes_are_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"\x08\x07\x12\x07pytorch")
    with pytest.raises(coinr.InputError, match=r"\.onnx"):
        read_state_dict_file(tmp_path / "model.onnx")
    with pytest.raises(coinr.InputError, match="safetensors"):
        write_state_dict_file(tmp_path / "model", {})


def test_a_tensor_list_is_no_state_dict(tmp_path):
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    with pytest.raises(coinr.InputError, match="list"):
        read_state_dict_file(tmp_path / "list.pt")


def test_bfloat16_cannot_go_into_npz(tmp_path):
    with pytest.raises(coinr.InputError, match="bfloat16"):
        write_state_dict_file(tmp_path / "m.npz", {"w": torch.ones(2).bfloat16()})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    target = tmp_path / "out.bin"
    target.write_bytes(b"before")

    def fail(stream):
        stream.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomic(target, fail)
    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]
    write_atomic(target, b"after")
    assert target.read_bytes() == b"after"


@pytest.mark.parametrize(
    ("suffix", "name"), [(".npz", "file"), (".npz", "allow_pickle"), (".safetensors", "__metadata__")]
)
def test_names_that_a_format_cannot_hold_are_refused(tmp_path, suffix, name):
    with pytest.raises(coinr.InputError, match=name):
        write_state_dict_file(tmp_path / f"m{suffix}", {name: torch.ones(2)})
    assert list(tmp_path.iterdir()) == []


def test_complex128_cannot_go_into_safetensors(tmp_path):
    with pytest.raises(coinr.InputError, match="complex128"):
        write_state_dict_file(tmp_path / "m.safetensors", {"w": torch.ones(2, dtype=torch.complex128)})
