"""Pinhole cameras: rays through pixels, and cameras on an orbit.

A pose is a camera-to-world matrix [4, 4] or [3, 4] in the convention of OpenGL and Blender: the camera looks along its
-z, y is up, and x is to the right. A ray is an origin and a direction whose part along the view is 1, so depths are
distances from the camera's plane.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

#: Cameras look the same way if the spread of their directions is below this: their lines of sight meet nowhere.
_PARALLEL = 1e-5


def pixel_rays(
    poses: Tensor,
    rows: Tensor,
    columns: Tensor,
    height: int,
    width: int,
    focal: float,
    stretch: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
) -> Tensor:
    """Return rays float32 [N, 6] (origin, direction) through the centers of pixels.

    Parameters
    ----------
    poses : Tensor
        float32 [N, 4, 4], one for each ray.
    rows, columns : Tensor
        int64 [N], the pixels.
    height, width : int
        Size of a picture.
    focal, stretch : float
        Focal length across in pixels, and how many times as long it is down.
    shift : (float, float)
        By how many pixels the camera's axis passes to the right of the middle and below it.
    """
    import torch

    x = (columns + 0.5 - (width / 2 + shift[0])) / focal
    y = (height / 2 + shift[1] - rows - 0.5) / (focal * stretch)
    towards = torch.stack((x, y, -torch.ones_like(x)), dim=-1).to(torch.float32)
    directions = (poses[:, :3, :3] * towards[:, None, :]).sum(-1)
    return torch.cat((poses[:, :3, 3], directions), dim=-1)


@dataclass(frozen=True)
class Orbit:
    """A circle of cameras that look at one point, as the given views do on the average.

    Attributes
    ----------
    radius, elevation : float
        Distance from the center, and degrees above its plane.
    center : (float, float, float)
        What the cameras look at.
    up : int
        The axis that is up, 0 .. 2 for x, y, z and 3 .. 5 for -x, -y, -z.
    """

    radius: float
    elevation: float
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    up: int = 2

    def pose(self, azimuth: float) -> NDArray[np.float32]:
        """Return the camera at ``azimuth`` degrees around the axis, float32 [4, 4]."""
        up = np.roll([1.0, 0.0, 0.0], self.up % 3) * (1 if self.up < 3 else -1)
        ahead = np.roll(up, 1)
        aside = np.cross(up, ahead)
        turn, rise = np.radians(azimuth), np.radians(self.elevation)
        back = np.cos(rise) * (np.cos(turn) * ahead + np.sin(turn) * aside) + np.sin(rise) * up
        right = -np.sin(turn) * ahead + np.cos(turn) * aside
        pose = np.eye(4)
        pose[:3] = np.stack((right, np.cross(back, right), back, self.radius * back + np.asarray(self.center)), axis=1)
        return pose.astype(np.float32)


def focus_of(poses: NDArray[np.float32]) -> tuple[NDArray[np.float64], bool]:
    """Return the point nearest to all lines of sight of ``poses`` [V, 4, 4], and whether the cameras look at it.

    They do not if they stand there, look away from it, or all look the same way.
    """
    origins, backs = poses[:, :3, 3].astype(np.float64), _backs(poses)
    across = np.eye(3) - backs[:, :, None] * backs[:, None, :]
    center = np.linalg.lstsq(across.sum(0), (across @ origins[:, :, None]).sum(0)[:, 0])[0]
    away = origins - center
    distances = np.linalg.norm(away, axis=1)
    ahead = (away * backs).sum(axis=1)
    spread = float(np.linalg.eigvalsh(across.mean(axis=0))[0])
    near = distances.max() <= 1e-6 * max(1e-30, float(np.abs(origins).max()))
    faced = not near and spread > _PARALLEL and float(ahead.sum()) > 0.5 * float(distances.sum())
    return center, faced


def _backs(poses: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return what is behind each camera, unit float64 [V, 3]."""
    backs = poses[:, :3, 2].astype(np.float64)
    unit: NDArray[np.float64] = backs / np.linalg.norm(backs, axis=1, keepdims=True)
    return unit


def orbit_of(poses: NDArray[np.float32]) -> Orbit:
    """Return the orbit that is most like the cameras ``poses`` [V, 4, 4], in round numbers.

    Its center is the point nearest to all lines of sight. Cameras that look away from there, or stand there, turn in
    the middle of where they stand, with a radius of 0.
    """
    origins, backs = poses[:, :3, 3].astype(np.float64), _backs(poses)
    center, faced = focus_of(poses)
    away = origins - center
    turning = not faced and float((away * backs).sum()) <= 1e-6 * float(np.abs(origins).sum())
    ups = poses[:, :3, 1].mean(axis=0)
    axis = int(np.abs(ups).argmax())
    up = axis if ups[axis] > 0 else axis + 3
    if turning:
        center, away, radius = origins.mean(axis=0), backs, 0.0
    else:
        radius = float(np.linalg.norm(away, axis=1).mean())
        if np.linalg.norm(center) < 0.02 * radius:
            center = np.zeros(3)
    high, distances = away[:, axis] * (1 if up < 3 else -1), np.linalg.norm(away, axis=1)
    rise = np.clip(np.divide(high, distances, out=np.zeros_like(high), where=distances > 0), -1, 1)
    digits = 3 - int(np.floor(np.log10(max(radius or float(np.abs(center).max()) / 1000, 1e-30))))
    x, y, z = (round(float(v), digits) + 0.0 for v in center)  # + 0.0 makes -0.0 of no bytes
    return Orbit(float(f"{radius:.4g}"), float(round(np.degrees(np.arcsin(rise)).mean())), (x, y, z), up)
