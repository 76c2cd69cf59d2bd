"""Words, entries, norms and Hadamard rows on the device against the NumPy reference."""

import importlib

import numpy as np
import pytest
import torch

from coinr.engine import philox as rng
from tests.grids import fast_where
from tests.kernels.on_device import DEVICE, KINDS, kernels

philox = importlib.import_module("coinr.kernels.philox")

KNOWN = {
    (0, 0, 0, 0, 0): "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF_FFFFFFFF): "408f276d 41c83b0e a20bc7c6 6d5451fd",
    (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0x299F31D0_A4093822): "d16cfe09 94fdcceb 5001e420 24126ea1",
}


@pytest.mark.parametrize(("counter_and_key", "words"), KNOWN.items(), ids=["zeros", "ones", "pi"])
def test_random123_known_answers(counter_and_key, words):
    *counter, key = counter_and_key
    counters = torch.tensor(np.array([counter], np.uint32).view(np.int32), device=DEVICE)
    got = kernels.philox4x32(counters, key).cpu().numpy().view(np.uint32)[0]
    assert " ".join(f"{word:08x}" for word in got) == words


@pytest.mark.parametrize("seed", [1, 2**31, 2**32 - 1, 2**63 + 12345])
def test_words_equal_reference(seed, generator):
    counters = generator.integers(0, 2**32, (301, 4), np.uint32)
    got = kernels.philox4x32(torch.from_numpy(counters.view(np.int32)).to(DEVICE), seed)
    np.testing.assert_array_equal(got.cpu().numpy().view(np.uint32), rng.philox4x32(counters, seed))


@pytest.mark.parametrize("n", fast_where(lambda n: n in (1, 3, 64, 300), [1, 2, 3, 63, 64, 100, 128, 300, 1024]))
@pytest.mark.parametrize("kind", KINDS)
def test_entries_equal_reference(kind, n):
    indices = np.array([0, 1, 5, n, 2 * n + 1, 99_991, 2**24 - 1])
    got = kernels.entries(kind, n, 2**24, 2**64 - 3, 2**32 - 7, torch.from_numpy(indices).to(DEVICE))
    np.testing.assert_array_equal(got.cpu().numpy(), rng.entries(kind, n, 2**64 - 3, 2**32 - 7, indices))


@pytest.mark.parametrize("kind", KINDS)
def test_stored_dictionary_is_zero_past_n(kind):
    made = philox.stored_dictionary(kind, 70, 45, 11, 2, DEVICE, 128).cpu().numpy()
    np.testing.assert_array_equal(made[:, :70], rng.entries(kind, 70, 11, 2, np.arange(45)))
    assert not made[:, 70:].any()


@pytest.mark.parametrize("n", [1, 3, 130])
def test_inverse_norms(n):
    atoms = rng.entries("gaussian", n, 6, 1, np.arange(100)).astype(np.float64)
    norms = np.sqrt((atoms**2).sum(1))
    expected = np.divide(1, norms, out=np.zeros(100), where=norms > 0)
    got = philox.inverse_norms(n, 100, 6, 1, DEVICE).cpu().numpy()
    np.testing.assert_allclose(got, expected, rtol=3e-7)
    assert ((got == 0) == (norms == 0)).all()


@pytest.mark.parametrize("n", [1, 5, 64, 1000])
def test_hadamard_rows_equal_reference(n):
    got = philox.hadamard_rows(n, 2**40 + 1, 3, DEVICE)
    np.testing.assert_array_equal(got.cpu().numpy(), rng.hadamard_rows(n, 2**40 + 1, 3))


@pytest.mark.gpu
def test_offsets_past_two_to_the_31():
    made = philox.stored_dictionary("rademacher", 130, 2**24, 5, 0, DEVICE, 130)
    last = np.arange(2**24 - 3, 2**24)
    np.testing.assert_array_equal(made[-3:].cpu().numpy(), rng.entries("rademacher", 130, 5, 0, last))


def test_no_indices_give_no_entries():
    none = torch.empty(0, dtype=torch.int32, device=DEVICE)
    assert kernels.entries("gaussian", 5, 9, 0, 0, none).shape == (0, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "uniform"}, "kind must be"),
        ({"n": 0}, "n must lie in"),
        ({"n": 2**24 + 1}, "n must lie in"),
        ({"M": 0}, "M must lie in"),
        ({"seed": 2**64}, "seed must lie in"),
        ({"seed": -1}, "seed must lie in"),
        ({"stream": 2**32}, "stream must lie in"),
        ({"indices": torch.tensor([9])}, "indices must lie in"),
        ({"indices": torch.tensor([-1])}, "indices must lie in"),
        ({"indices": torch.tensor([1.0])}, "indices must be torch.int32"),
        ({"indices": torch.tensor([[1]])}, "must have shape"),
        ({"indices": torch.arange(6)[::2]}, "contiguous"),
    ],
)
def test_bad_arguments_are_named(change, message):
    arguments = {"kind": "gaussian", "n": 4, "M": 9, "seed": 0, "stream": 0, "indices": torch.tensor([1])} | change
    arguments["indices"] = arguments["indices"].to(DEVICE)
    with pytest.raises(ValueError, match=message):
        kernels.entries(**arguments)
