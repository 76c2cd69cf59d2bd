"""Fused networks on the device: values and gradients against float64 autograd, and bits that depend on nothing else."""

import copy
import importlib

import numpy as np
import pytest
import torch
import triton

from coinr.networks import build_network
from tests.grids import fast_where
from tests.kernels.on_device import DEVICE, kernels

device_mlp = importlib.import_module("coinr.kernels.mlp")
sine = importlib.import_module("coinr.kernels.sine")

KINDS = ("siren", "finer", "gauss", "relu")
PRECISIONS = ("tf32x3", "ieee")


def network(kind, width, depth, seed=0, inputs=2):
    # at a factor of 30, float32 itself gives FINER gradients that are off by nearly 1e-5, in torch too
    settings = {"relu": {"frequencies": 0}, "finer": {"omega": 20.0}}.get(kind, {})
    sizes = {"in_features": inputs, "out_features": 3, "width": width, "hidden_layers": depth}
    return build_network(kind, sizes | settings, torch.Generator().manual_seed(seed))


def described(one, precision="tf32x3"):
    numbers = {"siren": (30.0, 30.0), "finer": (20.0, 20.0), "gauss": (10.0, 10.0), "relu": (1.0, 1.0)}[one.kind]
    sizes = one.in_features, one.width, one.hidden_layers, one.out_features
    return kernels.Mlp(one.kind, *sizes, *numbers, precision)


def flat(tensors):
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def samples(*shape, seed=1):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1).to(DEVICE)


def relative(found, expected):
    return float((found.double().cpu() - expected.cpu()).norm() / expected.norm())


def check(kind, width, depth, count, precision="tf32x3", inputs=2):
    """Compare one network's values, error and both kinds of gradients with those of float64."""
    one = network(kind, width, depth, inputs=inputs)
    x, targets = samples(1, count, inputs), samples(1, count, 3, seed=2)
    double = copy.deepcopy(one).double().to(DEVICE)
    values = double(x[0].double())
    error = (values - targets[0]).square().mean()
    gradients = [
        flat(torch.autograd.grad(loss, list(double.parameters()), retain_graph=True))
        for loss in (error, (values * targets[0]).sum())
    ]
    mlp, parameters = described(one, precision), flat(one.parameters())[None].to(DEVICE)
    assert mlp.parameters == parameters.shape[1]
    errors, of_error = kernels.mlp_squared_error(mlp, parameters, x, targets)
    assert relative(kernels.mlp_forward(mlp, parameters, x)[0], values.detach()) <= 1e-5
    assert relative(errors[0], error.detach()) <= 1e-5
    assert relative(of_error[0], gradients[0]) <= 1e-5
    assert relative(kernels.mlp_backward(mlp, parameters, x, targets)[0], gradients[1]) <= 1e-5


CASES = [
    (kind, width, depth, count)
    for kind in KINDS
    for width, depth, count in [
        (24, 1, 7), (16, 0, 1), (16, 3, 64), (24, 2, 64), (40, 3, 100), (40, 1, 1), (128, 1, 65), (1, 2, 100),
        (57, 2, 64),
    ]
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "width", "depth", "count"), fast_where(lambda kind, _w, _d, n: n == 7 and kind == "siren", CASES)
)
def test_values_and_gradients_are_those_of_float64(kind, width, depth, count):
    check(kind, width, depth, count)


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("inputs", [1, 3, 42])
def test_any_number_of_inputs_in_both_precisions(inputs, precision):
    check("relu", 24, 2, 70, precision, inputs)


def as_matrix_units(values):
    """What a TF32 unit reads of float32: 11 bits of the fraction."""
    bits = (values.view(np.int32) + 0x1000) & np.int32(-0x2000)
    return bits.view(np.float32)


