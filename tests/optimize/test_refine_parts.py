"""The rate that refinement trains for, its noise, and the files that it makes of both."""

import math

import numpy as np
import pytest
import torch

from coinr.codec.encoder import Encoder
from coinr.codec.options import EncodeOptions
from coinr.codec.state_dict import read_state_dict
from coinr.optimize.refine.encode import EncodingResult, ScaledEncoder
from coinr.optimize.refine.lagrange import LagrangeMultiplier, ScoreController, SizeController
from coinr.optimize.refine.noisy_tensor import NoisyTensor
from coinr.optimize.refine.rate import estimate_bits, expected_magnitudes
from coinr.optimize.refine.run import _default_learning_rate, _lowest_cost, _make_network
from coinr.optimize.refine.training import RefineOptions, _JointOptimizer
from coinr.runtime.work_limit import WorkLimit
from coinr.sensitivity.calibration import of_input_moments
from coinr.sensitivity.hessian import HessianFactor


def laplace(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).laplace(size=shape).astype(np.float32))


def test_bits_are_the_entropy_of_a_quantized_laplace_density():
    values, step = laplace(200, 200).double(), torch.tensor([[0.5]], dtype=torch.float64)
    levels = torch.round(values / step)
    _, counts = levels.unique(return_counts=True)
    share = counts / counts.sum()
    entropy = -float((share * share.log2()).sum())
    assert float(estimate_bits(levels * step, step)) / values.numel() == pytest.approx(entropy, rel=0.02)


def test_half_the_step_takes_a_bit_more_at_high_rate():
    values = laplace(50, 50).double()
    sizes = [float(estimate_bits(values, torch.tensor([[step]], dtype=torch.float64))) for step in (2e-3, 1e-3)]
    assert (sizes[1] - sizes[0]) / values.numel() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("scale", "step"), [(0, 1), (1e-30, 1e-30), (1e-30, 1e-36), (1e30, 1e24), (1, 1e6), (1, 1e-6)])
@pytest.mark.parametrize("shape", [(6, 5), (1, 30), (30, 1)])
def test_bits_and_their_gradients_stay_finite(scale, step, shape):
    values = laplace(*shape) * scale
    values[0, 0] = 0
    values.requires_grad_()
    steps = torch.tensor([[step]], dtype=torch.float32).requires_grad_()
    size = estimate_bits(values, steps)
    size.backward()
    assert 0 <= float(size.detach()) < math.inf
    assert bool(values.grad.isfinite().all())
    assert bool(steps.grad.isfinite().all())


def test_a_weight_says_nothing_of_its_own_magnitude():
    values = torch.ones(1, 50)
    values[0, 7] = 40
    assert float(expected_magnitudes(values).std()) == pytest.approx(0, abs=1e-6)


def test_rows_of_other_sizes_are_expected():
    values = laplace(40, 60) * torch.logspace(-1, 1, 40)[:, None]
    rows = expected_magnitudes(values).mean(1)
    assert bool((rows / values.abs().mean(1)).log().abs().max() < 0.5)


def noisy_tensor(tensor, error):
    return NoisyTensor(read_state_dict({"w": tensor})[0], torch.device("cpu"), error)


def received(one, count=400):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        return torch.stack([one.noisy(one.noise(generator))[0] for _ in range(count)])


def test_noise_has_the_error_that_is_trained():
    weights = laplace(24, 16)
    off = received(noisy_tensor(weights, 0.01)) - weights
    assert float(off.square().mean().sqrt()) == pytest.approx(0.01, rel=0.02)
    assert float(off.mean(0).abs().max()) < 0.01


def test_weights_far_below_the_error_vanish():
    weights = laplace(24, 16)
    off = received(noisy_tensor(weights, 100.0)) - weights
    assert float(off.square().mean()) == pytest.approx(float(weights.square().mean()), rel=0.05)


