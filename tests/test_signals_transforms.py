"""transforms.json as its writers write it: what is used, what is refused by name, what is told."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import coinr
from coinr.cli import cli
from coinr.errors import InputError
from coinr.signals.cameras import Orbit, focus_of, orbit_of
from coinr.signals.scene import SceneSignal
from coinr.signals.scene_io import read_scene_folder, scene_of_arrays

from .signals import disc_views, nerf

SIZE = 16, 12  # across, down
PINHOLE = {"fl_x": 20.0, "fl_y": 20.0, "cx": 8.0, "cy": 6.0, "w": 16, "h": 12}
ANGLE = 2 * np.arctan(8 / 20)


def frames(count=6, **more):
    """Frames on an orbit, each with its picture's name."""
    return [{"file_path": f"images/{k}.png", "transform_matrix": Orbit(4, 30).pose(60 * k).tolist(), **more}
            for k in range(count)]  # fmt: skip


def write(folder, top=PINHOLE, listed=None, name="transforms.json", encoding="utf-8", count=6):
    """A folder with pictures of one grey level each, and the file."""
    (folder / "images").mkdir(exist_ok=True)
    for k in range(count):
        Image.new("RGB", SIZE, (40 * k,) * 3).save(folder / "images" / f"{k}.png")
    text = json.dumps({**top, "frames": frames(count) if listed is None else listed}, indent=1)
    (folder / name).write_bytes(text.encode(encoding))
    return folder


def read(folder, **options):
    return read_scene_folder(folder, (4, 4), **options)


def towards(scene, row, column, view=0):
    """The ray through a pixel in the camera's axes: right, up, and -1."""
    rays, _ = scene.batch(torch.tensor([(view * SIZE[1] + row) * SIZE[0] + column]))
    return scene.poses[view][:3, :3].T @ rays[0, 3:].numpy()


@pytest.mark.parametrize(
    "top",
    [
        PINHOLE,
        {"fl_x": 20},
        {"fl_y": 20},
        {"camera_angle_x": ANGLE},
        {"camera_angle_x": ANGLE, "camera_angle_y": 2 * np.arctan(6 / 20), **PINHOLE},
        {"x_fov": np.degrees(ANGLE)},
        {"fl_x": 40, "w": 32},
        {"fl_x": 40, "fl_y": 40, "cx": 16, "cy": 12, "w": 32, "h": 24},
        {**PINHOLE, "camera_model": "OPENCV", "k1": 0, "k2": 0.0, "k3": None, "p1": 0, "p2": 1e-9, "is_fisheye": False},
        {**PINHOLE, "camera_model": "SIMPLE_PINHOLE", "rolling_shutter": [0, 0, 0], "distortion_params": [0] * 6},
    ],
)
def test_one_camera_said_in_many_ways(tmp_path, top):
    scene = read(write(tmp_path, top))
    assert scene.lens.focal == pytest.approx(20)
    assert scene.lens.stretch == pytest.approx(1)
    assert scene.lens.shift == pytest.approx((0, 0))
    assert scene.notes == ()


@pytest.mark.parametrize(
    ("size", "told", "focal", "stretch"),
    [
        ({"w": 17}, "17 x 12.75", 20 * 16 / 17, 1),
        ({"h": 13}, "17.3333 x 13", 20 * 12 / 13, 1),
        ({"w": 17, "h": 12}, "17 x 12", 20 * 16 / 17, 17 / 16),
        ({"w": 16, "h": 11}, "16 x 11", 20, 12 / 11),
        ({"w": 33, "h": 24}, "33 x 24", 20 * 16 / 33, 33 / 32),
        ({"w": 40, "h": 30}, "40 x 30", 8, 1),
        ({"w": 16.4, "h": 12}, None, 20 * 16 / 16.4, 16.4 / 16),
        ({"w": 32, "h": 24}, None, 10, 1),
        ({"w": 8, "h": 6}, None, 40, 1),
        ({"w": 16}, None, 20, 1),
    ],
)
def test_sizes_other_than_the_pictures_scale_the_camera_with_a_note(tmp_path, size, told, focal, stretch):
    scene = read(write(tmp_path, {"fl_x": 20, "fl_y": 20, **size}))
    assert scene.lens.focal == pytest.approx(focal)
    assert scene.lens.stretch == pytest.approx(stretch)
    assert scene.lens.shift == pytest.approx((0, 0))
    note = f"the pictures have 16 x 12 pixels, w and h are {told}: the camera is scaled to them"
    assert scene.notes == (() if told is None else (note,))


