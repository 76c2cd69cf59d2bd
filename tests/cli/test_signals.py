"""The command line with every kind of signal: to a file, back, compared, pictured."""

import json
import re
import signal
import subprocess
import sys

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
import torch
import trimesh
from click.testing import CliRunner
from PIL import Image

import coinr
from coinr.cli import cli
from tests.grids import fast_where
from tests.signals.test_scene import write_folder
from tests.small_signals import RATE, ball, disc_scene, disc_views, distance, siren, tones

QUICK = ("--width", 12, "--hidden-layers", 1, "--steps", 40, "--profile", "uniform", "--threads", 1)


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def succeed(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def report(*arguments):
    return json.loads(succeed(*arguments, "--json"))


def refuse(*arguments, code=1):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert re.fullmatch(r"coinr[^\n]*: error: [^\n]+\n", result.stderr), result.stderr
    return result.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with an original of every kind and the files made of them."""
    folder = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(0)
    coinr.write_image(folder / "wide.png", rng.integers(0, 2**16, (15, 10), dtype=np.uint16))
    coinr.write_image(folder / "alpha.png", np.dstack([rng.integers(0, 255, (15, 10), dtype=np.uint8)] * 4))
    coinr.write_audio(folder / "mono.wav", tones(), RATE)
    coinr.write_audio(folder / "stereo.flac", np.stack((tones(), tones()[::-1]), 1), RATE)
    np.save(folder / "solid.npy", ball(12))
    np.savez(folder / "sdf.npz", sdf=distance(12))
    trimesh.creation.icosphere(subdivisions=2, radius=2.0).export(folder / "mesh.ply")
    scene = disc_scene()
    arrays = {"images": scene.images, "poses": scene.poses, "focal": 14.4, "near": 2.0, "far": 6.0}
    np.savez(folder / "scene.npz", **arrays, test_images=scene.eval_split.images, test_poses=scene.eval_split.poses)
    write_folder(folder / "scene", azimuths=(0, 50, 100))
    options = {
        "mesh.ply": ("--grid", 16, "--learning-rate", 0.01),
        "scene.npz": ("--samples", "8,8"),
        "scene": ("--samples", "8,0"),
    }
    for path in sorted(folder.iterdir()):
        result = report("encode", path, "-o", folder / f"{path.stem}-{path.suffix[1:]}.coinr", *QUICK,
                        *options.get(path.name, ()))  # fmt: skip
        (folder / f"{path.name}.json").write_text(json.dumps(result))
    return folder


ALL = {
    "wide-png": ("wide.png", "image", "image 15 x 10, 1 channel of 16 bits"),
    "alpha-png": ("alpha.png", "image", "image 15 x 10, 4 channels of 8 bits"),
    "mono-wav": ("mono.wav", "audio", "audio 0.25 s at 8000 Hz, 1 channel"),
    "stereo-flac": ("stereo.flac", "audio", "audio 0.25 s at 8000 Hz, 2 channels"),
    "solid-npy": ("solid.npy", "shape", "shape 12 x 12 x 12 voxels of occupancy"),
    "sdf-npz": ("sdf.npz", "shape", "shape 12 x 12 x 12 voxels of signed distance"),
    "mesh-ply": ("mesh.ply", "shape", "shape 16 x 16 x 16 voxels of occupancy"),
    "scene-npz": ("scene.npz", "scene", "scene of views 12 x 12, 8 + 8 depths a ray"),
    "scene-": ("scene", "scene", "scene of views 12 x 12, 8 + 0 depths a ray"),
}
METRICS = {
    "image": {"psnr", "ssim", "ms_ssim"},
    "audio": {"snr"},
    "shape": {"iou", "chamfer"},
    "scene": {"psnr", "ssim", "psnr_by_view"},
}


@pytest.mark.parametrize(
    "name", fast_where(lambda name: name in ("wide-png", "stereo-flac", "solid-npy", "scene-"), ALL)
)
def test_every_kind_is_encoded_compared_and_described(made, name):
    original, kind, described = ALL[name]
    file = made / f"{name}.coinr"
    encoded = json.loads((made / f"{original}.json").read_text())
    assert (encoded["kind"], encoded["signal"]) == (kind, described)
    assert encoded["bytes"] == file.stat().st_size
    compared = report("compare", made / original, file)
    assert METRICS[kind] <= compared.keys()
    metric = {"audio": "snr", "shape": "iou"}.get(kind, "psnr")
    # a mean over views is not that of all their pixels, and views are rounded
    assert compared[metric] == pytest.approx(encoded[metric], abs=0.5 if kind == "scene" else 0.02)
    assert succeed("info", file).startswith(f"{described}\nnetwork: kind ")
    assert report("info", file)["signal"] == described


@pytest.mark.parametrize(
    "name", fast_where(lambda name: name != "mesh-ply", ["wide-png", "stereo-flac", "mesh-ply", "scene-npz"])
)
def test_pictures_of_every_kind(made, tmp_path, name):
    original, kind, _ = ALL[name]
    succeed("compare", made / original, made / f"{name}.coinr", "-o", tmp_path / "c.png")
    seen = report("preview", made / f"{name}.coinr", "-o", tmp_path / "p.jpg")
    assert seen["kind"] == kind
    for path in (tmp_path / "c.png", tmp_path / "p.jpg"):
        image = coinr.read_image(path)
        assert min(image.shape[:2]) > 100
        assert image.std() > 5
    assert (seen["height"], seen["width"]) == image.shape[:2]


def test_pictures_of_sixteen_bits_and_with_alpha(made, tmp_path):
    succeed("decode", made / "wide-png.coinr", "-o", tmp_path / "a.png")
    assert coinr.read_image(tmp_path / "a.png").dtype == np.uint16
    succeed("decode", made / "alpha-png.coinr", "-o", tmp_path / "b.webp", "--scale", 2)
    assert coinr.read_image(tmp_path / "b.webp").shape == (30, 20, 4)
    assert "16-bit" in refuse("decode", made / "wide-png.coinr", "-o", tmp_path / "c.jpg")
    assert "alpha" in refuse("decode", made / "alpha-png.coinr", "-o", tmp_path / "c.jpg")
    assert not (tmp_path / "c.jpg").exists()


def test_sounds_at_any_rate(made, tmp_path):
    assert report("decode", made / "mono-wav.coinr", "-o", tmp_path / "a.wav") == {
        "file": str(tmp_path / "a.wav"), "samples": 2000, "rate": RATE, "channels": 1}  # fmt: skip
    succeed("decode", made / "stereo-flac.coinr", "-o", tmp_path / "b.flac", "--rate", 12_000)
    found = soundfile.info(tmp_path / "b.flac")
    assert (found.frames, found.samplerate, found.channels) == (3000, 12_000, 2)
    assert "must end in .wav .flac" in refuse("decode", made / "mono-wav.coinr", "-o", tmp_path / "a.mp3")


def test_shapes_as_volumes_and_meshes(made, tmp_path):
    succeed("decode", made / "solid-npy.coinr", "-o", tmp_path / "a.npy", "--grid", 20)
    assert np.load(tmp_path / "a.npy").shape == (20, 20, 20)
    assert report("decode", made / "sdf-npz.coinr", "-o", tmp_path / "a.npz")["dtype"] == "float32"
    assert np.load(tmp_path / "a.npz")["sdf"].shape == (12, 12, 12)
    for suffix in (".ply", ".stl", ".obj"):
        counts = report("decode", made / "mesh-ply.coinr", "-o", tmp_path / f"a{suffix}", "--grid", 24)
        mesh = trimesh.load_mesh(tmp_path / f"a{suffix}")
        assert len(mesh.faces) == counts["triangles"]
    assert "must end in .npy" in refuse("decode", made / "solid-npy.coinr", "-o", tmp_path / "a.png")


def test_scenes_as_views_films_and_depths(made, tmp_path):
    file = made / "scene-npz.coinr"
    assert report("decode", file, "-o", tmp_path / "a.png", "--size", "9x14")["views"] == 1
    assert coinr.read_image(tmp_path / "a.png").shape == (9, 14, 3)
    succeed("decode", file, "-o", tmp_path / "depth.png", "--depth")
    depth = coinr.read_image(tmp_path / "depth.png")
    assert (depth.dtype, depth.shape) == (np.uint16, (12, 12))
    succeed("decode", file, "-o", tmp_path / "views", "--views", 3)
    assert sorted(p.name for p in (tmp_path / "views").iterdir()) == ["view_000.png", "view_001.png", "view_002.png"]
    succeed("decode", file, "-o", tmp_path / "a.gif", "--turntable", 5, "--scale", 2)
    with Image.open(tmp_path / "a.gif") as film:
        assert (film.n_frames, film.size, film.info["loop"]) == (5, (24, 24), 0)
    succeed("decode", file, "-o", tmp_path / "a.mp4", "--turntable", 4, "--size", "33x31", "--depth")
    assert imageio_ffmpeg.count_frames_and_secs(tmp_path / "a.mp4")[0] == 4


def test_outputs_that_do_not_suit_a_scene_are_refused(made, tmp_path):
    file = made / "scene-npz.coinr"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "keep.txt").touch()
    (tmp_path / "file").touch()
    assert "not empty" in refuse("decode", file, "-o", tmp_path / "full")
    assert "is a file" in refuse("decode", file, "-o", tmp_path / "file")
    assert "must end in .png .gif .mp4" in refuse("decode", file, "-o", tmp_path / "a.jpg")
    assert "folder" in refuse("decode", file, "-o", tmp_path / "a.png", "--views", 3, code=2)
    assert ".gif or .mp4" in refuse("decode", file, "-o", tmp_path / "new", "--turntable", 3, code=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "full"]
    (tmp_path / "empty").mkdir()
    succeed("decode", file, "-o", tmp_path / "empty", "--views", 1)
    assert len(list((tmp_path / "empty").iterdir())) == 1


def test_a_folder_of_views_is_whole_or_not_there(made, tmp_path, monkeypatch):
    from coinr.signals.scene import movies

    def fail_at_second(path, picture):
        if path.name == "view_001.png":
            raise OSError(28, "No space left on device")
        write(path, picture)

    write = movies.write_image
    monkeypatch.setattr(movies, "write_image", fail_at_second)
    assert "No space left" in refuse("decode", made / "scene-npz.coinr", "-o", tmp_path / "views", "--views", 3)
    assert list(tmp_path.iterdir()) == []


def test_libraries_that_are_missing_are_named_with_what_installs_them(made, tmp_path, monkeypatch):
    for module in ("imageio_ffmpeg", "soundfile", "trimesh"):
        monkeypatch.setitem(sys.modules, module, None)
    message = refuse("decode", made / "scene-npz.coinr", "-o", tmp_path / "a.mp4")
    assert "pip install imageio-ffmpeg, or pip install '.[video]'" in message
    assert "pip install soundfile, or pip install '.[signals]'" in refuse(
        "decode", made / "mono-wav.coinr", "-o", tmp_path / "a.wav"
    )
    message = refuse("encode", made / "mesh.ply", "-o", tmp_path / "a.coinr")
    assert "this needs trimesh, which is not installed: pip install trimesh, or pip install '.[signals]'" in message
    assert list(tmp_path.iterdir()) == []


def test_content_decides_and_not_the_suffix(made, tmp_path):
    for original in ("mono.wav", "solid.npy", "wide.png", "scene.npz"):
        renamed = tmp_path / f"{original}.dat"
        renamed.write_bytes((made / original).read_bytes())
        assert type(coinr.open_signal(renamed)) is type(coinr.open_signal(made / original))


def test_bad_originals_are_reported_on_one_line_before_any_work(made, tmp_path):
    bad = tmp_path / "bad"
    bad.mkdir()
    soundfile.write(bad / "empty.wav", tones()[:0], RATE)
    (bad / "cut.wav").write_bytes((made / "mono.wav").read_bytes()[:30])
    (bad / "cut.npz").write_bytes((made / "scene.npz").read_bytes()[:500])
    np.save(bad / "nan.npy", np.full((3, 3, 3), np.nan))
    np.save(bad / "flat.npy", np.zeros((3, 3)))
    mesh = trimesh.creation.icosphere(subdivisions=1)
    mesh.update_faces(np.arange(len(mesh.faces)) > 3)
    mesh.export(bad / "open.stl")
    images, poses = disc_views([0, 90])
    np.savez(bad / "lost.npz", images=images, focal=9.0)
    np.savez(bad / "few.npz", images=images, poses=poses, focal=9.0)
    (bad / "nothing.wav").touch()
    for suffix in ("wav", "npz", "obj", "dat"):
        (bad / f"text.{suffix}").write_text("something else altogether")
    for name, message in {
        "empty.wav": "the sound is empty",
        "cut.wav": "damaged",
        "cut.npz": "damaged",
        "nan.npy": "NaN",
        "flat.npy": "one volume",
        "open.stl": "watertight",
        "lost.npz": "poses missing",
        "few.npz": "two views",
        "nothing.wav": "the file is empty",
        "text.wav": "damaged or unsupported sound",
        "text.npz": "damaged or unsupported array file",
        "text.obj": "not a mesh",
        "text.dat": "its content is of no kind that can be read",
    }.items():
        printed = refuse("encode", bad / name, "-o", tmp_path / "a.coinr", "--steps", 10**9)
        assert message in printed
        assert name in printed
    assert not (tmp_path / "a.coinr").exists()


def test_originals_of_another_kind_or_size_are_reported(made):
    assert "is of kind audio" in refuse("compare", made / "mono.wav", made / "wide-png.coinr")
    assert "2 channels" in refuse("compare", made / "stereo.flac", made / "mono-wav.coinr")


def test_one_pixel_and_one_sample(tmp_path):
    coinr.write_image(tmp_path / "a.png", np.full((1, 1), 200, np.uint8))
    succeed("encode", tmp_path / "a.png", "-o", tmp_path / "a.coinr", *QUICK)
    succeed("decode", tmp_path / "a.coinr", "-o", tmp_path / "b.png", "--size", "2x3")
    assert coinr.read_image(tmp_path / "b.png").shape == (2, 3)
    coinr.write_audio(tmp_path / "a.wav", np.array([0.25], np.float32), RATE)
    assert report("encode", tmp_path / "a.wav", "-o", tmp_path / "c.coinr", *QUICK)["signal"].startswith("audio 0.00 s")


@pytest.mark.parametrize("network", ["siren", "finer", "gauss", "wire", "relu"])
def test_every_network_shows_a_picture(made, tmp_path, network):
    succeed("encode", made / "alpha.png", "-o", tmp_path / "a.coinr", *QUICK, "--network", network)
    assert report("info", tmp_path / "a.coinr")["network"]["kind"] == network
    succeed("decode", tmp_path / "a.coinr", "-o", tmp_path / "a.png")
    assert coinr.read_image(tmp_path / "a.png").shape == (15, 10, 4)


def test_a_fit_goes_on_from_its_checkpoint(made, tmp_path):
    command = ("encode", made / "wide.png", "-o", tmp_path / "a.coinr", *QUICK, "--checkpoint", tmp_path / "state")
    first = report(*command)
    assert (tmp_path / "state").exists()
    blob = (tmp_path / "a.coinr").read_bytes()
    assert report(*command)["psnr"] == first["psnr"]
    assert (tmp_path / "a.coinr").read_bytes() == blob
    assert "checkpoint" in refuse(*command, "--batch", 7)


# The command, killed right after the twelfth checkpoint.
KILLED = """
import os, signal, sys
from coinr import cli
from coinr.fitting import checkpoint

saves, save = iter(range(11)), checkpoint.save

def save_and_die(path, state):
    save(path, state)
    if next(saves, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)

checkpoint.save = save_and_die
cli.main()
"""


@pytest.mark.slow
def test_a_killed_encode_leaves_no_file_and_goes_on(made, tmp_path):
    options = (*QUICK, "--network", "gauss")
    command = ("encode", made / "solid.npy", "-o", tmp_path / "a.coinr", *options, "--checkpoint", tmp_path / "state")
    killed = [sys.executable, "-c", KILLED, *command, "--checkpoint-every", 0]
    assert subprocess.run([str(part) for part in killed], check=False).returncode == -signal.SIGKILL
    assert {path.name for path in tmp_path.iterdir()} == {"state"}
    steps = torch.load(tmp_path / "state", weights_only=True)["state"]["step"]
    assert 0 < steps < 30
    succeed(*command)
    succeed("encode", made / "solid.npy", "-o", tmp_path / "b.coinr", *options)
    assert (tmp_path / "a.coinr").read_bytes() == (tmp_path / "b.coinr").read_bytes()


def test_a_fit_ends_at_its_target(made, tmp_path):
    command = ("encode", made / "wide.png", "-o", tmp_path / "a.coinr", *QUICK)
    assert report(*command, "--target", 1)["steps"] < report(*command, "--optimizer", "soap")["steps"] == 40


def test_notes_of_a_signal_go_to_stderr_once_and_to_scripts_as_a_list(made, tmp_path, monkeypatch):
    signal = coinr.open_signal(made / "wide.png")
    signal.notes = ("the first of 12 frames is taken", "a second note")
    monkeypatch.setattr("coinr.signals.open_signal.open_signal", lambda *_, **__: signal)
    lines = [f"coinr: note: {made / 'wide.png'}: {note}" for note in signal.notes]
    for arguments in (
        ("encode", made / "wide.png", "-o", tmp_path / "out.coinr", *QUICK),
        ("compare", made / "wide.png", made / "wide-png.coinr"),
    ):
        result = run(*arguments)
        assert result.exit_code == 0, result.stderr
        # encode may add that the picture is smaller in other formats
        assert [line for line in result.stderr.splitlines() if "bytes are more than" not in line] == lines
        assert report(*arguments)["notes"] == list(signal.notes)


def without_inside(volume):
    """A file of the volume's size whose network shows nothing inside."""
    network = siren(3, 1)
    signal = coinr.ShapeSignal(volume)
    with torch.no_grad():
        network.layers[-1].weight.zero_()
        network.layers[-1].bias.fill_(-1.0 if signal.scale is None else 1.0)
    return signal, coinr.pack_signal(network, signal, profile="lossless")


@pytest.mark.parametrize("volume", [ball(6), distance(6)], ids=["occupancy", "distance"])
def test_pictures_of_an_empty_shape_come_with_a_word(tmp_path, volume):
    signal, blob = without_inside(volume)
    opened = coinr.open_file(blob)
    assert opened.remarks(opened.restore()) == ("the shape is empty: no voxel lies inside",)
    assert opened.remarks(signal.volume.astype(np.float32)) == ()
    (tmp_path / "a.coinr").write_bytes(blob)
    np.save(tmp_path / "a.npy", volume)
    for command in (["preview"], ["compare", tmp_path / "a.npy"]):
        done = run(*command, tmp_path / "a.coinr", "-o", tmp_path / "a.png", "--json")
        assert f"note: {tmp_path / 'a.coinr'}: the shape is empty" in done.stderr
        assert json.loads(done.stdout)["notes"] == ["the shape is empty: no voxel lies inside"]
