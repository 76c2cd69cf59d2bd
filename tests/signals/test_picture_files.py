"""Picture files of all kinds show what other programs show, with 16 bits as with 8."""

import json
import struct

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

import coinr
from coinr.cli import cli
from coinr.errors import InputError
from coinr.signals.image.decoding import decode_picture
from coinr.signals.image.files import read_image, read_picture, write_image

from .picture_files import GRAY, GRAY_ALPHA, HEIGHT, RGB, RGBA, TIFF, WIDTH, check, chunk, jpeg_2000, levels, write_png


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("unit", [GRAY, GRAY_ALPHA, RGB, RGBA], ids=["grey", "grey and alpha", "rgb", "rgba"])
@pytest.mark.parametrize("interlace", [False, True])
def test_png_files(tmp_path, unit, bits, interlace):
    channels = np.atleast_3d(unit).shape[2]
    write_png(
        tmp_path / "a.png",
        levels(unit, bits),
        greyscale=channels < 3,
        alpha=channels in (2, 4),
        bitdepth=bits,
        interlace=interlace,
    )
    check(tmp_path / "a.png", levels(unit, bits) / (2**bits - 1), bits, 1e-9)


@pytest.mark.parametrize(("bits", "significant"), [(8, 5), (16, 5), (16, 8), (16, 10), (16, 12), (16, 16)])
@pytest.mark.parametrize("unit", [GRAY, RGB], ids=["grey", "rgb"])
def test_significant_bits_leave_the_brightness_alone(tmp_path, unit, bits, significant):
    stored = levels(unit, bits) >> (bits - significant) << (bits - significant)
    channels = np.atleast_3d(unit).shape[2]
    said = chunk(b"sBIT", bytes([significant] * channels))
    write_png(tmp_path / "a.png", stored, said, greyscale=channels == 1, bitdepth=bits)
    check(tmp_path / "a.png", stored / (2**bits - 1), bits, 1e-9)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_grey_level(tmp_path, bits):
    stored = levels(GRAY, bits)
    key = int(stored[3, 4])
    write_png(tmp_path / "a.png", stored, greyscale=True, bitdepth=bits, transparent=key)
    check(tmp_path / "a.png", np.dstack((stored / (2**bits - 1), stored != key)), max(bits, 8), 1e-9)


def test_a_transparent_level_of_16_bits_is_not_that_of_8(tmp_path):
    stored = np.full((2, 2), 0x1234, np.uint16)
    stored[0, 0] = 0x1235
    write_png(tmp_path / "a.png", stored, greyscale=True, bitdepth=16, transparent=0x1234)
    assert read_image(tmp_path / "a.png")[..., 1].tolist() == [[65535, 0], [0, 0]]


@pytest.mark.parametrize("bits", [8, 16])
def test_a_transparent_colour(tmp_path, bits):
    stored = levels(RGB, bits)
    key = tuple(map(int, stored[3, 4]))
    write_png(tmp_path / "a.png", stored, greyscale=False, bitdepth=bits, transparent=key)
    check(tmp_path / "a.png", np.dstack((RGB, (stored != key).any(-1))), bits, 1e-9)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_png_of_few_bits(tmp_path, bits):
    write_png(tmp_path / "a.png", levels(GRAY, bits), greyscale=True, bitdepth=bits)
    check(tmp_path / "a.png", levels(GRAY, bits) / (2**bits - 1), 8, 1e-9)


