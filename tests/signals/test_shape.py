import io

import numpy as np
import pytest
import torch
import trimesh

from coinr.errors import InputError
from coinr.files.arrays import read_arrays
from coinr.signals.arrays import volume_of_arrays, write_volume
from coinr.signals.grid_signal import grid_coordinates
from coinr.signals.metrics import chamfer, iou
from coinr.signals.open_signal import open_signal
from coinr.signals.sampling import score_of
from coinr.signals.shape.mesh_repair import repair_mesh
from coinr.signals.shape.meshes import read_mesh, surface, voxelize, write_mesh
from coinr.signals.shape.shading import see_through, shade, turn
from coinr.signals.shape.signal import ShapeSignal
from coinr.signals.shape.volumes import Box, check_volume, default_placement, grid_like, render_volume, tight_box
from tests.small_signals import ball, distance, siren


class Ball(torch.nn.Module):
    """1 inside a ball, else 0."""

    def __init__(self, radius=0.5):
        super().__init__()
        self.radius = radius

    def forward(self, x):
        return (x.norm(dim=1, keepdim=True) < self.radius).float()


def sphere():
    return trimesh.creation.icosphere(subdivisions=3)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((3, 3)), "shape"),
        (np.ones((3, 0, 3)), "at least one voxel"),
        (np.full((2, 2, 2), np.nan), "NaN"),
        (np.full((2, 2, 2), np.inf), "infinite"),
        (np.zeros((2, 2, 2), bool), "empty"),
        (np.zeros((2, 2, 2)), "empty"),
        (np.arange(8).reshape(2, 2, 2), "two values"),
        (np.full((2, 2, 2), 3.0), "3 to 3"),
        (np.full((2, 2, 2), -3.0), "-3 to -3"),
        (np.ones((2, 2, 2), complex), "complex"),
    ],
)
def test_arrays_that_are_no_volume_are_refused(array, message):
    with pytest.raises(InputError, match=message):
        ShapeSignal(array)


def test_what_arrays_mean():
    solid = ball()
    for array in (solid, solid * np.uint8(255), solid.astype(int), solid * 0.9):
        found = check_volume(array)
        assert found.dtype == np.bool_
        assert np.array_equal(found, solid)
    assert np.array_equal(check_volume(distance()), distance())


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, np.float16, np.float32, np.float64, ">f8", ">i2"])
@pytest.mark.parametrize(
    ("outside", "inside"),
    [(0, 1), (0, 100), (0, -1), (1, 2), (2, 1), (-1, 1), (1, -1), (0, 0.25), (0.5, 0.75), (100, 50), (-7, -3), (-3, 7)],
)
def test_two_values_are_distinguished(outside, inside, dtype):
    with np.errstate(invalid="ignore"):
        kept = np.array([outside, inside], float).astype(dtype).astype(float)
    if (kept != (outside, inside)).any():
        return
    volume = np.where(ball(8), inside, outside).astype(dtype)
    assert np.array_equal(check_volume(volume), ball(8))


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
@pytest.mark.parametrize(("outside", "inside"), [(-1, 1), (1, -1), (1, 2)])
def test_two_values_that_cannot_be_distinguished_are_refused_with_the_rule(outside, inside, dtype):
    half = np.zeros((4, 4, 4), bool)
    half[:2] = True
    with pytest.raises(InputError, match="does not tell inside from outside: neither is zero"):
        check_volume(np.where(half, inside, outside).astype(dtype))
    assert np.array_equal(check_volume(np.where(half, inside, 0).astype(dtype)), half)


def test_volumes_of_one_value_and_distances_out_of_range():
    for full in (np.ones((2, 2, 2), bool), np.full((2, 2, 2), 7), np.ones((2, 2, 2), np.float32)):
        assert check_volume(full).all()
    for scale in (1e-40, 1e35):
        with pytest.raises(InputError, match="signed distances are 1e-30 to 1e\\+29"):
            check_volume(distance(8).astype(np.float64) * scale)
    assert np.array_equal(check_volume(distance(8).astype(">f4")), distance(8))
    assert ShapeSignal(distance(8).astype(np.float64) * 1e-20).score(torch.tensor([3.0, 4.0, 0.0])) == 0.75


def test_occupancy_is_fitted_within_its_bounds():
    volume = np.zeros((20, 10, 8), bool)
    volume[3:7, 1:9, 2:3] = ball(8)[:4, :, 3:4]
    volume[3, 1, 2] = volume[6, 8, 2] = True
    signal = ShapeSignal(volume)
    assert signal.box == Box((20, 10, 8), (3, 1, 2), (4, 8, 1))
    assert signal.meta() == {"shape": [20, 10, 8, 3, 1, 2, 4, 8, 1]}
    places, targets = signal.batch(torch.arange(signal.count))
    assert places[0].tolist() == pytest.approx([-3 / 4, -7 / 8, 0])
    assert targets.reshape(4, 8, 1).numpy().astype(bool).tolist() == volume[signal.box.slices()].tolist()


