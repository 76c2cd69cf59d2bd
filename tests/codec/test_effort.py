"""Efforts: the same errors in less time, and no more bytes than that is worth."""

import math

import numpy as np
import pytest
import torch

import coinr
from coinr.codec.candidates import cost
from coinr.codec.coders import DICTIONARY, DIRECT, SPARSE, UNIFORM
from coinr.codec.coders.levels import NO_STEPS
from coinr.codec.distortion import DistortionLimit
from coinr.codec.effort import EFFORTS
from coinr.codec.encoder import Encoder
from coinr.codec.format.container import File
from coinr.codec.options import EncodeOptions
from coinr.codec.profiles.auto import encode_tensor
from coinr.codec.profiles.tasks import PROFILES, check_options, make_tasks
from coinr.codec.quantize import direct, sparse, trellis
from coinr.codec.quantize.problem import QuantizationProblem
from coinr.codec.state_dict import read_state_dict
from coinr.errors import InputError
from tests.cli.command import fail, succeed
from tests.codec.arrays import planes_of

# Bytes over those of ``best``; on trained networks the medians are 0.2 and 1.2 %.
MOST = {"default": 1.007, "fast": 1.035}


def siren(layers=1, width=32, seed=0):
    """A SIREN's weights with rows of different size, as training leaves them."""
    rng = np.random.default_rng(seed)
    widths = [2] + [width] * (layers + 1) + [3]
    sd = {}
    for k, (a, b) in enumerate(zip(widths, widths[1:], strict=False)):
        bound = 1 / a if k == 0 else math.sqrt(6 / a) / 30
        rows = np.exp(0.3 * rng.standard_normal((b, 1)))
        sd[f"net.{k}.weight"] = torch.from_numpy((rows * rng.normal(0, bound, (b, a))).astype(np.float32))
        sd[f"net.{k}.bias"] = torch.from_numpy(rng.uniform(-bound, bound, b).astype(np.float32))
    return sd


def coders(blob):
    return {record.coder for record in File(blob).header.records}


@pytest.fixture
def dictionaries(monkeypatch):
    """The tensors that a dictionary was tried on."""
    tried = []
    candidates = sparse.candidates
    monkeypatch.setattr(sparse, "candidates", lambda entry, *rest: tried.append(entry.name) or candidates(entry, *rest))
    return tried


@pytest.mark.parametrize("profile", ["auto", "direct"])
def test_less_effort_takes_few_more_bytes(profile):
    sd = siren()
    sizes = {name: len(coinr.encode_state_dict(sd, profile=profile, effort=name)) for name in EFFORTS}
    for name, most in MOST.items():
        assert sizes["best"] <= sizes[name] <= most * sizes["best"]


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("tolerance", [0.003, 0.15, 0.9])
def test_errors_are_within_their_limits_at_every_effort(effort, tolerance):
    sd = siren()
    sd["scale"] = torch.rand(9) + 0.1
    sd["half"] = torch.randn(20, 20, generator=torch.Generator().manual_seed(1)).half()
    encoder = Encoder(sd, EncodeOptions(profile="direct", effort=effort))
    settings = EncodeOptions(tolerance=tolerance)
    tasks = make_tasks(encoder.stored, encoder.lossy_entries, settings, encoder.sensitivity, None)
    decoded = coinr.decode_state_dict(encoder.encode(tolerance))
    for task in tasks:
        difference = planes_of(decoded[task.entry.name]) - task.entry.planes
        assert np.sqrt(np.square(difference).mean()) <= task.limit.error


@pytest.mark.parametrize("effort", ["fast", "default"])
@pytest.mark.parametrize("tolerance", [0.01, 0.1, 0.5, 1.5, 4.0])
def test_every_tensor_finds_its_step(effort, tolerance):
    sd = siren()
    blob = coinr.encode_state_dict(sd, profile="direct", effort=effort, tolerance=tolerance)
    assert coders(blob) == {DIRECT.id}
    assert (
        len(blob) <= 1.06 * len(coinr.encode_state_dict(sd, profile="direct", effort="best", tolerance=tolerance)) + 8
    )


def test_a_search_goes_on_until_a_step_is_within_the_error(monkeypatch):
    entry = read_state_dict({"w": torch.randn(24, 24, generator=torch.Generator().manual_seed(0))})[0]
    matrix = entry.planes.reshape(24, 24)
    # the first step is twice as wide as it should be, and the next ones are a hair too wide
    monkeypatch.setattr(trellis, "first_step", lambda problem, *rest: problem.storable_step(0.3, NO_STEPS, NO_STEPS))
    monkeypatch.setattr(trellis, "_step_for", lambda relative: relative**0.5)
    found = trellis.quantize_to(QuantizationProblem(matrix, 0.05, 0.05), NO_STEPS, NO_STEPS, EFFORTS["fast"])
    assert found is not None
    assert found.error <= 0.05


def test_best_is_no_larger_where_the_default_happens_to_be_smaller():
    [entry] = read_state_dict({"w": torch.randn(24, 24, generator=torch.Generator().manual_seed(26))})
    limit = DistortionLimit(0.02, 0.02)
    best, default = (EncodeOptions(effort=name) for name in ("best", "default"))
    quick = min(direct.candidates(entry, limit, default), key=cost)
    assert cost(quick) < min(map(cost, direct.candidates(entry, limit, best)))  # else this tests nothing
    assert min(map(cost, direct.all_candidates(entry, limit, best))) == cost(quick)
    assert cost(encode_tensor(entry, limit, best)) <= cost(quick)