@pytest.mark.slow
def test_three_products_of_tf32_parts_are_precise_enough(monkeypatch):
    """The interpreter multiplies in float32; here it does what matrix units do."""
    if DEVICE.type == "cuda":
        pytest.skip("the device does it itself")
    interpreter = importlib.import_module("triton.runtime.interpreter")
    seen = []

    def create_dot(self, a, b, d, input_precision, imprecise):
        seen.append(input_precision)
        parts = [(as_matrix_units(t.data), as_matrix_units(t.data - as_matrix_units(t.data))) for t in (a, b)]
        (a_high, a_low), (b_high, b_low) = parts
        small = np.matmul(a_low, b_high) + np.matmul(a_high, b_low)
        return interpreter.TensorHandle(small + np.matmul(a_high, b_high) + d.data, d.dtype.scalar)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_dot", create_dot)
    check("siren", 24, 1, 20)
    assert seen


def batch(count, number=3):
    nets = [network("siren", 16, 1, seed=k) for k in range(number)]
    parameters = torch.stack([flat(one.parameters()) for one in nets]).to(DEVICE)
    return described(nets[0]), parameters, samples(number, count, 2), samples(number, count, 3, seed=2)


def computed(mlp, parameters, x, targets):
    return [kernels.mlp_forward(mlp, parameters, x), *kernels.mlp_squared_error(mlp, parameters, x, targets)]


def same(found, expected):
    return all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_many_networks_have_the_bits_of_single_ones_and_of_every_other_run():
    mlp, parameters, x, targets = batch(5, 2)
    together = kernels.mlp_squared_error(mlp, parameters, x, targets)
    for k in range(2):
        one = slice(k, k + 1)
        alone = kernels.mlp_squared_error(mlp, parameters[one], x[one], targets[one])
        assert same([part[one] for part in together], alone)


@pytest.mark.slow
@pytest.mark.parametrize("count", [5, 70, 300])
def test_nothing_else_in_a_launch_changes_a_bit(count, monkeypatch):
    mlp, parameters, x, targets = batch(count)
    together = computed(mlp, parameters, x, targets)
    assert same(together, computed(mlp, parameters, x, targets))
    for k in range(3):
        one = slice(k, k + 1)
        assert same([part[one] for part in together], computed(mlp, parameters[one], x[one], targets[one]))
    monkeypatch.setattr(device_mlp, "WORKSPACE_FLOATS", 1)
    assert same(together, computed(mlp, parameters, x, targets))
    monkeypatch.setattr(device_mlp, "_programs", lambda items, mlp, device: 1)
    assert same(together, computed(mlp, parameters, x, targets))


def test_one_batch_for_all_and_rows_anywhere():
    mlp, parameters, x, targets = batch(5, 2)
    shared, apart = x[:1].expand(2, -1, -1), torch.nn.functional.pad(parameters, (0, 7))[:, : mlp.parameters]
    assert shared.stride(0) == 0
    assert not apart.is_contiguous()
    expected = kernels.mlp_forward(mlp, parameters, shared.contiguous())
    assert torch.equal(kernels.mlp_forward(mlp, apart, shared), expected)


@pytest.mark.slow
def test_tiles_of_a_group_are_added_up(monkeypatch):
    monkeypatch.setattr(device_mlp, "MOST_GROUPS", 2)
    check("siren", 16, 1, 200)


def test_phases_beyond_the_limit_of_the_short_reduction():
    one, x = network("siren", 16, 0), samples(1, 9, 2)
    first, last = one.layers[0], one.layers[-1]
    first.weight.data *= 1000
    values = kernels.mlp_forward(described(one), flat(one.parameters())[None].to(DEVICE), x)[0]
    phases = 30 * (x[0].double().cpu() @ first.weight.double().T + first.bias.double()).detach()
    assert phases.abs().amax() > 12_000
    expected = torch.sin(phases) @ last.weight.double().T.detach() + last.bias.double().detach()
    # a phase of 2**15 has steps of 2**-8
    assert relative(values, expected) < 1e-2


@pytest.mark.slow
def test_many_tiles_in_many_groups():
    check("siren", 16, 1, 64 * 130 + 3)


