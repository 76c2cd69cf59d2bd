"""Refinement of a module whose own output is what is kept, on small networks."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.func import functional_call

import coinr
from coinr.errors import CoinrError, InputError
from coinr.networks import Siren, Wire
from coinr.optimize.refine.distill import Distillation, decibels
from coinr.sensitivity.output_meter import measure_output_error

STEPS = 30


def siren(width=8):
    return Siren(2, 3, width, 1, generator=torch.Generator().manual_seed(0))


def points(count=2000):
    return torch.rand(count, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.no_grad()
def output_error(module, state_dict, *inputs):
    """In dB of the range, at all inputs."""
    module = copy.deepcopy(module).eval()
    original = module(*inputs)
    error = (functional_call(module, dict(state_dict), inputs) - original) / (original.max() - original.min())
    return 10 * math.log10(float(error.square().mean()))


def equal(one, other):
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_the_output_stays_where_it_was():
    module, level = siren(), -30.0
    refined = coinr.refine(module, points(), steps=STEPS, profile="direct", output_error_db=level)
    assert equal(coinr.decode_state_dict(refined.blob), refined.state_dict)
    assert level - 3 < refined.output_error_db <= level
    assert output_error(module, refined.state_dict, points(20_000)) < level + 0.5
    assert refined.score is None
    assert refined.history[-1][0] == STEPS


def test_the_default_is_an_output_error_of_50_db():
    refined = coinr.refine(siren(), points(), steps=STEPS, profile="direct")
    assert -52 < refined.output_error_db <= -50


@pytest.mark.slow
def test_the_module_is_not_changed():
    module = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
    module(points())  # running statistics
    before = copy.deepcopy(module.state_dict())
    refined = coinr.refine(module, points(), steps=STEPS, profile="direct", output_error_db=-40)
    assert equal(module.state_dict(), before)
    assert module.training
    assert module[3].training
    assert all(parameter.grad is None for parameter in module.parameters())
    statistics = ("1.running_mean", "1.running_var", "1.num_batches_tracked")
    assert all(torch.equal(refined.state_dict[name], before[name]) for name in statistics)
    assert output_error(module, refined.state_dict, points()) < -39.5


@pytest.mark.slow
def test_coarse_errors_take_fewer_bytes_than_coding_alone():
    module = siren(24)
    refined = coinr.refine(module, points(8000), steps=400, output_error_db=-25)
    blobs = (
        coinr.encode_state_dict(module.state_dict(), tolerance=tolerance) for tolerance in (0.2, 0.3, 0.4, 0.5, 0.6)
    )
    plain = [len(blob) for blob in blobs if output_error(module, coinr.decode_state_dict(blob), points(8000)) < -25]
    assert len(refined.blob) < 0.95 * min(plain)


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = siren()

    def forward(self, x, scale):
        return {"color": self.inner(x) * scale, "index": torch.arange(len(x))}


@pytest.mark.slow
@pytest.mark.parametrize("wrap", [tuple, list])
def test_a_module_of_several_arguments_takes_a_tuple(wrap):
    inputs = wrap([points(), torch.full((2000, 1), 2.0)])
    refined = coinr.refine(TwoInputs(), inputs, steps=STEPS, profile="direct")
    assert -52 < refined.output_error_db <= -50
    assert next(iter(refined.state_dict)) == "inner.layers.0.weight"


@pytest.mark.slow
def test_a_callable_draws_batches():
    drawn = []

    def draw():
        drawn.append(0)
        return torch.rand(1000, 2, generator=torch.Generator().manual_seed(len(drawn))) * 2 - 1

    module = siren()
    refined = coinr.refine(module, draw, steps=STEPS, profile="direct")
    assert len(drawn) >= 16 + STEPS  # held out, then one a step
    assert output_error(module, refined.state_dict, points(20_000)) < -49.5


def test_a_later_batch_that_does_not_fit_is_named():
    drawn = []

    def draw():
        drawn.append(0)
        return torch.rand(4096, 2 if len(drawn) < 8 else 3)

    with pytest.raises(InputError, match=r"the module cannot take torch.float32 \[4096, 3\]"):
        coinr.refine(siren(), draw, steps=STEPS, profile="direct")


def test_held_out_samples_are_not_trained_with():
    seen = []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = siren()

        def forward(self, x):
            seen.append(x[:, 2])
            return self.inner(x[:, :2])

    inputs = torch.cat([points(800), torch.arange(800.0)[:, None]], 1)
    distillation = Distillation(Watched(), inputs, 0)
    held_out = {int(i) for i in torch.cat(seen)}
    assert len(held_out) == 100
    seen.clear()
    for _ in range(10):
        distillation.loss(distillation.state_dict)
    assert not held_out & {int(i) for i in torch.cat(seen)}


def test_of_several_outputs_the_worst_counts_as_it_is_measured():
    class TwoHeads(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = siren()

        def forward(self, x):
            y = self.inner(x)
            return y, 100 + y[:, :1] ** 3, y[:, :1] * 0

    module = TwoHeads()
    distillation = Distillation(module, points(40), 0)  # all of so few are held out
    state = module.state_dict()
    moved = {name: tensor + 0.01 for name, tensor in state.items()}
    measured = measure_output_error(state, moved, module, points(40))
    assert decibels(distillation.squared_error(moved)) == pytest.approx(measured, abs=1e-3)
    loss = float(distillation.loss(moved))
    assert decibels(distillation.squared_error_of(loss)) == pytest.approx(measured, abs=2)


@pytest.mark.slow
def test_one_sample_is_enough():
    refined = coinr.refine(nn.Linear(5, 40), torch.ones(1, 5), steps=STEPS, profile="direct", output_error_db=-30)
    assert refined.output_error_db <= -30


@pytest.mark.slow
def test_a_size_is_met():
    refined = coinr.refine(siren(), points(), steps=STEPS, profile="direct", target_bytes=150)
    assert 0.98 * 150 <= len(refined.blob) <= 150
    assert -45 < refined.output_error_db < -5


@pytest.mark.slow
def test_a_score_may_be_the_goal():
    target = torch.sin(5 * points())

    def evaluate(state_dict):
        return -10 * math.log10(
            float((functional_call(module, dict(state_dict), (points(),))[:, :2] - target).square().mean())
        )

    module = siren()
    least = evaluate(module.state_dict()) - 0.01
    refined = coinr.refine(module, points(), steps=STEPS, profile="direct", min_score=least, evaluate=evaluate)
    assert refined.score == evaluate(refined.state_dict) >= least
    assert refined.output_error_db < -20


@pytest.mark.slow
def test_a_thorough_one_gives_equal_bytes():
    blobs = {
        coinr.refine(siren(8), points(), steps=20, profile="sparse", seed=seed, thorough=True).blob
        for seed in (1, 1, 2)
    }
    assert len(blobs) == 2


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes_are_kept(dtype):
    module = siren().to(dtype)
    refined = coinr.refine(module, points(), steps=STEPS, profile="direct", output_error_db=-30)
    assert {tensor.dtype for tensor in refined.state_dict.values()} == {dtype}
    assert refined.output_error_db <= -30


@pytest.mark.slow
def test_complex_weights_are_refined():
    module = Wire(2, 3, 8, 1, generator=torch.Generator().manual_seed(0))
    refined = coinr.refine(module, points(), steps=STEPS, profile="direct", output_error_db=-30)
    assert refined.output_error_db <= -30
    assert equal(refined.state_dict, coinr.decode_state_dict(refined.blob))


@pytest.mark.slow
def test_ties_and_names_of_wrapped_modules_stay():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.out = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.out(torch.sin(3 * self.second(torch.sin(3 * self.first(x)))))

    inputs = torch.randn(2000, 8, generator=torch.Generator().manual_seed(0))
    module = nn.DataParallel(Tied())
    refined = coinr.refine(module, inputs, steps=STEPS, profile="direct")
    assert list(refined.state_dict) == list(module.state_dict())
    assert torch.equal(refined.state_dict["module.first.weight"], refined.state_dict["module.second.weight"])
    assert refined.output_error_db <= -50


@pytest.mark.slow
def test_settings_of_the_caller_change_nothing():
    plain = coinr.refine(siren(8), points(), steps=20, profile="sparse", thorough=True).blob
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert coinr.refine(siren(8), points(), steps=20, profile="sparse", thorough=True).blob == plain


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": points().tolist()}, r"cannot take torch.float32 \[2\] and .* and 1996 more: "),
        ({"inputs": "x"}, "the inputs of a module must be a tensor, a tuple of tensors or a callable"),
        ({"inputs": None}, "an input of a module"),
        ({"inputs": torch.zeros(0, 2)}, "at least one"),
        ({"inputs": (points(), points(10))}, "equally many samples"),
        ({"inputs": torch.zeros(10, 3)}, r"the module cannot take torch.float32 \[10, 3\]"),
        ({"inputs": lambda: torch.zeros(10, 3)}, r"the module cannot take torch.float32 \[10, 3\]"),
        ({"inputs": torch.full((10, 2), math.nan)}, "finite values at its inputs; it gives 30 NaN values"),
        ({"loss_increase": 0.1}, "give output_error_db"),
        ({"output_error_db": 0.0}, "output_error_db must be"),
        ({"output_error_db": math.nan}, "output_error_db must be"),
        ({"output_error_db": -40, "target_bytes": 900}, "give one of .* not target_bytes and output_error_db"),
        ({"min_score": 3.0}, "min_score needs evaluate"),
        ({"steps": 0}, "steps"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        coinr.refine(siren(), **{"loss_fn": arguments.pop("inputs", points()), "steps": 2} | arguments)


def test_a_constant_output_has_no_range():
    with pytest.raises(InputError, match="the same at all its inputs"):
        coinr.refine(nn.Linear(2, 1), torch.zeros(10, 2), steps=2)


@pytest.mark.parametrize("network", [siren(), siren().state_dict()])
def test_an_output_error_needs_inputs_of_a_module(network):
    with pytest.raises(InputError, match="output_error_db is measured: it needs a module and its inputs"):
        coinr.refine(network, lambda sd: sd["layers.0.bias"].sum(), output_error_db=-40)


def test_a_module_may_have_a_loss():
    module = siren()

    def loss(state_dict):
        return functional_call(module, dict(state_dict), (points(),)).square().mean()

    ways = [
        coinr.refine(sd, loss, steps=5, profile="direct", loss_increase=0.1) for sd in (module, module.state_dict())
    ]
    assert ways[0].blob == ways[1].blob
    assert ways[0].output_error_db is None


def test_an_output_error_out_of_reach_is_named_in_db():
    with pytest.raises(
        InputError, match=r"output_error_db -250 dB is out of reach: after 5 steps the output error be.* dB"
    ):
        coinr.refine(siren(), points(), steps=5, output_error_db=-250)


def test_an_output_that_becomes_infinite_is_an_error():
    with pytest.raises(CoinrError, match="the output error became"):
        coinr.refine(nn.Linear(2, 3), points(), steps=50, learning_rate=1e30)
