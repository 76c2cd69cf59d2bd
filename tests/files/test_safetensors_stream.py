"""``.safetensors`` files that are written tensor by tensor are those that the library reads and writes."""

from __future__ import annotations

import io

import numpy as np
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray

from coinr.errors import InputError
from coinr.files.safetensors_stream import write_safetensors
from coinr.inputs.dtypes import check_dtype, dtype_name
from coinr.inputs.tensors import tensor_to_array
from tests.codec.arrays import DTYPES

WRITTEN = [dtype for dtype in DTYPES if dtype not in (torch.complex32, torch.complex128)]


def written(sd: dict[str, torch.Tensor], metadata: dict[str, str]) -> bytes:
    stream = io.BytesIO()
    layouts = {name: (check_dtype(tensor.dtype, name), tuple(tensor.shape)) for name, tensor in sd.items()}
    write_safetensors(stream, layouts, lambda name: tensor_to_array(sd[name])[0], metadata)
    return stream.getvalue()


def raw(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def tensors() -> dict[str, torch.Tensor]:
    made = {}
    for k, dtype in enumerate(WRITTEN):
        made[f"t{k}.ü"] = (torch.arange(3 + k).reshape(1, -1) % 2).to(dtype)
    return made | {"empty": torch.zeros(0, 3), "scalar": torch.tensor(2.5), "a": torch.arange(5, dtype=torch.uint8)}


@pytest.mark.parametrize("metadata", [{"format": "pt"}, {}])
def test_the_library_reads_every_dtype(metadata, tmp_path):
    sd = tensors()
    (tmp_path / "x.safetensors").write_bytes(written(sd, metadata))
    with safetensors.safe_open(tmp_path / "x.safetensors", "pt") as file:
        assert (file.metadata() or {}) == metadata
        assert sorted(file.keys()) == sorted(sd)
        for name, tensor in sd.items():
            found = file.get_tensor(name)
            assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
            assert torch.equal(raw(found), raw(tensor))


def test_bytes_are_those_of_the_library():
    sd = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.arange(3, dtype=torch.int64), "c": torch.arange(5).bool()}
    assert written(sd, {"format": "pt"}) == safetensors.torch.save(sd, {"format": "pt"})


@pytest.mark.parametrize("dtype", [torch.complex32, torch.complex128])
def test_dtypes_that_the_format_lacks_are_named(dtype):
    with pytest.raises(InputError, match=f"have {dtype_name(dtype)};"):
        write_safetensors(io.BytesIO(), {"t": (check_dtype(dtype, "t"), (2,))}, {}.__getitem__, {})


def test_each_tensor_is_taken_once_when_it_is_written():
    taken = []

    def take(name: str) -> NDArray[np.float32]:
        taken.append(name)
        return np.zeros(4, np.float32)

    write_safetensors(io.BytesIO(), dict.fromkeys("ba", (check_dtype(np.dtype("float32"), "t"), (4,))), take, {})
    assert taken == ["a", "b"]
