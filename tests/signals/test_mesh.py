"""Meshes as programs export them: split, doubled, turned, tiny, far away, cut off."""

import io
import json
import struct

import numpy as np
import pytest
import trimesh

import coinr
from coinr.errors import InputError
from coinr.signals.metrics import chamfer
from coinr.signals.open_signal import open_signal
from coinr.signals.shape.mesh_repair import repair_mesh
from coinr.signals.shape.meshes import read_mesh, surface, write_mesh
from coinr.signals.shape.signal import ShapeSignal
from tests.small_signals import ball, siren

CUBE = trimesh.creation.box()
CORNERS, FACES = CUBE.vertices.view(np.ndarray), CUBE.faces.view(np.ndarray)
BALL = trimesh.creation.icosphere(2)


def raw(vertices, faces):
    return trimesh.Trimesh(vertices, faces, process=False)


def inside(vertices, faces, grid=8):
    """The share of the grid that is inside, and the notes."""
    signal = ShapeSignal.of_mesh(raw(vertices, faces), grid)
    return signal.occupied.mean(), signal.notes


def split(vertices, faces):
    """Each triangle with three vertices of its own."""
    return vertices[faces].reshape(-1, 3), np.arange(3 * len(faces)).reshape(-1, 3)


def test_triangles_with_vertices_of_their_own_close():
    assert inside(*split(CORNERS, FACES)) == (1, ())


def test_zeros_of_either_sign_are_one_place():
    corners, faces = split(np.vstack((np.eye(3), -np.eye(3))), np.array(
        [[0, 1, 2], [1, 3, 2], [3, 4, 2], [4, 0, 2], [1, 0, 5], [3, 1, 5], [4, 3, 5], [0, 4, 5]]))  # fmt: skip
    corners[::2] = np.where(corners[::2] == 0, -0.0, corners[::2])
    assert inside(corners, faces)[1] == ()


def test_vertices_that_differ_by_rounding_are_made_one_with_a_note():
    corners, faces = split(CORNERS, FACES)
    share, notes = inside(corners + np.random.default_rng(0).normal(size=corners.shape) * 1e-8, faces)
    assert share == 1
    assert "a millionth" in notes[0]


@pytest.mark.parametrize(
    ("faces", "kept", "note"),
    [
        (np.vstack((FACES, FACES[:2])), 12, "2 triangles were dropped"),
        (np.vstack((FACES, FACES[:1, ::-1])), 12, "1 triangle was dropped"),
        (np.vstack((FACES, FACES)), 12, "12 triangles were dropped"),
        (np.vstack((FACES, FACES[:, ::-1])), 12, "12 triangles were dropped"),
        (np.vstack((FACES, [[0, 0, 1], [2, 2, 2]])), 12, "2 triangles were dropped"),
        (np.where(np.arange(12)[:, None] < 3, FACES[:, ::-1], FACES), 12, "3 triangles were turned"),
    ],
    ids=["doubled", "doubled and turned", "all doubled", "two-sided", "degenerate", "turned"],
)
def test_what_exports_add_or_turn_is_mended_with_a_note(faces, kept, note):
    mesh, notes = repair_mesh(raw(CORNERS, faces))
    assert len(mesh.faces) == kept
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert note in notes[0]
    assert inside(CORNERS, faces)[0] == 1


def test_flat_triangles_beside_the_surface_are_dropped_and_those_in_it_are_kept():
    middle = np.vstack((CORNERS, CORNERS[[0, 1]].mean(axis=0)))
    assert inside(middle, np.vstack((FACES, [[0, 8, 1]])))[1] == (
        "1 triangle was dropped, being degenerate or there twice",
    )
    # a triangle u v t is cut in two at the middle of u v, its neighbour is not; u v middle closes the gap
    which = next(k for k, face in enumerate(FACES) if {0, 1} <= set(face))
    u, v, t = next(turn for turn in (np.roll(FACES[which], -k) for k in range(3)) if set(turn[:2]) == {0, 1})
    faces = np.vstack((np.delete(FACES, which, axis=0), [[u, 8, t], [8, v, t], [u, v, 8]]))
    assert inside(middle, faces) == (1, ())


