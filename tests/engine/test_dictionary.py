"""The public dictionary: backends agree entry for entry, bad fields are refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import coinr
from coinr.engine import philox

SEEDS = st.integers(0, 2**64 - 1)


@given(
    kind=st.sampled_from(sorted(philox.KINDS)),
    n=st.integers(1, 400),
    seed=SEEDS,
    stream=st.integers(0, 2**32 - 1),
    js=st.lists(st.integers(0, 2**24 - 1), min_size=0, max_size=9),
)
@settings(max_examples=150, deadline=None)
def test_native_equals_reference(kind, n, seed, stream, js):
    dictionary = coinr.Dictionary(kind, n, 2**24, seed, stream)
    native = dictionary.atoms(js, backend="native")
    assert native.dtype == np.int8
    assert native.shape == (n, len(js))
    assert np.array_equal(native, dictionary.atoms(js, backend="reference"))


@pytest.mark.parametrize("kind", philox.KINDS)
def test_materialize_is_all_atoms(kind):
    dictionary = coinr.Dictionary(kind, 33, 70, 2**63 + 1)
    assert np.array_equal(dictionary.materialize(), dictionary.atoms(range(70)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "normal"}, "'normal'"),
        ({"n": 0}, "n must be in 1"),
        ({"M": 2**24 + 1}, "16777217"),
        ({"seed": -1}, "-1"),
        ({"seed": 2**64}, str(2**64)),
        ({"stream": 2**32}, "stream"),
        ({"M": 3.0}, "3.0"),
        ({"seed": True}, "True"),
    ],
)
def test_bad_fields_are_named(change, message):
    fields = {"kind": "gaussian", "n": 4, "M": 8, "seed": 0, "stream": 0} | change
    with pytest.raises(coinr.InputError, match=message):
        coinr.Dictionary(**fields)


@pytest.mark.parametrize("js", [[8], [-1], [0.5]])
def test_bad_indices_are_refused(js):
    with pytest.raises(coinr.InputError):
        coinr.Dictionary("gaussian", 4, 8, 0).atoms(js)