def test_default_is_the_default():
    sd = siren()
    assert coinr.encode_state_dict(sd) == coinr.encode_state_dict(sd, effort="default")
    assert len({coinr.encode_state_dict(sd, effort=name) for name in EFFORTS}) == 3


@pytest.mark.parametrize("effort", EFFORTS)
def test_files_do_not_depend_on_threads(effort):
    # enough weights for several threads, but at best, where few suffice
    sd = siren(1, 24) if effort == "best" else siren(2, 92)
    assert (
        len({coinr.encode_state_dict(sd, profile="direct", effort=effort, threads=threads) for threads in (1, 3)}) == 1
    )


@pytest.mark.slow
def test_dictionaries_are_tried_where_they_may_win(dictionaries):
    weight = torch.randn(64, 64, generator=torch.Generator().manual_seed(0)) * torch.logspace(-2, 0, 64)[:, None]
    for effort, tolerance, tried in (
        ("best", 0.15, True),
        ("default", 0.15, False),
        ("default", 12.0, True),
        ("fast", 12.0, False),
    ):
        dictionaries.clear()
        blob = coinr.encode_state_dict({"w": weight}, effort=effort, tolerance=tolerance)
        assert bool(dictionaries) is tried, (effort, tolerance)
        assert tried or not coders(blob) & {SPARSE.id, DICTIONARY.id}


@pytest.mark.parametrize("effort", ["fast", "default"])
def test_weights_that_were_quantized_before_are_recognized(effort):
    levels = np.random.default_rng(0).integers(-7, 8, (64, 48))
    sd = {"w": torch.from_numpy(levels.astype(np.float32) / 64)}
    blob = coinr.encode_state_dict(sd, effort=effort)
    assert coders(blob) == {UNIFORM.id}
    assert len(blob) <= len(coinr.encode_state_dict(sd, effort="best"))


@pytest.mark.parametrize("effort", ["fast", "default"])
@pytest.mark.parametrize("tensor", [torch.zeros(40, 40), torch.full((9,), 0.25), torch.eye(40), torch.ones(1)])
def test_degenerate_tensors_are_as_small_as_at_best(effort, tensor):
    blob = coinr.encode_state_dict({"w": tensor}, effort=effort)
    assert len(blob) <= len(coinr.encode_state_dict({"w": tensor}, effort="best")) + 5
    assert (coinr.decode_state_dict(blob)["w"] - tensor).norm() <= 0.15 * tensor.norm()


def test_weights_that_need_all_their_bits_are_stored_losslessly():
    sd = {"w": torch.randn(30, 30, generator=torch.Generator().manual_seed(0)).bfloat16()}
    for effort in EFFORTS:
        blob = coinr.encode_state_dict(sd, effort=effort, tolerance=1e-5)
        assert torch.equal(coinr.decode_state_dict(blob)["w"], sd["w"])


@pytest.mark.parametrize("profile", [name for name, profile in PROFILES.items() if not profile.efforts])
def test_profiles_of_one_effort_refuse_a_faster_one(profile):
    with pytest.raises(InputError, match=f"^effort 'fast' is for the profiles auto, direct, not for '{profile}'$"):
        check_options(EncodeOptions(profile=profile, effort="fast"))
    sd = {"w": torch.randn(12, 12, generator=torch.Generator().manual_seed(0))}
    assert coinr.encode_state_dict(sd, profile=profile, effort="best") == coinr.encode_state_dict(sd, profile=profile)


def test_unknown_efforts_are_refused():
    with pytest.raises(InputError, match="^effort must be one of fast, default, best, not 'slow'$"):
        coinr.encode_state_dict(siren(), effort="slow")


@pytest.mark.slow
@pytest.mark.parametrize("function", [coinr.search, coinr.refine])
def test_what_chooses_errors_by_trials_makes_the_smallest_files(function, monkeypatch):
    seen = []
    init = Encoder.__init__
    monkeypatch.setattr(
        Encoder, "__init__", lambda self, sd, options=None: seen.append(options) or init(self, sd, options)
    )
    sd = {"w": torch.randn(6, 6, generator=torch.Generator().manual_seed(0))}
    if function is coinr.search:
        coinr.search(sd, lambda found: -float((found["w"] - sd["w"]).square().sum()), target_bytes=60)
    else:
        coinr.refine(sd, lambda found: (found["w"] - sd["w"]).square().sum() + 1, steps=3, seconds=5.0)
    assert seen
    assert all(options.effort == "best" for options in seen if options.profile != "lossless")


def test_the_command_line_passes_the_effort_on(tmp_path):
    sd = siren()
    torch.save(sd, tmp_path / "a.pt")
    for effort in EFFORTS:
        succeed("pack", tmp_path / "a.pt", "-o", tmp_path / f"{effort}.coinr", "--effort", effort)
        assert (tmp_path / f"{effort}.coinr").read_bytes() == coinr.encode_state_dict(sd, effort=effort)
    assert "effort must be one of" in fail(1, "pack", tmp_path / "a.pt", "-o", tmp_path / "b.coinr", "--effort", "low")


@pytest.mark.parametrize("effort", ["fast", "default", "best"])
@pytest.mark.parametrize("shape", [(1,), (2, 2), (16,), (40,), (30, 30)])
def test_ones_stay_ones(effort, shape):
    sd = {"ones": torch.ones(shape), "w": torch.randn(8, 8, generator=torch.Generator().manual_seed(0))}
    assert torch.equal(coinr.decode_state_dict(coinr.encode_state_dict(sd, effort=effort))["ones"], sd["ones"])
