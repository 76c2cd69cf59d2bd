"""Mesh files as other programs write them: lines of OBJ of all kinds, tails of STL, what glTF can hide."""

import json
import struct

import numpy as np
import pytest
import trimesh

from coinr.errors import InputError
from coinr.signals.open_signal import open_signal

CUBE = trimesh.creation.box()
CORNERS, FACES = CUBE.vertices.view(np.ndarray), CUBE.faces.view(np.ndarray)
VERTICES = "".join(f"v {x} {y} {z}\n" for x, y, z in CORNERS)


def lines(form, faces=FACES):
    return "".join(form.format(*face) + "\n" for face in faces)


OBJ = {
    "plain": VERTICES + lines("f {} {} {}", FACES + 1),
    "byte order mark": "\ufeff" + VERTICES + lines("f {} {} {}", FACES + 1),
    "indented": VERTICES.replace("v", "  v") + lines("\tf {} {} {}", FACES + 1),
    "tabs": VERTICES.replace(" ", "\t") + lines("f\t{}\t{}\t{}", FACES + 1),
    "corners of several forms": VERTICES + "vt 0 0\nvn 0 0 1\n" + lines("f {}/1/1 {}//1 {}", FACES + 1),
    "comments": VERTICES + lines("f {} {} {} # of a cube", FACES + 1),
    "continued": VERTICES + lines("f {}\\\n{} {}", FACES + 1),
    "continued, carriage returns": (VERTICES + lines("f {} \\\n{} {}", FACES + 1)).replace("\n", "\r\n"),
    "from the end": VERTICES + lines("f {} {} {}", FACES - 8),
    "from the end, with all": VERTICES + "vt 0 0\nvn 0 0 1\n" + lines("f {}/-1/-1 {}/-1/-1 {}/-1/-1", FACES - 8),
    "from the end so far": "".join(
        "".join(f"v {x} {y} {z}\n" for x, y, z in CORNERS[face]) + "f -3 -2 -1\n" for face in FACES
    ),
}


@pytest.mark.parametrize("kind", OBJ)
def test_lines_of_obj(tmp_path, kind):
    (tmp_path / "a.obj").write_bytes(OBJ[kind].encode())
    signal = open_signal(tmp_path / "a.obj", grid=4)
    assert signal.occupied.all()
    assert signal.notes == ()
    assert np.allclose(signal.mesh.bounds, CUBE.bounds)


@pytest.mark.parametrize("face", ["-9 -1 -2", "-0 1 2", "-a 1 2", "1 -2.5 3"])
def test_corners_that_are_not_there_are_refused(tmp_path, face):
    (tmp_path / "a.obj").write_text(OBJ["plain"] + f"f {face}\n")
    with pytest.raises(InputError, match=r"a\.obj: a face has the vertex '-.*', of 8 before it"):
        open_signal(tmp_path / "a.obj")


def test_what_comes_behind_the_triangles_of_stl_is_reported(tmp_path):
    (tmp_path / "a.stl").write_bytes(CUBE.export(file_type="stl") + b"behind")
    signal = open_signal(tmp_path / "a.stl", grid=4)
    assert signal.occupied.all()
    assert signal.notes == ("6 bytes behind the triangles are not used",)


POINTS, INDICES = CORNERS.astype("<f4").tobytes(), FACES.astype("<u2").tobytes()


def gltf(uri, **changes):
    """The cube."""
    tree = {
        "asset": {"version": "2.0"},
        "buffers": [{"byteLength": len(POINTS + INDICES)} | ({"uri": uri} if uri else {})],
        "bufferViews": [
            {"buffer": 0, "byteLength": len(POINTS)},
            {"buffer": 0, "byteOffset": len(POINTS), "byteLength": len(INDICES)},
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 8, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5123, "count": 36, "type": "SCALAR"},
        ],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
    }
    return json.dumps(tree | changes).encode()


def glb(**changes):
    text = gltf(None, **changes)
    text += b" " * (-len(text) % 4)
    blob = POINTS + INDICES
    head = struct.pack("<4sIIII", b"glTF", 2, 28 + len(text) + len(blob), len(text), 0x4E4F534A)
    return head + text + struct.pack("<II", len(blob), 0x004E4942) + blob


def test_one_mesh_at_many_places(tmp_path):
    nodes = [{"children": [1, 2]}, {"mesh": 0}, {"mesh": 0, "translation": [3, 0, 0], "scale": [-1, 1, 1]}]
    (tmp_path / "a.glb").write_bytes(glb(nodes=nodes))
    signal = open_signal(tmp_path / "a.glb", grid=8)
    assert signal.mesh.volume == pytest.approx(2)
    assert np.allclose(signal.mesh.bounds, [[-0.5, -0.5, -0.5], [3.5, 0.5, 0.5]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nodes": [{"mesh": 0, "extensions": {"EXT_mesh_gpu_instancing": {}}}]}, "EXT_mesh_gpu_instancing"),
        ({"accessors": [{"componentType": 5126, "count": 8, "type": "VEC3"}] * 2}, "more than it has"),
        (
            {
                "accessors": [{"componentType": 5126, "count": 8, "type": "VEC3"}] * 2,
                "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "extensions": {"X_packed": {}}}]}],
            },
            "X_packed",
        ),
        (
            {"accessors": [{"bufferView": 0, "componentType": 5126, "count": 8, "type": "VEC3", "sparse": {}}] * 2},
            "sparse",
        ),
    ],
    ids=["instances", "no data", "packed", "sparse"],
)
def test_geometry_in_ways_that_are_not_read_is_refused_by_name(tmp_path, changes, message):
    (tmp_path / "a.glb").write_bytes(glb(**changes))
    with pytest.raises(InputError, match=rf"a\.glb: it.*{message}"):
        open_signal(tmp_path / "a.glb")


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"scenes": [{"nodes": [0]}, {"nodes": [0]}]}, "other scenes"),
        (
            {"meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "targets": [{"POSITION": 0}]}]}]},
            "morph targets",
        ),
    ],
)
def test_what_is_left_out_of_a_scene_is_reported(tmp_path, changes, note):
    (tmp_path / "a.glb").write_bytes(glb(**changes))
    assert open_signal(tmp_path / "a.glb", grid=4).notes == (f"{note} in it are not used",)


def test_names_of_files_beside_a_gltf_file(tmp_path):
    (tmp_path / "my mesh.bin").write_bytes(POINTS + INDICES)
    (tmp_path / "100%.bin").write_bytes(POINTS + INDICES)
    for mark in (b"", b"\xef\xbb\xbf"):
        for uri in ("my%20mesh.bin", "my mesh.bin", "100%.bin"):
            (tmp_path / "a.gltf").write_bytes(mark + gltf(uri))
            assert open_signal(tmp_path / "a.gltf", grid=4).occupied.all(), uri
    (tmp_path / "my mesh.bin").write_bytes(POINTS)
    (tmp_path / "a.gltf").write_bytes(gltf("my mesh.bin"))
    with pytest.raises(InputError, match=r"a\.gltf: .*a part of it is missing"):
        open_signal(tmp_path / "a.gltf")
