"""Scales, variances and other tensors whose elements must each keep their relative error."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import coinr
from coinr.codec.allocate.default_errors import ELEMENTWISE, TOLERANCE
from coinr.codec.elements import by_element, rounded
from coinr.codec.state_dict import read_state_dict
from tests.grids import fast_where

LOSSY = ("auto", "direct", "sparse", "uniform", "paper")
CHANNELS = 48


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def mixed(values, seed=1):
    return values[torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))]


@pytest.fixture(scope="module")
def network():
    """A layer of weights and its normalization, whose statistics span four decades."""
    scales = mixed(torch.logspace(-1.5, 0.5, CHANNELS))
    return {
        "0.weight": 0.1 * drawn(CHANNELS, 16),
        "0.bias": 0.1 * drawn(CHANNELS),
        "1.weight": 0.5 + drawn(CHANNELS, seed=2).abs(),
        "1.bias": 0.1 * drawn(CHANNELS, seed=3),
        "1.running_mean": scales * drawn(CHANNELS, seed=4),
        "1.running_var": scales.square(),
        "1.num_batches_tracked": torch.tensor(80),
    }


NORMALIZATION = ("1.weight", "1.bias", "1.running_mean", "1.running_var")


def worst(tensor, decoded):
    """The largest relative error of an element; zeros must stay."""
    assert not decoded[tensor == 0].any()
    kept = tensor != 0
    return float(((decoded - tensor).abs()[kept].double() / tensor.abs()[kept].double()).max())


@pytest.mark.parametrize("profile", LOSSY)
@pytest.mark.parametrize("tolerance", [None, 0.02, 1.0])
def test_each_element_of_a_normalization_keeps_its_relative_error(network, profile, tolerance):
    decoded = coinr.decode_state_dict(coinr.encode_state_dict(network, profile=profile, tolerance=tolerance))
    for name in NORMALIZATION:
        assert worst(network[name], decoded[name]) <= ELEMENTWISE * (tolerance or TOLERANCE)
    assert worst(network["0.bias"], decoded["0.bias"]) > ELEMENTWISE * 0.02 or profile in ("uniform", "paper")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(CHANNELS,), (CHANNELS, 1), (1, CHANNELS, 1, 1)])
def test_of_any_dtype_and_shape(dtype, shape):
    scale = mixed(torch.logspace(-4, 2, CHANNELS)).reshape(shape).to(dtype)
    sd = {"a.weight": drawn(CHANNELS, 16).to(dtype), "scale": scale}
    decoded = coinr.decode_state_dict(coinr.encode_state_dict(sd))
    assert worst(sd["scale"], decoded["scale"]) <= ELEMENTWISE * TOLERANCE


@pytest.mark.parametrize(
    ("tensor", "kept"),
    [
        (mixed(torch.logspace(-3, 1, 32)), True),
        (-mixed(torch.logspace(-3, 1, 32)), True),
        (1 + 0.01 * drawn(32), True),
        (torch.cat([torch.zeros(8), torch.ones(8)]), True),
        (mixed(torch.logspace(-3, 1, 32)) * drawn(32).sign(), True),
        (mixed(torch.logspace(-3, 1, 64)).reshape(8, 8), True),
        (torch.tensor([0.3]), True),
        (torch.tensor(10.0), True),
        (drawn(32), False),
        (2 * torch.rand(32, generator=torch.Generator().manual_seed(0)) - 1, False),
        (torch.rand(8, 8, generator=torch.Generator().manual_seed(0)), False),
        (drawn(8, 8), False),
        (torch.zeros(32), False),
    ],
)
def test_values_tell(tensor, kept):
    entries = read_state_dict({"first.weight": drawn(32, 4), "first.bias": drawn(32), "second.x": tensor})
    assert by_element(entries) == ({2} if kept else set())


def test_few_elements_beside_a_matrix_are_a_bias():
    sd = {"last.weight": drawn(3, 32), "last.bias": torch.tensor([0.2, 0.1, 0.4])}
    assert by_element(read_state_dict(sd)) == set()


def test_what_stands_in_one_layer_with_scales_is_kept_as_they_are():
    sd = {"n.weight": drawn(16), "n.bias": drawn(16), "n.var": drawn(16).abs()}
    sd |= {"m.weight": drawn(16), "m.bias": drawn(16)}
    assert by_element(read_state_dict(sd)) == {0, 1, 2}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64])
@pytest.mark.parametrize("relative", [0.9, 0.5, 0.3, 1e-3, 1e-6])
def test_rounding_leaves_each_element_within_its_error(dtype, relative):
    values = drawn(200) * torch.logspace(-30, 30, 200)
    tensor = torch.complex(values, values.flip(0)) if dtype.is_complex else values.to(dtype)
    entry = read_state_dict({"w": tensor})[0]
    got = rounded(entry, relative)
    assert got.layout == entry.layout
    off = abs(got.planes - entry.planes) / abs(entry.planes)
    assert off.max() <= relative
    assert relative < 1e-4 or dtype == torch.bfloat16 or off.max() > relative / 8


def test_rounding_to_nothing_and_to_everything():
    entry = read_state_dict({"w": drawn(9)})[0]
    assert not rounded(entry, 1.0).planes.any()
    assert torch.equal(torch.from_numpy(rounded(entry, 0.0).array), torch.from_numpy(entry.array))


def test_what_rounding_would_make_infinite_is_exact():
    sd = {"scale": torch.full((16,), torch.finfo(torch.float16).max, dtype=torch.float16)}
    assert torch.equal(coinr.decode_state_dict(coinr.encode_state_dict(sd, tolerance=1.0))["scale"], sd["scale"])


def test_requested_errors_scale_the_relative_ones(network):
    def off(error):
        blob = coinr.encode_state_dict(network, tolerance=1.0, errors={"1.running_var": error})
        return worst(network["1.running_var"], coinr.decode_tensor(blob, "1.running_var"))

    fine, coarse = off(1e-4), off(1e-2)
    assert fine < 0.05 * coarse < 0.05
    assert off(1e6) == 1.0  # all zero: no more than the tolerance


@pytest.mark.parametrize("profile", ["direct", "uniform"])
def test_sizes_stay_in_reach(network, profile):
    full = len(coinr.encode_state_dict(network, profile=profile))
    assert len(coinr.encode_state_dict(network, profile=profile, target_bytes=full // 3)) <= full // 3


def test_differences_to_a_base_keep_them_too(network):
    base = {name: value + 1e-3 * drawn(*value.shape) if value.ndim else value for name, value in network.items()}
    blob = coinr.encode_state_dict(network, base=base)
    assert len(blob) < 0.9 * len(coinr.encode_state_dict(network))
    decoded = coinr.decode_state_dict(blob, base=base)
    for name in NORMALIZATION:
        assert worst(network[name], decoded[name]) <= ELEMENTWISE * TOLERANCE


class Rms(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.scale


class Words(nn.Module):
    """An embedding, a layer over the sequence, and the mean of what it gives."""

    def __init__(self, layer):
        super().__init__()
        self.embedding = nn.Embedding(40, 16)
        self.layer = layer
        self.out = nn.Linear(16, 4)

    def forward(self, x):
        y = self.layer(self.embedding(x))
        return self.out((y[0] if isinstance(y, tuple) else y).mean(1))


def cnn(norm):
    return nn.Sequential(
        *(nn.Conv2d(3, 12, 3, padding=1), norm(12), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1), norm(12), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(48, 4)),
    )


def mlp(norm):
    return nn.Sequential(
        nn.Flatten(), norm(108), nn.Linear(108, 24), norm(24), nn.GELU(), nn.Linear(24, 24), norm(24), nn.Linear(24, 4)
    )


NETWORKS = {
    "batch": lambda: cnn(nn.BatchNorm2d),
    "batch, on the inputs": lambda: mlp(nn.BatchNorm1d),
    "instance, with statistics": lambda: cnn(lambda c: nn.InstanceNorm2d(c, affine=True, track_running_stats=True)),
    "group": lambda: cnn(lambda c: nn.GroupNorm(3, c)),
    "layer": lambda: mlp(nn.LayerNorm),
    "root mean square": lambda: mlp(Rms),
    "lstm": lambda: Words(nn.LSTM(16, 16, batch_first=True)),
    "attention": lambda: Words(nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)),
}


def samples(words):
    """Inputs and classes; those of pictures have scales that span two decades."""
    generator = torch.Generator().manual_seed(3)
    if words:
        x = torch.randint(40, (256, 8), generator=generator)
        return x, (x.double().mean(1) > 20).long() + 2 * (x[:, 0] > 20)
    sizes = 10 ** (2 * torch.rand(3, 6, 6, generator=generator) - 1.5)
    x = torch.randn(256, 3, 6, 6, generator=generator)
    return x * sizes, (x[:, 0].mean((1, 2)) > 0).long() + 2 * (x[:, 2].mean((1, 2)) > 0)


@pytest.mark.parametrize("name", fast_where(lambda name: name in ("batch", "layer", "attention"), NETWORKS))
def test_outputs_of_trained_networks_move_little_at_the_default(name):
    model = NETWORKS[name]()
    x, y = samples(words=isinstance(model, Words))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(40):
        part = slice(32 * (step % 8), 32 * (step % 8) + 32)
        loss = F.cross_entropy(model(x[part]), y[part])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    decoded = coinr.decode_state_dict(coinr.encode_state_dict(model.state_dict()))
    with torch.no_grad():
        expected = model(x)
        model.load_state_dict(decoded)
        off = (model(x) - expected).norm() / expected.norm()
    # typical weights are off by a twelfth of the tolerance, 1.25 %, and all else by less
    assert 0 < off < TOLERANCE / 12 * math.sqrt(2)
