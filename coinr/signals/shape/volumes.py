"""Volumes on a regular grid: what an array of voxels means, and what a network shows of it.

A volume is an array [X, Y, Z]. Occupancy is bool or has two values; :func:`check_volume` says which is inside. A signed
distance function (SDF) is floating, negative inside, as far as the surface is away. Voxel i of n along an axis stands
for its center, at (2i + 1)/n - 1 of [-1, 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.errors import InputError
from coinr.inputs.arrays import exact_repr, to_array
from coinr.networks.description import ArrayNetwork
from coinr.progress import show_progress
from coinr.runtime.ambient import independent
from coinr.runtime.loaded import Module
from coinr.signals.grids import sample_grid

#: Largest grid that is rendered, in voxels.
MAX_VOXELS = 2**28

#: Range of the largest distance of an SDF: float32 holds distances of a millionth of it.
_LEAST, _MOST = 1e-30, 1e29


def check_volume(array: Any) -> NDArray[Any]:
    """Return a volume as bool (occupancy) or float32 (SDF), or say what is wrong with it.

    - Bool is occupancy.
    - Of two values, whole or floating, zero is outside and the other inside. Without a zero, the value of all voxels at
      the sides of the grid is outside.
    - Floating values in [0, 1], more than two of them, are densities: inside above 1/2.
    - Other floating values of both signs, more than two of them, are an SDF.
    - A volume of one value other than zero is full; floating, the value must be in (0, 1], and above 1/2.

    Raises
    ------
    InputError
        If it is not [X, Y, Z] with at least one voxel, or holds NaN or Inf. If whole numbers have more than two values,
        or two of which neither can be taken for outside. If an SDF has no surface or exceeds 1e30. If it is empty.
    """
    volume = to_array(array, "a volume")
    if volume.ndim != 3 or volume.size == 0:
        raise InputError(f"a volume has shape [X, Y, Z] with at least one voxel, got {list(volume.shape)}")
    if volume.dtype != np.bool_:
        floating = np.issubdtype(volume.dtype, np.floating)
        if not (floating or np.issubdtype(volume.dtype, np.integer)):
            raise InputError(f"a volume is bool, of whole numbers or floating, got {volume.dtype}")
        if floating and not np.isfinite(volume).all():
            raise InputError("the volume holds NaN or infinite values")
        low, high = volume.min(), volume.max()
        if low != high and ((volume == low) | (volume == high)).all():
            volume = volume != _outside(volume, low, high)
        elif floating:
            volume = _floating(volume, float(low), float(high))
        elif low != high:
            raise InputError(
                f"a volume of whole numbers has two values, of which zero is outside; got more, from {low} to {high}: "
                f"threshold it first"
            )
        else:
            volume = volume != 0
    if volume.dtype == np.bool_ and not volume.any():
        raise InputError("the volume is empty")
    return volume


def _outside(volume: NDArray[Any], low: Any, high: Any) -> Any:
    """Return which of the only two values of a volume is outside."""
    if low == 0 or high == 0:
        return low * 0
    sides = [volume.take(end, axis).reshape(-1) for axis in range(3) for end in (0, -1)]
    outside = np.unique(np.concatenate(sides))
    if len(outside) > 1:
        raise InputError(
            f"a volume of the two values {low} and {high} does not tell inside from outside: neither is zero, and both "
            f"are at the sides of the grid; make it bool, or 0 outside"
        )
    return outside[0]


def _floating(volume: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """Return an SDF as float32, or a density as bool."""
    if low < 0 < high:
        if not _LEAST <= max(-low, high) <= _MOST:
            raise InputError(
                f"signed distances are {_LEAST:g} to {_MOST:g} at most, got {exact_repr(low)} to {exact_repr(high)}"
            )
        return volume.astype(np.float32)
    if low < 0 or high > 1:
        raise InputError(
            f"a floating volume is a signed distance, negative inside and positive outside, or a density in "
            f"[0, 1]; got {exact_repr(low)} to {exact_repr(high)}"
        )
    return volume > 0.5


#: Corner with the least coordinates (x, y, z) of a grid, and the side of its voxels, in units of a mesh.
Placement = tuple[float, float, float, float]


def default_placement(grid: tuple[int, int, int]) -> Placement:
    """Return a grid in the middle of [-1, 1]³, which its longest side spans."""
    x, y, z = (-n / max(grid) for n in grid)
    return x, y, z, 2 / max(grid)


def describe_grid(grid: tuple[int, int, int], scale: float | None) -> str:
    """Return the size of a grid and the kind of its values in a few words; ``scale`` is None for occupancy."""
    return f"{' x '.join(map(str, grid))} voxels of {'occupancy' if scale is None else 'signed distance'}"


@dataclass(frozen=True)
class Box:
    """Part of a grid.

    Attributes
    ----------
    grid : (int, int, int)
        Size of the whole grid in voxels.
    start, size : (int, int, int)
        First voxel of the part, and its size.
    """

    grid: tuple[int, int, int]
    start: tuple[int, int, int]
    size: tuple[int, int, int]

    @property
    def whole(self) -> bool:
        """Return whether the part is the whole grid."""
        return self.size == self.grid

    def slices(self) -> tuple[slice, ...]:
        """Return the part as an index of a volume."""
        return tuple(slice(start, start + size) for start, size in zip(self.start, self.size, strict=True))


def tight_box(occupied: NDArray[np.bool_]) -> Box:
    """Return the smallest box with every voxel that is set; at least one must be."""
    ranges = []
    for axis in range(3):
        used = np.flatnonzero(occupied.any(axis=tuple(k for k in range(3) if k != axis)))
        ranges.append((int(used[0]), int(used[-1]) + 1))
    start, stop = zip(*ranges, strict=True)
    size = (stop[0] - start[0], stop[1] - start[1], stop[2] - start[2])
    shape = occupied.shape
    return Box((shape[0], shape[1], shape[2]), (start[0], start[1], start[2]), size)


def check_longest(longest: Any) -> int:
    """Return the voxels along the longest side of a grid; InputError unless they are 1 .. ``MAX_VOXELS``."""
    whole = isinstance(longest, int | np.integer) and not isinstance(longest, bool)
    if not (whole and 1 <= longest <= MAX_VOXELS):
        raise InputError(
            f"the longest side of a grid has at least 1 and at most {MAX_VOXELS} voxels, got {longest!r:.9}"
        )
    return int(longest)


def grid_like(grid: tuple[int, int, int], longest: int) -> tuple[int, int, int]:
    """Return the size of a grid of the same proportions with ``longest`` voxels along its longest side."""
    x, y, z = (max(1, round(n * longest / max(grid))) for n in grid)
    return x, y, z


@independent
@show_progress("render")
def render_volume(
    network: Module | ArrayNetwork, box: Box, grid: tuple[int, int, int], outside: float
) -> NDArray[np.float32]:
    """Return what a network shows on a grid of any size over the whole of what ``box`` is a part of.

    Parameters
    ----------
    network : nn.Module or ArrayNetwork
        Maps float32 [N, 3], the box being [-1, 1]³, to [N, 1]; it runs on its own device.
    box : Box
        The part of the original grid that the network knows.
    grid : (int, int, int)
        Size of the result.
    outside : float
        The value outside the box.

    Returns
    -------
    ndarray
        float32 [X, Y, Z].

    Raises
    ------
    InputError
        If the grid is out of range, or the network gives another shape or values that are not finite.
    """
    if min(grid) < 1 or grid[0] * grid[1] * grid[2] > MAX_VOXELS:
        raise InputError(f"a grid has 1 .. {MAX_VOXELS} voxels, got {' x '.join(map(str, grid))}")
    axes, parts = [], []
    for n, whole, start, size in zip(grid, box.grid, box.start, box.size, strict=True):
        centers = (np.arange(n) + 0.5) * (whole / n) - start
        inside = np.flatnonzero((centers >= 0) & (centers < size))
        parts.append(slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0))
        axes.append((2 * centers[parts[-1]] / size - 1).astype(np.float32))
    volume = np.full(grid, outside, np.float32)
    shape = tuple(map(len, axes))
    values = np.empty(math.prod(shape), np.float32)
    for start, out in sample_grid(network, axes, range(1, 2), "volume"):
        values[start : start + len(out)] = out[:, 0]
    volume[tuple(parts)] = values.reshape(shape)
    return volume