def test_noise_is_spread_as_inputs_say():
    weights, rng = laplace(8, 12), np.random.default_rng(1)
    mixing = rng.normal(size=(12, 12)) * np.geomspace(1, 30, 12)
    inputs = of_input_moments(mixing @ mixing.T).input_covariance
    one = noisy_tensor(weights, 1e-4)
    one.set_input_covariance(inputs)
    off = (received(one) - weights).double().numpy()
    weighted = np.einsum("nri,ij,nrj->nr", off, inputs, off).mean() / 12
    assert math.sqrt(weighted) == pytest.approx(1e-4, rel=0.03)
    plain = noisy_tensor(weights, 1e-4)
    plain_weighted = (
        np.einsum("nri,ij,nrj->nr", o := (received(plain) - weights).double().numpy(), inputs, o).mean() / 12
    )
    assert plain_weighted > 0.9e-8


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.float16])
def test_what_the_coder_may_lose_is_what_the_noise_loses(dtype):
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(20, 30, generator=generator, dtype=torch.complex64 if dtype.is_complex else torch.float32)
    one = noisy_tensor(weights.to(dtype), 0.05)
    with torch.no_grad():
        one.log_errors += torch.linspace(-1, 1, len(one.log_errors))[:, None]
    error, weights = one.allowed_error()
    assert weights.shape == (20 * (2 if dtype.is_complex else 1),)
    assert weights.mean() == pytest.approx(1)
    off = received(one, 200).to(torch.complex64) - one.value()
    planes = torch.view_as_real(off).movedim(-1, 1).reshape(200, -1, 30)[:, : len(weights)].numpy()
    assert math.sqrt((np.square(planes) * weights[:, None]).mean()) == pytest.approx(error, rel=0.03)


def test_the_bits_are_close_to_those_of_a_file():
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(96, 96, generator=generator) * torch.logspace(-0.5, 0.5, 96)[:, None]
    one = noisy_tensor(weights, 0.02)
    with torch.no_grad():
        expected = float(one.noisy(one.noise(generator))[1]) / 8
    blob = Encoder({"w": weights}, EncodeOptions(profile="direct")).encode(1.0, {"w": one.allowed_error()[0]})
    assert len(blob) == pytest.approx(expected, rel=0.05)


def test_the_multiplier_follows_the_size():
    class Fixed:
        def __init__(self, size):
            self.size = size

        def noise(self, generator):
            return {}

        def noisy(self, noise):
            return {}, torch.tensor(self.size)

    generator = torch.Generator()
    for size, factor in ((8000.0, 1.0), (9000.0, 4.0), (8500.0, 2.0), (7000.0, 0.25), (99999.0, 4.0)):
        multiplier = SizeController(8000, 1000)
        begin = multiplier.per_bit
        multiplier.update(Fixed(size), generator, 0.05, WorkLimit())
        assert multiplier.per_bit == begin
        multiplier.update(Fixed(size), generator, 0.1, WorkLimit())
        assert multiplier.per_bit == pytest.approx(factor * begin)


def test_a_bit_costs_what_it_saves():
    # what coding adds falls to a quarter with a bit more for each weight
    loss_increase, count = 0.03, 500
    saved = loss_increase * (1 - 4.0 ** -(1 / count))
    assert LagrangeMultiplier(loss_increase, count).per_bit == pytest.approx(saved, rel=0.01)


