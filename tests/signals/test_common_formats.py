"""What a signal takes in formats that everybody has, and what the command line says of it."""

import io
import json
import zlib

import numpy as np
import pytest
import skimage.data
import soundfile
from PIL import Image

import coinr
from coinr.signals.common_formats import CommonFormat, _least, common_formats, smaller_formats
from tests.cli.command import run
from tests.small_signals import RATE, ball, disc_scene, tones

PICTURE = np.ascontiguousarray(skimage.data.astronaut()[80:272:4, 120:376:4])


def by_name(signal, score):
    return {one.name: one for one in common_formats(signal, score)}


def test_a_picture_as_png_and_as_the_smallest_jpeg_and_webp_of_its_quality():
    found = by_name(coinr.ImageSignal(PICTURE), 25.0)
    assert list(found) == ["PNG", "JPEG", "WebP"]
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, "PNG")
    assert found["PNG"].bytes == pytest.approx(buffer.tell(), rel=0.05)
    assert found["PNG"].score is None
    sizes = []
    for quality in range(1, 96):
        buffer = io.BytesIO()
        Image.fromarray(PICTURE).save(buffer, "JPEG", quality=quality)
        if coinr.psnr(np.asarray(Image.open(buffer)), PICTURE) >= 25:
            sizes.append(len(buffer.getvalue()))
    assert min(sizes) <= found["JPEG"].bytes <= 1.02 * min(sizes)
    for one in ("JPEG", "WebP"):
        assert 25 <= found[one].score < 26
        assert found[one].bytes < found["PNG"].bytes
    assert list(by_name(coinr.ImageSignal(PICTURE), 90.0)) == ["PNG"]


@pytest.mark.parametrize(
    ("picture", "names"),
    [
        (PICTURE[..., 0], ["PNG", "JPEG", "WebP"]),
        (PICTURE[..., :2], ["PNG"]),
        (np.dstack([PICTURE, PICTURE[..., :1]]), ["PNG", "WebP"]),
        (PICTURE.astype(np.uint16) * 257, ["PNG"]),
        (PICTURE / 255, ["JPEG", "WebP"]),
    ],
)
def test_formats_that_lack_the_channels_are_left_out(picture, names):
    assert list(by_name(coinr.ImageSignal(picture), 20.0)) == names


@pytest.mark.parametrize(("subtype", "names"), [("PCM_16", ["FLAC", "Ogg Vorbis"]), ("FLOAT", ["Ogg Vorbis"])])
def test_a_sound_as_flac_and_as_the_smallest_vorbis_of_its_quality(tmp_path, subtype, names):
    soundfile.write(tmp_path / "a.wav", np.tile(tones(), 4) * 0.7, RATE, subtype=subtype)
    found = by_name(coinr.open_signal(tmp_path / "a.wav"), 5.0)
    assert list(found) == names
    assert found["Ogg Vorbis"].score >= 5
    if subtype == "PCM_16":
        data, rate = soundfile.read(tmp_path / "a.wav", dtype="int16")
        soundfile.write(tmp_path / "a.flac", data, rate, compression_level=1.0)
        assert found["FLAC"] == CommonFormat("FLAC", (tmp_path / "a.flac").stat().st_size, None)


def test_a_volume_deflated_and_a_scene_as_nothing():
    volume = ball(20)
    size = len(zlib.compress(np.packbits(volume).tobytes(), 9))
    assert common_formats(coinr.ShapeSignal(volume), 0.9) == [CommonFormat("deflated voxels", size, None)]
    assert common_formats(disc_scene(), 20.0) == []


def test_the_lowest_quality_that_is_good_enough_is_found_by_halves():
    tried = []

    def encode(quality):
        tried.append(quality)
        return 100 + quality, quality / 2

    assert _least("a", encode, range(1, 96), 20.2) == [CommonFormat("a", 141, 20.5)]
    assert len(tried) <= 7
    assert _least("a", encode, range(1, 96), 47.6) == []
    assert _least("a", lambda _: None, range(1, 96), 1.0) == []


def test_only_smaller_formats_are_reported():
    formats = [CommonFormat("PNG", 900, None), CommonFormat("WebP", 80, 30.0)]
    assert smaller_formats(80, formats) is None
    assert smaller_formats(81, formats) == "81 bytes are more than WebP of this quality, 80"
    both = smaller_formats(901, formats)
    assert both == "901 bytes are more than WebP of this quality, 80 and PNG without loss, 900"


def test_the_command_line_says_so_on_one_line_and_in_json(tmp_path):
    coinr.write_image(tmp_path / "a.png", PICTURE)
    size = ("--width", 64, "--hidden-layers", 1, "--steps", 3, "--profile", "uniform")
    arguments = ("encode", tmp_path / "a.png", "-o", tmp_path / "a.coinr", *size)
    printed = run(*arguments)
    assert printed.exit_code == 0, printed.stderr
    assert printed.stderr.count("\n") == 1
    assert "bytes are more than WebP of this quality" in printed.stderr
    assert run(*arguments, "--quiet").stderr == ""
    values = json.loads(run(*arguments, "--quiet", "--json").stdout)
    assert [one["name"] for one in values["common_formats"]] == ["PNG", "JPEG", "WebP"]
    assert values["common_formats"][0]["psnr"] is None
    assert values["common_formats"][1]["psnr"] >= values["psnr"]
