"""The direct coder: integers exactly, errors as allowed, both backends and orientations."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import coinr
from coinr.codec.allocate.default_errors import distortion_limits
from coinr.codec.allocate.row_weights import row_weights
from coinr.codec.coders.levels import NO_STEPS, LevelForm, step_factors
from coinr.codec.effort import BEST
from coinr.codec.format.container import File
from coinr.codec.quantize.forms import smallest_form
from coinr.codec.quantize.problem import QuantizationProblem
from coinr.codec.quantize.trellis import quantize_to
from coinr.codec.state_dict import read_state_dict
from coinr.codec.tensors import from_planes
from coinr.codec.wire import Reader
from coinr.engine import _C
from coinr.errors import FormatError
from tests.codec.arrays import tensor_of
from tests.codec.levels_reference import Form, factor
from tests.grids import fast_where

FORMS = [
    LevelForm(0, 4, 40, mixed=False),
    LevelForm(8, 7, 183, True, True, True, True, True),
    LevelForm(2, 0, 0, True, False, False, False, True, True),
    LevelForm(0, 3, 9, mixed=False, rans=True),
    LevelForm(5, 2, 30, True, False, True, ascending=True),
]


@pytest.mark.parametrize("form", FORMS)
def test_forms_survive_and_code_values_and_factors(form):
    data = form.write()
    assert len(data) == 3
    assert LevelForm.read(Reader(data)) == form
    k = np.rint(np.random.default_rng(0).standard_normal((20, 30)) * 9).astype(np.int32)
    row, column = np.arange(20, dtype=np.uint8), np.arange(30, dtype=np.uint8) % 7
    values, factors = form.decode(form.encode(k, row, column), 20, 30)
    assert np.array_equal(values, _C.level_values(k, form.log_states))
    kept = row if form.row_steps else NO_STEPS, column if form.column_steps else NO_STEPS
    assert np.array_equal(factors, step_factors(*kept))


@pytest.mark.parametrize(
    "data",
    [
        *((0, 0x10, 0), (0, 0x20, 0), (0, 0x80, 0), (0, 0, 23 << 3), (0x20, 0x40, 0)),
        *((0, 0x48, 0), (0x40, 8, 0), (0x80, 8, 0)),  # ascending, with rANS or steps
    ],
)
def test_forms_that_mean_nothing_are_refused(data):
    with pytest.raises(FormatError, match="level form"):
        LevelForm.of(*data)


def test_damaged_levels_are_a_format_error():
    for form in FORMS:
        with pytest.raises(FormatError, match="coded"):
            form.decode(bytes(600), 20, 30)


def test_large_tensors_are_coded_by_rans_and_come_back():
    tensor = torch.randn(600, 450, generator=torch.Generator().manual_seed(0))
    blob = coinr.encode_state_dict({"w": tensor}, profile="direct", effort="best", tolerance=0.3)
    assert File(blob).header.records[0].params.form.rans
    entry = read_state_dict({"w": tensor})[0]
    allowed = distortion_limits([entry], 0.3)[0].weighted_error
    off = float((coinr.decode_tensor(blob, "w") - tensor).square().mean().sqrt())
    assert 0.98 * allowed < off <= allowed
    # a trellis of 64 states is about 0.05 bits from the rate-distortion function of the normal distribution
    assert 8 * len(blob) / tensor.numel() < -math.log2(off) + 0.06


def test_a_few_bytes_stand_for_a_bounded_number_of_levels():
    form = LevelForm(0, 4, 40)
    assert form.decode(b"", 64, 64)[0].shape == (64, 64)
    with pytest.raises(FormatError, match="may not stand"):
        form.decode(b"", 64, 65)
    zeros = {"w": torch.zeros(600, 600)}
    for profile in ("auto", "direct", "sparse"):
        assert torch.equal(coinr.decode_state_dict(coinr.encode_state_dict(zeros, profile=profile))["w"], zeros["w"])


@pytest.mark.slow
@pytest.mark.parametrize("tolerance", [0.02, 0.3, 20.0])
def test_auto_is_never_larger_than_a_single_profile(tolerance):
    torch.manual_seed(3)
    sd = {
        "net.0.weight": torch.randn(64, 2),
        "net.0.bias": torch.randn(64),
        "net.1.weight": torch.randn(64, 64) * 0.02,
        "net.2.weight": torch.randn(3, 64).half(),
        "grid": torch.randn(40, 30).round(),
        "zeros": torch.zeros(30, 30),
    }
    size = len(coinr.encode_state_dict(sd, tolerance=tolerance, effort="best"))
    for profile, options in (
        ("direct", {"effort": "best"}),
        ("uniform", {}),
        ("lossless", {}),
        ("paper", {"M": 4096}),
        ("sparse", {}),
    ):
        assert size <= len(coinr.encode_state_dict(sd, profile=profile, tolerance=tolerance, **options)), profile


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64])
def test_reference_and_native_decode_alike(dtype, monkeypatch):
    torch.manual_seed(0)
    sd = {"a.0.weight": torch.randn(40, 24).to(dtype), "a.1.weight": torch.randn(5, 40).to(dtype)}
    blob = coinr.encode_state_dict(sd, profile="direct")
    decoded = []
    for backend in ("native", "reference"):
        monkeypatch.setenv("COINR_BACKEND", backend)
        decoded.append(coinr.decode_state_dict(blob))
    for name in sd:
        assert torch.equal(decoded[0][name], decoded[1][name])


def test_rows_without_consequence_are_coarse():
    torch.manual_seed(0)
    first, second = torch.randn(32, 32), nn.functional.normalize(torch.randn(4, 32), dim=0)
    second[:, :16] *= 1e-3
    weights = row_weights(read_state_dict({"net.0.weight": first, "net.1.weight": second}))[0]
    assert weights[:16].max() < 1e-3 * weights[16:].min()
    sd = {"net.0.weight": first, "net.1.weight": second}
    blob = coinr.encode_state_dict(sd, profile="direct")
    off = (coinr.decode_tensor(blob, "net.0.weight") - first).square().mean(1).sqrt()
    assert off[:16].min() > 8 * off[16:].max()


@pytest.mark.parametrize("relative", [0.02, 0.3, 0.6, 0.8, 0.9])
@pytest.mark.parametrize("kind", ["normal", "laplace", "rows"])
def test_the_error_asked_for_is_met_at_every_rate(relative, kind):
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((96, 96)) if kind == "normal" else rng.laplace(size=(96, 96))
    matrix *= np.exp(0.5 * rng.standard_normal((96, 1))) if kind == "rows" else 1.0
    size = math.sqrt(np.square(matrix).mean())
    found = quantize_to(QuantizationProblem(matrix, relative * size, relative * size), NO_STEPS, NO_STEPS, BEST)
    assert 0.97 * relative < found.error / size <= relative
    if kind == "normal":
        bits = 8 * len(smallest_form(found, BEST)[0]) / matrix.size
        assert bits < 0.08 - math.log2(found.error / size) * (1.04 if relative < 0.5 else 1.3)


def by_the_format(record, payload):
    """The planes of a record of coder 3, by the decoder written from FORMAT.md."""
    layout, written = record.layout, record.params.write()
    form, transposed = Form(written[:3]), written[1] >> 7
    step = np.frombuffer(bytes(2) + written[3:], "<f4")[0]
    rows = layout.planes * (layout.shape[0] if len(layout.shape) > 1 else 1)
    columns = layout.planes * layout.size // rows
    values, row, column = form.decode(payload, *((columns, rows) if transposed else (rows, columns)))
    exponents = np.add.outer(row or [0] * len(values), column or [0] * len(values[0]))
    steps = step * (np.array([factor(e) for e in exponents.ravel()]) / 128).astype(np.float32).reshape(exponents.shape)
    weights = np.array(values, np.float32) * steps
    return (weights.T if transposed else weights).reshape(layout.planes, -1)


@pytest.mark.parametrize(
    "case", fast_where(lambda case: case == "auto", ["direct", "direct_rows", "auto", "direct_tokens"])
)
def test_the_decoder_of_the_format_reads_the_golden_files(case):
    blob = (Path(__file__).parent / "golden" / "v1" / f"{case}.coinr").read_bytes()
    file, read = File(blob), 0
    for place, record in enumerate(file.header.records):
        if record.coder == 3:
            planes = by_the_format(record, bytes(file.payload(place)))
            expected = tensor_of(from_planes(planes, record.layout), record.layout)
            got = coinr.decode_tensor(blob, record.name)
            assert torch.equal(got.view(torch.uint8), expected.contiguous().view(torch.uint8))
            read += 1
    assert read > 0
