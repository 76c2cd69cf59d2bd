"""Poses of cameras: those that are none, those that tell depths, panoramas, and wrong arguments of scenes."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import coinr
from coinr.cli import cli
from coinr.errors import InputError
from coinr.signals.cameras import Orbit, focus_of, orbit_of
from coinr.signals.scene.files import scene_of_arrays
from coinr.signals.scene.signal import SceneSignal
from tests.small_signals import disc_views, nerf

from .transforms_json import PINHOLE, frames, read, write


def mirrored(pose):
    return pose * np.array([1, 1, -1, 1.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pose: pose * 1.2, "length 1"),
        (lambda pose: pose + np.eye(4)[[1, 0, 2, 3]] * 0.3, "right angles"),
        (mirrored, "mirrored"),
        (lambda pose: pose + np.eye(4)[:, [3, 1, 2, 0]] * [[0], [0], [0], [1]], "last row"),
        (lambda pose: pose + 1e35 * np.eye(4)[[3, 0, 1, 2]] * [[1], [0], [0], [0]], "out of range"),
        (lambda pose: pose[:2], "3 x 4"),
        (lambda pose: pose[0], "3 x 4"),
    ],
)
def test_matrices_that_are_no_pose_are_refused(tmp_path, change, message):
    listed = frames()
    listed[2]["transform_matrix"] = change(np.array(listed[2]["transform_matrix"])).tolist()
    with pytest.raises(InputError, match=message):
        read(write(tmp_path, PINHOLE, listed))


@pytest.mark.parametrize("value", ["turned", [["a"] * 4] * 4, [[1, 2], [3]], {}, None])
def test_matrices_of_no_numbers_are_refused(tmp_path, value):
    with pytest.raises(InputError, match=r"images/0\.png .*transform_matrix"):
        read(write(tmp_path, PINHOLE, frames(transform_matrix=value)))


def test_matrices_of_three_rows(tmp_path):
    listed = frames()
    whole = read(write(tmp_path, PINHOLE, listed)).poses
    for frame in listed[::2]:
        frame["transform_matrix"] = frame["transform_matrix"][:3]
    assert np.array_equal(read(write(tmp_path, PINHOLE, listed)).poses, whole)


def turning(place=(0, 0, 0), count=6):
    poses = np.stack([Orbit(4, 30).pose(60 * k) for k in range(count)])
    poses[:, :3, 3] = place
    return poses


def outward():
    poses = np.stack([Orbit(4, 10).pose(60 * k) for k in range(6)])
    poses[:, :3, [0, 2]] *= -1
    return poses


def on_a_line(same):
    poses = np.tile(np.eye(4), (6, 1, 1))
    poses[:, 0, 3] = np.arange(6)
    if not same:
        poses[::2, :3, [0, 2]] *= -1
    return poses


@pytest.mark.parametrize(
    "poses",
    [turning(), turning((5, 1, -2)), turning((1e3, 0, 0)), outward(), on_a_line(True), on_a_line(False),
     np.tile(Orbit(4, 30).pose(0), (6, 1, 1)), np.tile(np.eye(4), (6, 1, 1))],
    ids=["turning", "aside", "far", "outward", "line", "to and fro", "one pose", "one pose at 0"],
)  # fmt: skip
def test_cameras_that_look_at_no_one_place_need_near_and_far(tmp_path, poses):
    images = np.zeros((6, 4, 4, 3), np.uint8)
    assert not focus_of(poses.astype(np.float32))[1]
    for given in ((), (0.1,), (None, 5.0)):
        with pytest.raises(InputError, match="give both near and far"):
            SceneSignal(images, poses, 10.0, *given)
    scene = SceneSignal(images, poses, 10.0, 0.1, 5.0)
    opened = coinr.open_file(coinr.pack_signal(nerf(), scene, profile="lossless"))
    assert (opened.lens.near, opened.lens.far) == (0.1, 5)
    assert np.isfinite(opened.orbit.pose(30)).all()


def test_panoramas_turn_where_they_stand():
    for poses, center, elevation in ((turning((5, 1, -2)), (5, 1, -2), 30), (outward(), (0, 0, 0.6946), -10)):
        orbit = orbit_of(poses.astype(np.float32))
        assert orbit.radius == 0
        assert orbit.center == pytest.approx(center, abs=1e-3)
        assert orbit.elevation == elevation
        assert orbit.up == 2


def test_cameras_that_look_at_one_place_tell_near_and_far():
    images, poses = disc_views([0, 60, 120])
    assert focus_of(poses)[1]
    assert SceneSignal(images, poses, 14.4).lens.near == 2
    lens = SceneSignal(images, poses, 14.4, far=9).lens
    assert (lens.near, lens.far) == (2, 9)


def test_scenes_far_from_the_origin_are_refused():
    images, poses = disc_views([0, 60, 120])
    poses = poses.astype(np.float64)
    poses[:, 0, 3] += 5e5
    with pytest.raises(InputError, match="away from the origin"):
        SceneSignal(images, poses, 14.4, 2.0, 6.0)
    SceneSignal(images, poses, 14.4, 2e3, 6e3)


def test_near_and_far_of_the_caller_come_first(tmp_path):
    write(tmp_path, {**PINHOLE, "near": 1.0, "far": 9.0})
    assert (read(tmp_path).lens.near, read(tmp_path).lens.far) == (1, 9)
    scene = read(tmp_path, near=0.5)
    assert (scene.lens.near, scene.lens.far) == (0.5, 9)
    scene = coinr.open_signal(tmp_path, near=0.25, far=2.0)
    assert (scene.lens.near, scene.lens.far) == (0.25, 2)


def test_arrays_with_a_camera_that_is_not_simple():
    images, poses = disc_views([0, 90, 180])
    arrays = {"images": images, "poses": poses, "focal": np.float64(14.4), "focal_y": np.array([20.0])}
    scene = scene_of_arrays({**arrays, "centre": np.array([6.5, 5.75]), "names": np.array(["a"])}, (4, 4))
    assert scene.lens.stretch * 14.4 == pytest.approx(20)
    assert scene.lens.shift == (0.5, -0.25)
    assert scene.notes == ("not used: names",)
    with pytest.raises(InputError, match="center must be a tuple of a number, a number"):
        scene_of_arrays({**arrays, "centre": np.zeros(3)}, (4, 4))
    for name in ("k1", "distortion"):
        scene_of_arrays({**arrays, name: np.zeros(4)}, (4, 4))
        with pytest.raises(InputError, match=f"distorted .{name}."):
            scene_of_arrays({**arrays, name: np.array([0, 0.1])}, (4, 4))
    with pytest.raises(InputError, match="focal_y must be a number"):
        scene_of_arrays({**arrays, "focal_y": np.float64(0)}, (4, 4))


def test_panoramas_by_the_command_line(tmp_path):
    listed = [{**frame, "transform_matrix": pose.tolist()} for frame, pose in zip(frames(), turning(), strict=True)]
    (tmp_path / "turning").mkdir()
    write(tmp_path / "turning", {**PINHOLE, "fl_y": 21, "weather": 1}, listed)
    encode = ["encode", tmp_path / "turning", "-o", tmp_path / "a.coinr", "--samples", "4,0", "--width", 8]
    encode += ["--hidden-layers", 1, "--steps", 2, "--profile", "uniform", "--threads", 1]

    def run(*arguments):
        return CliRunner().invoke(cli, [str(argument) for argument in arguments])

    refused = run(*encode)
    assert refused.exit_code == 1
    assert "give both --near and --far" in refused.stderr
    assert "--near must be below far" in run(*encode, "--near", 5, "--far", 5).stderr
    done = run(*encode, "--near", 0.1, "--far", 5)
    assert done.exit_code == 0, done.stderr
    assert "not used: weather" in done.stderr
    compared = run("compare", tmp_path / "turning", tmp_path / "a.coinr", "--json")
    assert compared.exit_code == 0, compared.stderr
    assert "not used: weather" in json.loads(compared.stdout)["notes"]


WRONG = [None, -1, np.nan, np.inf, 10**400, "a", b"", [], [1, "b"], [[1], [1, 2]], {}, object(), np.zeros((2, 2), "U1")]


@pytest.mark.parametrize("name", ["images", "poses", "focal", "near", "far", "samples", "focal_y", "center"])
@pytest.mark.parametrize("value", WRONG, ids=lambda value: str(value)[:20].partition(" at ")[0])
def test_wrong_arguments_of_a_scene_are_named_or_stand_for_defaults(name, value):
    images, poses = disc_views([0, 90, 180])
    good = {"images": images, "poses": poses, "focal": 14.4, "near": 2.0, "far": 6.0, "samples": (4, 4)}
    if value is None and name in ("near", "far", "focal_y", "center"):
        assert SceneSignal(**{**good, name: None}).lens.far == 6
        return
    with pytest.raises(InputError, match="number|array|views|poses|samples|focal|near|center"):
        SceneSignal(**{**good, name: value})


@pytest.mark.parametrize("value", WRONG[1:], ids=lambda value: str(value)[:20].partition(" at ")[0])
def test_wrong_arguments_of_views_to_render_are_named(value):
    images, poses = disc_views([0, 90, 180])
    opened = coinr.open_file(
        coinr.pack_signal(nerf(), SceneSignal(images, poses, 14.4, samples=(4, 0)), profile="lossless")
    )
    for arguments in ((value,), ([0.0], value)):
        with pytest.raises(InputError, match="azimuths|size|pixels"):
            opened.render(*arguments)
