"""Shapes in files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray

from coinr.errors import FormatError
from coinr.inputs.arguments import checked
from coinr.networks.description import ArrayNetwork
from coinr.signal_files.signal_file import ShownBy, SignalFile, check_mlp, check_restored, numbers, whole
from coinr.signals.image.picture import Panels
from coinr.signals.shape.volumes import (
    Box,
    Placement,
    check_longest,
    default_placement,
    describe_grid,
    grid_like,
    render_volume,
    tight_box,
)
from coinr.signals.signal import Signal

#: What a shape is looked at from: degrees around the y axis, and from above.
_SIGHTS = {"front": (0.0, 0.0), "turned, from above": (-40.0, 25.0), "back": (180.0, 0.0)}

if TYPE_CHECKING:
    from coinr.networks import Mlp
    from coinr.signals.shape.signal import ShapeSignal


@dataclass(frozen=True, repr=False)
class ShapeFile(SignalFile):
    """A shape that can be rendered on any grid, or as a mesh.

    Attributes
    ----------
    network : Mlp or ArrayNetwork
        Maps the box as [-1, 1]³ to occupancy, inside above 1/2, or to a signed distance.
    box : Box
        The grid that was fitted, and the part of it that the network knows.
    placement : (x, y, z, pitch)
        Where the grid lies in the space of meshes.
    scale : float or None
        What a signed distance was divided by; None for occupancy.
    """

    kind: ClassVar[str] = "shape"
    network: Mlp | ArrayNetwork
    box: Box
    placement: Placement
    scale: float | None = None

    @classmethod
    @checked
    def from_meta(cls, network: ShownBy, meta: Mapping[str, Any]) -> Self:
        """Implement :meth:`SignalFile.from_meta`; see :meth:`ShapeSignal.meta`."""
        shown = check_mlp(network, cls.kind, 3, range(1, 2))
        values = numbers(meta, "shape", (3, 7, 9, 13))
        x, y, z = whole("shape", values[:3])
        start, size = (0, 0, 0), (x, y, z)
        if len(values) in (9, 13):
            a, b, c = whole("shape", values[3:6], 0)
            i, j, k = whole("shape", values[6:9])
            start, size = (a, b, c), (i, j, k)
            if a + i > x or b + j > y or c + k > z:
                raise FormatError("shape metadata has a box that leaves its grid")
        placement = default_placement((x, y, z))
        if len(values) in (7, 13):
            left, front, bottom, pitch = (float(v) for v in values[-4:])
            if not 0 < pitch < 1e30 or max(map(abs, (left, front, bottom))) > 1e30:
                raise FormatError("shape metadata places its grid out of range")
            placement = (left, front, bottom, pitch)
        scale = numbers({"sdf": [meta["sdf"]]}, "sdf", (1,))[0] if "sdf" in meta else None
        if scale is not None and not 0 < scale < 1e30:
            raise FormatError(f"shape metadata has distances in units of {scale}")
        return cls(shown, Box((x, y, z), start, size), placement, scale)

    def describe(self) -> str:
        """Return the grid and the kind of its values."""
        return f"shape {describe_grid(self.box.grid, self.scale)}"

    def rates(self, size: int) -> dict[str, float]:
        """Return the rate in bits per voxel of the whole grid."""
        x, y, z = self.box.grid
        return {"bits_per_voxel": 8 * size / (x * y * z)}

    @checked
    def field(self, longest: int | None = None) -> NDArray[np.float32]:
        """Return the network's values on a grid.

        Parameters
        ----------
        longest : int, optional
            Voxels along its longest side; those of the grid that was fitted if absent.

        Returns
        -------
        ndarray
            float32 [X, Y, Z]: occupancy, inside above 1/2, or signed distances, negative inside.

        Raises
        ------
        InputError
            If the grid is out of range.
        """
        grid = self.box.grid if longest is None else grid_like(self.box.grid, check_longest(longest))
        values = render_volume(self.network, self.box, grid, 0.0)
        return values if self.scale is None else values * np.float32(self.scale)

    @checked
    def render(self, longest: int | None = None) -> NDArray[Any]:
        """Return occupancy, bool [X, Y, Z], or signed distances, float32 [X, Y, Z]; as :meth:`field`."""
        field = self.field(longest)
        return self._occupied(field) if self.scale is None else field

    @checked
    def mesh(self, longest: int | None = None) -> Any:
        """Return the surface as a ``trimesh.Trimesh``, watertight, by marching cubes on a grid as of :meth:`field`.

        Raises
        ------
        InputError
            If the grid is out of range, or there is no surface.
        DependencyError
            If scikit-image or trimesh is not installed.
        """
        return self._surface(self.field(longest))

    def _surface(self, field: NDArray[np.float32]) -> Any:
        from coinr.signals.shape.meshes import surface

        corner = np.array(self.placement[:3])
        pitch = self.placement[3] * np.array(self.box.grid) / field.shape
        return surface(field, 0.5, corner, pitch) if self.scale is None else surface(-field, 0.0, corner, pitch)

    def _original(self, signal: Signal) -> ShapeSignal:
        """Return a signal of this kind; raise InputError for another."""
        self.check_kind(signal)
        return cast("ShapeSignal", signal)

    @checked
    def restore(self, signal: Signal | None = None) -> NDArray[np.float32]:
        """Return the field on its own grid."""
        if signal is not None:
            original = self._original(signal)
            self.check_size(describe_grid(self.box.grid, self.scale), describe_grid(original.box.grid, original.scale))
        return self.field()

    @checked
    def metrics(self, signal: Signal, restored: NDArray[np.float32]) -> dict[str, Any]:
        """Return IoU, and the Chamfer distance in lengths of the longest side; None if nothing is inside."""
        from coinr.signals.metrics import chamfer, iou

        original = self._original(signal)
        check_restored(restored, self.box.grid)
        occupied = self._occupied(restored)
        result: dict[str, Any] = {"iou": iou(original.occupied, occupied), "chamfer": None}
        if occupied.any():
            whole_field = original.volume.astype(np.float32)
            mesh = original.mesh if original.mesh is not None else self._surface(whole_field)
            result["chamfer"] = chamfer(mesh, self._surface(restored))
        return result

    @checked
    def remarks(self, restored: NDArray[np.float32]) -> tuple[str, ...]:
        """Return a line on a shape without an inside, whose pictures are blank."""
        check_restored(restored, self.box.grid)
        return () if self._occupied(restored).any() else ("the shape is empty: no voxel lies inside",)

    def _occupied(self, field: NDArray[np.float32]) -> NDArray[np.bool_]:
        return field > 0.5 if self.scale is None else field < 0

    @checked
    def panels(self, restored: NDArray[np.float32], signal: Signal | None = None) -> tuple[Panels, int]:
        """Return shaded surfaces from three sides."""
        from coinr.signals.shape.shading import see_through, shade, turn

        check_restored(restored, self.box.grid)
        shapes = {"coinr": self._solid(restored)}
        if signal is not None:
            original = self._original(signal)
            shapes = {"original": self._solid(original.volume.astype(np.float32))} | shapes
        inside = [solid > 0.5 for solid in shapes.values()]
        occupied = np.any(inside, axis=0)
        part = tight_box(occupied).slices() if occupied.any() else (slice(None),) * 3
        panels: Panels = [
            (f"{name}: {sight}", shade(solid[part], turn(*angles)))
            for name, solid in shapes.items()
            for sight, angles in _SIGHTS.items()
        ]
        if signal is not None:
            differing = (inside[0] != inside[1])[part].astype(np.float32)
            panels += [
                (f"voxels that differ: {sight}", see_through(differing, turn(*angles)))
                for sight, angles in _SIGHTS.items()
            ]
        return panels, len(_SIGHTS)

    def _solid(self, field: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the field mapped to [0, 1]: larger inside, 1/2 at the surface, in steps of about a voxel."""
        if self.scale is None:
            return np.asarray(field.clip(0, 1), np.float32)
        slope = np.abs(np.diff(field, axis=0)).mean() if field.shape[0] > 1 else 1.0
        return np.asarray((0.5 - field / (2 * max(float(slope), 1e-30))).clip(0, 1), np.float32)
