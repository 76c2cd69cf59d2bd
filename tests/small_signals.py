"""Small signals with known answers, and networks that show something known."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from coinr.networks import Nerf, Siren
from coinr.signals.cameras import Orbit
from coinr.signals.scene.signal import SceneSignal

RATE = 8000


def tones(seconds: float = 0.25) -> NDArray[np.float32]:
    """Two tones that fade, float32 [N], peak below 1/2."""
    t = np.arange(round(seconds * RATE)) / RATE
    return (np.exp(-3 * t) * (0.3 * np.sin(880 * np.pi * t) + 0.15 * np.sin(1500 * np.pi * t))).astype(np.float32)


def ball(size: int = 24, radius: float = 0.6) -> NDArray[np.bool_]:
    """A solid ball in the middle of a cube, bool [size, size, size]."""
    return distance(size, radius) < 0


def distance(size: int = 24, radius: float = 0.6) -> NDArray[np.float32]:
    """Signed distances from a sphere, in units of the half cube, float32 [size, size, size]."""
    axis = (2 * np.arange(size) + 1) / size - 1
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    return (np.linalg.norm(grid, axis=-1) - radius).astype(np.float32)


def disc_views(azimuths: list[float], size: int = 12) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Pictures of a red ball of radius 1 on white from an orbit of radius 4, and the poses."""
    orbit = Orbit(4.0, 30.0)
    poses = np.stack([orbit.pose(a) for a in azimuths])
    focal = size * 1.2
    row, column = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    x, y = (column + 0.5 - size / 2) / focal, (size / 2 - row - 0.5) / focal
    # the rays that pass the centre, 4 away, at less than 1
    hit = 16 * (x**2 + y**2) / (1 + x**2 + y**2) < 1
    picture = np.where(hit[..., None], np.array([200, 30, 30], np.uint8), np.uint8(255))
    return np.stack([picture] * len(azimuths)), poses


def disc_scene(size: int = 12, samples: tuple[int, int] = (8, 8)) -> SceneSignal:
    """The scene of :func:`disc_views` with six views and two held back."""
    images, poses = disc_views([0, 60, 120, 180, 240, 300], size)
    test_images, test_poses = disc_views([30, 200], size)
    return SceneSignal(images, poses, size * 1.2, 2.0, 6.0, test_images, test_poses, samples)


def siren(inputs: int, outputs: int, width: int = 16) -> Siren:
    """A small network with weights that are always the same."""
    return Siren(inputs, outputs, width, 1, generator=torch.Generator().manual_seed(0))


def nerf() -> Nerf:
    """A small radiance field of thin fog, with weights that are always the same."""
    network = Nerf(2, 16, None, 3, 1, generator=torch.Generator().manual_seed(0))
    for field in network.children():
        torch.nn.init.constant_(field.alpha_linear.bias, 0.5)
    return network
