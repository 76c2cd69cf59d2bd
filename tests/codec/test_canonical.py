"""Encoding in canonical order: smaller files of the same function, for networks of known kind alone."""

import math

import pytest
import torch
from torch.func import functional_call

import coinr
from coinr.codec.canonical import in_order
from coinr.codec.elements import by_element
from coinr.codec.format.container import File
from coinr.codec.options import EncodeOptions
from coinr.codec.state_dict import read_state_dict
from coinr.errors import InputError
from coinr.sensitivity.output_meter import measure_output_error
from tests.grids import fast_where
from tests.sensitivity.trained import coordinates, trained

META = {"siren": 30}


def siren():
    return trained("siren")


def ordered(network):
    return in_order(network, EncodeOptions(canonical=True))


def is_ascending(blob, name):
    record = next(one for one in File(blob).header.records if one.name == name)
    return record.params.form.ascending


@pytest.mark.parametrize("effort", ["fast", "default"])
@pytest.mark.parametrize(("kind", "percent"), [("siren", 3.0), ("finer", 2.0), ("gauss", 1.0)])
def test_files_are_smaller_by_what_the_order_would_say(kind, percent, effort):
    network = trained(kind)
    plain = coinr.encode_state_dict(network, effort=effort, tolerance=0.15)
    blob = coinr.encode_state_dict(network, effort=effort, tolerance=0.15, canonical=True)
    assert len(blob) < (1 - percent / 100) * len(plain)
    names = [f"{neurons.layer}.bias" for neurons in network.neurons()]
    assert all(is_ascending(blob, name) for name in names)
    assert not any(is_ascending(plain, name) for name in names)


def test_the_decoded_network_is_that_of_canonical_order():
    blob = coinr.encode_state_dict(siren(), canonical=True)
    decoded, state = coinr.decode_state_dict(blob), ordered(siren())
    for name, tensor in state.items():
        off = float((decoded[name] - tensor).square().mean().sqrt() / tensor.square().mean().sqrt())
        assert 0 < off < 0.05
    for neurons in siren().neurons():
        assert bool((decoded[f"{neurons.layer}.bias"].diff() >= 0).all())
    assert -51.5 < measure_output_error(siren(), decoded, siren(), coordinates()) < -48.5


def test_the_kind_is_that_of_the_module_or_of_the_metadata():
    state = siren().state_dict()
    by_meta = coinr.encode_state_dict(state, meta=META, canonical=True)
    assert by_meta == coinr.encode_state_dict(siren(), meta=META, canonical=True)
    assert list(coinr.encode_state_dicts([state, siren()], meta=META, canonical=True)) == [by_meta, by_meta]
    assert coinr.encode_state_dict(state, meta=META) != by_meta


def test_a_report_says_the_order_and_the_output_error():
    blob = coinr.encode_state_dict(siren(), canonical=True)
    report = coinr.inspect(blob, original=siren())
    orders = {row["name"]: row.get("order") for row in report.tensors}
    assert {name for name, order in orders.items() if order == "ascending"} >= {
        f"{neurons.layer}.bias" for neurons in siren().neurons()
    }
    assert "ascending" in str(report)
    assert -52 < report.output_error["db"] < -48
    assert report.output_error["basis"] == "4 layers, sine of omega 30"


def test_a_file_on_disk_knows_it_too(tmp_path):
    path = tmp_path / "network.coinr"
    assert coinr.save(path, siren(), canonical=True) == len(coinr.encode_state_dict(siren(), canonical=True))
    with coinr.open_state_dict(path) as file:
        assert file.report(siren()).output_error["db"] < -48


def test_biases_are_not_taken_for_scales():
    """They have one sign, but errors of a bias count as they are, not relative to it."""
    entries = read_state_dict(ordered(siren()))
    assert all(min(entry.extremes) >= 0 for entry in entries[:-1] if entry.name.endswith("bias"))
    assert by_element(entries) == set()
    alone = read_state_dict({"norm.weight": torch.rand(24), "norm.bias": torch.rand(24)})
    assert by_element(alone) == {0, 1}


def test_errors_are_those_of_the_tensors_in_their_order():
    errors = {"layers.0.bias": 1e-5, "layers.1.weight": 2e-3}
    blob = coinr.encode_state_dict(siren(), canonical=True, errors=errors)
    state, decoded = ordered(siren()), coinr.decode_state_dict(blob)
    for name, error in errors.items():
        assert 0.5 * error < float((decoded[name] - state[name]).square().mean().sqrt()) <= error