@pytest.mark.parametrize(
    ("plain", "noisy", "begin", "loss_increase"),
    [
        (30.2, (30.19, 30.21), 0.001, 0.004),
        (30.2, (30.19, 30.199), 0.001, 2 * (0.001 * 0.2 / 0.0055) ** 2),
        (30.2, (30.19, 30.22), 0.001, 0.004),
        (30.2, (30.1, 30.2), 0.001, 0.001),
        (30.2, (29.0, 30.2), 0.003, 0.001),
        (30.2, (29.0, math.nan), 0.003, 0.001),
        (30.2, (29.0, -math.inf), 0.003, 0.001),
        (30.0, (29.9, 29.9), 0.01, 0.01),
        (math.inf, (29.9, math.inf), 0.01, 0.01),
    ],
)
def test_the_multiplier_follows_the_score_once_that_is_reached(plain, noisy, begin, loss_increase):
    ahead = list(noisy)

    class Fixed:
        def noise(self, generator):
            return {"score": torch.ones(1)}

        def value(self):
            return {"score": plain}

        def noisy(self, noise):
            assert noise["score"] == (1 if len(ahead) == 2 else -1)
            return {"score": ahead.pop(0)}, torch.tensor(0.0)

    multiplier = ScoreController(lambda state: state["score"], 29.5, 30.0, 1000)
    assert multiplier.loss_increase == 0.001
    multiplier.loss_increase = begin
    multiplier.update(Fixed(), torch.Generator(), 0.1, WorkLimit())
    assert len(ahead) == 2
    multiplier.update(Fixed(), torch.Generator(), 0.2, WorkLimit())
    assert multiplier.loss_increase == pytest.approx(loss_increase)


def test_where_much_may_be_lost_half_of_it_goes_to_noise():
    class Fixed:
        def noise(self, generator):
            return {}

        def value(self):
            return {"score": 31.0}

        def noisy(self, noise):
            return {"score": 29.9}, torch.tensor(0.0)

    multiplier = ScoreController(lambda state: state["score"], 31.0, 30.0, 1000)
    multiplier.loss_increase = 0.3
    multiplier.update(Fixed(), torch.Generator(), 0.2, WorkLimit())
    assert multiplier.loss_increase == pytest.approx(0.3 / 1.1 / 2)


def test_tensors_of_a_hessian_contribute_equally_in_a_file_of_the_size_that_was_trained():
    sd = {"one": laplace(40, 50), "two": laplace(30, 40, seed=1), "alone": laplace(20, 20, seed=2)}
    options = EncodeOptions(profile="direct")
    tensors = _make_network(sd, Encoder(sd, options)).trained
    with torch.no_grad():
        for tensor, error in zip(tensors.values(), (0.02, 0.05, 0.03), strict=True):
            tensor.log_errors.fill_(math.log(error))
    hessian = HessianFactor.of_matrix({"one": 2000, "two": 1200}, np.diag(np.repeat([9.0, 1.0], [2000, 1200])))

    def errors(hessian):
        encoder = ScaledEncoder(sd, tensors, hessian, WorkLimit(), options)
        decoded = encoder.decode(encoder.encode(1.0))
        return {name: float((decoded[name] - tensor).square().mean().sqrt()) for name, tensor in sd.items()}

    trained, equal = errors(None), errors(hessian)
    assert trained == pytest.approx({"one": 0.02, "two": 0.05, "alone": 0.03}, rel=0.05)
    both = 0.02 ** (2000 / 3200) * 0.05 ** (1200 / 3200)
    expected = {"one": both * 3.0 ** (2000 / 3200 - 1), "two": both * 3.0 ** (2000 / 3200), "alone": 0.03}
    assert equal == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_zeros_have_no_rule_to_share_errors_by(scale):
    sd = {"zeros": torch.zeros(10, 10), "others": scale * laplace(10, 10)}
    tensors = _make_network(sd, Encoder(sd)).trained
    encoder = ScaledEncoder(
        sd, tensors, HessianFactor.of_matrix({"zeros": 100, "others": 100}, np.eye(200)), WorkLimit(), EncodeOptions()
    )
    decoded = encoder.decode(encoder.encode(1.0))
    assert torch.equal(decoded["zeros"], sd["zeros"])
    assert float((decoded["others"] - sd["others"]).abs().max()) <= 0.1 * scale


