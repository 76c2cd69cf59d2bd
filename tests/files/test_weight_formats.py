"""Files of weights: detected from their content, named where they are truncated, something else, or need unpickling."""

import argparse
import io
import json
import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import coinr
from coinr.files.state_dicts import read_state_dict_file, write_state_dict_file


def example():
    return {"w": torch.arange(48.0).reshape(6, 8), "b": torch.arange(6.0)}


def written(kind, path, sd=None):
    sd = example() if sd is None else sd
    if kind == "legacy":
        torch.save(sd, path, _use_new_zipfile_serialization=False)
    elif kind == "npz":
        with path.open("wb") as stream:
            np.savez(stream, **{name: tensor.numpy() for name, tensor in sd.items()})
    elif kind == "npy":
        with path.open("wb") as stream:
            np.save(stream, sd["w"].numpy())
    elif kind == "safetensors":
        save_file(sd, path)
    else:
        torch.save(sd, path)
    return path.read_bytes()


KINDS = ("zip", "legacy", "safetensors", "npz", "npy")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", ["", ".ckpt", ".bin", ".pt", ".safetensors", ".npz", ".SAFETENSORS"])
def test_the_content_tells_the_format_whatever_the_suffix(tmp_path, kind, suffix):
    path = tmp_path / f"model{suffix}"
    written(kind, path)
    back = read_state_dict_file(path)
    if kind == "npy":
        assert list(back) == ["model"]
        assert np.array_equal(back["model"], example()["w"])
        return
    assert set(back) == {"w", "b"}
    assert all(torch.equal(torch.as_tensor(back[name]), tensor) for name, tensor in example().items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file_is_named_and_said_to_be_truncated(tmp_path, kind):
    data = written(kind, tmp_path / "whole")
    cut = tmp_path / f"cut.{kind}"
    for length in {1, 3, 7, 9, 20, 40, 100, len(data) - 1, *range(0, len(data), len(data) // 40 + 1)}:
        cut.write_bytes(data[:length])
        with pytest.raises(coinr.InputError, match=r"cut\.\w+: .*(truncated|the file is empty)") as caught:
            read_state_dict_file(cut)
        assert ("is empty" in str(caught.value)) == (length == 0), length


def refusal(path):
    try:
        read_state_dict_file(path)
    except coinr.InputError as error:
        return error
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_an_input_error_that_names_it(tmp_path, kind):
    data = bytearray(written(kind, tmp_path / "whole"))
    generator = np.random.default_rng(0)
    for _ in range(60):
        bad = bytearray(data)
        bad[generator.integers(4, len(data))] ^= 1 << generator.integers(8)
        (tmp_path / "bad").write_bytes(bad)
        error = refusal(tmp_path / "bad")  # what a bit of a value changes nobody can see
        assert error is None or str(error).startswith(f"{tmp_path / 'bad'}: ")


STRANGERS = {
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12\n", "git lfs pull"),
    "annex": (b"/annex/objects/SHA256E-s12--0.pt\n", "git annex get"),
    "page": (b"<!DOCTYPE html>\n<html><body>404</body></html>\n", "web page"),
    "marked page": (b"\xef\xbb\xbf \n<!-- 404 --><HTML lang=en>", "web page"),
    "S3": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
    "empty": (b"", "the file is empty"),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_pointers_web_pages_and_empty_files_are_reported_wherever_a_file_is_read(tmp_path, kind):
    content, words = STRANGERS[kind]
    readers = {
        "m.pt": read_state_dict_file,
        "m.safetensors": read_state_dict_file,
        "m.npz": read_state_dict_file,
        "m": read_state_dict_file,
        "p.png": coinr.read_image,
        "s.wav": coinr.read_audio,
        "p.tif": coinr.open_signal,
        "s.flac": coinr.open_signal,
        "v.npz": coinr.open_signal,
        "v.npy": coinr.open_signal,
        "m.ply": coinr.open_signal,
        "m.stl": coinr.open_signal,
        "m.obj": coinr.open_signal,
        "f.coinr": coinr.load,
        "g.coinr": coinr.open_file,
        "h.coinr": coinr.load_network,
    }
    for name, read in readers.items():
        path = tmp_path / name
        path.write_bytes(content)
        expected = coinr.FormatError if name.endswith("coinr") else coinr.InputError
        with pytest.raises(expected, match=words) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "pickling" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x8fCNR\x01", "a coinr file already"),
        (b"GGUF\3\0\0\0", "GGUF"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"1 2 3\n4 5 6\n", "not a file of weights"),
    ],
)
def test_other_formats_are_named(tmp_path, content, words):
    (tmp_path / "m.pt").write_bytes(content)
    with pytest.raises(coinr.InputError, match=words) as caught:
        read_state_dict_file(tmp_path / "m.pt")
    assert ".safetensors" in str(caught.value)


def _objects():
    torch.save({"model": example(), "args": argparse.Namespace(lr=1)}, zipped := io.BytesIO())
    torch.save(torch.nn.Linear(2, 2), legacy := io.BytesIO(), _use_new_zipfile_serialization=False)
    torch.jit.save(torch.jit.trace(torch.nn.Identity(), torch.ones(1)), script := io.BytesIO())
    np.savez(objects := io.BytesIO(), a=np.array([{}], dtype=object))
    np.save(one := io.BytesIO(), np.array([{}], dtype=object))
    return {
        "namespace": (zipped, "argparse.Namespace"),
        "module": (legacy, "Linear"),
        "script": (script, "TorchScript"),
        "raw": (io.BytesIO(pickle.dumps({"a": 1})), "torch.save did not write"),
        "npz": (objects, "objects of Python"),
        "npy": (one, "objects of Python"),
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_needs_unpickling_is_reported_with_its_class(tmp_path):
    for kind, (stream, words) in _objects().items():
        path = tmp_path / kind
        path.write_bytes(stream.getvalue())
        with pytest.raises(coinr.InputError, match=words) as caught:
            read_state_dict_file(path)
        assert "\n" not in str(caught.value)


def test_zip_archives_without_weights_are_reported(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("model.safetensors", b"x")
    with pytest.raises(coinr.InputError, match="zip archive without weights"):
        read_state_dict_file(tmp_path / "m.pt")


@pytest.mark.parametrize("order", [">", "<"])
def test_arrays_of_another_byte_order_come_in_this_machines(tmp_path, order):
    arrays = {
        "f": np.arange(6.0).astype(f"{order}f4"),
        "c": np.ones(2, f"{order}c8"),
        "i": np.arange(4, dtype=f"{order}i8"),
    }
    np.savez(tmp_path / "m.npz", **arrays)
    np.save(tmp_path / "one.npy", arrays["f"])
    back = read_state_dict_file(tmp_path / "m.npz") | read_state_dict_file(tmp_path / "one.npy")
    for name, array in {**arrays, "one": arrays["f"]}.items():
        assert back[name].dtype.isnative
        assert np.array_equal(torch.as_tensor(back[name]), array.astype(array.dtype.newbyteorder("=")))
    volume = np.indices((4, 5, 6)).sum(0).astype(f"{order}f4") - 5
    np.save(tmp_path / "volume.npy", volume)
    assert np.array_equal(coinr.open_signal(tmp_path / "volume.npy").volume, volume)


def test_safetensors_say_that_they_are_of_torch(tmp_path):
    write_state_dict_file(tmp_path / "m.safetensors", example())
    data = (tmp_path / "m.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert header["__metadata__"] == {"format": "pt"}


def test_suffixes_are_read_in_any_case_when_writing(tmp_path):
    for suffix in (".SafeTensors", ".PT", ".Npz"):
        write_state_dict_file(tmp_path / f"m{suffix}", OrderedDict(example()))
        assert set(read_state_dict_file(tmp_path / f"m{suffix}")) == {"w", "b"}


def test_pipes_and_folders_are_no_files_of_weights(tmp_path):
    with pytest.raises(IsADirectoryError):
        read_state_dict_file(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_state_dict_file(tmp_path / "none.pt")
    reader, writer = os.pipe()
    os.write(writer, b"PK\x03\x04")
    os.close(writer)
    with pytest.raises(coinr.InputError, match="regular files"):
        read_state_dict_file(f"/dev/fd/{reader}")
    os.close(reader)


@pytest.mark.parametrize("which", ["transforms.json", "picture.png"])
def test_pointers_within_a_scene_are_reported(tmp_path, which):
    coinr.write_image(tmp_path / "picture.png", np.zeros((4, 4, 3), np.uint8))
    frame = {"file_path": "picture.png", "transform_matrix": np.eye(4).tolist()}
    (tmp_path / "transforms.json").write_text(json.dumps({"camera_angle_x": 0.7, "frames": [frame, frame]}))
    (tmp_path / which).write_bytes(STRANGERS["LFS"][0])
    with pytest.raises(coinr.InputError, match="git lfs pull") as caught:
        coinr.open_signal(tmp_path)
    assert which in str(caught.value)


def test_weights_and_coinr_files_are_recognized_as_no_signals(tmp_path):
    written("safetensors", tmp_path / "a")
    written("zip", tmp_path / "b")
    coinr.save(tmp_path / "c", example())
    for name, words in (("a", "coinr.save stores"), ("b", "coinr.save stores"), ("c", "it is a coinr file")):
        with pytest.raises(coinr.InputError, match=words):
            coinr.open_signal(tmp_path / name)


def test_a_pointer_in_place_of_a_checkpoint_of_a_fit_is_reported(tmp_path):
    (tmp_path / "fit.checkpoint").write_bytes(STRANGERS["LFS"][0])
    signal = coinr.ImageSignal(np.zeros((4, 5), np.uint8))
    with pytest.raises(coinr.InputError, match=r"fit\.checkpoint: no checkpoint that can be read: .*git lfs pull"):
        coinr.fit(signal, width=8, hidden_layers=1, steps=2, checkpoint=tmp_path / "fit.checkpoint")