def test_exceptions_are_exact_in_their_order():
    blob = coinr.encode_state_dict(siren(), canonical=True, lossless=("*.weight",))
    state, decoded = ordered(siren()), coinr.decode_state_dict(blob)
    assert all(torch.equal(decoded[name], state[name]) for name in state if name.endswith("weight"))


@pytest.mark.parametrize("effort", fast_where(lambda effort: effort == "default", ["fast", "default", "best"]))
def test_calibration_is_that_of_the_network_in_its_order(effort):
    arguments = {"calibrate": (siren(), coordinates(200)), "canonical": True, "effort": effort}
    blob = coinr.encode_state_dict(siren(), **arguments)
    plain = coinr.encode_state_dict(siren(), **arguments | {"canonical": False})
    error = measure_output_error(siren(), coinr.decode_state_dict(blob), siren(), coordinates(200))
    assert -51 < error <= -50
    assert len(blob) < 0.99 * len(plain)


def test_a_search_is_of_the_network_in_its_order():
    calls = []

    def evaluate(state):
        calls.append(state)
        with torch.no_grad():
            off = functional_call(siren(), dict(state), (coordinates(),)) - siren()(coordinates())
        return -10 * math.log10(float(off.square().mean()) + 1e-12)

    found = coinr.search(siren(), evaluate, min_score=45.0, canonical=True, effort="fast")
    plain = coinr.search(siren(), evaluate, min_score=45.0, effort="fast")
    assert torch.equal(calls[0]["layers.0.bias"], ordered(siren())["layers.0.bias"])
    assert is_ascending(found.blob, "layers.0.bias")
    assert len(found.blob) < 0.98 * len(plain.blob)


def test_quantized_biases_that_do_not_quite_ascend_are_still_coded_by_their_distances():
    state = dict(ordered(siren()))
    bias = state["layers.1.bias"].clone()
    bias[[3, 4, 10, 11]] = bias[[4, 3, 11, 10]]
    state["layers.1.bias"] = bias
    blob = coinr.encode_state_dict(state)
    assert is_ascending(blob, "layers.1.bias")
    error = float((coinr.decode_tensor(blob, "layers.1.bias") - bias).abs().max())
    assert error < 1e-3


@pytest.mark.parametrize("values", [torch.ones(40), torch.cat((torch.zeros(30), torch.ones(30)))])
def test_repetitive_vectors_stay_exact(values):
    sd = {"w.weight": torch.randn(len(values), 4, generator=torch.Generator().manual_seed(0)), "w.bias": values}
    for effort in ("fast", "default", "best"):
        assert torch.equal(coinr.decode_tensor(coinr.encode_state_dict(sd, effort=effort), "w.bias"), values)


class Other(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([torch.nn.Linear(2, 8), torch.nn.Linear(8, 1)])


def tied():
    network = coinr.build_network("siren", {"in_features": 2, "out_features": 3, "width": 8, "hidden_layers": 2})
    network.layers[2].weight = network.layers[1].weight
    return network


@pytest.mark.parametrize(
    ("sd", "options", "message"),
    [
        (Other, {}, "network of known kind.*Other"),
        (lambda: siren().state_dict(), {}, "network of known kind"),
        (lambda: {"w": torch.ones(3, 3)}, {"meta": {"siren": 30}}, "no canonical order.*not those of a Siren"),
        (tied, {}, "'layers.1.weight' and 'layers.2.weight' are tied"),
        (siren, {"base": {"w": torch.ones(3)}}, "combined with base"),
        (siren, {"calibrate": dict}, "combined with a callable calibrate"),
        (siren, {"profile": "paper"}, "not for profile 'paper'"),
        (siren, {"profile": "lossless"}, "not for profile 'lossless'"),
        (siren, {"profile": "uniform"}, "not for profile 'uniform'"),
        (siren, {"canonical": 3}, "canonical must be"),
    ],
)
def test_what_cannot_be_done_is_refused(sd, options, message):
    with pytest.raises(InputError, match=message):
        coinr.encode_state_dict(sd(), **{"canonical": True} | options)


def test_many_state_dicts_need_their_kind_in_the_metadata():
    with pytest.raises(InputError, match="needs meta that names one of siren"):
        coinr.encode_state_dicts([siren()], canonical=True)


def test_a_search_refuses_a_callable_calibrate():
    with pytest.raises(InputError, match="callable calibrate"):
        coinr.search(siren(), lambda sd: 1.0, min_score=0.0, calibrate=dict, canonical=True)
