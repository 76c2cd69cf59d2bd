"""The rule of profile ``paper`` that follows the published text."""

from collections import OrderedDict

import numpy as np
import pytest
import torch

import coinr
from coinr.codec.coders import DictionaryParams
from coinr.codec.format.container import File
from coinr.codec.profiles import paper_rules
from coinr.codec.tensors import Cut
from coinr.codec.wire import Reader
from coinr.errors import InputError

PUBLISHED = {"profile": "paper", "rule": "published"}


def network(width=24, inputs=2, outputs=3, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = {"first": (width, inputs), "hidden": (width, width), "last": (outputs, width), "bias": (width,)}
    return OrderedDict((name, torch.randn(*shape, generator=generator, dtype=dtype)) for name, shape in shapes.items())


def records(blob):
    return {record.name: record for record in File(blob).header.records}


def test_vectors_have_the_width_for_their_length():
    found = records(coinr.encode_state_dict(network(), **PUBLISHED))
    s = paper_rules.sparsity(paper_rules.RULES[1], 24, 1 << 16, None)
    for name, transposed, count in (("first", True, 2), ("hidden", False, 24), ("last", False, 3)):
        params = found[name].params
        assert params == DictionaryParams(Cut(transposed, 24), "gaussian", 1 << 16, s, 0, 16, False)
        assert params.cut.batch(found[name].layout) == count
        assert 2 * s < 24


def test_biases_are_kept_as_they_are():
    sd = network()
    decoded = coinr.decode_state_dict(coinr.encode_state_dict(sd, **PUBLISHED))
    assert torch.equal(decoded["bias"], sd["bias"])
    for name in ("first", "hidden", "last"):
        assert not torch.equal(decoded[name], sd[name])


def test_each_index_takes_16_bits_in_order_of_selection():
    sd = network()
    blob = coinr.encode_state_dict(sd, 5, **PUBLISHED, s=4)
    file = File(blob)
    row = list(sd).index("last")
    section = file.payload(row)
    reader = Reader(section)
    reader.take(4)  # the step
    stream = bytes(reader.take(reader.varint()))
    code = coinr.omp(sd["last"], coinr.Dictionary("gaussian", 24, 1 << 16, 5), 4)
    assert len(stream) == 2 * 3 * 4
    bits = np.unpackbits(np.frombuffer(stream, np.uint8), bitorder="little").reshape(3, 4, 16)
    assert np.array_equal((bits * (1 << np.arange(16))).sum(-1), code.indices)


def test_the_first_layer_is_a_sum_of_atoms_by_columns():
    sd = network()
    dictionary = coinr.Dictionary("gaussian", 24, 1 << 16, 3)
    decoded = coinr.decode_state_dict(coinr.encode_state_dict(sd, 3, **PUBLISHED, s=5))["first"]
    code = coinr.omp(sd["first"].T.contiguous(), dictionary, 5)
    atoms = torch.stack([torch.as_tensor(dictionary.atoms(row)).T for row in code.indices])
    columns = torch.einsum("bs,bsn->bn", torch.as_tensor(code.values, dtype=torch.float64), atoms.double())
    assert torch.allclose(decoded.double(), columns.T, atol=2e-3)


def test_narrow_networks_are_not_flattened_and_complex_ones_are_two_planes():
    assert records(coinr.encode_state_dict(network(8), **PUBLISHED))["hidden"].params.cut.n == 8
    found = records(coinr.encode_state_dict(network(16, dtype=torch.complex64), **PUBLISHED))["hidden"]
    assert found.params.cut.batch(found.layout) == 32


@pytest.mark.parametrize("shape", [(2, 2), (1, 2), (9, 1, 1, 300), (2049, 2), (5,), (), (3, 0)])
def test_what_is_not_coded_is_lossless(shape):
    sd = {"w": torch.randn(shape, generator=torch.Generator().manual_seed(1))}
    blob = coinr.encode_state_dict(sd, **PUBLISHED, M=256)
    coded = shape == (9, 1, 1, 300)
    assert (coinr.inspect(blob).tensors[0]["coder"] == "dictionary") == coded
    assert torch.equal(coinr.decode_state_dict(blob)["w"], sd["w"]) != coded


def test_more_nonzeros_than_the_condition_allows_keep_a_tensor_out_of_the_dictionary():
    sd = {"w": torch.randn(6, 24, generator=torch.Generator().manual_seed(1))}
    for s, coded in ((11, True), (12, False)):
        blob = coinr.encode_state_dict(sd, **PUBLISHED, M=256, s=s)
        assert (coinr.inspect(blob).tensors[0]["coder"] == "dictionary") == coded


def test_a_tolerance_is_kept():
    sd = {"w": torch.randn(12, 64, generator=torch.Generator().manual_seed(1))}
    for tolerance, coded in ((0.2, True), (1e-5, False)):
        blob = coinr.encode_state_dict(sd, **PUBLISHED, tolerance=tolerance)
        error = coinr.decode_state_dict(blob)["w"] - sd["w"]
        assert float(error.norm() / sd["w"].norm()) <= tolerance
        assert (coinr.inspect(blob).tensors[0]["coder"] == "dictionary") == coded


@pytest.mark.parametrize(
    "options", [{"sorted": True}, {"bits": 8}, {"M": 1 << 17}, {"rule": "Published"}, {"rule": 2}, {"rule": 1.0}]
)
def test_other_forms_are_refused(options):
    with pytest.raises(InputError, match="rule"):
        coinr.encode_state_dict(network(), **PUBLISHED | options)


def test_the_rule_by_number_is_another():
    sd = network()
    ours = coinr.encode_state_dict(sd, profile="paper", M=256)
    assert coinr.encode_state_dict(sd, profile="paper", M=256, rule=1) == ours
    assert coinr.encode_state_dict(sd, **PUBLISHED, M=256) != ours


def test_the_report_says_where_the_rule_asks_for_more_than_the_condition_allows():
    report = coinr.inspect(coinr.encode_state_dict(network(64), profile="paper", M=4096))
    assert report.notes == (
        "first: the rule asks for 52 nonzeros, and 2s < 64 allows 31: its values are stored with 16 bits each",
        "hidden: the rule asks for 35 nonzeros, and 2s < 64 allows 31: it has 31, and a larger error than the rule's",
        "last: the rule asks for 35 nonzeros, and 2s < 64 allows 31: it has 31, and a larger error than the rule's",
    )
    assert report.to_dict()["notes"] == list(report.notes)
    assert all(line in str(report).splitlines() for line in report.notes)
    for arguments in ({"profile": "direct"}, {"profile": "uniform"}):
        assert coinr.inspect(coinr.encode_state_dict(network(64), **arguments)).notes == ()
