import json

import numpy as np
import pytest
import torch
from PIL import Image

from coinr.errors import InputError
from coinr.signals.cameras import Orbit, orbit_of, pixel_rays
from coinr.signals.sampling import score_of
from coinr.signals.scene.files import is_scene_folder, read_scene_folder, scene_of_arrays
from coinr.signals.scene.lens import Lens
from coinr.signals.scene.signal import SceneSignal, render_views
from coinr.signals.scene.views import check_views
from tests.small_signals import disc_scene, disc_views, nerf, siren


def test_rays_pass_through_pixel_centres():
    pose = torch.eye(4)
    pose[:3, 3] = torch.tensor([1.0, 2.0, 3.0])
    rays = pixel_rays(pose.expand(3, 4, 4), torch.tensor([0, 0, 3]), torch.tensor([0, 5, 2]), 4, 6, 2.0)
    assert rays.dtype == torch.float32
    assert rays[:, :3].tolist() == [[1, 2, 3]] * 3
    assert rays[:, 3:].tolist() == [[-1.25, 0.75, -1], [1.25, 0.75, -1], [-0.25, -0.75, -1]]


def test_poses_turn_rays():
    pose = torch.from_numpy(Orbit(4.0, 0.0).pose(90))
    rays = pixel_rays(pose.expand(1, 4, 4), torch.tensor([1]), torch.tensor([1]), 3, 3, 5.0)
    torch.testing.assert_close(rays, torch.tensor([[0.0, 4, 0, 0, -1, 0]]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("up", range(6))
@pytest.mark.parametrize("azimuth", [0, 77])
def test_orbits_look_at_their_centre_with_their_axis_up(up, azimuth):
    orbit = Orbit(3.0, 25.0, (0.5, -1.0, 2.0), up)
    pose = orbit.pose(azimuth).astype(np.float64)
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-6)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
    np.testing.assert_allclose(pose[:3, 3] - 3 * pose[:3, 2], orbit.center, atol=1e-5)
    axis, sign = up % 3, 1 if up < 3 else -1
    assert sign * pose[axis, 1] == pytest.approx(np.cos(np.radians(25)))
    assert sign * pose[axis, 0] == pytest.approx(0, abs=1e-6)
    assert sign * (pose[axis, 3] - orbit.center[axis]) == pytest.approx(3 * np.sin(np.radians(25)))


@pytest.mark.parametrize("orbit", [Orbit(4.0, 30.0), Orbit(2.5, -10.0, (1.0, 2.0, 3.0), 1), Orbit(3.0, 45.0, up=5)])
def test_the_orbit_of_views_is_found(orbit):
    assert orbit_of(np.stack([orbit.pose(a) for a in (0, 50, 140, 260)])) == orbit


def test_a_single_line_of_sight_has_an_orbit_too():
    found = orbit_of(np.stack([Orbit(4.0, 0.0).pose(0)] * 2))
    assert np.isfinite([found.radius, *found.center]).all()


def test_batches_are_rays_and_their_colours_view_by_view():
    scene = disc_scene(12)
    indices = torch.tensor([0, 2 * 144 + 6 * 12 + 6])
    rays, colors = scene.batch(indices)
    assert rays.shape == (2, 6)
    np.testing.assert_allclose(rays[1, :3], scene.poses[2][:3, 3], atol=1e-6)
    assert colors[0].tolist() == [1, 1, 1]
    np.testing.assert_allclose(colors[1], np.array([200, 30, 30]) / 255, atol=1e-6)
    assert (scene.count, scene.eval_split.count, scene.points) == (6 * 144, 2 * 144, 24)


def test_alpha_is_laid_over_white():
    images = np.zeros((1, 1, 3, 4), np.uint8)
    images[0, 0, :, 0], images[0, 0, :, 3] = 100, (0, 51, 255)
    pictures, _ = check_views(images, np.eye(4)[None])
    assert pictures[0, 0].tolist() == [[255, 255, 255], [224, 204, 204], [100, 0, 0]]
    floating, _ = check_views(images / 255, np.eye(4)[None])
    assert np.array_equal(floating, pictures)


def test_the_score_is_that_of_views_that_were_held_back():
    scene, network = disc_scene(), nerf()
    shown, _ = render_views(network, list(scene.eval_split.poses), scene.lens)
    error = np.mean((shown / 255.0 - scene.eval_split.images / 255.0) ** 2)
    assert score_of(network, scene) == pytest.approx(-10 * np.log10(error), abs=0.02)


def test_every_eighth_view_is_held_back_if_there_are_no_others():
    images, poses = disc_views(list(np.arange(10) * 36.0))
    images[:, 0, 0, 0] = np.arange(10)
    scene = SceneSignal(images, poses, 14.4)
    assert scene.eval_split.images[:, 0, 0, 0].tolist() == [0, 8]
    assert scene.images[:, 0, 0, 0].tolist() == [1, 2, 3, 4, 5, 6, 7, 9]
    assert (scene.lens.near, scene.lens.far) == (2.0, 6.0)


def test_training_error_is_jittered_and_the_same_for_the_same_rays():
    scene, network = disc_scene(samples=(4, 4)), nerf()
    inputs, targets = scene.batch(torch.arange(40, 80))
    error = scene.squared_error(network, inputs, targets)
    assert scene.squared_error(network, inputs, targets) == error
    still = (scene.predict(network, inputs) - targets).square().sum()
    assert error > still, "the coarse network counts too"
    coarse_only = disc_scene(samples=(4, 0))
    with pytest.raises(InputError, match="fine network"):
        coarse_only.squared_error(network, inputs, targets)
    network.fine = None
    still = (coarse_only.predict(network, inputs) - targets).square().sum()
    jittered = coarse_only.squared_error(network, inputs, targets)
    assert jittered != still
    assert jittered.item() == pytest.approx(still.item(), rel=0.2)


def test_metadata_says_how_to_look_at_it():
    assert disc_scene().meta() == {"scene": [12, 12, 14.4, 2, 6, 8, 8, 4, 30]}
    images, poses = disc_views([0, 90, 180])
    poses[:, 2, 3] += 5
    meta = SceneSignal(images, poses, 14.4, 1.0, 9.0, images, poses).meta()
    assert meta == {"scene": [12, 12, 14.4, 1, 9, 32, 32, 4, 30, 0, 0, 5]}


def test_rendering_does_not_depend_on_chunks(monkeypatch):
    scene, network = disc_scene(), nerf()
    poses = list(scene.poses[:2])
    pictures, depths = render_views(network, poses, scene.lens)
    monkeypatch.setattr("coinr.signals.scene.signal._POINTS", 100)
    again, depths_again = render_views(network, poses, scene.lens)
    assert np.abs(pictures.astype(int) - again).max() <= 1
    np.testing.assert_allclose(depths, depths_again, atol=1e-4)
    assert depths.min() > 2
    assert depths.max() <= 6


def test_a_view_of_other_size_shows_the_same():
    lens = Lens(10, 20, 15.0, 1.0, 2.0).resize(20, 40)
    assert (lens.height, lens.width, lens.focal) == (20, 40, 30.0)


def test_views_that_are_no_scene_are_refused():
    images, poses = disc_views([0, 90, 180])
    for changed, message in [
        ({"images": images[0]}, "views have shape"),
        ({"images": images[:, :0]}, "views have shape"),
        ({"images": images.astype(int)}, "int64"),
        ({"images": images * 1.0}, "lie in"),
        ({"poses": poses[:2]}, "3 views need poses"),
        ({"poses": poses * np.nan}, "finite"),
        ({"focal": 0.0}, "focal"),
        ({"near": 5.0, "far": 5.0}, "near must be below far, got 5.0 and 5.0"),
        ({"test_images": images[:, :6], "test_poses": poses}, "one size"),
        ({"samples": (1, 8)}, "samples"),
        ({"samples": (8, 5000)}, "samples"),
    ]:
        with pytest.raises(InputError, match=message):
            SceneSignal(**{"images": images, "poses": poses, "focal": 14.4, **changed})
    with pytest.raises(InputError, match="two views"):
        SceneSignal(images[:2], poses[:2], 14.4)
    with pytest.raises(InputError, match="by a Nerf, got Siren"):
        render_views(siren(6, 3), list(poses), Lens(4, 4, 5.0, 2.0, 6.0))


def write_folder(folder, name="transforms.json", azimuths=(0, 40, 80, 120), **changes):
    """A scene folder with Blender's kind of file, or one changed a little."""
    images, poses = disc_views(list(azimuths))
    rgba = np.dstack((images[0], np.where(images[0][..., 0] == 255, 0, 255)))[None].repeat(len(images), 0)
    frames = []
    stem = name.removesuffix(".json")
    (folder / stem).mkdir(parents=True)
    for k, (picture, pose) in enumerate(zip(rgba.astype(np.uint8), poses, strict=True)):
        Image.fromarray(picture).save(folder / stem / f"r_{k}.png")
        frames.append({"file_path": f"./{stem}/r_{k}", "transform_matrix": pose.tolist()})
    angle = 2 * np.arctan(0.5 / 1.2)
    (folder / name).write_text(json.dumps({"camera_angle_x": angle, "frames": frames} | changes))
    return folder


def test_folders_of_one_file(tmp_path):
    scene = read_scene_folder(write_folder(tmp_path), (8, 4))
    images, poses = disc_views([40, 80, 120])
    assert np.array_equal(scene.images, images)
    np.testing.assert_allclose(scene.poses, poses, atol=1e-6)
    assert scene.lens.focal == pytest.approx(14.4)
    assert (scene.lens.coarse, scene.lens.fine, len(scene.eval_split.images)) == (8, 4, 1)


def test_folders_with_views_to_test_on(tmp_path):
    write_folder(tmp_path, "transforms_train.json", near=1.0, far=7.0)
    write_folder(tmp_path, "transforms_test.json", (10, 20))
    scene = read_scene_folder(tmp_path, (8, 8))
    assert (len(scene.images), len(scene.eval_split.images)) == (4, 2)
    assert (scene.lens.near, scene.lens.far) == (1.0, 7.0)


def test_focal_lengths_in_pixels_of_another_size(tmp_path):
    scene = read_scene_folder(write_folder(tmp_path, fl_x=28.8, w=24, cx=12), (8, 8))
    assert scene.lens.focal == pytest.approx(14.4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": []}, "no frames"),
        ({"frames": [{"file_path": "none", "transform_matrix": np.eye(4).tolist()}]}, "no picture none"),
        ({"frames": [{"file_path": "none"}]}, "lacks 'transform_matrix'"),
        ({"frames": 3}, "damaged"),
        ({"camera_angle_x": "wide"}, "damaged"),
        ({"k1": 0.1}, "distorted"),
        ({"cx": 2}, "axis"),
    ],
)
def test_bad_folders_are_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        read_scene_folder(write_folder(tmp_path, **changes), (8, 8))


