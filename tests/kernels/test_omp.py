"""Pursuits on the device against the float64 reference, and the edges of the contract."""

import importlib

import numpy as np
import pytest
import torch

from coinr import Dictionary, SparseCode
from coinr.engine import philox
from coinr.engine.reference_omp import reference_omp
from tests.engine.pursuit import assert_same_pursuit
from tests.grids import fast_where
from tests.kernels.on_device import DEVICE, KINDS, kernels

device_omp = importlib.import_module("coinr.kernels.omp")


def run(W, dictionary, s, monkeypatch=None, wide=None):
    """The device's code as NumPy arrays; ``wide`` forces one of the two updates."""
    if wide is not None:
        monkeypatch.setattr(device_omp, "NARROW_N", 0 if wide else 1 << 20)
        monkeypatch.setattr(device_omp, "multiprocessors", lambda device: 0)
    d = dictionary
    parts = kernels.omp(torch.as_tensor(W).to(DEVICE), d.kind, d.M, d.seed, d.stream, s)
    return SparseCode(*(part.cpu().numpy() for part in parts))


def truth(W, dictionary, s):
    return SparseCode(*reference_omp(np.asarray(W, np.float64), dictionary, s))


def assert_values_solve(W, code, dictionary):
    """Values are the least-squares solution on the support, path its residual energies, both to float32."""
    for w, picks, values, path in zip(np.asarray(W, np.float64), code.indices, code.values, code.path, strict=True):
        assert (np.diff(path) <= 1e-6 * path[0]).all()
        assert ((picks >= 0) | (values == 0)).all()
        chosen = picks[picks >= 0]
        assert len(set(chosen)) == len(chosen)
        if len(chosen):
            atoms = philox.entries(dictionary.kind, dictionary.n, dictionary.seed, dictionary.stream, chosen).T
            solved = np.linalg.lstsq(atoms.astype(np.float64), w, rcond=None)[0]
            np.testing.assert_allclose(values[: len(chosen)], solved, rtol=0, atol=2e-5 * np.abs(solved).max())


SHAPES = [
    (1, 5, 2, 1),
    (2, 37, 2, 2),
    (3, 301, 1, 3),
    (63, 300, 2, 3),
    (64, 257, 1, 3),
    (128, 130, 1, 2),
    (300, 150, 1, 2),
]
CASES = [(*shape, False) for shape in SHAPES] + [(*shape, True) for shape in SHAPES[2::2]]
# One of each update and of each kind runs always: the interpreter takes a third of a second for each.
ALWAYS = {
    ("gaussian", 64, 257, 1, 3, False),
    ("rademacher", 3, 301, 1, 3, True),
    ("hadamard", 3, 301, 1, 3, True),
}


@pytest.mark.parametrize(
    ("kind", "n", "M", "B", "s", "wide"),
    fast_where(lambda *case: case in ALWAYS, [(k, *c) for k in KINDS for c in CASES]),
)
def test_supports_equal_reference(kind, n, M, B, s, wide, monkeypatch):
    W = torch.randn(B, n).numpy()
    dictionary = Dictionary(kind, n, M, 2**40 + n, 5)
    code = run(W, dictionary, s, monkeypatch, wide)
    # In two or three dimensions different atoms often have one score: there only the gap counts.
    assert_same_pursuit(W, code, truth(W, dictionary, s), dictionary, share=1.0 if n <= 3 else 0.01)
    assert_values_solve(W, code, dictionary)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rademacher", "hadamard"])
def test_long_vectors(kind):
    W = torch.randn(1, 1024).numpy()
    dictionary = Dictionary(kind, 1024, 300, 1, 0)
    assert_same_pursuit(W, run(W, dictionary, 2), truth(W, dictionary, 2), dictionary)


@pytest.mark.slow
def test_many_atoms_per_vector():
    W = torch.randn(1, 64).numpy()
    dictionary = Dictionary("rademacher", 64, 256, 9, 0)
    code = run(W, dictionary, 20)
    assert_same_pursuit(W, code, truth(W, dictionary, 20), dictionary)
    assert_values_solve(W, code, dictionary)


@pytest.mark.parametrize("wide", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["narrow", "wide"])
def test_full_support_and_zero_vector(wide, monkeypatch):
    W = torch.randn(3, 8).numpy()
    W[1] = 0
    dictionary = Dictionary("gaussian", 8, 40, 3, 0)
    code = run(W, dictionary, 8, monkeypatch, wide)
    assert (code.indices[1] == -1).all()
    assert not code.values[1].any()
    assert not code.path[1].any()
    assert_values_solve(W, code, dictionary)
    assert (code.path[[0, 2], -1] <= 1e-9 * code.path[[0, 2], 0]).all()


