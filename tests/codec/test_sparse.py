"""The sparse coder and its profile: dense and sparse dictionary codes, exact decoding, errors that are kept."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import coinr
from coinr.codec.candidates import cost
from coinr.codec.coders import SPARSE, SparseParams
from coinr.codec.coders.levels import LevelForm
from coinr.codec.coders.sparse import SparseIntegers, combine_all, decode_integers
from coinr.codec.distortion import DistortionLimit, weighted_rms
from coinr.codec.format.container import File
from coinr.codec.options import EncodeOptions
from coinr.codec.quantize import direct, sparse
from coinr.codec.quantize.sparse_rdo import PursuitSearch, water_level
from coinr.codec.state_dict import read_state_dict
from coinr.codec.tensors import Cut
from coinr.codec.wire import Reader
from coinr.engine import philox as rng
from coinr.engine.dictionary import Dictionary
from coinr.errors import CoinrError, FormatError, InputError
from coinr.sensitivity.hessian import TensorHessian
from tests.codec.arrays import layout as layout_for
from tests.codec.arrays import tensor_of
from tests.grids import fast_where

PLAIN = EncodeOptions(threads=1)
FAST = {"M": 1 << 10, "beam": 2}


def source_of(tensor):
    return read_state_dict({"w": tensor})[0]


def gaussian(*shape, dtype=torch.float32, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def within(error):
    return DistortionLimit(error, error)


def smallest(entry, limit, settings=PLAIN, **options):
    """The smallest candidate in a dictionary, or None."""
    found = sparse.candidates(entry, limit, replace(settings, profile_options=options))
    assert all(candidate.satisfies(limit) for candidate in found)
    return min(found, key=cost, default=None)


def decode(coded, layout, seed=0):
    return tensor_of(SPARSE.decode(memoryview(coded.payload), coded.params, layout, seed), layout)


def by_definition(coded, layout, seed):
    """float32(Σ q A) · step, vector by vector, with the dictionary of ``coinr.engine.philox``."""
    params = coded.params
    n = params.cut.n
    if params.form is None:
        atoms, q = decode_integers(coded.payload, params, layout)
    else:
        q, _ = params.form.decode(coded.payload, *params.matrix_shape(layout))
        q = q.reshape(-1, n)
        atoms = np.tile(np.arange(n), (len(q), 1))
    made = np.stack(
        [
            w.astype(np.int64) @ rng.entries(params.kind, n, seed, 0, j).astype(np.int64)
            for w, j in zip(q, atoms, strict=True)
        ]
    )
    vectors = made.astype(np.float32) * np.float32(params.step)
    return torch.from_numpy(params.cut.undo(vectors, layout))


@pytest.mark.parametrize("form", ["dense", "sparse"])
@pytest.mark.parametrize(
    "dtype",
    fast_where(
        lambda dtype: dtype in (torch.float16, torch.complex64),
        [torch.float32, torch.float64, torch.float16, torch.complex64],
    ),
)
@pytest.mark.parametrize(("shape", "n"), [((24, 40), 8), ((24, 40), 64), ((33, 7), 16), ((5, 6, 7), 32), ((1, 64), 64)])
def test_decodes_by_definition_and_keeps_the_error(form, dtype, shape, n):
    tensor = gaussian(*shape)
    if dtype.is_complex:
        tensor = torch.complex(tensor, gaussian(*shape, seed=1))
    entry = source_of(tensor.to(dtype))
    coded = smallest(entry, within(0.3), **FAST, form=form, n=n)
    assert coded is not None
    assert (coded.params.form is None) == (form == "sparse")
    assert coded.params.cut.n == n
    assert 0.25 < coded.distortion.error <= 0.3
    got = decode(coded, entry.layout)
    assert got.dtype == dtype
    planes = by_definition(coded, entry.layout, 0)
    want = torch.complex(*planes) if dtype.is_complex else planes[0].to(dtype)
    assert torch.equal(got, want.reshape(shape))


@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_backends_decode_alike(form, monkeypatch):
    entry = source_of(gaussian(30, 50))
    coded = smallest(entry, within(0.4), replace(PLAIN, seed=2**64 - 1), **FAST, form=form)
    native = decode(coded, entry.layout, 2**64 - 1)
    monkeypatch.setenv("COINR_BACKEND", "reference")
    assert torch.equal(native, decode(coded, entry.layout, 2**64 - 1))


@pytest.mark.parametrize(
    "params",
    [
        SparseParams(Cut(False, 64), "hadamard", 1 << 18, 40, 2.0**-9),
        SparseParams(Cut(True, 300), "gaussian", 1 << 24, 300, 1.5),
        SparseParams(Cut(True, 7), "rademacher", 1, 1, 2.0**-100),
        SparseParams(Cut(False, 16), "hadamard", 16, 16, 0.75, LevelForm(8, 3, 40, True, False, True)),
        SparseParams(Cut(True, 1024), "hadamard", 1024, 1024, 0.75, LevelForm(0, 0, 0, False, True, False)),
    ],
)
def test_parameters_survive(params):
    reader = Reader(params.write())
    assert SPARSE.read(reader) == params
    reader.end()
    params.check(layout_for(torch.float32, (64, 64)))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (bytes([0, 8, 4, 2, 0, 60]), "flags"),
        (bytes([16 | 3, 8, 4, 2, 0, 60]), "flags"),
        (bytes([3, 8, 25, 2, 0, 60]), "more than"),
        (bytes([3, 8, 24, 0x80, 0x20, 0, 60]), "more than"),
        (bytes([3, 8, 4, 2, 0, 0]), "step"),
        (bytes([3, 8, 4, 2, 0x80, 0x7F]), "step"),
        (bytes([3, 8, 4, 2, 0x80, 0xBF]), "step"),
        (bytes([3, 8, 4, 2, 0x7F, 0x7F]), "step"),
        (bytes([8 | 3, 8, 0, 17, 0, 0, 60]), "level form"),
        (bytes([8 | 3, 8, 0, 9, 0, 0, 60]), "nor ascending levels"),
        (bytes([8 | 3, 8, 128, 0, 0, 0, 60]), "steps by column"),
        (bytes([3, 8, 4, 2, 0]), "needs"),
    ],
)
def test_wrong_parameters_are_refused(raw, message):
    with pytest.raises(CoinrError, match=message):
        SPARSE.read(Reader(raw))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"s": 0}, "s = 0"),
        ({"s": 33}, "s = 33"),
        ({"s": 9, "M": 8}, "s = 9"),
        ({"cut": Cut(False, 0)}, "vectors of 0"),
        ({"cut": Cut(False, 65)}, "vectors of 65"),
        ({"form": LevelForm(0, 0, 0), "kind": "gaussian"}, "orthogonal"),
        ({"form": LevelForm(0, 0, 0), "cut": Cut(False, 24)}, "orthogonal"),
    ],
)
def test_parameters_must_fit_the_layout(change, message):
    params = replace(SparseParams(Cut(False, 32), "hadamard", 64, 8, 1.0), **change)
    with pytest.raises(FormatError, match=message):
        params.check(layout_for(torch.float32, (8, 8)))


def test_other_layouts_are_refused():
    params = SparseParams(Cut(False, 1), "hadamard", 4, 1, 1.0)
    for layout in (layout_for(torch.int32, (8, 8)), layout_for(torch.float32, ()), layout_for(torch.float32, (0, 3))):
        with pytest.raises(FormatError):
            params.check(layout)
    large = SparseParams(Cut(False, 2048), "hadamard", 2048, 2048, 1.0, LevelForm(0, 0, 0))
    with pytest.raises(FormatError, match="too large"):
        large.check(layout_for(torch.float32, (64, 64)))


@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_work_bounds_what_decoding_generates(form):
    entry = source_of(gaussian(64, 64))
    coded = smallest(entry, within(0.5), **FAST, form=form, n=64)
    B, s = 64, coded.params.s
    assert coded.params.work(entry.layout) == B * s * 64 + 64
    if form == "sparse":
        assert np.count_nonzero(decode_integers(coded.payload, coded.params, entry.layout)[1]) <= B * s


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80), st.booleans(), st.integers(0, 12), st.integers(1, 12))
def test_garbage_ends_in_an_error_or_a_tensor(data, dense, log_atoms, s):
    layout = layout_for(torch.float32, (9, 11))
    params = SparseParams(Cut(False, 16), "hadamard", 1 << log_atoms, min(s, 1 << log_atoms), 2.0**-4)
    if dense:
        params = SparseParams(Cut(False, 16), "hadamard", 16, 16, 2.0**-4, LevelForm(s % 3 * 4, 3, s, False, s > 5))
    params.check(layout)
    try:
        array = SPARSE.decode(memoryview(data), params, layout, 0)
    except FormatError:
        return
    assert array.shape == (9, 11)
    assert np.isfinite(array).all()


def test_sums_of_all_atoms_are_exact_and_rounded_once():
    g = np.random.default_rng(0)
    q = g.integers(-(2**21), 2**21, (50, 1024)).astype(np.int32)
    atoms = rng.entries("hadamard", 1024, 3, 0, np.arange(1024)).astype(np.int64)
    got = combine_all(q, Dictionary("hadamard", 1024, 1024, 3))
    np.testing.assert_array_equal(got, (q.astype(np.int64) @ atoms).astype(np.float32))


def test_integers_of_a_matrix_need_a_dense_form():
    params = SparseParams(Cut(False, 4), "hadamard", 4, 1, 1.0)
    with pytest.raises(TypeError, match="dense"):
        SPARSE.encode((np.zeros((4, 4), np.int32), np.zeros(0, np.uint8), np.zeros(0, np.uint8)), params)


def test_sparse_codes_survive():
    params = SparseParams(Cut(False, 16), "gaussian", 256, 5, 0.125)
    codes = SparseIntegers(np.array([2, 0, 5, 1], np.int32), np.array([3, 200, 0, 1, 2, 3, 255, 77], np.int32), None)
    codes = replace(codes, q=np.array([1, -2, 3, -4, 5, -6, 7, -8], np.int32))
    payload = SPARSE.encode(codes, params)
    layout = layout_for(torch.float64, (8, 8))
    atoms, q = decode_integers(payload, params, layout)
    np.testing.assert_array_equal(atoms[0], [3, 200, 0, 0, 0])
    np.testing.assert_array_equal(q, [[1, -2, 0, 0, 0], [0] * 5, [3, -4, 5, -6, 7], [-8, 0, 0, 0, 0]])
    array = SPARSE.decode(memoryview(payload), params, layout, 5)
    atom = rng.entries("gaussian", 16, 5, 0, np.array([77]))[0].astype(np.float64)
    np.testing.assert_array_equal(array.reshape(4, 16)[3], -1.0 * atom)
    assert not array.reshape(4, 16)[1].any()


def test_sparse_wins_at_low_rates_and_dense_at_high_ones():
    entry = source_of(gaussian(64, 128))
    coarse = smallest(entry, within(0.8))
    assert coarse.params.form is None
    assert 8 * cost(coarse) < 0.43 * entry.layout.size  # the best scalar or trellis codes need 0.433
    fine = smallest(entry, within(0.05))
    assert fine.params.form is not None
    (plain, *_) = direct.candidates(entry, within(0.05), PLAIN)
    assert cost(fine) < 1.01 * cost(plain)


def test_errors_too_fine_for_any_dictionary_are_not_pursued(monkeypatch):
    entry = source_of(gaussian(64, 64))
    monkeypatch.setattr(sparse, "PursuitSearch", None)
    assert smallest(entry, within(1e-6), form="dense") is None
    assert smallest(entry, within(1e-6)) is None
    with pytest.raises(TypeError):
        smallest(entry, within(0.8))


def test_the_search_does_not_depend_on_threads():
    entry = source_of(gaussian(64, 64))
    one, three = (smallest(entry, within(0.7), replace(PLAIN, threads=threads), **FAST) for threads in (1, 3))
    assert one == three


@pytest.mark.parametrize("scale", [1e-30, 1e15])
@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_any_scale_of_weights(scale, form):
    entry = source_of(gaussian(16, 32) * scale)
    coded = smallest(entry, within(0.5 * scale), **FAST, form=form)
    assert 0.4 * scale < coded.distortion.error <= 0.5 * scale


@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_what_no_step_can_hold_is_left_to_others(form):
    for scale in (1e-45, 3e38):
        entry = source_of(torch.full((16, 16), scale))
        coded = smallest(entry, within(scale / 1000), **FAST, form=form)
        assert coded is None or coded.distortion.error <= scale / 1000


def test_vectors_scalars_and_zero_errors_are_left_to_others():
    assert smallest(source_of(gaussian(4096)), within(0.5)) is None
    assert smallest(source_of(gaussian(7, 9)), within(0.5)) is None
    assert smallest(source_of(gaussian(64, 64)), within(0.0)) is None


@pytest.mark.parametrize("options", [{}, {"form": "sparse", "M": 1024, "beam": 1}, {"form": "dense", "n": 32}])
def test_profile_stores_a_state_dict(options):
    sd = {
        "net.0.weight": gaussian(32, 2),
        "net.0.bias": gaussian(32),
        "net.1.weight": gaussian(32, 32) * 0.1,
        "wave": torch.complex(gaussian(12, 12), gaussian(12, 12, seed=3)),
        "steps": torch.tensor(3),
    }
    blob = coinr.encode_state_dict(sd, seed=9, profile="sparse", tolerance=0.4, **options)
    decoded = coinr.decode_state_dict(blob)
    for name, tensor in sd.items():
        assert decoded[name].dtype == tensor.dtype
        assert (decoded[name] - tensor).abs().square().sum() <= (0.4 * tensor.abs()).square().sum()
    coders = {record.name: record.coder for record in File(blob).header.records}
    assert coders["net.1.weight"] == coders["wave"] == SPARSE.id
    assert SPARSE.id not in (coders["net.0.bias"], coders["steps"])
    assert "sparse" in str(coinr.inspect(blob))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"M": 1000}, "power of two"),
        ({"M": 1}, "M must"),
        ({"M": 1 << 25}, "M must"),
        ({"beam": 0}, "beam must"),
        ({"n": 0}, "n must"),
        ({"form": "both"}, "form must"),
        ({"kind": "hadamard"}, "unknown option"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        coinr.encode_state_dict({"w": gaussian(8, 8)}, profile="sparse", **options)


def moments(size, seed=0):
    """Second moments of inputs that are far from alike, mean of the diagonal 1."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((4 * size, size)) @ rng.standard_normal((size, size))
    found = x.T @ x
    return found * size / np.trace(found)


