"""Volume rendering of radiance fields over white, with coarse and fine samples (Mildenhall et al. 2020)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from coinr.errors import InputError
from coinr.networks.families import check_count
from coinr.networks.nerf import Nerf


class Rays(NamedTuple):
    """What a network shows along rays: ``coarse`` and ``fine`` colors [R, 3], and ``depth`` [R]."""

    coarse: Tensor
    fine: Tensor
    depth: Tensor


def render_rays(
    network: Nerf,
    rays: Tensor,
    near: float,
    far: float,
    coarse_samples: int,
    fine_samples: int,
    generator: torch.Generator | None = None,
) -> Rays:
    """Return the colors that ``network`` shows along rays, over white.

    The coarse network is evaluated at ``coarse_samples`` evenly spaced depths; where it finds opacity,
    ``fine_samples`` more are drawn, and the fine network is evaluated at all of them.

    Parameters
    ----------
    network : Nerf
        Both networks, on the device of the rays.
    rays : Tensor
        float32 [R, 6]: origins, then directions of any length.
    near, far : float
        Range of depths, in lengths of the directions; 0 <= near < far.
    coarse_samples, fine_samples : int
        At least 2, and at least 0; without fine samples the fine colors are the coarse ones.
    generator : torch.Generator, optional
        On the device of the rays: jitters the depths, each within its own part of the range, as training needs.
        Without one they are the same every time.

    Returns
    -------
    Rays
        float32: colors in [0, 1] of the coarse and the fine pass, and the mean depth of the fine one in lengths of the
        directions, ``far`` where a ray hits nothing.

    Raises
    ------
    InputError
        If an argument is out of range.
    """
    if rays.ndim != 2 or rays.shape[1] != 6:
        raise InputError(f"rays are [R, 6], got {list(rays.shape)}")
    if not 0 <= near < far < 1e30:
        raise InputError(f"0 <= near < far must hold, got {near!r} and {far!r}")
    check_count("coarse_samples", coarse_samples, 2)
    check_count("fine_samples", fine_samples, 0)
    depths = _even(rays, coarse_samples) * (far - near) + near
    if generator is not None:
        depths = _jitter(depths, generator)
    coarse, opacities = _march(network.coarse, rays, depths)
    if not fine_samples:
        return Rays(coarse, coarse, _mean_depth(opacities, depths, far))
    with torch.no_grad():
        more = _sample(depths, opacities, fine_samples, generator)
    depths = torch.cat((depths, more), -1).sort(-1).values
    fine, opacities = _march(network.coarse if network.fine is None else network.fine, rays, depths)
    return Rays(coarse, fine, _mean_depth(opacities, depths, far))


def _even(rays: Tensor, count: int) -> Tensor:
    """Return [R, count] evenly spaced numbers from 0 to 1."""
    return torch.linspace(0, 1, count, dtype=torch.float32, device=rays.device).expand(len(rays), count)


def _jitter(depths: Tensor, generator: torch.Generator) -> Tensor:
    """Move each depth at random within the part of its ray that is closest to it."""
    middles = (depths[:, 1:] + depths[:, :-1]) / 2
    low, high = torch.cat((depths[:, :1], middles), -1), torch.cat((middles, depths[:, -1:]), -1)
    return low + (high - low) * torch.rand(depths.shape, generator=generator, dtype=depths.dtype, device=depths.device)


def _march(field: nn.Module, rays: Tensor, depths: Tensor) -> tuple[Tensor, Tensor]:
    """Return colors [R, 3] over white, and the part of a ray's light that stops at each of the depths, [R, S]."""
    origins, directions = rays[:, None, :3], rays[:, None, 3:]
    length = directions.norm(dim=-1)
    color, density = field(origins + directions * depths[..., None], (directions / length[..., None])[:, 0])
    color, density = color.float(), density.float()  # of half precision they would be too coarse to add up
    gaps = torch.cat((depths[:, 1:] - depths[:, :-1], torch.full_like(depths[:, :1], 1e10)), -1) * length
    passed = torch.exp(-density * gaps)
    # 1e-10 keeps gradients alive behind what is opaque
    reaching = torch.cumprod(torch.cat((torch.ones_like(passed[:, :1]), passed[:, :-1] + 1e-10), -1), -1)
    opacities = (1 - passed) * reaching
    return (opacities[..., None] * color).sum(1) + (1 - opacities.sum(1, keepdim=True)), opacities


def _mean_depth(opacities: Tensor, depths: Tensor, far: float) -> Tensor:
    """Return mean depths [R]. Light that nothing stops counts as stopped at ``far``."""
    return (opacities * depths).sum(1) + (1 - opacities.sum(1)) * far


def _sample(depths: Tensor, opacities: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """Draw [R, count] more depths from the density that the opacities at ``depths`` have along the ray."""
    edges = (depths[:, 1:] + depths[:, :-1]) / 2  # an inner depth lies between two of them
    weights = opacities[:, 1:-1] + 1e-5
    if not weights.shape[1]:
        edges, weights = depths, torch.ones_like(depths[:, :1])
    cumulated = torch.cumsum(weights / weights.sum(1, keepdim=True), -1)
    cumulated = torch.cat((torch.zeros_like(cumulated[:, :1]), cumulated), -1)
    if generator is None:
        u = _even(depths, count)
    else:
        u = torch.rand(len(depths), count, generator=generator, dtype=depths.dtype, device=depths.device)
    upper = torch.searchsorted(cumulated, u.contiguous(), right=True).clamp(1, cumulated.shape[1] - 1)
    (c0, c1), (e0, e1) = (
        (table.gather(1, upper - 1), table.gather(1, upper)) for table in (cumulated, edges.contiguous())
    )
    return e0 + ((u - c0) / (c1 - c0).clamp(min=1e-5)).clamp(0, 1) * (e1 - e0)
