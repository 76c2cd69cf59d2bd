"""Shapes as signals: occupancy or signed distance in a volume, or the inside of a mesh."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coinr.errors import InputError
from coinr.inputs.arguments import checked
from coinr.inputs.arrays import to_array
from coinr.runtime.ambient import independent
from coinr.signals.grid_signal import GridSignal, is_method
from coinr.signals.shape.mesh_repair import repair_mesh
from coinr.signals.shape.meshes import voxelize
from coinr.signals.shape.volumes import (
    MAX_VOXELS,
    Box,
    Placement,
    check_longest,
    check_volume,
    describe_grid,
    tight_box,
)
from coinr.signals.signal import Recipe


def place_mesh(mesh: Any, longest: int) -> tuple[tuple[int, int, int], Placement]:
    """Return the grid around a mesh, with ``longest`` voxels along its longest side, and its placement.

    Raises
    ------
    InputError
        If the mesh has no volume, or the grid would be too large.
    """
    low, high = np.asarray(mesh.bounds, np.float64)
    if not (high > low).all():
        raise InputError("the mesh is flat, so it has no inside")
    pitch = _short(float((high - low).max()) / longest * 1.0001)  # so that rounding cannot make the longest side longer
    x, y, z = (max(1, math.ceil(extent / pitch)) for extent in high - low)
    if x * y * z > MAX_VOXELS:
        raise InputError(f"a grid has at most {MAX_VOXELS} voxels, got {x} x {y} x {z}")
    digits = 3 - math.floor(math.log10(pitch))
    corner = (low + high) / 2 - np.array([x, y, z]) * pitch / 2
    left, front, bottom = (round(float(v), digits) for v in corner)
    return (x, y, z), (left, front, bottom, pitch)


def _check_placement(placement: Any) -> Placement:
    """Return four numbers that a file may hold as the place of a grid."""
    numbers = to_array(placement, "placement")
    if (
        numbers.shape != (4,)
        or numbers.dtype.kind not in "fiu"
        or not (np.abs(numbers) < 1e30).all()
        or numbers[3] <= 0
    ):
        raise InputError(f"placement is x, y, z and a positive pitch, all below 1e30, got {placement!r:.80}")
    x, y, z, pitch = map(float, numbers)
    return x, y, z, pitch


def _short(value: float) -> float:
    """Round to five digits: a thousandth of a voxel, and few bytes in a file."""
    return float(f"{value:.5g}")


class ShapeSignal(GridSignal):
    """The voxels of a shape within its bounding box; the score is the intersection over union (IoU) with it.

    Parameters
    ----------
    volume : array
        [X, Y, Z], see :func:`~coinr.signals.shape.volumes.check_volume`.
    placement : (x, y, z, pitch), optional
        Where the grid lies in the space of a mesh; :func:`~coinr.signals.shape.volumes.default_placement` if absent.

    Attributes
    ----------
    volume : ndarray
        bool (occupancy) or float32 (signed distance), [X, Y, Z].
    box : Box
        The voxels that are fitted: the tight box of an occupancy, all of a signed distance.
    scale : float or None
        What a signed distance is divided by before it is fitted; None for occupancy.
    mesh : trimesh.Trimesh or None
        What the volume was made of.

    Raises
    ------
    InputError
        As :func:`~coinr.signals.shape.volumes.check_volume`.
    """

    kind = "shape"
    metric = "IoU"
    unit = ""
    recipe = Recipe("siren", width=64, hidden_layers=3, steps=3000, budget_steps=3000, batch=4096, learning_rate=1e-3)

    @independent
    @checked
    def __init__(self, volume: Any, placement: Placement | None = None) -> None:
        self.volume = check_volume(volume)
        self.placement = None if placement is None else _check_placement(placement)
        self.mesh: Any = None
        x, y, z = self.volume.shape
        if self.volume.dtype == np.bool_:
            self.box, self.scale = tight_box(self.volume), None
            values: NDArray[Any] = self.volume[self.box.slices()].astype(np.float32)
        else:
            self.box, self.scale = Box((x, y, z), (0, 0, 0), (x, y, z)), _short(float(np.abs(self.volume).max()))
            values = self.volume / np.float32(self.scale)
        self.in_features, self.out_features = 3, 1
        self.count, self.grid_size = values.size, self.box.size
        self._values = torch.from_numpy(np.ascontiguousarray(values)).reshape(-1, 1)

    @classmethod
    @checked
    def of_mesh(cls, mesh: Any, longest: int = 128) -> ShapeSignal:
        """Make the signal of the inside of a ``trimesh.Trimesh``, with ``longest`` voxels along its longest side.

        Raises
        ------
        InputError
            As :func:`~coinr.signals.shape.mesh_repair.repair_mesh` and :func:`place_mesh`, if the mesh has no inside.
        """
        check_longest(longest)
        closed, notes = repair_mesh(mesh)
        grid, placement = place_mesh(closed, longest)
        made = cls(voxelize(closed, np.array(placement[:3]), placement[3], grid), placement)
        made.mesh, made.notes = closed, notes
        return made

    @property
    def default_bits(self) -> int:
        """Return an eighth of 1 bit a voxel of the whole grid, as voxels deflate well, or of 32 bits a distance."""
        return int(self.volume.size) * (1 if self.scale is None else 32) // 8

    @property
    def occupied(self) -> NDArray[np.bool_]:
        """Return which voxels lie inside, bool [X, Y, Z]."""
        inside: NDArray[np.bool_] = self.volume if self.scale is None else self.volume < 0
        return inside

    def describe(self) -> str:
        """Return the grid and the kind of its values."""
        return f"shape {describe_grid(self.box.grid, self.scale)}"

    def partial_score(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """Count voxels in both shapes, voxels in either, and values that are not finite."""
        if self.scale is None:
            inside, meant = predicted > 0.5, targets > 0.5
        else:
            inside, meant = predicted < 0, targets < 0
        counts = ((inside & meant).sum(), (inside | meant).sum(), (~predicted.isfinite()).sum())
        return torch.stack(counts).double()

    def score_rule(self) -> tuple[str, float] | None:
        """Return the rule of :meth:`partial_score` for the extension, see :meth:`GridSignal.score_rule`."""
        rule = "occupancy" if self.scale is None else "distance", 0.0
        return rule if is_method(self.partial_score, ShapeSignal.partial_score) else None

    def score(self, total: Tensor) -> float:
        """Return the IoU, 1 for two empty parts; -inf if values were not finite."""
        both, either, broken = map(float, total)
        if broken:
            return -math.inf
        return both / either if either else 1.0

    def meta(self) -> dict[str, Any]:
        """Return ``{"shape": [X, Y, Z, ...]}``, and for a signed distance ``"sdf": scale``.

        After the grid come start and size of the box, unless it is the whole grid, then for a mesh the placement.
        """
        numbers: list[float] = [*self.box.grid]
        if not self.box.whole:
            numbers += [*self.box.start, *self.box.size]
        if self.placement is not None:
            numbers += [int(v) if v.is_integer() else v for v in self.placement]
        return {"shape": numbers} | ({} if self.scale is None else {"sdf": self.scale})