def test_random_ways_of_facing_are_made_one():
    rng = np.random.default_rng(3)
    faces = BALL.faces.view(np.ndarray)
    faces = np.where(rng.random(len(faces))[:, None] < 0.3, faces[:, ::-1], faces)
    mesh, notes = repair_mesh(raw(BALL.vertices, faces))
    assert mesh.volume == pytest.approx(BALL.volume), "most triangles faced outwards"
    assert "turned" in notes[0]


def test_bodies_that_touch_stay_two_and_walls_between_them_go():
    two = np.vstack((CORNERS, CORNERS + [1, 0, 0]))
    assert inside(two, np.vstack((FACES, FACES + 8)))[0] == 1
    along_an_edge = np.vstack((CORNERS, CORNERS + [1, 1, 0]))
    assert inside(along_an_edge, np.vstack((FACES, FACES + 8)))[0] == pytest.approx(0.5)
    turned = np.where(
        np.arange(24)[:, None] % 5 == 0, np.vstack((FACES, FACES + 8))[:, ::-1], np.vstack((FACES, FACES + 8))
    )
    assert inside(along_an_edge, turned)[0] == pytest.approx(0.5)
    apart = np.vstack((CORNERS, CORNERS + [3, 0, 0]))
    for other in (FACES + 8, FACES[:, ::-1] + 8, np.vstack((FACES, FACES[:, ::-1])) + 8):
        assert inside(apart, np.vstack((FACES, other)))[0] == pytest.approx(0.5)


def test_a_triangle_of_two_bodies_is_kept_twice():
    a, b, c = FACES[0]
    within = np.vstack((CORNERS, [[0, 0, 0]]))
    faces = np.vstack((FACES, [[a, b, c], [8, b, a], [8, c, b], [8, a, c]]))
    assert inside(within, faces) == (1, ())


@pytest.mark.parametrize("offset", [0.0, 1e7, -4e6])
@pytest.mark.parametrize("size", [1.0, 0.01, 1e-9, 1e-25, 1e25])
def test_size_and_place_make_no_difference(size, offset):
    if np.spacing(abs(offset)) * 1e5 > 2 * size:
        with pytest.raises(InputError, match="too small"):
            inside(BALL.vertices * size + offset, BALL.faces)
        return
    share, notes = inside(*split(BALL.vertices * size + offset, BALL.faces), 12)
    assert share == pytest.approx(np.pi / 6, abs=0.03)
    assert notes == ()


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (np.where(CORNERS > 0, np.nan, CORNERS), FACES, "NaN or infinite"),
        (np.where(CORNERS > 0, np.inf, CORNERS), FACES, "NaN or infinite"),
        (CORNERS * 1e200, FACES, "at most"),
        (CORNERS * 1e-200, FACES, "too small"),
        (CORNERS * 0, FACES, "too small"),
        (CORNERS * [1, 1, 0], FACES, "flat"),
        (CORNERS, FACES + 3, "vertex 10"),
        (CORNERS, FACES[1:], r"watertight \(3 edges"),
        (CORNERS, FACES[:, [0, 0, 1]], "degenerate"),
        (CORNERS, FACES[:0], "without triangles"),
    ],
)
def test_meshes_that_cannot_be_mended_are_refused(vertices, faces, message):
    with pytest.raises(InputError, match=message):
        inside(vertices, faces)


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".off", ".glb", ".stl"])
@pytest.mark.parametrize(("offset", "size"), [(4e6, 0.5), (1e7, 1.0), (0.0, 1e-9), (1e-3, 1e-9), (0.0, 1e20)])
def test_meshes_are_written_where_they_are(tmp_path, suffix, offset, size):
    mesh = raw(BALL.vertices * size + offset, BALL.faces)
    path = tmp_path / f"a{suffix}"
    if suffix == ".stl" and offset:
        with pytest.raises(InputError, match=r"float32, too coarse .* write \.ply"):
            write_mesh(path, mesh)
        return
    write_mesh(path, mesh)
    back, _ = repair_mesh(read_mesh(path)[0])
    assert back.is_watertight
    assert np.abs(back.bounds - mesh.bounds).max() < 1e-5 * size
    if suffix != ".stl":
        assert np.abs(back.vertices - mesh.vertices).max() < 1e-5 * size