def test_files_that_are_no_json_are_refused(tmp_path):
    assert not is_scene_folder(tmp_path)
    (tmp_path / "transforms.json").write_text("{")
    assert is_scene_folder(tmp_path)
    with pytest.raises(InputError, match="damaged"):
        read_scene_folder(tmp_path, (8, 8))


def test_pictures_of_other_sizes_are_refused(tmp_path):
    write_folder(tmp_path)
    Image.new("RGB", (3, 3)).save(tmp_path / "transforms" / "r_1.png")
    with pytest.raises(InputError, match="differ in size"):
        read_scene_folder(tmp_path, (8, 8))


def test_scenes_of_arrays():
    images, poses = disc_views([0, 90, 180])
    arrays = {"images": images, "poses": poses, "focal": np.float32(14.4), "near": np.array(2.0), "far": np.array([6])}
    scene = scene_of_arrays(arrays | {"test_images": images[:1], "test_poses": poses[:1]}, (8, 8))
    assert (len(scene.images), len(scene.eval_split.images), scene.lens.far) == (3, 1, 6.0)
    with pytest.raises(InputError, match="focal, poses missing"):
        scene_of_arrays({"images": images}, (8, 8))
    with pytest.raises(InputError, match="focal is one number"):
        scene_of_arrays(arrays | {"focal": np.ones(2)}, (8, 8))