def test_no_networks_no_samples_and_values_that_are_not_finite():
    mlp, parameters, x, targets = batch(3, 2)
    assert kernels.mlp_forward(mlp, parameters[:0], x[:0]).shape == (0, 3, 3)
    assert kernels.mlp_forward(mlp, parameters, x[:, :0]).shape == (2, 0, 3)
    assert not kernels.mlp_backward(mlp, parameters, x[:, :0], targets[:, :0]).any()
    parameters[1, 0] = torch.nan
    errors, gradients = kernels.mlp_squared_error(mlp, parameters, x, targets)
    assert errors.isnan().tolist() == [False, True]
    assert gradients.isnan().any(1).tolist() == [False, True]


def sines(x):
    """Sines and cosines of float32 [count], in tiles of 16 rows."""
    padded = torch.zeros(16, triton.next_power_of_2(-(-len(x) // 16)), device=DEVICE)
    padded.view(-1)[: len(x)] = torch.from_numpy(x.astype(np.float32)).to(DEVICE)
    found = torch.empty(2, *padded.shape, dtype=torch.float32, device=DEVICE)
    sine.sine_kernel[(1,)](padded, found, sine.reduction_table(DEVICE), *padded.shape)
    return found.double().cpu().numpy().reshape(2, -1)[:, : len(x)]


def ulps(found, x):
    exact = np.stack([np.sin(x.astype(np.float64)), np.cos(x.astype(np.float64))])
    return (np.abs(found - exact) / np.spacing(np.abs(exact).astype(np.float32))).max()


def test_sines_are_right_to_two_units_in_the_last_place(generator):
    near = (np.arange(1, 7600) * (np.pi / 2)).astype(np.float32)
    spread = np.exp(generator.uniform(np.log(1e-20), np.log(12_000), 40_000)).astype(np.float32)
    x = np.concatenate([near, np.nextafter(near, np.float32(0)), -spread, spread])
    assert ulps(sines(x), x) < 2
    large = np.exp(generator.uniform(np.log(11_000), np.log(1e38), 1000)).astype(np.float32)
    x = np.concatenate([large, -large, np.float32([3.4028235e38, 12_000, 16_777_216])])
    assert ulps(sines(x), x) < 2


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # NumPy's, in the interpreter
def test_sines_of_what_is_not_finite_are_not_numbers():
    found = sines(np.array([np.nan, np.inf, -np.inf, 0.0]))
    assert np.isnan(found[:, :3]).all()
    assert found[:, 3].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "wire"}, "kind must be"),
        ({"width": 129}, "width must lie in 1 … 128, got 129"),
        ({"inputs": 0}, "inputs must lie in"),
        ({"outputs": 200}, "outputs must lie in"),
        ({"hidden_layers": -1}, "hidden_layers must lie in"),
        ({"precision": "tf32"}, "precision must be tf32x3 or ieee, got 'tf32'"),
    ],
)
def test_bad_sizes_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        kernels.Mlp(**{"kind": "siren", "inputs": 2, "width": 16, "hidden_layers": 1, "outputs": 3} | change)


@pytest.mark.parametrize(
    ("which", "change", "message"),
    [
        (0, lambda t: t.double(), "parameters must be torch.float32"),
        (0, lambda t: t[:, 1:], "parameters must have shape"),
        (0, lambda t: t[:1], r"inputs must be \[1, 5, 2\]"),
        (1, lambda t: t[:, :, :1], "inputs must have shape"),
        (1, lambda t: t.mT.contiguous().mT, "inputs must be contiguous"),
        (2, lambda t: t[:, :4], "targets must have shape"),
        (2, lambda t: t[:, :0], "with N >= 1"),
        (2, lambda t: t[0], r"targets must be \[K, N, 3\]"),
    ],
)
def test_bad_tensors_are_named(which, change, message):
    mlp, *tensors = batch(5)
    tensors[which] = change(tensors[which])
    with pytest.raises(ValueError, match=message):
        kernels.mlp_squared_error(mlp, *tensors)
