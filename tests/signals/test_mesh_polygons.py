"""Faces of mesh files that are no triangles: polygons of several numbers of corners, and those of too few."""

import struct

import numpy as np
import pytest

from coinr.errors import InputError
from coinr.signals.shape.meshes import read_mesh

CORNERS = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
# a cube of five squares and two triangles; a roof makes one side of five corners
MIXED = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7), (1, 7, 3)]
PENTAGON = [*MIXED[:2], (0, 4, 5, 8, 1), *MIXED[3:5], (1, 8, 7), (8, 5, 7), (1, 7, 3)]
SHORT = [(0, 1), (3,), (), *MIXED]
EVEN_IN_ALL = [(0, 4, 5, 8, 1), *MIXED[:2], *MIXED[3:5], (1, 8, 7), (8, 5, 7), (1, 7, 3)]

COUNTS = {"uchar": "B", "uint8": "B", "ushort": "H", "int": "i"}
INDICES = {"int": "i", "uint32": "I", "short": "h"}
ROW = {"none": ("", b""), "flags": ("property uchar flag\n", b"\7"), "colours": ("property float32 r\n", b"\0\0\0\0")}


def ply(faces, order="little", count="uchar", index="int", row="none", name="vertex_indices", newline="\n"):
    """A binary PLY of the cube; vertices, faces and a list behind each face may have more to them."""
    line, bytes_of_row = ROW[row]
    vertices = [*CORNERS, (0.5, 0, 1)]
    header = f"ply\nformat binary_{order}_endian 1.0\ncomment a cube\nelement vertex {len(vertices)}\n"
    header += "property float x\nproperty float y\nproperty float z\n" + line
    header += f"element face {len(faces)}\n{line}property list {count} {index} {name}\n"
    header += "property list uchar float texcoord\nend_header\n"
    sign = {"little": "<", "big": ">"}[order]
    body = b"".join(struct.pack(f"{sign}3f", *vertex) + bytes_of_row for vertex in vertices)
    for face in faces:
        corners = struct.pack(f"{sign}{COUNTS[count]}{len(face)}{INDICES[index]}", len(face), *face)
        texture = struct.pack(f"{sign}B2f", 2, 0.5, 0.5)
        body += bytes_of_row + corners + texture
    return header.replace("\n", newline).encode() + body


FORMS = {
    "big endian": {"order": "big"},
    "long counts": {"count": "int", "index": "uint32"},
    "short numbers, big endian": {"count": "ushort", "index": "short", "order": "big"},
    "values beside": {"row": "flags"},
    "values of four bytes": {"row": "colours", "order": "big"},
    "another name": {"name": "vertex_index"},
    "carriage returns": {"newline": "\r\n"},
    "plain": {},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("faces", [MIXED, PENTAGON, EVEN_IN_ALL], ids=["squares", "pentagon", "pentagon first"])
def test_binary_ply_of_mixed_polygons(tmp_path, faces, form):
    (tmp_path / "a.ply").write_bytes(ply(faces, **FORMS[form]))
    mesh, notes = read_mesh(tmp_path / "a.ply")
    assert mesh.volume == pytest.approx(1)
    assert mesh.is_volume or mesh.is_watertight
    assert len(mesh.faces) == sum(len(face) - 2 for face in faces)
    assert notes == ()


def test_mixed_polygons_keep_places_of_float64(tmp_path):
    far = np.array(CORNERS) + 1e9 + 2**-20
    body = far.astype("<f8").tobytes() + b"".join(struct.pack(f"<B{len(f)}i", len(f), *f) for f in MIXED)
    header = "ply\nformat binary_little_endian 1.0\nelement vertex 8\nproperty double x\nproperty double y\n"
    header += "property double z\nelement face 7\nproperty list uchar int vertex_indices\nend_header\n"
    (tmp_path / "a.ply").write_bytes(header.encode() + body)
    mesh, _ = read_mesh(tmp_path / "a.ply")
    assert (mesh.vertices == far).all()


@pytest.mark.parametrize("less", [1, 3, 12, 40, 150])
def test_binary_ply_that_is_cut_off_is_called_truncated(tmp_path, less):
    (tmp_path / "a.ply").write_bytes(ply(MIXED)[:-less])
    with pytest.raises(InputError, match=r"a\.ply: the file is truncated: it ends within (face|vertex) \d of \d"):
        read_mesh(tmp_path / "a.ply")


@pytest.mark.parametrize("corner", [9, -1])
def test_mixed_polygons_of_vertices_that_are_not_there_are_refused(tmp_path, corner):
    (tmp_path / "a.ply").write_bytes(ply([*MIXED, (0, 1, corner)]))
    with pytest.raises(InputError, match="a face has the vertex"):
        read_mesh(tmp_path / "a.ply")


def text(kind, faces):
    places = ["{} {} {}".format(*corner) for corner in CORNERS]
    if kind.startswith("obj"):
        end = {"obj": "\n", "obj with comments": " # face\n", "obj with carriage returns": "\r\n"}[kind]
        corners = [" ".join(["f", *(str(i + 1) for i in face)]) for face in faces]
        return "".join(f"v {place}{end}" for place in places) + "".join(line + end for line in corners)
    rows = places + [" ".join(map(str, (len(face), *face))) for face in faces]
    if kind == "off":
        return "\n".join(["OFF", f"8 {len(faces)} 0", *rows, ""])
    head = ["ply", "format ascii 1.0", "element vertex 8", *(f"property float {axis}" for axis in "xyz")]
    head += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header"]
    return "\n".join([*head, *rows, ""])


@pytest.mark.parametrize("kind", ["obj", "obj with comments", "obj with carriage returns", "off", "ply", "binary"])
@pytest.mark.parametrize(("faces", "short"), [(MIXED, 0), (SHORT, 3), (SHORT[2:], 1)])
def test_faces_of_too_few_corners_are_noted(tmp_path, kind, faces, short):
    path = tmp_path / f"a.{'ply' if kind == 'binary' else kind[:3]}"
    path.write_bytes(ply(faces) if kind == "binary" else text(kind, faces).encode())
    mesh, notes = read_mesh(path)
    assert mesh.volume == pytest.approx(1)
    assert notes == ((f"faces of less than three corners, which are left out: {short}",) if short else ())