def rms_in_weights(problem, params, inputs, seed=0):
    """A problem's weighted error of random errors of coefficients, and the same of the errors of weights they make."""
    error = np.random.default_rng(1).standard_normal(problem.matrix.shape)
    atoms = Dictionary("hadamard", params.cut.n, params.cut.n, seed).materialize().astype(np.float64)
    in_weights = (error.reshape(-1, params.cut.n) @ atoms.T).reshape(-1, len(inputs))
    return problem.weighted_rms(error), np.sqrt(np.einsum("ri,ij,rj", in_weights, inputs, in_weights) / error.size)


@pytest.mark.parametrize("n", [2, 16, 64])
def test_errors_of_dense_codes_weigh_as_those_of_the_weights_they_make(n):
    entry, inputs = source_of(gaussian(24, 64)), moments(64)
    params = sparse._dense_params(Cut(False, n))
    problem = sparse._problem(entry, DistortionLimit(0.1, 0.1, input_covariance=inputs), 1.0, params, 0)
    ours, expected = rms_in_weights(problem, params, inputs)
    assert ours * np.sqrt(n) == pytest.approx(expected, rel=1e-9)


def test_errors_of_all_elements_together_weigh_as_those_of_the_weights_they_make():
    entry, whole = source_of(gaussian(8, 16)), moments(128)
    lower = np.linalg.cholesky(whole[::-1, ::-1])[::-1, ::-1]
    hessian = TensorHessian(lower / np.diag(lower), np.square(np.diag(lower)))
    params = sparse._dense_params(Cut(False, 4))
    problem = sparse._problem(entry, DistortionLimit(0.1, 0.1, hessian=hessian), 1.0, params, 0)
    ours, expected = rms_in_weights(problem, params, whole)
    assert ours * 2 == pytest.approx(expected, rel=1e-9)