def test_ply_is_double_only_where_it_must(tmp_path):
    for offset, kind in ((0, b"float"), (1e7, b"double")):
        write_mesh(tmp_path / "a.ply", raw(BALL.vertices + offset, BALL.faces))
        assert b"property " + kind in (tmp_path / "a.ply").read_bytes()


def test_tiny_surfaces_stay_closed_and_compare():
    axis = np.linspace(-1, 1, 12)
    ball = 0.8 - np.sqrt(sum(a**2 for a in np.meshgrid(axis, axis, axis, indexing="ij")))
    tiny = surface(ball.astype(np.float32), 0.0, np.full(3, 1e-9), np.full(3, 1e-10))
    assert tiny.is_watertight
    assert chamfer(tiny, tiny, points=5000) < 0.02


def export(kind):
    forms = {"ascii ply": ("ply", {"encoding": "ascii"}), "ascii stl": ("stl_ascii", {})}
    name, options = forms.get(kind, (kind, {}))
    data = BALL.export(file_type=name, **options)
    return data if isinstance(data, bytes) else data.encode()


@pytest.mark.parametrize("kind", ["ply", "ascii ply", "obj", "stl", "ascii stl", "off", "glb"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_meshes_that_are_cut_off_are_called_truncated(tmp_path, kind, share):
    data = export(kind)
    path = tmp_path / f"cut.{kind.split()[-1]}"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=r"cut\..*truncated"):
        open_signal(path)


@pytest.mark.parametrize("suffix", ["ply", "obj", "stl", "off", "glb", "gltf"])
@pytest.mark.parametrize(
    "data", [b"", b"no mesh at all\n", bytes(range(256)) * 4, b"{}", b"[]", b"solid a\nendsolid\n"]
)
def test_files_that_are_no_mesh_are_refused_by_name(tmp_path, suffix, data):
    (tmp_path / f"bad.{suffix}").write_bytes(data)
    with pytest.raises(InputError, match=rf"bad\.{suffix}: .+"):
        open_signal(tmp_path / f"bad.{suffix}")


def test_points_are_no_mesh(tmp_path):
    (tmp_path / "a.ply").write_bytes(trimesh.PointCloud(CORNERS).export(file_type="ply"))
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n")
    for name, count in (("a.ply", 8), ("a.obj", 3)):
        with pytest.raises(InputError, match=f"no triangles, only {count} points"):
            open_signal(tmp_path / name)


def test_what_a_mesh_is_its_first_bytes_tell(tmp_path):
    for kind in ("ply", "off", "glb", "ascii stl"):
        for name in ("bare", "odd.obj"):
            (tmp_path / name).write_bytes(export(kind))
            assert open_signal(tmp_path / name, grid=8).occupied.any()


def test_polygons_and_normals_and_texture_seams(tmp_path):
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    places = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    lines = [f"v {x} {y} {z}" for x, y, z in places] + ["vt 0 0", "vt 1 0", "vt 1 1", "vt 0 1", "vn 0 0 1", "vn 1 0 0"]
    lines += [f"g side{n}" + "\nf " + " ".join(f"{k + 1}/{(i + n) % 4 + 1}/{n % 2 + 1}" for i, k in enumerate(q))
              for n, q in enumerate(quads)]  # fmt: skip
    (tmp_path / "a.obj").write_text("\r\n".join(lines) + "\r\n")
    header = "ply\nformat ascii 1.0\nelement vertex 8\nproperty double x\nproperty double y\nproperty double z\n"
    header += "element face 6\nproperty list uchar int vertex_indices\nend_header\n"
    rows = [" ".join(map(str, p)) for p in places] + [" ".join(map(str, (4, *q))) for q in quads]
    (tmp_path / "a.ply").write_text(header + "\n".join(rows) + "\n")
    for name in ("a.obj", "a.ply"):
        signal = open_signal(tmp_path / name, grid=4)
        assert signal.occupied.all()
        assert signal.notes == ()


def test_scenes_of_meshes_are_put_together_where_they_are_placed(tmp_path):
    scene = trimesh.Scene()
    scene.add_geometry(CUBE, transform=np.diag([1e-9, 1e-9, 1e-9, 1]))
    mirror = np.diag([-1e-9, 1e-9, 1e-9, 1.0])
    mirror[0, 3] = 3e-9
    scene.add_geometry(CUBE, transform=mirror)
    (tmp_path / "two.glb").write_bytes(scene.export(file_type="glb"))
    for name, data in scene.export(file_type="gltf").items():
        (tmp_path / name).write_bytes(data)
    for name in ("two.glb", "model.gltf"):
        signal = open_signal(tmp_path / name, grid=8)
        assert signal.mesh.bounds == pytest.approx(
            np.array([[-0.5, -0.5, -0.5], [3.5, 0.5, 0.5]]) * 1e-9, rel=1e-6, abs=1e-16
        )
        assert signal.mesh.volume == pytest.approx(2e-27, rel=1e-6, abs=0)
        assert signal.occupied.mean() == pytest.approx(0.5)
    next(path for path in tmp_path.iterdir() if path.suffix == ".bin").unlink()
    with pytest.raises(InputError, match=r"model\.gltf: .*bin"):
        open_signal(tmp_path / "model.gltf")


def test_what_a_scene_of_meshes_holds_besides_is_reported(tmp_path):
    scene = trimesh.Scene([CUBE, trimesh.PointCloud(CORNERS)])
    (tmp_path / "a.glb").write_bytes(scene.export(file_type="glb"))
    assert open_signal(tmp_path / "a.glb", grid=4).notes == ("points and lines in it are not used",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extensionsRequired": ["KHR_draco_mesh_compression"]}, "KHR_draco_mesh_compression"),
        ({"meshes": [{"primitives": [{"attributes": {}, "mode": 6}]}]}, "mode 6"),
    ],
)
def test_geometry_that_would_be_lost_is_refused_by_name(tmp_path, change, message):
    data = CUBE.export(file_type="glb")
    (size,) = struct.unpack_from("<I", data, 12)
    text = json.dumps(json.loads(data[20 : 20 + size]) | change).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + size :]
    head = struct.pack("<4sIIII", b"glTF", 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A)
    (tmp_path / "a.glb").write_bytes(head + text + rest)
    with pytest.raises(InputError, match=rf"a\.glb: .*{message}"):
        open_signal(tmp_path / "a.glb")


