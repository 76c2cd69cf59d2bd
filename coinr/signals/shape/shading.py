"""Pictures of volumes: shaded surfaces seen from afar, without perspective."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from coinr.progress import steps

#: Largest picture and, of a line of sight, number of samples; those of small volumes follow their longest side.
_SIDE, _DEPTHS = 320, 192
_PIXELS_PER_VOXEL, _DEPTHS_PER_VOXEL = 8, 2

#: Rows that are looked at together.
_ROWS = 16

#: Where light comes from, as a camera sees it that looks along -z with y up.
_LIGHT = (-0.4, 0.5, 0.77)


def turn(azimuth: float, tilt: float) -> NDArray[np.float64]:
    """Return the rotation [3, 3] of a camera along -z with y up: ``azimuth`` degrees around y, ``tilt`` down."""
    a, t = np.radians(azimuth), np.radians(tilt)
    around = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    down = np.array([[1, 0, 0], [0, np.cos(t), np.sin(t)], [0, -np.sin(t), np.cos(t)]])
    rotation: NDArray[np.float64] = around @ down
    return rotation


def shade(inside: NDArray[np.float32], camera: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return a picture of the surface at 1/2 of a volume, on white, at most 320 pixels wide.

    Parameters
    ----------
    inside : ndarray
        float32 [X, Y, Z], larger inside; its voxels are cubes.
    camera : ndarray
        float64 [3, 3], see :func:`turn`.

    Returns
    -------
    ndarray
        uint8 gray [H, H].
    """
    volume, axes, scale = _frame(inside, camera)
    smooth = functional.avg_pool3d(functional.avg_pool3d(volume, 3, 1, 1), 3, 1, 1)
    rows = []
    for seen in _lines(max(inside.shape)):
        values = _look(volume, seen, axes, scale)
        above = values > 0.5
        first = above.to(torch.uint8).argmax(-1, keepdim=True)
        before = (first - 1).clamp(min=0)
        low, high = values.gather(-1, before), values.gather(-1, first)
        part = ((0.5 - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
        z = seen[..., 2].gather(-1, before) * (1 - part) + seen[..., 2].gather(-1, first) * part
        points = torch.cat((seen[:, :, 0, :2], z), -1)
        rows.append(_lit(smooth, points, above.any(-1), axes, scale))
    return np.concatenate(rows)


def see_through(values: NDArray[np.float32], camera: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return a picture, uint8 gray [H, H], of the sums of a volume along lines of sight.

    White is 0, black the largest sum. Arguments as of :func:`shade`, with which it shares the frame.
    """
    volume, axes, scale = _frame(values, camera)
    sums = torch.cat([_look(volume, seen, axes, scale).sum(-1) for seen in _lines(max(values.shape))])
    shown = 255 * (1 - sums / sums.max().clamp(min=1e-30))
    picture: NDArray[np.uint8] = shown.round().to(torch.uint8).numpy()
    return picture


def _frame(values: NDArray[np.float32], camera: NDArray[np.float64]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the volume [1, 1, X, Y, Z] with a border, the camera's axes, and the scale of its frame along each side.

    The frame reaches as far as the turned box does.
    """
    volume = torch.from_numpy(np.pad(values, 1))[None, None]
    size = torch.tensor(volume.shape[2:], dtype=torch.float64)
    axes = torch.from_numpy(camera)
    reach = (axes.abs().T @ (size / size.max())).max()
    return volume, axes, reach * size.max() / size


def _lines(longest: int) -> Iterator[Tensor]:
    """Yield points [H, W, D, 3] on lines of sight from front to back, some rows at a time."""
    side = min(_SIDE, _PIXELS_PER_VOXEL * longest)
    line = torch.linspace(-1, 1, side, dtype=torch.float64)
    depth = torch.linspace(1, -1, min(_DEPTHS, _DEPTHS_PER_VOXEL * longest + 2), dtype=torch.float64)
    for top in steps(range(0, side, _ROWS), "picture"):
        rows = -line[top : top + _ROWS]
        yield torch.stack(torch.meshgrid(rows, line, depth, indexing="ij"), -1)[..., [1, 0, 2]]


def _look(volume: Tensor, points: Tensor, axes: Tensor, scale: Tensor) -> Tensor:
    """Sample values [...] of a volume [1, 1, X, Y, Z] at points [..., 3] in the camera's frame."""
    places = (points @ axes.T * scale).flip(-1).to(torch.float32)  # grid_sample takes the last axis first
    flat = places.reshape(1, 1, 1, -1, 3)
    return functional.grid_sample(volume, flat, align_corners=False).reshape(points.shape[:-1]).to(torch.float64)


def _lit(smooth: Tensor, points: Tensor, hit: Tensor, axes: Tensor, scale: Tensor) -> NDArray[np.uint8]:
    """Return the brightness of surface points [H, W, 3]; 255 where nothing was hit."""
    step = 2 / max(smooth.shape[2:])
    slopes = []
    for k in range(3):
        aside = torch.zeros(3, dtype=torch.float64)
        aside[k] = step
        slopes.append(_look(smooth, points - aside, axes, scale) - _look(smooth, points + aside, axes, scale))
    normal = functional.normalize(torch.stack(slopes, -1), dim=-1)
    light = functional.normalize(torch.tensor(_LIGHT, dtype=torch.float64), dim=0)
    bright = 0.2 + 0.65 * (normal @ light).clamp(min=0) + 0.15 * normal[..., 2].clamp(min=0)
    shown = torch.where(hit, (bright * 235).clamp(0, 235), torch.full_like(bright, 255))
    return shown.round().to(torch.uint8).numpy()