@pytest.mark.parametrize("wide", fast_where(lambda wide: wide, [False, True]), ids=["narrow", "wide"])
def test_stops_when_the_vector_is_explained(wide, monkeypatch):
    # The first vector is an atom, the second lies in the span of the only two directions there are.
    dictionary = Dictionary("hadamard", 40, 50, 11, 0)
    atoms = philox.entries("hadamard", 40, 11, 0, np.array([33, 7])).astype(np.float32)
    code = run(np.stack([atoms[0], 2 * atoms[1]]), dictionary, 4, monkeypatch, wide)
    np.testing.assert_array_equal(code.indices[:, 0], [33, 7])
    np.testing.assert_allclose(code.values[:, 0], [1, 2], rtol=1e-6)
    assert (code.indices[:, 1:] == -1).all()
    assert not code.values[:, 1:].any()
    np.testing.assert_array_equal(code.path[:, 1:-1], code.path[:, 2:])


def test_stops_when_only_copies_are_left():
    # In one dimension every atom is a multiple of the first: one pick, although s would allow no more either.
    dictionary = Dictionary("rademacher", 2, 64, 0, 0)
    code = run(np.array([[1.0, 0.25]], np.float32), dictionary, 2)
    assert (code.indices >= 0).all()
    assert code.path[0, 2] <= 1e-12
    patterns = np.abs(philox.entries("rademacher", 2, 0, 0, code.indices[0]).prod(1).sum())
    assert patterns == 0  # the two picks are different directions, never copies


@pytest.mark.parametrize("scale", [1e-30, 1e30, 1e-42], ids=["small", "large", "subnormal"])
def test_scale_of_the_vectors_does_not_matter(scale):
    W = torch.randn(2, 20).numpy()
    dictionary = Dictionary("gaussian", 20, 60, 4, 0)
    scaled = (W.astype(np.float64) * scale).astype(np.float32)
    code = run(scaled, dictionary, 3)
    expected = truth(scaled, dictionary, 3)
    np.testing.assert_array_equal(code.indices, expected.indices)
    np.testing.assert_allclose(code.values.astype(np.float64), expected.values, rtol=2e-4 if scale > 1e-40 else 0.1)


def test_empty_shapes():
    W = torch.randn(2, 5)
    indices, values, path = kernels.omp(W.to(DEVICE), "gaussian", 9, 0, 0, 0)
    assert indices.shape == values.shape == (2, 0)
    np.testing.assert_allclose(path.cpu().numpy()[:, 0], (W.numpy() ** 2).sum(1), rtol=1e-6)
    indices, values, path = kernels.omp(W[:0].to(DEVICE), "gaussian", 9, 0, 0, 3)
    assert (indices.shape, values.shape, path.shape) == ((0, 3), (0, 3), (0, 4))


def test_blocks_of_vectors_give_the_same_code(monkeypatch):
    W = torch.randn(3, 10).numpy()
    dictionary = Dictionary("rademacher", 10, 30, 2, 0)
    whole = run(W, dictionary, 2)
    monkeypatch.setattr(device_omp, "WORKSPACE_BYTES", 1)
    single = run(W, dictionary, 2)
    for name in ("indices", "values", "path"):
        np.testing.assert_array_equal(getattr(single, name), getattr(whole, name))


@pytest.mark.parametrize(
    ("W", "s", "message"),
    [
        (torch.zeros(2, 3), 4, "s must lie in"),
        (torch.zeros(2, 3), -1, "s must lie in"),
        (torch.zeros(2, 3).double(), 1, "W must be torch.float32"),
        (torch.zeros(3), 1, "W must have shape"),
        (torch.zeros(3, 2).T, 1, "W must be contiguous"),
    ],
)
def test_bad_arguments_are_named(W, s, message):
    with pytest.raises(ValueError, match=message):
        kernels.omp(W.to(DEVICE), "gaussian", 9, 0, 0, s)


def test_a_state_dict_through_the_triton_backend(monkeypatch):
    import coinr

    state = {"weight": torch.randn(8, 8), "bias": torch.randn(8)}
    codes = {}
    for backend in ("reference", "triton"):
        codes[backend] = coinr.encode_state_dict(state, profile="paper", backend=backend, M=64, s=2)
    decoded = {}
    for backend in codes:
        monkeypatch.setenv("COINR_BACKEND", backend)
        decoded[backend] = coinr.decode_state_dict(codes["triton"])
    assert codes["triton"] == codes["reference"]
    for name in state:
        assert torch.equal(decoded["triton"][name], decoded["reference"][name])


@pytest.mark.gpu
def test_graph_replay_equals_the_first_call():
    W = torch.randn(200, 64, device=DEVICE)
    first, *later = [kernels.omp(W, "gaussian", 4096, 7, 0, 12) for _ in range(4)]
    for again in later:
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_without_a_device_or_the_interpreter_the_reason_is_given(monkeypatch):
    package = importlib.import_module("coinr.kernels")
    monkeypatch.setattr(package, "interpreted", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    usable, reason = kernels.available()
    assert not usable
    assert "TRITON_INTERPRET" in reason
    monkeypatch.setattr(package, "_missing", ImportError("no triton"))
    assert kernels.available() == (False, "Triton cannot be imported: no triton")