def test_repaired_files_are_read_by_others(tmp_path):
    write_mesh(tmp_path / "far.ply", raw(BALL.vertices + 1e7, BALL.faces))
    back = trimesh.load_mesh(io.BytesIO((tmp_path / "far.ply").read_bytes()), file_type="ply")
    assert back.is_watertight
    assert back.bounds == pytest.approx(BALL.bounds + 1e7)


@pytest.mark.parametrize("value", [0, -1, 2.5, "a", 10**400, True, [3]])
def test_sides_of_grids_are_whole_numbers(value):
    with pytest.raises(InputError, match="longest must be an integer|longest side of a grid"):
        ShapeSignal.of_mesh(CUBE, value)
    with pytest.raises(InputError, match="longest must be an integer|longest side of a grid"):
        coinr.open_file(coinr.pack_signal(siren(3, 1), ShapeSignal(ball(6)), profile="lossless")).render(value)


@pytest.mark.parametrize("value", [0, "a", [1, 2], [0, 0, 0, 0], [0, 0, 0, np.nan], [1e31, 0, 0, 1], ["a"] * 4])
def test_places_of_grids_are_four_numbers(value):
    with pytest.raises(InputError, match="placement"):
        ShapeSignal(ball(6), value)


@pytest.mark.parametrize("value", [None, 3, "a", trimesh.Scene(), trimesh.PointCloud(CORNERS), [[1], [1, 2]]])
def test_what_is_no_mesh_or_volume_is_refused(value):
    with pytest.raises(InputError, match="not a mesh"):
        ShapeSignal.of_mesh(value)
    with pytest.raises(InputError, match="volume"):
        ShapeSignal(value)
