import math

import pytest
import torch
from torch import nn

from coinr.errors import InputError
from coinr.networks import Nerf, network_meta, render_rays


def _rays(count=6):
    generator = torch.Generator().manual_seed(3)
    origins = torch.randn(count, 3, generator=generator) * 0.1
    return torch.cat((origins, torch.randn(count, 3, generator=generator)), 1)


def _nerf(**options):
    return Nerf(3, 16, skip=1, generator=torch.Generator().manual_seed(0), **options)


class _Fog(nn.Module):
    """Density d between two depths along rays of direction z, color (0.2, 0.5, 0.9)."""

    def __init__(self, density, begin, end):
        super().__init__()
        self.density, self.begin, self.end = density, begin, end

    def forward(self, points, directions):
        z = points[..., 2]
        inside = (z > self.begin) & (z < self.end)
        return torch.tensor([0.2, 0.5, 0.9]).expand(*z.shape, 3), inside * self.density


def _foggy(density, begin=3.0, end=4.0):
    network = _nerf()
    network.coarse = network.fine = _Fog(density, begin, end)
    return network


DOWN = torch.tensor([[0.0, 0, 0, 0, 0, 2]])  # a direction of length 2: depth 1.5 is z = 3


def test_fog_absorbs_as_it_should():
    shown = render_rays(_foggy(1.2), DOWN, 0.5, 3.0, 500, 500)
    opacity = 1 - math.exp(-1.2)
    color = torch.tensor([[0.2, 0.5, 0.9]])
    expected = opacity * color + (1 - opacity)
    torch.testing.assert_close(shown.coarse, expected, rtol=0, atol=5e-3)
    torch.testing.assert_close(shown.fine, expected, rtol=0, atol=5e-3)
    inside = torch.linspace(0, 1, 10001)
    density = 1.2 * torch.exp(-1.2 * inside)
    mean = ((1.5 + inside / 2) * density).mean() + (1 - opacity) * 3.0
    assert shown.depth.item() == pytest.approx(mean.item(), abs=0.01)


def test_empty_space_is_white_and_far():
    shown = render_rays(_foggy(0.0), DOWN, 0.5, 3.0, 16, 16)
    assert torch.equal(shown.fine, torch.ones(1, 3))
    assert torch.equal(shown.depth, torch.tensor([3.0]))


def test_fine_samples_go_where_the_light_is_stopped():
    seen = []
    network = _foggy(50.0, 3.0, 3.2)
    network.coarse.register_forward_hook(lambda module, arguments, out: seen.append(arguments[0]))
    render_rays(network, DOWN, 0.5, 3.0, 40, 60)
    coarse, fine = (points[0, :, 2] for points in seen)
    assert len(coarse) == 40
    assert len(fine) == 100
    assert (fine.diff() >= 0).all()
    # one part of a ray is 0.13 long in z
    assert ((fine > 2.8) & (fine < 3.4)).sum() >= 50


def test_a_generator_jitters_within_the_parts_of_a_ray():
    seen = []
    network = _foggy(1.0)
    network.coarse.register_forward_hook(lambda module, arguments, out: seen.append(arguments[0][..., 2]))
    rays = DOWN.expand(200, 6)
    for _ in range(2):
        render_rays(network, rays, 0.5, 3.0, 6, 0)
        render_rays(network, rays, 0.5, 3.0, 6, 0, torch.Generator().manual_seed(1))
    even, jittered, again, same = seen
    assert torch.equal(even, again)
    assert torch.equal(jittered, same)
    torch.testing.assert_close(even[0], torch.linspace(1, 6, 6))
    middles = (even[0, 1:] + even[0, :-1]) / 2
    for i in range(6):
        low, high = middles[i - 1] if i else 1.0, middles[i] if i < 5 else 6.0
        assert low <= jittered[:, i].min() < low + 0.1
        assert high - 0.1 < jittered[:, i].max() <= high


def test_all_parts_of_both_networks_learn():
    network = _nerf()
    for field in (network.coarse, network.fine):
        nn.init.constant_(field.alpha_linear.bias, 0.5)
    shown = render_rays(network, _rays(), 2.0, 6.0, 8, 8, torch.Generator().manual_seed(0))
    (shown.coarse.sum() + shown.fine.sum()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_one_network_can_serve_both_passes():
    both = _nerf(fine=False)
    two = _nerf()
    two.coarse.load_state_dict(both.coarse.state_dict())
    two.fine.load_state_dict(both.coarse.state_dict())
    assert torch.equal(render_rays(both, _rays(), 2.0, 6.0, 8, 8).fine, render_rays(two, _rays(), 2.0, 6.0, 8, 8).fine)
    assert 2 * sum(p.numel() for p in both.parameters()) == sum(p.numel() for p in two.parameters())
    assert network_meta(both) == {"nerf": []}


def test_without_fine_samples_the_fine_colours_are_the_coarse_ones():
    shown = render_rays(_nerf(), _rays(), 2.0, 6.0, 8, 0)
    assert torch.equal(shown.coarse, shown.fine)


@pytest.mark.parametrize("coarse", [2, 3])
def test_few_samples(coarse):
    shown = render_rays(_nerf(), _rays(), 2.0, 6.0, coarse, 4)
    assert all(torch.isfinite(part).all() for part in shown)


def test_the_layout_is_that_of_nerf_pytorch():
    shapes = {name: tuple(tensor.shape) for name, tensor in Nerf().coarse.state_dict().items()}
    weights = {name.removesuffix(".weight"): shape for name, shape in shapes.items() if name.endswith("weight")}
    assert weights == {
        "pts_linears.0": (256, 63),
        **{f"pts_linears.{i}": (256, 319 if i == 5 else 256) for i in range(1, 8)},
        "views_linears.0": (128, 283),
        "feature_linear": (256, 256),
        "alpha_linear": (1, 256),
        "rgb_linear": (3, 128),
    }
    assert sum(p.numel() for p in Nerf().parameters()) == 2 * 595844
    assert list(Nerf(2, 4).state_dict())[:2] == ["coarse.pts_linears.0.weight", "coarse.pts_linears.0.bias"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rays": torch.zeros(3, 5)}, r"rays are \[R, 6\]"),
        ({"near": -1.0}, "near"),
        ({"near": 6.0}, "near"),
        ({"far": math.inf}, "near"),
        ({"coarse_samples": 1}, "coarse_samples"),
        ({"fine_samples": -1}, "fine_samples"),
    ],
)
def test_arguments_out_of_range_are_refused(changes, message):
    arguments = {"rays": _rays(), "near": 2.0, "far": 6.0, "coarse_samples": 4, "fine_samples": 4}
    with pytest.raises(InputError, match=message):
        render_rays(_nerf(), **(arguments | changes))