def test_dense_codes_that_use_the_input_covariance_are_smaller_at_the_same_weighted_error():
    entry, inputs = source_of(gaussian(64, 64)), moments(64)
    weighted = smallest(entry, DistortionLimit(0.05, 1.0, input_covariance=inputs), form="dense")
    plain = smallest(entry, within(0.05), form="dense")
    assert cost(weighted) < 0.9 * cost(plain)
    assert weighted_rms(sparse_error(weighted, entry), DistortionLimit(0.05, 1.0, input_covariance=inputs)) <= 0.05


def sparse_error(coded, entry):
    decoded = SPARSE.decode(memoryview(coded.payload), coded.params, entry.layout, 0)
    return decoded.astype(np.float64) - entry.planes.reshape(decoded.shape)


def test_the_prices_of_integers_are_bits_of_a_prefix_code_of_what_was_seen():
    search = PursuitSearch(np.random.default_rng(0).normal(size=(4, 32)), 0.3, 256, 1, 0, 1)
    search._learn(np.array([1, -1, 1, 1, -2, 2, 70], np.int32))
    assert np.exp2(1 - search.value_bits).sum() == pytest.approx(1, abs=1e-9)
    assert search.value_bits[0] < search.value_bits[1] < search.value_bits[63]
    assert search.value_bits[63] < search.value_bits[2]


@pytest.mark.parametrize("energy", [[1.0], [0.0, 1.0], [1.0, 2.0, 4.0], [3.0, 3.0, 3.0], [0.0, 0.0, 1e-9, 5.0]])
@pytest.mark.parametrize("part", [1e-6, 0.3, 0.9, 1.0 - 1e-16, 1.0, 2.0])
def test_vectors_below_the_water_level_are_left_out(energy, part):
    energy = np.array(energy)
    allowed = part * energy.mean()
    level = water_level(energy, math.sqrt(allowed))
    assert 0 < level <= energy.max()
    assert np.minimum(energy, level).mean() == pytest.approx(min(allowed, energy.mean()), rel=1e-12)
