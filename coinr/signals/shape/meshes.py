"""Triangle meshes: into voxels, and out of them again."""

from __future__ import annotations

import codecs
import io
import math
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from coinr.errors import InputError
from coinr.files.reading import name_in_errors, read_bytes
from coinr.files.writing import write_atomic
from coinr.progress import show_progress, steps
from coinr.runtime.optional import import_optional
from coinr.signals.shape.mesh_bytes import check_mesh_bytes, mesh_kind, parsable
from coinr.signals.shape.ply import write_ply

#: Suffixes of meshes that are written; they are read, too.
MESH_SUFFIXES = (".ply", ".obj", ".stl", ".off", ".glb")

#: The part of the longest side that float32 may move a vertex by.
_LOSS = 1e-5

#: Pairs of a triangle and a ray that are looked at together.
_PAIRS = 1 << 20

#: By how much of a voxel rays are moved off the centers, so that none passes through a vertex of a tidy mesh.
_ASIDE = (1.7e-5, 2.9e-5)


def read_mesh(path: str | os.PathLike[str]) -> tuple[Any, tuple[str, ...]]:
    """Return all triangles in a mesh file, as they are, and notes on what else is in it.

    The meshes of a scene are put together where its transforms place them. Polygons become triangles.

    Raises
    ------
    InputError
        If the file is damaged, truncated or no mesh, or holds geometry that is not read.
    OSError
        If the file cannot be opened.
    """
    trimesh = import_optional("trimesh")
    source, data = Path(path), read_bytes(path).removeprefix(codecs.BOM_UTF8)
    kind = mesh_kind(data, source.suffix)
    with name_in_errors(path):
        try:
            notes = check_mesh_bytes(data, kind)
            extra = {"resolver": _files_beside(source)} if kind == "gltf" else {}
            plain, more = parsable(data, kind)
            scene = trimesh.load_scene(io.BytesIO(plain), file_type=kind, process=False, skip_materials=True, **extra)
            return _join(scene), notes + more
        except InputError:
            raise
        except Exception as error:  # the parsers fail in more ways than can be listed
            reason = "it is no text" if isinstance(error, ImportError) else str(error) or "a part of it is missing"
            raise InputError(f"damaged, truncated or unsupported mesh ({reason})") from error


def _files_beside(source: Path) -> Any:
    """Return what finds files that a glTF file names, as they are or with %20 and the like for other characters."""
    resolvers = import_optional("trimesh").resolvers

    class Resolver(resolvers.FilePathResolver):  # type: ignore[misc, name-defined]
        def get(self, name: str) -> bytes:
            try:
                found: bytes = super().get(name)
            except FileNotFoundError:
                found = super().get(unquote(name))
            return found

    return Resolver(str(source))


def _join(scene: Any) -> Any:
    """Return one mesh of all meshes of a ``trimesh.Scene``, in float64 where the scene places them."""
    trimesh = import_optional("trimesh")
    vertices, faces, count = [], [], 0
    for node in scene.graph.nodes_geometry:
        matrix, name = scene.graph[node]
        part = scene.geometry[name]
        if not isinstance(part, trimesh.Trimesh) or not len(part.faces):
            continue
        vertices.append(np.asarray(part.vertices, np.float64) @ matrix[:3, :3].T + matrix[:3, 3])
        mirrored = np.linalg.det(matrix[:3, :3]) < 0
        faces.append(np.asarray(part.faces, np.int64)[:, :: -1 if mirrored else 1] + count)
        count += len(part.vertices)
    if not faces:
        points = sum(len(part.vertices) for part in scene.geometry.values())
        raise InputError(f"not a mesh: the file has no triangles{f', only {points} points' if points else ''}")
    return trimesh.Trimesh(np.concatenate(vertices), np.concatenate(faces), process=False)


@show_progress("voxels")
def voxelize(mesh: Any, corner: NDArray[np.float64], pitch: float, grid: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Return which voxel centers lie inside a watertight mesh.

    A voxel is inside where the surface winds around its center: along rays in z, crossings count by the side that they
    are crossed from. Parts that overlap are united.

    Parameters
    ----------
    mesh : trimesh.Trimesh
        See :func:`~coinr.signals.shape.mesh_repair.repair_mesh`.
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
    # in units of voxels, centers of the first voxel at the origin
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
    """Return twice the signed area of ray and edge, and on which side of the edge the ray passes, +1 or -1.

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
    measure = import_optional("skimage.measure")
    # a border that is outside closes what touches the sides
    border = np.pad(field, 1, constant_values=min(float(field.min()), level - 1))
    vertices, faces, _, _ = measure.marching_cubes(border, level, gradient_direction="ascent")
    # processed, trimesh would take vertices for one that are less than 1e-8 apart, whatever the size
    return import_optional("trimesh").Trimesh((vertices - 0.5) * pitch + corner, faces, process=False)


def write_mesh(path: str | os.PathLike[str], mesh: Any) -> None:
    """Write a ``trimesh.Trimesh`` as binary PLY or GLB, OBJ, OFF or STL by the suffix, all or nothing.

    Coordinates are float32 where that keeps them to 1e-5 of the longest side. Elsewhere, as for small meshes far from
    the origin, PLY has float64, GLB places a mesh of float32, and OBJ and OFF have the digits it takes.

    Raises
    ------
    InputError
        If the suffix is another, or it is STL and float32 does not keep the mesh.
    OSError
        If the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in MESH_SUFFIXES:
        raise InputError(f"{path}: the suffix must be one of {' '.join(MESH_SUFFIXES)}")
    low, high = np.asarray(mesh.bounds, np.float64)
    size, middle = float((high - low).max()), (low + high) / 2
    vertices = np.asarray(mesh.vertices, np.float64)
    short = bool(np.abs(vertices.astype(np.float32) - vertices).max() <= _LOSS * size)
    if suffix == ".stl" and not short:
        raise InputError(
            f"{path}: STL has float32, too coarse for a mesh of size {size:g} at coordinates up to "
            f"{np.abs(vertices).max():g}; write .ply, .obj, .off or .glb"
        )
    if suffix == ".ply":
        data: Any = write_ply(vertices, np.asarray(mesh.faces), "<f4" if short else "<f8")
    elif suffix == ".glb" and not short:
        local = import_optional("trimesh").Trimesh((vertices - middle) / size, mesh.faces, process=False)
        place = np.diag([size, size, size, 1.0])
        place[:3, 3] = middle
        data = import_optional("trimesh").Scene({"mesh": local}).apply_transform(place).export(file_type="glb")
    else:
        digits = {"digits": max(8, 8 - math.floor(math.log10(size)))} if suffix in (".obj", ".off") else {}
        data = mesh.export(file_type=suffix[1:], **digits)
    write_atomic(path, data if isinstance(data, bytes) else f"{data.rstrip()}\n".encode())
