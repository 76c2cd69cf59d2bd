"""Triangle meshes: into voxels, and out of them again."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.errors import CoinrError, InputError
from coinr.files import write_atomic
from coinr.signals.optional import optional
from coinr.signals.sampling import steps

#: Suffixes of meshes that are read and written.
MESH_SUFFIXES = (".ply", ".obj", ".stl")

#: Pairs of a triangle and a ray that are looked at together.
_PAIRS = 1 << 20

#: By how much of a voxel rays are moved off the centres, so that none passes through a vertex of a tidy mesh.
_ASIDE = (1.7e-5, 2.9e-5)


def read_mesh(path: str | os.PathLike[str]) -> Any:
    """Return the watertight ``trimesh.Trimesh`` in a PLY, OBJ or STL file.

    Raises
    ------
    InputError
        If the file is damaged or no mesh, or its surface is not closed or not oriented alike everywhere.
    OSError
        If the file cannot be opened.
    """
    trimesh = optional("trimesh")
    data = Path(path).read_bytes()
    try:
        mesh = trimesh.load_mesh(io.BytesIO(data), file_type=Path(path).suffix.lower()[1:])
    except Exception as error:  # the parsers fail in more ways than can be listed
        raise InputError(f"{path}: damaged or unsupported mesh ({error})") from error
    try:
        return check_mesh(mesh)
    except CoinrError as error:
        raise InputError(f"{path}: {error}") from None


def check_mesh(mesh: Any) -> Any:
    """Return ``mesh`` if it is a ``trimesh.Trimesh`` that has an inside, or say what is wrong with it.

    Raises
    ------
    InputError
        If it has no faces, vertices that are not finite, no closed surface, or faces that are not oriented alike.
    """
    if not isinstance(mesh, optional("trimesh").Trimesh) or len(mesh.faces) == 0:
        raise InputError("not a mesh, or one without triangles")
    if not np.isfinite(mesh.vertices).all():
        raise InputError("the mesh has vertices that are NaN or infinite")
    if not mesh.is_watertight:
        raise InputError("the mesh is not watertight, so it has no inside; close its holes first")
    if not mesh.is_winding_consistent:
        raise InputError("the triangles of the mesh are not oriented alike; repair it first")
    return mesh


def voxelise(mesh: Any, corner: NDArray[np.float64], pitch: float, grid: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Return which voxel centres lie inside a watertight mesh.

    A voxel is inside where the surface winds around its centre: along rays in z, crossings count by the side that they
    are crossed from. Parts that overlap are united.

    Parameters
    ----------
    mesh : trimesh.Trimesh
        See :func:`check_mesh`.
    corner : array
        float64 [3], the corner of the grid with the least coordinates.
    pitch : float
        Side of a voxel.
    grid : (int, int, int)
        Voxels along x, y and z.

    Returns
    -------
    ndarray
        bool [X, Y, Z].
    """
    # in units of voxels, centres of the first voxel at the origin
    vertices = (np.asarray(mesh.vertices, np.float64) - corner) / pitch - 0.5
    faces = np.asarray(mesh.faces, np.int64)
    flat = vertices[:, :2] - np.asarray(_ASIDE)
    low = np.maximum(np.ceil(flat[faces].min(axis=1)), 0).astype(np.int64)
    high = np.minimum(np.floor(flat[faces].max(axis=1)), np.asarray(grid[:2]) - 1).astype(np.int64)
    spans = np.maximum(high - low + 1, 0)
    counts = spans[:, 0] * spans[:, 1]
    turns = np.zeros((grid[0], grid[1], grid[2] + 1), np.int16)
    ends = np.cumsum(counts)
    for part in steps(range(int(ends[-1]) // _PAIRS + 1), "voxels"):
        # the triangles whose rays end within this part
        first, last = np.searchsorted(ends, (part * _PAIRS, (part + 1) * _PAIRS))
        some = slice(first, last)
        which = np.repeat(np.arange(first, last), counts[some])
        rank = np.arange(len(which)) - np.repeat(np.cumsum(counts[some]) - counts[some], counts[some])
        rays = low[which] + np.stack((rank // spans[which, 1], rank % spans[which, 1]), axis=-1)
        _cross(turns, rays, faces[which], vertices, flat)
    inside: NDArray[np.bool_] = np.cumsum(turns[..., :-1], axis=2, dtype=np.int16) != 0
    return inside


def _cross(
    turns: NDArray[np.int16],
    rays: NDArray[np.int64],
    faces: NDArray[np.int64],
    vertices: NDArray[np.float64],
    flat: NDArray[np.float64],
) -> None:
    """Add to ``turns`` the side from which each ray crosses its triangle, at the first voxel beyond."""
    edges = [_side(rays, flat, faces[:, k], faces[:, (k + 1) % 3]) for k in range(3)]
    signs = np.stack([sign for _, sign in edges], axis=-1)
    hit = (signs == signs[:, :1]).all(axis=1)
    weights = np.stack([np.abs(area)[hit] for area, _ in edges], axis=-1)
    total = weights.sum(axis=1, keepdims=True)
    weights = np.where(total > 0, weights / np.where(total > 0, total, 1), 1 / 3)
    heights = vertices[faces[hit]][..., 2]
    # the edge between two corners weighs the third
    z = (weights * heights[:, [2, 0, 1]]).sum(axis=1)
    beyond = np.clip(np.ceil(z), 0, turns.shape[2] - 1).astype(np.int64)
    np.add.at(turns, (rays[hit, 0], rays[hit, 1], beyond), signs[hit, 0])


def _side(
    rays: NDArray[np.int64], flat: NDArray[np.float64], a: NDArray[np.int64], b: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int16]]:
    """Twice the signed area of ray and edge, and on which side of the edge the ray passes, +1 or -1.

    It is computed from the edge's vertices in the order of their numbers: both triangles that share an edge get
    opposite answers to the last bit, so no ray slips between them or meets both.
    """
    turned = a > b
    start, end = flat[np.where(turned, b, a)], flat[np.where(turned, a, b)]
    along, to = end - start, rays - start
    area = along[:, 0] * to[:, 1] - along[:, 1] * to[:, 0]
    sign = np.where((area >= 0) != turned, 1, -1).astype(np.int16)
    return area, sign


def surface(field: NDArray[np.float32], level: float, corner: NDArray[np.float64], pitch: NDArray[np.float64]) -> Any:
    """Return the closed surface at ``level`` of a field that is larger inside, by marching cubes.

    Parameters
    ----------
    field : ndarray
        float32 [X, Y, Z].
    level : float
        Value at the surface.
    corner, pitch : array
        float64 [3], the corner of the grid with the least coordinates, and the sides of a voxel.

    Returns
    -------
    trimesh.Trimesh
        Watertight; its normals point outwards.

    Raises
    ------
    InputError
        If nothing lies above the level.
    """
    if not (field > level).any():
        raise InputError("there is no surface: the whole grid lies outside")
    measure = optional("skimage.measure")
    # a border that is outside closes what touches the sides
    border = np.pad(field, 1, constant_values=min(float(field.min()), level - 1))
    vertices, faces, _, _ = measure.marching_cubes(border, level, gradient_direction="ascent")
    return optional("trimesh").Trimesh((vertices - 0.5) * pitch + corner, faces)


def write_mesh(path: str | os.PathLike[str], mesh: Any) -> None:
    """Write a ``trimesh.Trimesh`` as binary PLY, OBJ or STL by the suffix, all or nothing.

    Raises
    ------
    InputError
        If the suffix is another.
    OSError
        If the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in MESH_SUFFIXES:
        raise InputError(f"{path}: the suffix must be one of {' '.join(MESH_SUFFIXES)}")
    data = mesh.export(file_type=suffix[1:])
    write_atomic(path, data if isinstance(data, bytes) else data.encode())