def test_coordinates_are_voxel_centres_in_c_order():
    grid = grid_coordinates(torch.arange(24), (2, 3, 4)).reshape(2, 3, 4, 3)
    assert grid[1, 2, 3].tolist() == pytest.approx([1 / 2, 2 / 3, 3 / 4])
    assert grid[0, 0, 1].tolist() == pytest.approx([-1 / 2, -2 / 3, -1 / 4])


def test_the_score_is_the_iou_of_the_volume_rendered_back():
    signal = ShapeSignal(ball())
    network = Ball(0.9)
    shown = render_volume(network, signal.box, signal.box.grid, 0.0) > 0.5
    assert iou(signal.volume, shown) == pytest.approx(0.9**3, abs=0.06)
    assert score_of(network, signal) == pytest.approx(iou(signal.volume, shown))
    _, targets = signal.batch(torch.arange(signal.count))
    assert signal.score(signal.partial_score(targets, targets)) == 1
    assert signal.score(signal.partial_score(targets * torch.nan, targets)) == -np.inf


def test_signed_distances():
    signal = ShapeSignal(distance())
    assert signal.scale == pytest.approx(np.abs(distance()).max(), rel=1e-4)
    assert signal.meta() == {"shape": [24, 24, 24], "sdf": signal.scale}
    assert np.array_equal(signal.occupied, ball())
    _, targets = signal.batch(torch.arange(signal.count))
    assert float(targets.abs().max()) == pytest.approx(1, abs=1e-4)
    assert signal.score(signal.partial_score(targets, targets)) == 1
    assert signal.score(signal.partial_score(targets + 1, targets)) == 0


def test_rendering_at_twice_the_grid_does_not_shift_the_shape():
    box = Box((10, 20, 10), (2, 4, 1), (6, 12, 8))
    small = render_volume(Ball(), box, (10, 20, 10), 0.0)
    big = render_volume(Ball(), box, (40, 80, 40), 0.0)
    averaged = big.reshape(10, 4, 20, 4, 10, 4).mean(axis=(1, 3, 5))
    assert np.abs(averaged - small).mean() < 0.05
    center = [np.average(np.arange(n) + 0.5, weights=averaged.sum(axis=tuple({0, 1, 2} - {k}))) for k, n in
              enumerate((10, 20, 10))]  # fmt: skip
    assert center == pytest.approx([5, 10, 5], abs=1e-6)


def test_a_grid_coarser_than_the_box_may_miss_it():
    box = Box((100, 100, 100), (0, 0, 0), (10, 10, 10))
    assert not render_volume(Ball(), box, (2, 2, 2), 0.0).any()


def test_grids_keep_their_proportions():
    assert grid_like((128, 64, 1), 256) == (256, 128, 2)
    assert grid_like((128, 64, 1), 2) == (2, 1, 1)


def test_grids_out_of_range_are_refused():
    for grid in ((0, 3, 3), (2**10, 2**10, 2**10)):
        with pytest.raises(InputError, match="voxels"):
            render_volume(Ball(), tight_box(ball()), grid, 0.0)
    with pytest.raises(InputError, match=r"\[N, 1\]"):
        render_volume(siren(3, 2), tight_box(ball()), (4, 4, 4), 0.0)


def _inside(mesh, size=32):
    pitch = mesh.extents.max() / size
    grid = tuple(int(np.ceil(extent / pitch)) + 2 for extent in mesh.extents)
    corner = mesh.bounds.mean(axis=0) - np.array(grid) * pitch / 2
    axes = [corner[k] + (np.arange(grid[k]) + 0.5) * pitch for k in range(3)]
    centers = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    return voxelize(mesh, corner, pitch, grid), centers, pitch


def test_a_sphere_is_filled_by_the_voxels_whose_centres_lie_in_it():
    mesh = trimesh.creation.icosphere(subdivisions=5)
    found, centers, _ = _inside(mesh)
    away = np.linalg.norm(centers, axis=-1)
    assert found[away < 0.999].all()
    assert not found[away > 1].any()


