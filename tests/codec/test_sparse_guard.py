"""A few bytes of a sparse code stand for a bounded number of vectors and levels: no decoder begins with more."""

import pytest
import torch

import coinr
from coinr.codec.coders import SPARSE, SparseParams
from coinr.codec.coders.levels import LevelForm
from coinr.codec.format.container import write
from coinr.codec.format.tensor_table import Header, TensorRecord
from coinr.codec.tensors import Cut
from coinr.engine import native
from coinr.errors import FormatError
from tests.codec.arrays import layout as layout_for

# Vectors, or levels, that any payload may stand for.
ALWAYS = 1 << 12


def forged(vectors, n, dense=False, payload=b""):
    """A file of ``vectors`` of length n and a payload that is far too short for them."""
    if dense:
        params = SparseParams(Cut(False, n), "hadamard", n, n, 0.5, LevelForm(0, 3, 40))
    else:
        params = SparseParams(Cut(False, n), "hadamard", 1 << 20, n, 0.5)
    record = TensorRecord("w", layout_for(torch.float32, (vectors, n)), SPARSE.id, params, len(payload))
    return write(Header(0, (record,)), [payload])


@pytest.fixture
def begun(monkeypatch):
    """Names of the decoders of integers that were called, in place of what they cost."""
    calls = []

    def refuse(name):
        def decode(*_):
            calls.append(name)
            raise ValueError("not decoded here")

        return decode

    for name in ("decode_sparse", "decode_levels"):
        monkeypatch.setattr(native, name, refuse(name))
    return calls


@pytest.mark.parametrize("payload", [b"", b"\x80", b"\x80\x40\x20\x10"])
@pytest.mark.parametrize(("vectors", "n", "dense"), [(ALWAYS + 1, 8, False), (1 << 22, 1, False), (ALWAYS, 2, True)])
@pytest.mark.parametrize("read", [coinr.decode_state_dict, coinr.verify])
def test_too_many_are_refused_before_any_is_decoded(vectors, n, dense, payload, read, begun):
    blob = forged(vectors, n, dense, payload)
    assert len(blob) <= 40
    with pytest.raises(FormatError, match="may not stand for"):
        read(blob)
    assert begun == []


@pytest.mark.parametrize(
    ("vectors", "n", "dense", "decoder"),
    [(ALWAYS, 8, False, "decode_sparse"), (ALWAYS // 2, 2, True, "decode_levels")],
)
def test_as_many_as_any_payload_may_stand_for_are_decoded(vectors, n, dense, decoder, begun):
    with pytest.raises(FormatError, match="not decoded here"):
        coinr.decode_state_dict(forged(vectors, n, dense))
    assert begun == [decoder]


def test_more_bytes_may_stand_for_more(begun):
    with pytest.raises(FormatError, match="not decoded here"):
        coinr.decode_state_dict(forged(1 << 13, 8, payload=b"\x80" * 16))
    assert begun == ["decode_sparse"]
