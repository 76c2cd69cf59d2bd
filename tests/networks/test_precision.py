"""Networks in half, bfloat16 and double precision: what is shown and stored is what their weights are."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import coinr
from coinr.errors import InputError, StateDictError
from coinr.networks.precision import single_network
from coinr.signals.sampling import score_of
from tests.grids import fast_where

PICTURE = (np.indices((12, 10)).sum(0) * 9 % 256).astype(np.uint8)
KINDS = {"siren": {}, "finer": {}, "gauss": {}, "wire": {}, "relu": {"frequencies": 2}}
DTYPES = ("half", "bfloat16", "double")


def network(kind: str, in_features: int = 2) -> Any:
    sizes = {"in_features": in_features, "out_features": 1, "width": 8, "hidden_layers": 1}
    return coinr.build_network(kind, {**sizes, **KINDS[kind]}, torch.Generator().manual_seed(1))


def in_float32(module: nn.Module) -> Any:
    """The same weights, as far as float32 holds them."""
    made = copy.deepcopy(module)
    return made.float()


@pytest.mark.parametrize(
    ("kind", "dtype"),
    fast_where(lambda kind, dtype: kind == "siren" or dtype == "half", itertools.product(KINDS, DTYPES)),
)
def test_networks_are_shown_and_stored_in_single_precision(kind, dtype):
    other = getattr(network(kind), dtype)()
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    same, signal = in_float32(other), coinr.ImageSignal(PICTURE)
    assert np.array_equal(coinr.render_image(other, 9, 8), coinr.render_image(same, 9, 8))
    assert score_of(other, signal) == score_of(same, signal)
    blob = coinr.pack_signal(other, signal)
    assert blob == coinr.pack_signal(same, signal)
    assert coinr.load_network(blob).state_dict().keys() == before.keys()
    coinr.open_file(blob).render()
    assert all(tensor.dtype == before[name].dtype for name, tensor in other.state_dict().items())
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())


@pytest.mark.parametrize("dtype", DTYPES)
def test_sounds_and_scenes_are_shown_in_single_precision(dtype):
    other = getattr(network("siren", 1), dtype)()
    assert np.array_equal(coinr.render_audio(other, 50), coinr.render_audio(in_float32(other), 50))
    nerf = coinr.build_network("nerf", {"depth": 2, "width": 8}, torch.Generator().manual_seed(1))
    from coinr.signals.scene.lens import Lens
    from coinr.signals.scene.signal import render_views

    lens, pose = Lens(4, 5, 4.0, 1.0, 3.0, 4, 4), np.eye(4, dtype=np.float32)
    other = getattr(nerf, dtype)()
    for one, two in zip(render_views(other, [pose], lens), render_views(in_float32(other), [pose], lens), strict=True):
        assert np.array_equal(one, two)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["siren", "wire"])
def test_fits_of_them_are_refused_and_their_weights_kept(kind, dtype):
    other = getattr(network(kind), dtype)()
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(InputError, match="fitted in single precision, not .*float"):
        coinr.fit(PICTURE, other, steps=1, progress=False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_their_state_dicts_are_searched_and_refined_in_their_dtype(dtype):
    other = getattr(network("siren"), dtype)()
    signal, shown = coinr.ImageSignal(PICTURE), network("siren")
    inputs, targets = signal.batch(torch.arange(signal.count))

    def loss(sd):
        values = torch.func.functional_call(shown, {name: tensor.float() for name, tensor in sd.items()}, (inputs,))
        return (values - targets).square().mean()

    made = (
        coinr.search(other.state_dict(), lambda sd: -loss(sd).detach(), target_bytes=400, profile="sparse").blob,
        coinr.refine(other.state_dict(), loss, steps=3, target_bytes=400, profile="sparse").blob,
    )
    for blob in made:
        for name, tensor in coinr.decode_state_dict(blob).items():
            assert tensor.dtype == other.state_dict()[name].dtype


def test_what_is_in_single_precision_is_not_copied():
    for kind in KINDS:
        made = network(kind)
        assert single_network(made) is made
    own = nn.Linear(2, 1).double()
    assert single_network(own) is own


def test_modules_of_ones_own_show_what_they_give_or_are_refused():
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(2, 1).bfloat16()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x.bfloat16())

    assert coinr.render_image(Half(), 4, 3).shape == (4, 3)
    for wrong, words in (
        (nn.Linear(2, 1).double(), "cannot take float32"), (nn.Linear(3, 1), "cannot take float32"),
        (nn.Linear(2, 1, dtype=torch.complex64), "cannot take float32"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            coinr.render_image(wrong, 4, 3)

    class Giving(nn.Module):
        def __init__(self, what: Any) -> None:
            super().__init__()
            self.what = what

        def forward(self, x: torch.Tensor) -> Any:
            return self.what(x)

    for what in (lambda x: None, lambda x: (x,), lambda x: x.long(), lambda x: torch.complex(x, x)):
        with pytest.raises(InputError, match="must give a floating-point tensor"):
            coinr.render_image(Giving(what), 4, 3)


def test_what_cannot_be_opened_is_not_written():
    signal = coinr.ImageSignal(PICTURE)
    huge = network("siren").double()
    nn.init.constant_(huge.layers[1].weight, 1e300)
    with pytest.raises(StateDictError, match=r"layers\.1\.weight"):
        coinr.pack_signal(huge, signal)
    pruned = network("siren")
    pruned.layers[1].weight = nn.Parameter(torch.ones(8, 7))
    whole = network("siren")
    whole.layers[1].weight = nn.Parameter(torch.ones(8, 8, dtype=torch.int8), requires_grad=False)
    turned = network("wire")
    turned.net[1].omega_0 = torch.full((1,), 2j)
    for wrong in (pruned, whole, turned):
        with pytest.raises(InputError, match="cannot be opened|tensors are not those"):
            coinr.pack_signal(wrong, signal)
