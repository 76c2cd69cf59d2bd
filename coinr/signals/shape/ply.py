"""PLY files: faces of several numbers of corners, which the parser takes from text alone, and writing."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.errors import InputError

_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "double": "f8", "float32": "f4", "float64": "f8"},
}
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}
_CORNERS = ("vertex_indices", "vertex_index")


@dataclass(frozen=True)
class _Property:
    """A value of a row, or a list behind its length."""

    name: str
    length: np.dtype[Any] | None
    value: np.dtype[Any]


@dataclass(frozen=True)
class _Element:
    name: str
    count: int
    properties: list[_Property]


def plain_ply(data: bytes) -> tuple[bytes, int]:
    """Return a PLY file with the same triangles that the parser takes, and the number of faces that are none.

    Raises
    ------
    InputError
        If a binary file ends within an element, or a face has a vertex that is not there.
    """
    head, _, body = data.partition(b"end_header")
    newline = next(end for end in (b"\r\n", b"\n", b"\r") if end in head)
    words = [line.split() for line in head.decode("latin-1").splitlines()]
    style = next(line[1] for line in words if line[0:1] == ["format"])
    order = _ORDERS.get(style)
    elements = _elements(words, order or "<")
    if order is None:
        return data, _short_lines(elements, body)
    at, found = len(newline), dict[str, Any]()
    uneven = False
    for element in elements:
        rows = _rows(element, body, at)
        if rows is None:
            uneven = True
            found[element.name], at = _walk(element, body, at)
        else:
            found[element.name] = rows
            at += rows.nbytes
    if not uneven or not isinstance(found.get("face"), list):
        return data, 0
    vertices = np.stack([found["vertex"][axis] for axis in "xyz"], axis=-1).astype(np.float64)
    faces = [face for face in found["face"] if len(face) > 2]
    triangles = np.array([(f[0], *f[k : k + 2]) for f in faces for k in range(1, len(f) - 1)], np.int64).reshape(-1, 3)
    if triangles.size and not 0 <= triangles.min() <= triangles.max() < len(vertices):
        raise InputError(f"a face has the vertex {triangles.max()} of {len(vertices)}, or one below 0")
    return write_ply(vertices, triangles, "<f8"), len(found["face"]) - len(faces)


def _elements(words: list[list[str]], order: str) -> list[_Element]:
    """Return the elements that a header declares."""
    elements: list[_Element] = []
    for kind, *rest in filter(None, words):
        if kind == "element":
            elements.append(_Element(rest[0], int(rest[1]), []))
        elif kind == "property":
            types = [np.dtype(order + _TYPES[word]) for word in rest[:-1] if word != "list"]
            elements[-1].properties.append(_Property(rest[-1], types[0] if len(types) > 1 else None, types[-1]))
    return elements


def _rows(element: _Element, body: bytes, at: int) -> NDArray[Any] | None:
    """Return the rows of a binary element if all have lists as long as the first has; None if they have not."""
    if not element.count:
        return np.empty(0, np.uint8)
    fields: list[Any] = []
    size = 0
    for one in element.properties:
        length = 0
        if one.length is not None:
            start = at + size
            if start + one.length.itemsize > len(body):
                return None
            length = int(np.frombuffer(body, one.length, 1, start)[0])
            fields.append((f"{one.name} length", one.length))
        fields.append((one.name, one.value) if one.length is None else (one.name, one.value, (length,)))
        size = np.dtype(fields).itemsize
    if at + size * element.count > len(body):
        return None
    rows = np.frombuffer(body, np.dtype(fields), element.count, at)
    lists = [rows[f"{one.name} length"] for one in element.properties if one.length is not None]
    return rows if all((lengths == lengths[0]).all() for lengths in lists) else None


def _walk(element: _Element, body: bytes, at: int) -> tuple[list[tuple[int, ...]], int]:
    """Return the corners of each row of a binary element, and where it ends."""
    found = []
    steps = [
        (one, one.length and struct.Struct(_code(one.length)), _code(one.value)[0], one.value.itemsize)
        for one in element.properties
    ]
    for row in range(element.count):
        corners: tuple[int, ...] = ()
        try:
            for one, length, order, size in steps:
                count = 1
                if length:
                    (count,) = length.unpack_from(body, at)
                    at += length.size
                if one.name in _CORNERS:
                    corners = struct.unpack_from(f"{order}{count}{one.value.char}", body, at)
                at += count * size
        except struct.error:
            at = len(body) + 1
        if at > len(body):
            raise InputError(f"the file is truncated: it ends within {element.name} {row} of {element.count}")
        found.append(corners)
    return found, at


def _code(dtype: np.dtype[Any]) -> str:
    """Return the letters of a type as struct has them."""
    return f"{'>' if dtype.str[0] == '>' else '<'}{dtype.char}"


def _short_lines(elements: list[_Element], body: bytes) -> int:
    """Count the faces of less than three corners in a PLY file of text."""
    lines = _lines(body)
    for element in elements:
        rows = [line.split() for _, line in zip(range(element.count), lines, strict=False)]
        if element.name == "face":
            before = [one.length is not None for one in element.properties].index(True)
            return sum(int(row[before]) < 3 for row in rows)
    return 0


def _lines(text: bytes) -> Iterator[bytes]:
    return (line for line in re.split(rb"[\r\n]+", text) if line.strip())


def write_ply(vertices: NDArray[np.float64], faces: NDArray[Any], dtype: str) -> bytes:
    """Return a binary PLY file with vertices [V, 3] of ``dtype``, ``<f4`` or ``<f8``, and triangles [F, 3]."""
    name = {"<f4": "float", "<f8": "double"}[dtype]
    rows = np.empty(len(faces), [("count", "u1"), ("vertices", "<i4", 3)])
    rows["count"], rows["vertices"] = 3, faces
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    header += [f"property {name} {axis}" for axis in "xyz"]
    header += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""]
    return "\n".join(header).encode() + vertices.astype(dtype).tobytes() + rows.tobytes()
