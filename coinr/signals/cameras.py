"""Pinhole cameras: rays through pixels, and cameras on an orbit.

A pose is a camera-to-world matrix [4, 4] or [3, 4] in the convention of OpenGL and Blender: the camera looks along its
-z, y is up, and x is to the right. A ray is an origin and a direction whose part along the view is 1, so depths are
distances from the camera's plane.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def pixel_rays(poses: Tensor, rows: Tensor, columns: Tensor, height: int, width: int, focal: float) -> Tensor:
    """Return rays float32 [N, 6] (origin, direction) through the centres of pixels.

    Parameters
    ----------
    poses : Tensor
        float32 [N, 4, 4], one for each ray.
    rows, columns : Tensor
        int64 [N], the pixels.
    height, width : int
        Size of a picture, whose middle lies on the camera's axis.
    focal : float
        Focal length in pixels.
    """
    x = (columns + 0.5 - width / 2) / focal
    y = (height / 2 - rows - 0.5) / focal
    towards = torch.stack((x, y, -torch.ones_like(x)), dim=-1).to(torch.float32)
    directions = (poses[:, :3, :3] * towards[:, None, :]).sum(-1)
    return torch.cat((poses[:, :3, 3], directions), dim=-1)


@dataclass(frozen=True)
class Orbit:
    """A circle of cameras that look at one point, as the given views do on the average.

    Attributes
    ----------
    radius, elevation : float
        Distance from the centre, and degrees above its plane.
    centre : (float, float, float)
        What the cameras look at.
    up : int
        The axis that is up, 0 .. 2 for x, y, z and 3 .. 5 for -x, -y, -z.
    """

    radius: float
    elevation: float
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    up: int = 2

    def pose(self, azimuth: float) -> NDArray[np.float32]:
        """The camera at ``azimuth`` degrees around the axis, float32 [4, 4]."""
        up = np.roll([1.0, 0.0, 0.0], self.up % 3) * (1 if self.up < 3 else -1)
        ahead = np.roll(up, 1)
        aside = np.cross(up, ahead)
        turn, rise = np.radians(azimuth), np.radians(self.elevation)
        back = np.cos(rise) * (np.cos(turn) * ahead + np.sin(turn) * aside) + np.sin(rise) * up
        right = -np.sin(turn) * ahead + np.cos(turn) * aside
        pose = np.eye(4)
        pose[:3] = np.stack((right, np.cross(back, right), back, self.radius * back + np.asarray(self.centre)), axis=1)
        return pose.astype(np.float32)


def orbit_of(poses: NDArray[np.float32]) -> Orbit:
    """The orbit that is most like the cameras ``poses`` [V, 4, 4], in round numbers.

    Its centre is the point nearest to all lines of sight.
    """
    origins, backs = poses[:, :3, 3].astype(np.float64), poses[:, :3, 2].astype(np.float64)
    backs /= np.linalg.norm(backs, axis=1, keepdims=True)
    across = np.eye(3) - backs[:, :, None] * backs[:, None, :]
    centre = np.linalg.lstsq(across.sum(0), (across @ origins[:, :, None]).sum(0)[:, 0])[0]
    ups = poses[:, :3, 1].mean(axis=0)
    axis = int(np.abs(ups).argmax())
    up = axis if ups[axis] > 0 else axis + 3
    away = origins - centre
    radius = float(np.linalg.norm(away, axis=1).mean())
    if np.linalg.norm(centre) < 0.02 * radius:
        centre = np.zeros(3)
    high = away[:, axis] * (1 if up < 3 else -1)
    elevation = float(np.degrees(np.arcsin(np.clip(high / np.linalg.norm(away, axis=1), -1, 1))).mean())
    digits = 3 - int(np.floor(np.log10(max(radius, 1e-30))))
    x, y, z = (round(float(v), digits) + 0.0 for v in centre)  # + 0.0 makes -0.0 of no bytes
    return Orbit(float(f"{radius:.4g}"), float(round(elevation)), (x, y, z), up)
