"""Triangles as programs export them, made into a closed surface whose triangles all face outwards or all inwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.errors import InputError
from coinr.runtime.optional import import_optional

#: Vertices closer than this part of the longest side are one, where equal positions do not close the surface.
_NEAR = 1e-6

#: A triangle is flat if its area is below this part of the square of the longest side.
_FLAT = 1e-14

#: Sizes and coordinates that are taken: files store them as numbers below 1e30.
_LEAST, _MOST = 1e-30, 1e29

#: The longest side must have so many steps of float64 at the greatest coordinate.
_STEPS = 1e5

_Faces = NDArray[np.int64]


def repair_mesh(mesh: Any) -> tuple[Any, tuple[str, ...]]:
    """Return a mesh whose triangles enclose an inside, and notes on what was changed for that.

    Vertices at one position become one. Triangles that are degenerate or there twice are dropped. Triangles that face
    against their neighbors are turned.

    Parameters
    ----------
    mesh : trimesh.Trimesh
        Triangles of any origin.

    Returns
    -------
    trimesh.Trimesh, tuple of str
        Along every edge, as many triangles run one way as the other.

    Raises
    ------
    InputError
        If it is no mesh, has no triangles, coordinates that are not finite or out of range, or no inside.
    """
    if not isinstance(mesh, import_optional("trimesh").Trimesh) or len(mesh.faces) == 0:
        raise InputError(f"not a mesh, or one without triangles: {type(mesh).__name__}")
    vertices, faces = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise InputError(f"a triangle has vertex {faces.max()} or {faces.min()}, of 0 .. {len(vertices) - 1}")
    unit = _normalize(vertices, faces)
    opened = None
    for nearness, note in ((0.0, ()), (_NEAR, ("vertices less than a millionth of the size apart are made one",))):
        labels = _same_place(unit, nearness)
        merged = labels[faces]
        whole = merged[(merged != np.roll(merged, 1, axis=1)).all(axis=1)]
        for candidate in _candidates(whole, unit):
            closed, turned = _close(candidate)
            if closed is not None:
                notes = (*note, *_repair_notes(len(faces) - len(closed), turned))
                return import_optional("trimesh").Trimesh(vertices, closed, process=False), notes
        opened = whole if opened is None else opened
    assert opened is not None
    raise InputError(_fault(opened))


def _normalize(vertices: NDArray[np.float64], faces: _Faces) -> NDArray[np.float64]:
    """Return vertices [V, 3] moved and scaled so that those in use have their middle at 0 and a longest side of 1."""
    if not np.isfinite(vertices).all():
        raise InputError("the mesh has vertices that are NaN or infinite")
    used = vertices[np.unique(faces)]
    low, high = used.min(axis=0), used.max(axis=0)
    furthest = float(np.abs(used).max())
    if furthest > _MOST:
        raise InputError(f"coordinates of a mesh are at most {_MOST:g}, got {furthest:g}")
    size = float((high - low).max())
    if size < max(_LEAST, _STEPS * np.spacing(furthest)):
        raise InputError(
            f"the mesh is too small: its longest side is {size:g} at coordinates up to {furthest:g}; "
            f"{_LEAST:g} and {_STEPS:g} steps of float64 there are needed"
        )
    unit: NDArray[np.float64] = (vertices - (low + high) / 2) / size
    return unit


def _same_place(unit: NDArray[np.float64], nearness: float) -> NDArray[np.int64]:
    """Return for each vertex the first one at its place, int64 [V]."""
    _, first, inverse = np.unique(unit, axis=0, return_index=True, return_inverse=True)
    labels: NDArray[np.int64] = first[inverse.reshape(-1)].astype(np.int64)
    if nearness == 0:
        return labels
    pairs = import_optional("scipy.spatial").cKDTree(unit[first]).query_pairs(nearness, output_type="ndarray")
    groups = _groups(len(first), pairs)
    _, leader = np.unique(groups, return_index=True)
    place = np.empty(len(unit), np.int64)
    place[first] = first[leader[groups]]
    return place[labels]


def _groups(count: int, pairs: NDArray[Any]) -> NDArray[Any]:
    """Return the connected group of each of ``count`` things that pairs [P, 2] link, [count]."""
    ones = np.ones(len(pairs), np.int8)
    links = import_optional("scipy.sparse").coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), (count, count))
    groups: NDArray[Any] = import_optional("scipy.sparse.csgraph").connected_components(links, directed=False)[1]
    return groups


def _candidates(faces: _Faces, unit: NDArray[np.float64]) -> Iterator[_Faces]:
    """Yield what of the triangles may be meant, [F, 3]: each once, or all, as of bodies that share some.

    Then the same without flat triangles, which may lie beside the surface as well as close it.
    """
    corners = unit[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    seen: set[int] = set()
    for some in (faces, faces[area > _FLAT]):
        for kept in (_each_once(some), some):
            if len(kept) and len(kept) not in seen:
                seen.add(len(kept))
                yield kept


def _turned_to_least(faces: _Faces) -> _Faces:
    """Return triangles with their least vertex first, facing as before."""
    order = (faces.argmin(axis=1)[:, None] + np.arange(3)) % 3
    return np.take_along_axis(faces, order, axis=1)


def _each_once(faces: _Faces) -> _Faces:
    """Return the first of triangles that are alike and face alike."""
    return faces[np.sort(_unique(_turned_to_least(faces))[0])]


def _unique(faces: _Faces) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return indices of the first of equal rows, and the number of each row among the unique ones."""
    first, inverse = import_optional("trimesh.grouping").unique_rows(faces)
    return first, inverse.reshape(-1)