@pytest.mark.parametrize("size", [7, 8, 16, 31])
def test_rays_through_edges_and_vertices_are_counted_once(size):
    # the cube's diagonals and the octahedron's corners lie on lattice points
    cube, centers, _ = _inside(trimesh.creation.box((2, 2, 2)), size)
    deep = np.abs(centers).max(axis=-1)
    assert np.array_equal(cube, deep < 1)
    octahedron = trimesh.Trimesh(
        [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]],
        [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]],
    )
    found, centers, pitch = _inside(octahedron, size)
    norm = np.abs(centers).sum(axis=-1)
    assert found[norm < 1 - 1e-3].all()
    assert not found[norm > 1 + 1e-3].any()


def test_parts_that_overlap_are_united_and_cavities_stay_empty():
    one, two = sphere(), sphere()
    two.apply_translation([0.7, 0, 0])
    both, _, pitch = _inside(trimesh.util.concatenate(one, two))
    union = 2 * 4 / 3 * np.pi - np.pi * (4 + 0.7) * (2 - 0.7) ** 2 / 12
    assert both.sum() * pitch**3 == pytest.approx(union, rel=0.03)
    inner = sphere()
    inner.apply_scale(0.5)
    inner.invert()
    shell, centers, _ = _inside(trimesh.util.concatenate(one, inner))
    assert not shell[np.linalg.norm(centers, axis=-1) < 0.45].any()
    assert shell[np.abs(np.linalg.norm(centers, axis=-1) - 0.75) < 0.2].all()


def test_inside_out_meshes_are_solid_too():
    mesh = sphere()
    turned = mesh.copy()
    turned.invert()
    assert np.array_equal(_inside(mesh)[0], _inside(turned)[0])


def test_the_signal_of_a_mesh_knows_where_it_lies():
    mesh = sphere()
    mesh.apply_scale([1, 2, 1])
    mesh.apply_translation([10, 20, 30])
    signal = ShapeSignal.of_mesh(mesh, 40)
    assert signal.volume.shape == (20, 40, 20)
    x, y, z, pitch = signal.placement
    assert pitch == pytest.approx(0.1, rel=1e-3)
    assert [x, y, z] == pytest.approx([9, 18, 29], abs=0.02)
    back = surface(signal.volume.astype(np.float32), 0.5, np.array([x, y, z]), np.full(3, pitch))
    assert back.is_watertight
    assert back.volume == pytest.approx(mesh.volume, rel=0.05)
    assert np.abs(back.bounds - mesh.bounds).max() < pitch


@pytest.mark.parametrize("longest", [2, 17, 128, 1000])
def test_the_longest_side_has_as_many_voxels_as_were_asked_for(longest):
    mesh = trimesh.creation.box((np.pi, 0.01, 0.013))
    assert ShapeSignal.of_mesh(mesh, longest).volume.shape[0] == longest


def projective_plane():
    """Six vertices and ten triangles of a closed surface that has no two sides."""
    corners = np.random.default_rng(1).random((6, 3))
    return corners, [
        [0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 5], [0, 5, 1], [1, 2, 4], [2, 3, 5], [3, 4, 1], [4, 5, 2], [5, 1, 3]
    ]  # fmt: skip


def test_meshes_without_an_inside_are_refused(tmp_path):
    open_mesh = sphere()
    open_mesh.update_faces(np.arange(len(open_mesh.faces)) > 0)
    cases = {
        "watertight": open_mesh,
        "oriented": trimesh.Trimesh(*projective_plane(), process=False),
        "without triangles": trimesh.Trimesh(),
    }
    for message, mesh in cases.items():
        with pytest.raises(InputError, match=message):
            repair_mesh(mesh)
    (tmp_path / "open.ply").write_bytes(open_mesh.export(file_type="ply"))
    with pytest.raises(InputError, match=r"open\.ply: .*watertight"):
        open_signal(tmp_path / "open.ply")
    pressed = trimesh.Trimesh(
        [[0, 0, 0], [3, 0, 0], [0, 3, 0], [1, 1, 0]], [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]
    )
    with pytest.raises(InputError, match="flat"):
        ShapeSignal.of_mesh(pressed)


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".stl", ".off", ".glb"])
def test_mesh_files(tmp_path, suffix):
    write_mesh(tmp_path / f"a{suffix}", sphere())
    back, notes = read_mesh(tmp_path / f"a{suffix}")
    assert notes == ()
    assert back.volume == pytest.approx(sphere().volume, rel=1e-5)
    for data in (b"", b"no mesh at all", (tmp_path / f"a{suffix}").read_bytes()[:300]):
        (tmp_path / f"bad{suffix}").write_bytes(data)
        with pytest.raises(InputError, match="bad"):
            read_mesh(tmp_path / f"bad{suffix}")
    with pytest.raises(InputError, match="suffix"):
        write_mesh(tmp_path / "a.gltf", sphere())


