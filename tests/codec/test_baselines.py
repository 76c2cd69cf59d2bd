from collections import OrderedDict

import brotli
import numpy as np
import pytest
import torch

from coinr.codec import baselines
from coinr.errors import FormatError, InputError
from tests.grids import fast_where

UNIFORM = [f"uniform{bits}" for bits in range(2, 17)]


@pytest.fixture
def weights():
    generator = torch.Generator().manual_seed(0)
    return OrderedDict(
        (name, torch.randn(shape, generator=generator) * scale)
        for name, shape, scale in [("a.weight", (64, 2), 0.3), ("a.bias", (64,), 0.1), ("b.weight", (3, 67), 0.01)]
    )


@pytest.mark.parametrize("method", baselines.METHODS)
def test_names_order_shapes_and_dtypes_come_back(weights, method):
    back = baselines.decode(baselines.encode(weights, method), method, weights)
    assert [(k, v.shape, v.dtype) for k, v in back.items()] == [(k, v.shape, v.dtype) for k, v in weights.items()]


def test_fp32_is_exact_and_fp16_rounds_to_nearest(weights):
    fp32, fp16 = baselines.encode(weights, "fp32"), baselines.encode(weights, "fp16")
    assert (len(fp32), len(fp16)) == (4 * 393, 2 * 393)
    for name, w in weights.items():
        assert torch.equal(baselines.decode(fp32, "fp32", weights)[name], w)
        assert torch.equal(baselines.decode(fp16, "fp16", weights)[name], w.half().float())


@pytest.mark.parametrize("method", UNIFORM)
def test_uniform_rounds_each_weight_to_the_nearest_level(weights, method):
    top = 2 ** (int(method.removeprefix("uniform")) - 1) - 1
    back = baselines.decode(baselines.encode(weights, method), method, weights)
    for name, w in weights.items():
        step = float(np.float32(w.abs().max().item() / top))
        levels = back[name].double().numpy() / step
        np.testing.assert_allclose(levels, np.rint(levels), rtol=0, atol=top * 2e-7)
        assert np.abs(np.rint(levels)).max() == top
        assert (back[name].double() - w).abs().max().item() <= step / 2 + top * step * 2e-7


@pytest.mark.parametrize("bits", [2, 3, 7, 8, 9, 10, 12, 15, 16])
@pytest.mark.parametrize("layout", range(len(baselines.LAYOUTS)), ids=baselines.LAYOUTS)
def test_every_layout_restores_the_symbols_from_the_stated_bytes(bits, layout):
    if bits <= 8 and baselines.LAYOUTS[layout] in ("planes", "top"):
        blob = bytes([layout]) + bytes(4 + 1)
        with pytest.raises(FormatError, match="more than 8 bits"):
            baselines.decode(blob, f"uniform{bits}", {"w": torch.zeros(1)})
        return
    for count in (0, 1, 2, 101):
        symbols = np.random.default_rng(bits).integers(0, 2**bits - 1, count).astype("<u2")
        payload = baselines._arrange(symbols, bits, layout)
        assert len(payload) == baselines._size(count, bits, layout)
        np.testing.assert_array_equal(baselines._restore(payload, count, bits, layout), symbols)


@pytest.mark.parametrize("bits", fast_where(lambda bits: bits == 10, [8, 10, 12, 16]))
def test_the_smallest_layout_is_kept(bits):
    w = torch.randn(20000, generator=torch.Generator().manual_seed(1))
    blob = baselines.encode({"w": w}, f"uniform{bits}")
    step = float(np.float32(w.abs().max().item() / (2 ** (bits - 1) - 1)))
    q = (np.rint(w.double().numpy() / step) + 2 ** (bits - 1) - 1).astype("<u2")
    interleaved = len(brotli.compress(q.tobytes(), quality=11))
    planes = len(brotli.compress(q.view(np.uint8).reshape(-1, 2).T.tobytes(), quality=11))
    assert len(blob) <= 5 + min(interleaved, planes, 20000 * bits / 8)
    if bits <= 12:  # enough samples for each level to tell the entropy
        counts = np.unique(q, return_counts=True)[1]
        entropy = -(counts * np.log2(counts / 20000)).sum() / 8
        assert 0.98 * entropy < len(blob) < 1.05 * entropy


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.complex64], ids=str)
def test_other_dtypes(dtype):
    w = torch.randn(5, 7, generator=torch.Generator().manual_seed(2)).to(dtype)
    if dtype == torch.complex64:
        w = torch.complex(w.real, w.real.flip(0)).conj()
    for method, error in {"fp32": 1e-7, "fp16": 1e-3, "uniform16": 1e-4}.items():
        back = baselines.decode(baselines.encode({"w": w}, method), method, {"w": w})["w"]
        assert back.dtype == dtype
        rounding = torch.finfo(dtype).eps if dtype.is_floating_point and dtype.itemsize == 2 else 0
        assert (back - w).abs().max().item() <= error * 4 + rounding * 4


def test_zero_empty_scalar_and_no_tensors():
    w = {"zero": torch.zeros(3), "empty": torch.zeros(0, 4), "scalar": torch.tensor(-2.5)}
    for method in baselines.METHODS:
        back = baselines.decode(baselines.encode(w, method), method, w)
        assert torch.equal(back["zero"], w["zero"])
        assert back["empty"].shape == (0, 4)
        assert back["scalar"].item() == pytest.approx(-2.5, rel=1e-7)
        assert baselines.decode(baselines.encode({}, method), method, {}) == {}


@pytest.mark.parametrize(
    ("tensor", "method", "message"),
    [
        (torch.tensor([1.0, float("nan")]), "uniform8", "w holds NaN"),
        (torch.tensor([float("inf")]), "fp32", "w holds NaN or infinite"),
        (torch.tensor([1, 2]), "uniform8", r"w is torch\.int64"),
        (torch.tensor([1e5]), "fp16", "w does not fit float16"),
        (torch.tensor([1.0]), "uniform17", "unknown baseline 'uniform17'"),
    ],
)
def test_what_cannot_be_coded_is_refused(tensor, method, message):
    with pytest.raises(InputError, match=message):
        baselines.encode({"w": tensor}, method)


def test_damaged_streams_are_refused(weights):
    blob = baselines.encode(weights, "uniform10")
    for bad in (b"", blob[:5], blob[:-1], bytes([0x7F]) + blob[1:], baselines.encode(weights, "uniform4")):
        with pytest.raises(FormatError):
            baselines.decode(bad, "uniform10", weights)
    with pytest.raises(FormatError):
        baselines.decode(b"1234", "fp16", weights)
