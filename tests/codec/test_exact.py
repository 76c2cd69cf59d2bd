"""Lossless storage: the exact coder on tensors of every dtype, and the choice between it and Brotli."""

import math
from collections import OrderedDict

import pytest
import torch

import coinr
from coinr.codec.candidates import lossless
from coinr.codec.coders import EXACT, ExactParams
from coinr.inputs.tensors import tensor_to_array
from tests.codec.arrays import DTYPES, entry_of, layout_of, tensor_of
from tests.codec.arrays import layout as layout_for
from tests.codec.round_trip import bits

SHAPES = [(), (1,), (7,), (90, 1), (0, 3), (5, 4), (2, 3, 4), (64, 33)]


def made(dtype, shape):
    """Numbers of any dtype."""
    values = torch.randn(shape, dtype=torch.float64) * 20
    if dtype.is_complex:
        return torch.complex(values, values.flip(0) if shape else values).to(dtype)
    if dtype == torch.bool:
        return values > 0
    return (values if dtype.is_floating_point else values.round().abs()).to(dtype)


def through(tensor):
    """The tensor after coding, and the payload."""
    payload = EXACT.encode(tensor_to_array(tensor), ExactParams())
    layout = layout_of(tensor)
    return tensor_of(EXACT.decode(memoryview(payload), ExactParams(), layout, 0), layout), payload


@pytest.mark.filterwarnings("ignore:ComplexHalf")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_dtype_and_shape_comes_back(dtype, shape):
    tensor = made(dtype, shape)
    decoded, payload = through(tensor)
    assert (decoded.dtype, decoded.shape, bits(decoded)) == (dtype, tensor.shape, bits(tensor))
    assert bool(payload) == bool(tensor.numel())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_arbitrary_bits_come_back(dtype):
    """NaN payloads, denormals, signed zeros: all bit patterns."""
    raw = torch.randint(0, 2 if dtype == torch.bool else 256, (60 * dtype.itemsize,), dtype=torch.uint8)
    tensor = raw.view(dtype).reshape(6, 10)
    assert bits(through(tensor)[0]) == bits(tensor)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_special_values_come_back(dtype):
    tiny = torch.finfo(dtype).smallest_normal
    values = [0.0, -0.0, math.nan, math.inf, -math.inf, tiny, tiny / 2, -tiny / 4, torch.finfo(dtype).max]
    tensor = torch.tensor(values, dtype=torch.float64).to(dtype)
    assert bits(through(tensor)[0]) == bits(tensor)


def test_trained_floats_take_fewer_bytes_than_brotli_needs():
    """The exponents of normal numbers are predictable, and so are a few leading bits of the mantissa."""
    for dtype, share in ((torch.float32, 0.835), (torch.float16, 0.855), (torch.bfloat16, 0.68)):
        tensor = (torch.randn(64, 64) * 0.1).to(dtype)
        assert len(through(tensor)[1]) < share * tensor.nbytes


@pytest.mark.parametrize(
    ("tensor", "most"),
    [
        (torch.arange(1000), 32),
        (torch.ones(64), 12),
        (torch.tril(torch.ones(64, 64)).bool(), 16),
        (torch.linspace(-1, 1, 256), 160),
        (torch.stack(torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij"), -1).reshape(-1, 2), 200),
    ],
    ids=["counter", "ones", "triangle", "ramp", "grid"],
)
def test_regular_buffers_take_next_to_nothing(tensor, most):
    assert len(through(tensor)[1]) <= most


def test_the_smaller_of_both_coders_is_taken():
    noise, repeated = torch.randn(64, 64), torch.randn(100).repeat(100)
    blob = coinr.encode_state_dict(OrderedDict(noise=noise, repeated=repeated), profile="lossless")
    assert [row["coder"] for row in coinr.inspect(blob).tensors] == ["exact", "lossless"]
    decoded = coinr.decode_state_dict(blob)
    assert torch.equal(decoded["noise"], noise)
    assert torch.equal(decoded["repeated"], repeated)
    for tensor in (noise, repeated, noise.bfloat16(), torch.arange(99), torch.tensor(3)):
        entry = entry_of(tensor)
        assert len(lossless(entry).payload) <= len(EXACT.encode(tensor_to_array(tensor), ExactParams()))


def test_a_payload_that_stands_for_too_many_bits_is_refused_and_not_written():
    zeros = torch.zeros(1 << 19, dtype=torch.int64)
    payload, layout = EXACT.encode(tensor_to_array(zeros), ExactParams()), layout_of(zeros)
    assert not EXACT.is_decodable(payload, layout)
    with pytest.raises(coinr.FormatError, match="may stand for"):
        EXACT.decode(memoryview(payload), ExactParams(), layout, 0)
    coded = lossless(entry_of(zeros))
    assert (coded.coder, len(coded.payload) < 100) == (0, True)


@pytest.mark.parametrize(
    ("payload", "layout"),
    [
        (b"", layout_for(torch.float32, (3,))),
        (b"\0", layout_for(torch.float32, (0,))),
        (bytes([32 << 2]) + bytes(20), layout_for(torch.float32, (3,))),
        (bytes([8 << 2]) + bytes(20), layout_for(torch.uint8, (3,))),
        (bytes([1]), layout_for(torch.bool, (3,))),
        (bytes([0]), layout_for(torch.float32, (3,))),
        (bytes([31 << 2, 0]), layout_for(torch.float32, (3,))),
        (bytes([31 << 2]) + b"\1" * 400, layout_for(torch.float32, (3,))),
        (bytes([30 << 2, 8, 1]), layout_for(torch.float32, (3,))),
    ],
    ids=["nothing", "no elements", "33 bits", "9 bits", "bool mode", "short", "a zero byte", "long", "padding"],
)
def test_payloads_that_are_none_are_refused(payload, layout):
    with pytest.raises(coinr.FormatError):
        EXACT.decode(memoryview(payload), ExactParams(), layout, 0)
