"""transforms.json as its writers write it: what is used, what is refused by name, what is noted."""

import numpy as np
import pytest
import torch
from PIL import Image

import coinr
from coinr.errors import InputError
from tests.small_signals import nerf

from .transforms_json import ANGLE, PINHOLE, SIZE, frames, read, towards, write


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
    ("size", "declared", "focal", "stretch"),
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
def test_sizes_other_than_the_pictures_scale_the_camera_with_a_note(tmp_path, size, declared, focal, stretch):
    scene = read(write(tmp_path, {"fl_x": 20, "fl_y": 20, **size}))
    assert scene.lens.focal == pytest.approx(focal)
    assert scene.lens.stretch == pytest.approx(stretch)
    assert scene.lens.shift == pytest.approx((0, 0))
    note = f"the pictures have 16 x 12 pixels, w and h are {declared}: the camera is scaled to them"
    assert scene.notes == (() if declared is None else (note,))


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
    inputs, _ = scene.eval_split.batch(torch.arange(12 * 16))
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


def test_what_is_not_used_is_reported(tmp_path):
    ignored = {"aabb_scale": 4, "applied_transform": [[1, 0, 0, 0]], "ply_file_path": "a.ply", "scale": 0.3}
    scene = read(write(tmp_path, {**PINHOLE, **ignored}, frames(sharpness=3.0, colmap_im_id=1, rotation=0.1, time=0)))
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
    assert scene.eval_split.images[:, 0, 0, 0].tolist() == [0]
    assert scene.notes == ("2 of 6 views are not used, as the lists in transforms.json say",)
    scene = read(write(tmp_path, {**PINHOLE, "val_filenames": ["images/5.png"], "test_filenames": []}))
    assert (len(scene.images), scene.eval_split.images[:, 0, 0, 0].tolist(), scene.notes) == (5, [200], ())
    scene = read(write(tmp_path, {**PINHOLE, "test_filenames": ["images/5.png"], "train_filenames": [
        f"images/{k}.png" for k in range(6)]}))  # fmt: skip
    assert scene.notes == ("1 of 6 views are both trained and evaluated on, as transforms.json says",)


def test_files_to_test_on(tmp_path):
    write(tmp_path, name="transforms_train.json")
    write(tmp_path, listed=frames(2), name="transforms_val.json")
    scene = read(tmp_path)
    assert (len(scene.images), len(scene.eval_split.images), scene.notes) == (6, 2, ())
    write(tmp_path, listed=frames(3), name="transforms_test.json")
    write(tmp_path)
    scene = read(tmp_path)
    assert len(scene.eval_split.images) == 3
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