def test_a_camera_that_every_frame_repeats(tmp_path):
    scene = read(write(tmp_path, {}, frames(**PINHOLE, k1=0.0, camera_model="PINHOLE")))
    assert scene.lens.focal == 20
    assert read(write(tmp_path, PINHOLE, frames(fl_x=20))).lens.focal == 20


def test_pixels_that_are_not_square_and_an_axis_off_the_middle(tmp_path):
    scene = read(write(tmp_path, {**PINHOLE, "fl_y": 40.0, "cx": 8.5, "cy": 5.75}))
    assert towards(scene, 11, 0) == pytest.approx([(0.5 - 8.5) / 20, (5.75 - 11.5) / 40, -1], abs=1e-6)
    meta = scene.meta()
    assert meta["lens"] == [40, 8.5, 5.75]
    assert read(write(tmp_path, {**PINHOLE, "fl_y": 40.0})).meta()["lens"] == [40]
    assert "lens" not in read(write(tmp_path)).meta()
    # half the size tells the same camera
    half = read(write(tmp_path, {"fl_x": 40, "fl_y": 80, "cx": 17, "cy": 11.5, "w": 32, "h": 24}))
    assert half.lens == scene.lens
    network = nerf()
    opened = coinr.open_file(coinr.pack_signal(network, scene, profile="lossless"))
    assert opened.lens.stretch == 2
    assert opened.lens.shift == (0.5, -0.25)
    shown, _ = opened.restore(scene)
    inputs, _ = scene.judged.batch(torch.arange(12 * 16))
    assert np.abs(shown[0].reshape(-1, 3) / 255 - scene.predict(network, inputs).detach().numpy()).max() < 0.05