def test_a_surface_is_closed_where_the_shape_touches_the_sides():
    mesh = surface(np.ones((3, 4, 5), np.float32), 0.5, np.zeros(3), np.ones(3))
    assert mesh.is_watertight
    assert mesh.bounds.tolist() == pytest.approx(np.array([[0, 0, 0], [3, 4, 5]]), abs=0.51)
    assert mesh.volume > 0, "normals point outwards"
    with pytest.raises(InputError, match="no surface"):
        surface(np.zeros((3, 3, 3), np.float32), 0.5, np.zeros(3), np.ones(3))


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("volume", [ball(10), distance(10)], ids=["occupancy", "distance"])
def test_volume_files(tmp_path, suffix, volume):
    write_volume(tmp_path / f"a{suffix}", volume)
    back = volume_of_arrays(read_arrays(tmp_path / f"a{suffix}"))
    assert back.dtype == volume.dtype
    assert np.array_equal(back, volume)
    with pytest.raises(InputError, match="suffix"):
        write_volume(tmp_path / "a.raw", volume)


def test_bad_array_files_are_refused(tmp_path):
    np.save(tmp_path / "good.npy", ball(8))
    good = (tmp_path / "good.npy").read_bytes()
    buffer = io.BytesIO()
    np.savez(buffer, a=ball(8))
    for data in (b"", b"\x93NUMPY", good[:-5], buffer.getvalue()[:-40]):
        (tmp_path / "bad.npy").write_bytes(data)
        with pytest.raises(InputError, match=r"bad\.npy"):
            read_arrays(tmp_path / "bad.npy")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"objects\.npy"):
        read_arrays(tmp_path / "objects.npy")
    for arrays, message in [
        ({}, "no arrays"),
        ({"a": np.zeros(3)}, "got 0"),
        ({"a": ball(4), "b": ball(4)}, "got 2"),
        ({"occupancy": np.zeros(3, np.uint8), "shape": np.array([8, 8, 8])}, "64 packed bytes"),
        ({"occupancy": np.zeros(8, np.uint8), "shape": np.array([-4, 4, 4])}, "three sizes"),
    ]:
        with pytest.raises(InputError, match=message):
            volume_of_arrays(arrays)


def test_iou_and_chamfer():
    solid = ball()
    assert iou(solid, solid) == 1
    assert iou(solid, ~solid) == 0
    assert iou(solid & False, solid & False) == 1
    with pytest.raises(InputError, match="one shape"):
        iou(solid, solid[1:])
    other = sphere()
    other.apply_scale(1.1)
    # every point of one is 0.1 from the other, whose longest side is 2
    assert chamfer(sphere(), other, points=20_000) == pytest.approx(0.05, rel=0.05)
    assert chamfer(sphere(), sphere(), points=20_000) < 0.01


def test_a_ball_is_shaded_as_a_disc_lit_from_the_upper_left():
    picture = shade(ball(32).astype(np.float32), turn(30, 20))
    inside = picture < 255
    assert inside.mean() == pytest.approx(np.pi / 4 * inside.any(axis=0).mean() ** 2, rel=0.1)
    rows, columns = np.nonzero(inside)
    half = len(picture) // 2
    assert (rows.mean(), columns.mean()) == pytest.approx((half - 0.5, half - 0.5), rel=0.02)
    upper_left, lower_right = picture[:half, :half], picture[half:, half:]
    assert upper_left[upper_left < 255].mean() > lower_right[lower_right < 255].mean() + 30


def test_cameras_look_along_z_with_y_up():
    volume = np.zeros((20, 20, 20), np.float32)
    volume[14:18, 14:18, 2:18] = 1  # to the right, high, deep
    front, back, above = (shade(volume, turn(*angles)) < 255 for angles in ((0, 0), (180, 0), (0, 90)))
    rows, columns = np.nonzero(front)
    assert rows.max() < 80 < columns.min()
    rows, columns = np.nonzero(back)
    assert max(rows.max(), columns.max()) < 80
    rows, columns = np.nonzero(above)
    assert columns.min() > 80
    assert np.ptp(rows) > 3 * np.ptp(columns)


def test_sums_along_lines_of_sight():
    volume = np.zeros((20, 20, 20), np.float32)
    volume[2:6, 14:18, 2:18] = 1
    volume[14:18, 14:18, 10:14] = 1
    picture = see_through(volume, turn(0, 0))
    assert picture[:80, :80].min() == 0
    assert picture[:80, 80:].min() == pytest.approx(255 * 3 / 4, abs=8)
    assert (picture[80:] == 255).all()
    assert (see_through(0 * volume, turn(0, 0)) == 255).all()


def test_the_default_place_is_the_middle_of_the_cube():
    assert default_placement((4, 8, 2)) == (-0.5, -1.0, -0.25, 0.25)
