"""The direct coder: integers exactly, errors as allowed, both backends and orientations."""

import numpy as np
import pytest
import torch

import coinr
from coinr import _C
from coinr.calibration import sensitivities
from coinr.coders.levels import LOG_STATES, NO_STEPS, LevelForm, step_factors
from coinr.errors import FormatError
from coinr.profiles.harm import row_harms
from coinr.source import read_state_dict


def integers(rows, columns, seed=0, spread=9.0):
    return np.rint(np.random.default_rng(seed).standard_normal((rows, columns)) * spread).astype(np.int32)


@pytest.mark.parametrize("log_states", LOG_STATES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (63, 5), (64, 64), (3, 127)])
@pytest.mark.parametrize("switches", [(False,) * 5, (True,) * 5, (True, False, False, True, False)])
def test_levels_come_back(log_states, shape, switches):
    k = integers(*shape)
    k.flat[0] = 2**20 - 1
    by_row, by_column, mixed, row_steps, column_steps = switches
    row = np.arange(shape[0], dtype=np.uint8) % 32 if row_steps else NO_STEPS
    column = np.arange(shape[1], dtype=np.uint8) % 7 if column_steps else NO_STEPS
    form = LevelForm(log_states, 4, 60, by_row, by_column, mixed, row_steps, column_steps)
    values, factors = form.decode(form.encode(k, row, column), *shape)
    expected, _ = _C.level_values(k, log_states)
    assert np.array_equal(values, expected)
    assert np.array_equal(factors, step_factors(row, column))


def test_levels_of_a_known_matrix_take_known_bytes():
    form = LevelForm(2, 4, 40, True, True, True)
    assert form.encode(integers(4, 6)).hex() == "8ea3eaa18dbab7a7461676516d3afec0df7a04d496"


def test_rate_is_near_the_entropy_of_a_normal_distribution():
    k = integers(200, 200, spread=20.0)
    form = LevelForm(0, 4, 64)
    bits = 8 * len(form.encode(k)) / k.size
    assert bits == pytest.approx(np.log2(20 * np.sqrt(2 * np.pi * np.e)), abs=0.03)


def test_garbage_ends_in_values_or_a_format_error():
    form = LevelForm(8, 4, 40, True, True, True, True, True)
    for seed in range(200):
        data = np.random.default_rng(seed).bytes(seed)
        try:
            values, _ = form.decode(data, 20, 30)
        except FormatError:
            continue
        assert np.abs(values).max() < 2**21


def test_a_few_bytes_stand_for_a_bounded_number_of_levels():
    form = LevelForm(0, 4, 40)
    assert form.decode(b"", 64, 64)[0].shape == (64, 64)
    with pytest.raises(FormatError, match="may not stand"):
        form.decode(b"", 64, 65)
    zeros = {"w": torch.zeros(600, 600)}
    for profile in ("auto", "direct", "sparse"):
        assert torch.equal(coinr.decode_state_dict(coinr.encode_state_dict(zeros, profile=profile))["w"], zeros["w"])


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
    size = len(coinr.encode_state_dict(sd, tolerance=tolerance))
    for profile, options in (
        ("direct", {}),
        ("uniform", {}),
        ("lossless", {}),
        ("paper", {"M": 4096}),
        ("sparse", {}),
    ):
        assert size <= len(coinr.encode_state_dict(sd, profile=profile, tolerance=tolerance, **options)), profile


def test_a_trellis_of_256_states_gains_over_a_decibel():
    x = np.random.default_rng(0).standard_normal(20000) * 50
    bits = _C.level_costs(8, 4, 640, 400)[None]
    k = _C.choose_levels(8, x, np.array([1e6]), bits, np.zeros(0, np.uint8))
    values, _ = _C.level_values(k[None], 8)
    # a scalar quantiser of as many levels has a step of 2 and an error of 1/3
    assert 10 * np.log10(1 / 3 / np.square(values[0] - x).mean()) > 1.25


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
    first, second = torch.randn(32, 32), torch.randn(4, 32)
    second[:, :16] *= 1e-3
    harm = row_harms(read_state_dict({"net.0.weight": first, "net.1.weight": second}))[0]
    assert harm[:16].max() < 1e-3 * harm[16:].min()
    sd = {"net.0.weight": first, "net.1.weight": second}
    blob = coinr.encode_state_dict(sd, profile="direct")
    off = (coinr.decode_tensor(blob, "net.0.weight") - first).square().mean(1).sqrt()
    assert off[:16].min() > 3 * off[16:].max()


def small_network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(2, 24), torch.nn.Tanh(), torch.nn.Linear(24, 24), torch.nn.Linear(24, 1))


def test_calibration_takes_fewer_bytes_at_equal_output_error():
    net, inputs = small_network(), torch.rand(500, 2) * 2 - 1
    sd, wanted = net.state_dict(), net(inputs).detach()

    def score(state):
        out = torch.func.functional_call(net, dict(state), (inputs,))
        return -10 * float((out.detach() - wanted).square().mean().clamp_min(1e-12).log10())

    sizes = [
        len(coinr.search(sd, score, min_score=50.0, profile="direct", calibrate=told).blob)
        for told in (None, (net, inputs))
    ]
    assert sizes[1] < sizes[0]


def test_second_moments_from_given_inputs():
    inputs = torch.randn(100, 24)
    told = sensitivities(lambda: {"2.weight": inputs}, small_network().state_dict())["2.weight"]
    assert told.inputs.shape == (24, 24)
    assert np.isclose(np.diag(told.inputs).mean(), 1)


@pytest.mark.parametrize("calibrate", [3, lambda: 5, lambda: {"no": 1}, (small_network(), torch.zeros(0, 2))])
def test_bad_calibration_is_named(calibrate):
    with pytest.raises(coinr.InputError, match="calibrat"):
        coinr.encode_state_dict(small_network().state_dict(), calibrate=calibrate)


def test_search_meets_a_size():
    torch.manual_seed(1)
    sd = {"w": torch.randn(64, 64), "b": torch.randn(64)}
    result = coinr.search(sd, lambda state: -float((state["w"] - sd["w"]).norm()), target_bytes=2000)
    assert 1960 <= len(result.blob) <= 2000


def test_search_meets_a_score_within_twenty_calls():
    torch.manual_seed(1)
    # steps have 8 bits: the errors of several tensors together are finer than 0.02 dB
    sd = {f"w{k}": torch.randn(16 + k, 16) * (1 + 0.1 * k) for k in range(24)}
    calls = []

    def score(state):
        calls.append(1)
        errors = torch.cat([(state[name] - value).reshape(-1) for name, value in sd.items()])
        return -10 * float((errors.square().mean() + 1e-6).log10())

    result = coinr.search(sd, score, min_score=40.0)
    assert 40.0 <= result.score <= 40.02
    assert len(calls) <= 20
    assert score(coinr.decode_state_dict(result.blob)) == result.score


def test_search_refuses_what_cannot_be():
    sd = {"w": torch.ones(3)}
    with pytest.raises(coinr.InputError, match="one of them"):
        coinr.search(sd, lambda state: 0.0)
    with pytest.raises(coinr.InputError, match="above"):
        coinr.search(sd, lambda state: 0.0, min_score=1.0)
    with pytest.raises(coinr.InputError, match="out of reach"):
        coinr.search(sd, lambda state: 0.0, target_bytes=5)