@pytest.mark.parametrize("alpha", [False, True])
def test_palettes_of_png(tmp_path, alpha):
    palette = np.arange(16 * (3 + alpha)).reshape(16, -1) * (255 // 64)
    index = levels(GRAY, 4)
    write_png(tmp_path / "a.png", index, palette=[tuple(map(int, row)) for row in palette], bitdepth=4)
    check(tmp_path / "a.png", palette[index] / 255, 8, 1e-9)


@pytest.mark.parametrize("bits", [8, 16])
def test_png_files_are_turned_upright(tmp_path, bits):
    exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    stored = np.ascontiguousarray(levels(np.rot90(RGB), bits))
    write_png(tmp_path / "a.png", stored, chunk(b"eXIf", exif), greyscale=False, bitdepth=bits)
    check(tmp_path / "a.png", RGB, bits, 1e-9)


@pytest.mark.parametrize(("name", "options"), [("a.gif", {}), ("a.webp", {"lossless": True}), ("a.png", {})])
def test_of_an_animation_the_first_frame_is_read_with_a_note(tmp_path, name, options):
    first, *rest = (Image.fromarray(levels(unit, 8)) for unit in (RGB, RGB[::-1], RGB[:, ::-1]))
    first.save(tmp_path / name, save_all=True, append_images=rest, **options)
    image, notes = read_picture(tmp_path / name)
    assert np.abs(image / 255 - RGB).max() < 0.01
    assert notes == ("the first of 3 frames is taken",)
    assert coinr.open_signal(tmp_path / name).notes == notes


def test_notes_of_an_animation_reach_the_command_line(tmp_path):
    first, second = (Image.fromarray(levels(unit, 8)) for unit in (RGB, RGB[::-1]))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    quick = ["--width", "8", "--hidden-layers", "1", "--steps", "2", "--profile", "uniform", "--json"]
    result = CliRunner().invoke(cli, ["encode", str(tmp_path / "a.gif"), "-o", str(tmp_path / "a.coinr"), *quick])
    assert result.exit_code == 0, result.stderr
    lines = [line for line in result.stderr.splitlines() if "bytes are more than" not in line]
    assert lines == [f"coinr: note: {tmp_path / 'a.gif'}: the first of 2 frames is taken"]
    assert json.loads(result.stdout)["notes"] == ["the first of 2 frames is taken"]


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("unit", [GRAY, GRAY_ALPHA, RGB, RGBA], ids=["grey", "grey and alpha", "rgb", "rgba"])
@pytest.mark.parametrize("kind", ["jp2", "j2k"])
def test_jpeg_2000_of_more_than_8_bits_is_read_with_16(tmp_path, unit, bits, kind):
    unit = unit / unit.max()  # full scale is there, too
    (tmp_path / "a").write_bytes(jpeg_2000(unit, bits, kind))
    check(tmp_path / "a", levels(unit, bits) / (2**bits - 1), 8 if bits == 8 else 16, 1 / 65535)
    assert read_picture(tmp_path / "a")[1] == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({b"\x01\0\0\0\0\0\x10": b"\x01\0\0\0\0\0\x0e"}, "colours of kind 14"),
        ({b"\x0f\x01\x01\x0f": b"\x0b\x01\x01\x0f"}, "3 channels of up to 16 bits"),
    ],
)
def test_jpeg_2000_of_other_kinds_is_refused_by_name(tmp_path, change, message):
    data = jpeg_2000(RGB, 16)
    for old, new in change.items():
        assert old in data
        data = data.replace(old, new, 1)
    (tmp_path / "a.jp2").write_bytes(data)
    with pytest.raises(InputError, match=rf"a\.jp2: JPEG 2000 pictures of .*{message}"):
        read_image(tmp_path / "a.jp2")


def test_sgi_files_say_when_they_are_read_with_fewer_bits(tmp_path):
    stored = levels(GRAY, 16)[::-1].astype(">u2").tobytes()
    for depth in (1, 2):
        head = struct.pack(">hBBHHHHii", 474, 0, depth, 2, WIDTH, HEIGHT, 1, 0, 65535).ljust(512, b"\0")
        (tmp_path / "a.sgi").write_bytes(head + (stored if depth == 2 else stored[::2]))
        check(tmp_path / "a.sgi", GRAY, 8, 1e-9)
        assert bool(read_picture(tmp_path / "a.sgi")[1]) == (depth == 2)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("unit", [GRAY, GRAY_ALPHA, RGB, RGBA], ids=["grey", "grey and alpha", "rgb", "rgba"])
def test_what_is_written_reads_back_the_same(tmp_path, unit, bits):
    image = levels(unit, bits)
    for suffix in (".png",) if unit is GRAY_ALPHA and bits == 16 else (".png", ".tif"):
        write_image(tmp_path / f"a{suffix}", image)
        found, notes = read_picture(tmp_path / f"a{suffix}")
        assert found.dtype == image.dtype
        assert np.array_equal(found, image)
        assert notes == ()


def test_8_bit_files_need_pillow_alone(tmp_path, monkeypatch):
    def missing(module, *_):
        raise AssertionError(f"{module} was asked for")

    monkeypatch.setattr("coinr.signals.image.decoding.import_optional", missing)
    monkeypatch.setattr("coinr.signals.image.tiff.import_optional", missing)
    monkeypatch.setattr("coinr.signals.image.colors.import_optional", missing)
    for kind in ("grey", "rgb", "0 is white", "associated alpha", "planes", "cmyk", "LZW", "tiles", "turned left"):
        TIFF[kind](tmp_path / "a.tif", 8)
        read_image(tmp_path / "a.tif")
    for suffix in (".png", ".bmp", ".ppm", ".webp", ".jpg"):
        write_image(tmp_path / f"a{suffix}", levels(RGB, 8))
        read_image(tmp_path / f"a{suffix}")


def test_libraries_say_nothing_on_stderr(tmp_path, capfd):
    write_png(tmp_path / "a.png", levels(RGB, 16), greyscale=False, bitdepth=16, interlace=True)
    decode_picture((tmp_path / "a.png").read_bytes())
    tifffile.imwrite(tmp_path / "a.tif", levels(RGB, 16), photometric="rgb")
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[:-5])
    with pytest.raises(InputError):
        read_image(tmp_path / "a.tif")
    assert capfd.readouterr() == ("", "")