def _close(faces: _Faces) -> tuple[_Faces | None, int]:
    """Return triangles without pairs that face each other, turned where they must be; None if they enclose nothing.

    Returns how many were turned, too.
    """
    pairs, single = _back_to_back(faces)
    # a body whose triangles face both ways is kept once; a wall between two bodies goes
    for kept in (np.concatenate((single, pairs)), single) if len(pairs) else (single,):
        if not len(kept):
            continue
        net, uses = _edges(kept)
        if not net.any():
            return kept, 0
        if not (uses % 2).any():
            turned = _orient(kept)
            if turned is not None and not _edges(turned)[0].any():
                return turned, int((turned != kept).any(axis=1).sum())
    return None, 0


def _back_to_back(faces: _Faces) -> tuple[_Faces, _Faces]:
    """Return one of each pair of triangles that differ in the way they face alone, and the triangles in no pair."""
    inverse = _unique(np.sort(faces, axis=1))[1]
    least = _turned_to_least(faces)
    up = least[:, 1] < least[:, 2]
    ups, downs = (np.bincount(inverse, weights=way, minlength=len(faces)) for way in (up, ~up))
    paired = ((ups == downs) & (ups > 0))[inverse]
    return faces[paired & up], faces[~paired]


def _half_edges(faces: _Faces) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of the edge of each side of each triangle, int64 [F, 3], and the way along it, 1 or -1."""
    ends = np.roll(faces, -1, axis=1)
    _, edges = np.unique(np.minimum(faces, ends) * (faces.max() + 1) + np.maximum(faces, ends), return_inverse=True)
    return edges.reshape(faces.shape), np.where(faces < ends, 1, -1)


def _edges(faces: _Faces) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count for each edge how many triangles more run one way than the other, and how many there are."""
    edges, ways = _half_edges(faces)
    net = np.bincount(edges.reshape(-1), weights=ways.reshape(-1)).astype(np.int64)
    return net, np.bincount(edges.reshape(-1))


def _orient(faces: _Faces) -> _Faces | None:
    """Turn triangles so that neighbors face alike, as most of their body do already; None if they cannot."""
    edges, ways = _half_edges(faces)
    order = np.argsort(edges, axis=None, kind="stable")
    one, other = order[:-1], order[1:]
    flat, count = edges.reshape(-1), len(faces)
    # sides that are the only two of their edge
    two = (flat[one] == flat[other]) & (np.bincount(flat)[flat[one]] == 2)
    one, other = one[two], other[two]
    across = (ways.reshape(-1)[one] == ways.reshape(-1)[other]) * count
    a, b = one // 3, other // 3
    # triangle k as it is, or k + count: turned; what goes together is linked
    links = np.concatenate((np.stack((a, b + across), 1), np.stack((a + count, (b + count + across) % (2 * count)), 1)))
    groups = _groups(2 * count, links)
    kept, turned = groups[:count], groups[count:]
    if (kept == turned).any():
        return None
    votes = np.bincount(kept, minlength=int(groups.max()) + 1)
    against = (votes[turned] > votes[kept]) | ((votes[turned] == votes[kept]) & (turned < kept))
    return np.where(against[:, None], faces[:, ::-1], faces)


def _repair_notes(dropped: int, turned: int) -> tuple[str, ...]:
    """Return notes on how many triangles were dropped and turned."""
    notes = ((dropped, "dropped, being degenerate or there twice"), (turned, "turned to face as their neighbours do"))
    return tuple(f"{count} triangle{'s were' if count > 1 else ' was'} {what}" for count, what in notes if count)


def _fault(faces: _Faces) -> str:
    """Say what keeps triangles from having an inside."""
    if not len(faces):
        return "all triangles of the mesh are degenerate"
    border = int((_edges(faces[_unique(np.sort(faces, axis=1))[0]])[1] % 2).sum())
    if border:
        return f"the mesh is not watertight ({border} edges are open), so it has no inside; close its holes first"
    return "the triangles of the mesh are not oriented alike and cannot be turned so; repair it first"
