import sys

import pytest
import torch

from coinr.errors import DependencyError, InputError
from coinr.signals.optional import optional
from coinr.signals.sampling import sample


def test_samples_come_in_order_and_in_chunks(monkeypatch):
    monkeypatch.setattr("coinr.signals.sampling.CHUNK", 4)
    parts = list(sample(torch.nn.Identity(), 10, lambda i: i[:, None] * 2.0, range(1, 2), "test"))
    assert [(start, len(values)) for start, values in parts] == [(0, 4), (4, 4), (8, 2)]
    assert torch.cat([values for _, values in parts])[:, 0].tolist() == [2.0 * k for k in range(10)]


def test_what_a_network_gives_is_checked():
    def places(indices):
        return indices[:, None].float()

    for network, message in [
        (torch.nn.Flatten(0), r"\[N, 2\] for \[3, 1\], got \[3\]"),
        (torch.nn.Identity(), r"\[N, 2\] for \[3, 1\], got \[3, 1\]"),
        (lambda x: torch.full((len(x), 2), torch.nan), "not finite"),
    ]:
        module = network if isinstance(network, torch.nn.Module) else _module(network)
        with pytest.raises(InputError, match=message):
            list(sample(module, 3, places, range(2, 3), "test"))


def _module(function):
    class Module(torch.nn.Module):
        def forward(self, x):
            return function(x)

    return Module()


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.measure", None)
    with pytest.raises(DependencyError, match=r"needs skimage, which is not installed: pip install coinr\[signals\]"):
        optional("skimage.measure")
    assert optional("json").loads("1") == 1