def test_the_file_with_the_least_loss_and_bits_is_kept():
    losses = {b"a" * 100: 1.0, b"b" * 80: 1.1, b"c" * 200: 0.99}

    def kept(loss_increase, *blobs):
        return _lowest_cost(
            [EncodingResult(blob) for blob in blobs],
            lambda blob: blob,
            losses.get,
            LagrangeMultiplier(loss_increase, 800).per_bit,
        ).blob

    a, b, c = losses
    # 20 bytes of 800 weights are 0.2 bits each: worth 0.28 of the increase
    assert kept(0.3, a, b, c) == a
    assert kept(0.4, a, b, c) == b
    assert kept(0.005, a, b, c) == c


def test_the_learning_rate_goes_with_what_weights_bear():
    def rate(scale):
        return _default_learning_rate(
            Encoder({"w": scale * laplace(40, 40), "steps": torch.tensor(3)}, EncodeOptions())
        )

    assert rate(1.0) == 2e-4
    assert rate(1e-6) < 1e-6
    assert rate(2e-6) == pytest.approx(2 * rate(1e-6))
    assert _default_learning_rate(Encoder({"w": torch.zeros(4, 4)}, EncodeOptions())) == 2e-4


def test_vectors_are_vectors_to_every_optimizer():
    tensors = [
        noisy_tensor(torch.ones(5, 3), 0.01),
        noisy_tensor(torch.ones(7), 0.01),
        noisy_tensor(torch.ones(2) * 1j, 0.01),
    ]
    optimizer = _JointOptimizer(tensors, RefineOptions(10, "soap", 0.1, 0, False))
    optimizer.step(sum((one.values - 2).square().sum() + one.log_errors.square().sum() for one in tensors), 1.0)
    soap, _ = optimizer._optimizers[0]
    moments = [{key for key in soap.state[stack] if key.endswith("moment")} for stack in optimizer._stacks]
    assert moments == [{"left_moment", "right_moment"}, set(), set()]
    assert all(bool((one.values != 1).all()) for one in tensors[:2])


@pytest.mark.parametrize(("batch", "calls"), [(400, 8 + 64 + 64), (2000, 8 + 8), (10, 8 + 64)])
def test_second_derivatives_take_calls_until_there_are_samples_to_choose_from(batch, calls):
    net = torch.nn.Sequential(torch.nn.Linear(2, 24), torch.nn.Tanh(), torch.nn.Linear(24, 24), torch.nn.Linear(24, 2))
    sd = net.state_dict()
    encoder = Encoder(sd, EncodeOptions(profile="direct"))
    network = _make_network(sd, encoder)
    made = []

    def loss(state_dict):
        made.append(1)
        return torch.func.functional_call(net, dict(state_dict), (torch.rand(batch, 2),)).square().mean()

    hessian = network.accumulate_hessian(loss, WorkLimit())
    assert len(made) == calls
    assert (hessian is None) == (batch == 10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_errors_and_covariance_go_with_rows_and_columns(dtype):
    generator = torch.Generator().manual_seed(0)
    tensor = noisy_tensor(torch.randn(5, 4, dtype=dtype, generator=generator), 0.1)
    inputs = laplace(30, 4).double().numpy()
    tensor.set_input_covariance(of_input_moments(inputs.T @ inputs).input_covariance)
    with torch.no_grad():
        tensor.log_errors += torch.randn(tensor.log_errors.shape, generator=generator)
    (error, weights), value = tensor.allowed_error(), tensor.value().clone()
    covariance = tensor.input_covariance
    rows, columns = torch.tensor([3, 0, 4, 2, 1]), torch.tensor([2, 0, 3, 1])
    factors = torch.tensor([1.0, -1.0, -1.0, 1.0])
    moved = value[rows][:, columns] * factors
    tensor.reorder(moved, rows, (columns, factors))
    assert torch.equal(tensor.value(), moved)
    after, weights_after = tensor.allowed_error()
    assert after == pytest.approx(error)
    assert np.allclose(weights_after.reshape(-1, 5), weights.reshape(-1, 5)[:, rows])
    # the output's error of a row is the same as before
    row, other = value[3].real.double().numpy(), moved[0].real.double().numpy()
    assert row @ covariance @ row == pytest.approx(other @ tensor.input_covariance @ other)