@pytest.mark.parametrize(
    ("top", "more", "message"),
    [
        (PINHOLE, {"k1": 0.05}, "distorted .k1."),
        ({**PINHOLE, "p2": -0.01}, {}, "distorted .p2."),
        ({**PINHOLE, "k6": 0.1}, {}, "distorted .k6."),
        ({**PINHOLE, "distortion_params": [0, 0.1]}, {}, "distorted .distortion_params."),
        ({**PINHOLE, "distortion": [0, 0.1]}, {}, "distorted .distortion."),
        (PINHOLE, {"distortion_coefficients": [0, 0.1]}, "distorted .distortion_coefficients."),
        ({**PINHOLE, "rolling_shutter": [0, 0, 1]}, {}, "rolling_shutter"),
        ({**PINHOLE, "camera_model": "OPENCV_FISHEYE"}, {}, "camera_model 'OPENCV_FISHEYE'"),
        (PINHOLE, {"camera_model": "EQUIRECTANGULAR"}, "camera_model 'EQUIRECTANGULAR'"),
        ({**PINHOLE, "is_fisheye": True}, {}, "is_fisheye"),
        ({**PINHOLE, "white_transparent": True}, {}, "white_transparent"),
        ({**PINHOLE, "from_na": True}, {}, "from_na"),
        (PINHOLE, {"mask_path": "m.png"}, "mask_path"),
        ({**PINHOLE, "cx": 2.0}, {}, r"\(cx, cy\)"),
        ({**PINHOLE, "cy": 11.0}, {}, r"\(cx, cy\)"),
        ({**PINHOLE, "fl_x": -3}, {}, "fl_x must be positive"),
        ({**PINHOLE, "fl_x": True}, {}, "fl_x is a number, got True"),
        ({**PINHOLE, "fl_x": 10**400}, {}, "fl_x is a number"),
        ({**PINHOLE, "fl_x": [20]}, {}, "fl_x is a number"),
        ({**PINHOLE, "near": "close"}, {}, "near is a number"),
        ({**PINHOLE, "camera_angle_x": 2.0}, {}, "contradict"),
        ({**PINHOLE, "w": 12, "h": 16}, {}, "16 x 12 pixels, w and h are 12 x 16"),
        ({"camera_angle_x": 4.0}, {}, "between 0 and 3.1416"),
        ({"cx": 8}, {}, "lacks a focal length"),
        ({**PINHOLE, "n_frames": 3}, {}, "n_frames is 3"),
        ({**PINHOLE, "train_filenames": "all"}, {}, "train_filenames is a list"),
        ({**PINHOLE, "test_filenames": ["images/9.png"]}, {}, "no picture images/9.png"),
        ({**PINHOLE, "test_filenames": ["other.png"]}, {}, "other.png, which is no frame"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(tmp_path, top, more, message):
    Image.new("RGB", SIZE).save(tmp_path / "other.png")
    with pytest.raises(InputError, match=f"{tmp_path.name}: .*{message}"):
        read(write(tmp_path, top, frames(**more)))


def test_frames_of_several_cameras_or_times_are_refused(tmp_path):
    listed = frames()
    for key, values in {"fl_x": (10, 12), "cy": (6, 6.1), "w": (16, 17), "time": (0.0, 0.5)}.items():
        changed = [{**frame, key: values[k % 2]} for k, frame in enumerate(listed)]
        with pytest.raises(InputError, match=rf"differ in {key}|values of {key}"):
            read(write(tmp_path, {} if key == "fl_x" else PINHOLE, changed))
    with pytest.raises(InputError, match="differ in fl_x"):
        read(write(tmp_path, PINHOLE, frames(fl_x=25)))
    with pytest.raises(InputError, match=r"images/0\.png lacks 'fl_x'"):
        read(write(tmp_path, {}, [listed[0], *frames(fl_x=20)[1:]]))
    near = [{**frame, "fl_x": 20 + 0.001 * k} for k, frame in enumerate(listed)]
    assert read(write(tmp_path, {}, near)).notes == ("frames differ a little in fl_x: the middle is taken",)


def test_what_is_not_used_is_told(tmp_path):
    harmless = {"aabb_scale": 4, "applied_transform": [[1, 0, 0, 0]], "ply_file_path": "a.ply", "scale": 0.3}
    scene = read(write(tmp_path, {**PINHOLE, **harmless}, frames(sharpness=3.0, colmap_im_id=1, rotation=0.1, time=0)))
    assert scene.notes == ()
    scene = read(write(tmp_path, {**PINHOLE, "weather": "fine"}, frames(depth_file_path="d.png")))
    assert scene.notes == ("not used: weather", "not used of frames: depth_file_path")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_byte_order_marks(tmp_path, encoding):
    assert len(read(write(tmp_path, encoding=encoding)).images) == 5


@pytest.mark.parametrize(
    ("form", "noted"),
    [
        ("images\\{}.png", False),
        (".\\images\\{}", False),
        ("./images/{}", False),
        ("C:\\Users\\me\\lego\\images\\{}.png", True),
        ("D:/lego/images/{}.png", True),
        ("/no/such/folder/images/{}", True),
        ("{here}/images/{}.png", False),
        ("../{name}/images/{}.png", False),
    ],
)
def test_names_of_pictures_from_every_system(tmp_path, form, noted):
    listed = [{**f, "file_path": form.format(k, here=tmp_path, name=tmp_path.name)} for k, f in enumerate(frames())]
    scene = read(write(tmp_path, PINHOLE, listed))
    assert scene.images[:, 0, 0, 0].tolist() == [40, 80, 120, 160, 200]
    assert ("not where" in "".join(scene.notes)) == noted


@pytest.mark.parametrize("name", ["images/9.png", "C:\\a\\9.png", "/9.png", "images", "x" * 200])
def test_missing_pictures_are_named(tmp_path, name):
    listed = frames()
    listed[3]["file_path"] = name
    with pytest.raises(InputError, match="there is no picture"):
        read(write(tmp_path, PINHOLE, listed))


@pytest.mark.parametrize("value", [3, "", None, ["a"], "a\0b"])
def test_frames_without_a_name_are_refused(tmp_path, value):
    with pytest.raises(InputError, match="file_path"):
        read(write(tmp_path, PINHOLE, frames(file_path=value)))


def test_pictures_of_two_sizes_are_named(tmp_path):
    write(tmp_path)
    Image.new("RGB", (8, 6)).save(tmp_path / "images" / "4.png")
    with pytest.raises(InputError, match=r"images/0\.png has 16 x 12 pixels, images/4\.png 8 x 6"):
        read(tmp_path)


def test_notes_on_pictures_are_counted(tmp_path):
    write(tmp_path)
    for k in (2, 4):
        pages = [Image.new("RGB", SIZE, (shade,) * 3) for shade in (40 * k, 7)]
        pages[0].save(tmp_path / "images" / f"{k}.png", save_all=True, append_images=pages[1:])
    (note,) = read(tmp_path).notes
    assert note.startswith("2 pictures: the first")


def test_lists_tell_views_apart(tmp_path):
    lists = {"train_filenames": ["images/1.png", "./images/2", "images\\3.png"], "test_filenames": ["images/0.png"]}
    scene = read(write(tmp_path, {**PINHOLE, **lists}))
    assert scene.images[:, 0, 0, 0].tolist() == [40, 80, 120]
    assert scene.judged.images[:, 0, 0, 0].tolist() == [0]
    assert scene.notes == ("2 of 6 views are not used, as the lists in transforms.json say",)
    scene = read(write(tmp_path, {**PINHOLE, "val_filenames": ["images/5.png"], "test_filenames": []}))
    assert (len(scene.images), scene.judged.images[:, 0, 0, 0].tolist(), scene.notes) == (5, [200], ())
    scene = read(write(tmp_path, {**PINHOLE, "test_filenames": ["images/5.png"], "train_filenames": [
        f"images/{k}.png" for k in range(6)]}))  # fmt: skip
    assert scene.notes == ("1 of 6 views are both trained on and judged by, as transforms.json says",)


def test_files_to_judge_by(tmp_path):
    write(tmp_path, name="transforms_train.json")
    write(tmp_path, listed=frames(2), name="transforms_val.json")
    scene = read(tmp_path)
    assert (len(scene.images), len(scene.judged.images), scene.notes) == (6, 2, ())
    write(tmp_path, listed=frames(3), name="transforms_test.json")
    write(tmp_path)
    scene = read(tmp_path)
    assert len(scene.judged.images) == 3
    assert scene.notes == ("transforms_val.json is not used", "transforms.json is not used")
    write(tmp_path, {**PINHOLE, "near": 1, "far": 9}, frames(3), name="transforms_test.json")
    assert "near and far of transforms_test.json are not used" in read(tmp_path).notes
    write(tmp_path, {**PINHOLE, "near": 1, "far": 9}, name="transforms_train.json")
    assert read(tmp_path).notes == scene.notes
    write(tmp_path, {**PINHOLE, "fl_x": 25}, frames(3), name="transforms_test.json")
    with pytest.raises(InputError, match=r"transforms_train\.json and transforms_test\.json differ"):
        read(tmp_path)


def test_one_file_is_a_scene_too(tmp_path):
    write(tmp_path, name="right.json")
    assert len(coinr.open_signal(tmp_path / "right.json").images) == 5
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(InputError, match=r"other\.json: .*no object"):
        coinr.open_signal(tmp_path / "other.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"frames": [', "truncated"),
        ('{"frames": [{"file_path": "a', "truncated"),
        ('{"frames": [], "frames": []}', "'frames' twice"),
        ('{"fl_x": NaN, "frames": []}', "NaN"),
        ('{"fl_x": 1, "frames": [] oops}', "damaged"),
        ("\udce9", "UTF-8"),
        ("[" * 100_000, "damaged"),
        ('{"fl_x": ' + "9" * 5000 + "}", "damaged"),
        ("{}", "frames"),
        ('{"frames": [3]}', "frames"),
        ("", "the file is empty"),
    ],
)
def test_damaged_files_are_refused(tmp_path, text, message):
    (tmp_path / "transforms.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=rf"^{tmp_path}: transforms\.json: [^/]*{message}"):
        read(tmp_path)


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
    for poses, centre, elevation in ((turning((5, 1, -2)), (5, 1, -2), 30), (outward(), (0, 0, 0.6946), -10)):
        orbit = orbit_of(poses.astype(np.float32))
        assert orbit.radius == 0
        assert orbit.centre == pytest.approx(centre, abs=1e-3)
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
    with pytest.raises(InputError, match="centre must be a tuple of a number, a number"):
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


@pytest.mark.parametrize("name", ["images", "poses", "focal", "near", "far", "samples", "focal_y", "centre"])
@pytest.mark.parametrize("value", WRONG, ids=lambda value: str(value)[:20].partition(" at ")[0])
def test_wrong_arguments_of_a_scene_are_named_or_stand_for_defaults(name, value):
    images, poses = disc_views([0, 90, 180])
    good = {"images": images, "poses": poses, "focal": 14.4, "near": 2.0, "far": 6.0, "samples": (4, 4)}
    if value is None and name in ("near", "far", "focal_y", "centre"):
        assert SceneSignal(**{**good, name: None}).lens.far == 6
        return
    with pytest.raises(InputError, match="number|array|views|poses|samples|focal|near|centre"):
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
