"""Picture files of all kinds show what other programs show, with 16 bits as with 8."""

import json
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

import coinr
from coinr.cli import cli
from coinr.errors import InputError
from coinr.signals.decoding import decode_picture
from coinr.signals.image_io import read_image, read_picture, write_image

from .picture_files import (
    GREY,
    GREY_ALPHA,
    HEIGHT,
    RGB,
    RGBA,
    TIFF,
    WIDTH,
    chunk,
    levels,
    multiplied,
    write_bare_tiff,
    write_png,
    write_pnm,
)

LEFT_OUT = "channels that are neither colour nor alpha are left out"


def check(path, shown, bits, tolerance):
    """The file is read with ``bits`` a channel and shows that, colours being compared as they are seen."""
    found = read_image(path)
    assert found.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert found.shape == shown.shape
    unit = found / (2**bits - 1)
    if shown.ndim == 3 and shown.shape[2] in (2, 4):
        unit, shown = multiplied(unit), multiplied(shown)
    assert np.abs(unit - shown).max() <= tolerance


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", TIFF)
def test_tiff_files_show_what_they_mean(tmp_path, kind, bits):
    shown = TIFF[kind](tmp_path / "a.tif", bits)
    # unmultiplied colours and CMYK of 8 bits are rounded twice
    check(tmp_path / "a.tif", shown, bits, 1.5 / 255 if bits == 8 else 2 / 65535)


@pytest.mark.parametrize("bits", [8, 16])
def test_what_reading_a_tiff_leaves_out_is_noted(tmp_path, bits):
    path = tmp_path / "a.tif"
    for kind in ("an extra channel", "an extra channel, alpha", "grey, an extra channel"):
        TIFF[kind](path, bits)
        assert read_picture(path)[1] == (LEFT_OUT,), kind
    for kind in ("rgb", "associated alpha", "planes", "0 is white", "turned left"):
        TIFF[kind](path, bits)
        assert read_picture(path)[1] == (), kind
    TIFF["cmyk"](path, bits)
    assert read_picture(path)[1] == ("CMYK without a colour profile is converted by the plain formula",)


@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_files_without_tags_that_have_a_default(tmp_path, bits):
    path = tmp_path / "a.tif"
    write_bare_tiff(path, levels(RGB, bits), 2)
    check(path, RGB, bits, 1e-9)
    # a fourth channel that nothing is said of is taken for alpha, with 16 bits as with 8
    write_bare_tiff(path, levels(RGBA, bits), 2)
    check(path, RGBA, bits, 1e-9)
    write_bare_tiff(path, levels(RGB, bits), 12345)
    with pytest.raises(InputError, match=r"a\.tif: TIFF pictures of kind 12345 are not supported"):
        read_image(path)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("unit", [GREY, RGB], ids=["grey", "rgb"])
def test_of_several_pages_the_first_is_read_with_a_note(tmp_path, unit, bits):
    pages = levels(np.stack((unit, unit[::-1], unit[::-1])), bits)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="rgb" if unit is RGB else "minisblack")
    check(tmp_path / "a.tif", unit, bits, 1e-9)
    assert read_picture(tmp_path / "a.tif")[1] == ("the first of 3 frames is taken",)


@pytest.mark.parametrize("bits", [8, 16])
def test_thumbnails_are_no_pictures(tmp_path, bits):
    path = tmp_path / "a.tif"
    small = levels(RGB[::2, ::2], bits)
    with tifffile.TiffWriter(path) as file:
        file.write(small, photometric="rgb", subfiletype=1, metadata=None)
        file.write(levels(RGB, bits), photometric="rgb", metadata=None)
        file.write(small, photometric="rgb", subfiletype=1, metadata=None)
    check(path, RGB, bits, 1e-9)
    assert read_picture(path)[1] == ()
    tifffile.imwrite(path, small, photometric="rgb", subfiletype=1)
    with pytest.raises(InputError, match=r"a\.tif: .*thumbnails only"):
        read_image(path)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_packed_samples_fill_16_bits(tmp_path, bits):
    tifffile.imwrite(tmp_path / "a.tif", levels(RGB, bits), photometric="rgb", bitspersample=bits)
    check(tmp_path / "a.tif", levels(RGB, bits) / (2**bits - 1), 16, 1 / 65535)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_samples_of_few_bits_fill_8(tmp_path, bits):
    stored = levels(GREY, bits)
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored.astype(bool) if bits == 1 else stored,
        photometric="minisblack",
        bitspersample=bits,
    )
    check(tmp_path / "a.tif", stored / (2**bits - 1), 8, 1e-9)


def test_palettes_of_tiff(tmp_path):
    table = (np.arange(3 * 256).reshape(3, 256) * 85).astype(np.uint16)
    index = levels(GREY, 8)
    shown = np.moveaxis(table[:, index], 0, -1) / 65535
    tifffile.imwrite(tmp_path / "a.tif", index, photometric="palette", colormap=table)
    check(tmp_path / "a.tif", shown, 8, 1.5 / 255)
    tifffile.imwrite(tmp_path / "a.tif", index, photometric="palette", colormap=table // 257)
    check(tmp_path / "a.tif", shown, 16, 1.5 / 255)
    wide = np.arange(3 * 65536).reshape(3, 65536).astype(np.uint16)
    tifffile.imwrite(tmp_path / "b.tif", levels(GREY, 16), photometric="palette", colormap=wide)
    check(tmp_path / "b.tif", np.moveaxis(wide[:, levels(GREY, 16)], 0, -1) / 65535, 16, 1e-9)


def test_webp_in_tiff(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", levels(RGB, 8), photometric="rgb", compression="webp")
    check(tmp_path / "a.tif", RGB, 8, 0.1)


def test_jpeg_in_tiff(tmp_path):
    smooth = levels(np.dstack([np.linspace(0, 1, 32)[None].repeat(32, 0)] * 3), 8)
    Image.fromarray(smooth).save(tmp_path / "a.tif", compression="jpeg", quality=95)
    check(tmp_path / "a.tif", smooth / 255, 8, 4 / 255)


@pytest.mark.parametrize(
    ("compression", "planes"), [(None, "contig"), ("lzw", "contig"), ("zlib", "contig"), ("lzw", "separate")]
)
def test_ycbcr_colours(tmp_path, compression, planes):
    stored = np.asarray(Image.fromarray(levels(RGB, 8)).convert("YCbCr"))
    if planes == "separate":
        stored = np.moveaxis(stored, -1, 0).copy()
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="ycbcr", planarconfig=planes, compression=compression)
    check(tmp_path / "a.tif", RGB, 8, 4 / 255)


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2)])
def test_ycbcr_colours_of_jpeg_in_tiff(tmp_path, subsampling):
    smooth = levels(np.dstack([np.linspace(0, 1, 32)[None].repeat(32, 0), np.full((32, 32), 0.5)] * 2)[..., :3], 8)
    options = {"subsampling": subsampling, "compressionargs": {"level": 98}}
    stored = np.asarray(Image.fromarray(smooth).convert("YCbCr"))
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="ycbcr", compression="jpeg", **options)
    check(tmp_path / "a.tif", smooth / 255, 8, 8 / 255)


@pytest.mark.parametrize("kind", ["cielab", "icclab"])
@pytest.mark.parametrize("bits", [8, 16])
def test_lab_colours(tmp_path, kind, bits):
    # CIE 1976 values of D50 of sRGB grey 50 %, and of sRGB red and blue; from the definition, not from a library
    lab = np.array([[[53.585, 0, 0], [54.29, 80.81, 69.89], [29.57, 68.30, -112.03]]])
    wanted = np.array([[[128, 128, 128], [255, 0, 0], [0, 0, 255]]]) / 255
    unit, full = 2 ** (bits - 8), 2**bits - 1
    signed = np.rint(lab[..., 1:] * unit).astype(int)
    if kind == "cielab":
        stored = np.dstack((np.rint(lab[..., 0] * full / 100), signed % 2**bits))
    else:
        stored = np.dstack((np.rint(lab[..., 0] * 255 * unit / 100), signed + 128 * unit))
    stored = np.clip(stored, 0, full).astype(np.uint8 if bits == 8 else np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric=kind, planarconfig="contig")
    check(tmp_path / "a.tif", wanted, bits, 0.03)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (RGB.astype(np.float32), r"32-bit samples \(float32\)"),
        (GREY.astype(np.float64), r"64-bit samples \(float64\)"),
        (RGB.astype(np.float16), r"16-bit samples \(float16\)"),
        ((GREY * 100).astype(np.int8), r"8-bit samples \(int8\)"),
        ((RGB * 100).astype(np.int8), r"8-bit samples \(int8\)"),
        ((RGB * 100).astype(np.int16), r"16-bit samples \(int16\)"),
        ((GREY * 100).astype(np.int16), r"16-bit samples \(int16\)"),
        ((GREY * 1e9).astype(np.uint32), r"32-bit samples \(uint32\)"),
        (GREY.astype(np.complex64), "complex64"),
    ],
)
def test_other_samples_are_refused_by_name(tmp_path, stored, message):
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb" if stored.ndim == 3 else "minisblack")
    with pytest.raises(InputError, match=rf"a\.tif: .*{message}"):
        read_image(tmp_path / "a.tif")


def test_colours_that_are_not_known_are_refused_by_name(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, levels(GREY, 16), photometric="cfa")
    with pytest.raises(InputError, match="kind CFA"):
        read_image(path)
    tifffile.imwrite(
        path, levels(np.dstack((RGB, GREY)), 16), photometric="separated", extratags=[(332, 3, 1, 2, True)]
    )
    with pytest.raises(InputError, match="inks"):
        read_image(path)
    tifffile.imwrite(path, levels(RGB, 16), photometric="ycbcr")
    with pytest.raises(InputError, match="YCbCr"):
        read_image(path)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("unit", [GREY, GREY_ALPHA, RGB, RGBA], ids=["grey", "grey and alpha", "rgb", "rgba"])
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
@pytest.mark.parametrize("unit", [GREY, RGB], ids=["grey", "rgb"])
def test_significant_bits_leave_the_brightness_alone(tmp_path, unit, bits, significant):
    stored = levels(unit, bits) >> (bits - significant) << (bits - significant)
    channels = np.atleast_3d(unit).shape[2]
    said = chunk(b"sBIT", bytes([significant] * channels))
    write_png(tmp_path / "a.png", stored, said, greyscale=channels == 1, bitdepth=bits)
    check(tmp_path / "a.png", stored / (2**bits - 1), bits, 1e-9)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_grey_level(tmp_path, bits):
    stored = levels(GREY, bits)
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
    write_png(tmp_path / "a.png", levels(GREY, bits), greyscale=True, bitdepth=bits)
    check(tmp_path / "a.png", levels(GREY, bits) / (2**bits - 1), 8, 1e-9)


@pytest.mark.parametrize("alpha", [False, True])
def test_palettes_of_png(tmp_path, alpha):
    palette = np.arange(16 * (3 + alpha)).reshape(16, -1) * (255 // 64)
    index = levels(GREY, 4)
    write_png(tmp_path / "a.png", index, palette=[tuple(map(int, row)) for row in palette], bitdepth=4)
    check(tmp_path / "a.png", palette[index] / 255, 8, 1e-9)


@pytest.mark.parametrize("bits", [8, 16])
def test_png_files_are_turned_upright(tmp_path, bits):
    exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    stored = np.ascontiguousarray(levels(np.rot90(RGB), bits))
    write_png(tmp_path / "a.png", stored, chunk(b"eXIf", exif), greyscale=False, bitdepth=bits)
    check(tmp_path / "a.png", RGB, bits, 1e-9)


@pytest.mark.parametrize("full", [1, 100, 255, 256, 1023, 4095, 65535])
@pytest.mark.parametrize("unit", [GREY, RGB], ids=["pgm", "ppm"])
@pytest.mark.parametrize("text", [False, True])
def test_pnm_files_of_any_greatest_value(tmp_path, unit, full, text):
    write_pnm(tmp_path / "a.pnm", unit, full, text=text)
    bits = 8 if full < 256 else 16
    check(tmp_path / "a.pnm", np.rint(unit * full) / full, bits, 0.5 / (2**bits - 1) + 1e-9)


@pytest.mark.parametrize("full", [1, 255, 1023])
@pytest.mark.parametrize("unit", [GREY_ALPHA, RGBA], ids=["grey", "rgb"])
def test_pam_files_have_alpha(tmp_path, unit, full):
    write_pnm(tmp_path / "a.pam", unit, full)
    check(tmp_path / "a.pam", np.rint(unit * full) / full, 8 if full < 256 else 16, 1 / 255)


def test_pnm_files_that_lie_are_refused(tmp_path):
    path = tmp_path / "a.ppm"
    write_pnm(path, RGB, 1023)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"1023", b"0999", 1))
    assert read_image(path).max() > 0
    path.write_bytes(data.replace(b"1023", b"0500", 1))
    with pytest.raises(InputError, match=r"a\.ppm: .*above its greatest value 500"):
        read_image(path)
    path.write_bytes(data + data)
    assert read_picture(path)[1] == ("the first of 2 frames is taken",)
    write_pnm(path, RGBA, 255)
    path.write_bytes(path.read_bytes().replace(b"RGB_ALPHA", b"CMYK_____"))
    with pytest.raises(InputError, match="PAM pictures of kind CMYK"):
        read_image(path)


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


def jpeg_2000(unit, bits, kind="jp2"):
    """A JPEG 2000 file without loss."""
    options = {"level": 0, "codecformat": kind, "reversible": True}
    return imagecodecs.jpeg2k_encode(levels(unit, bits), bitspersample=bits, **options)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("unit", [GREY, GREY_ALPHA, RGB, RGBA], ids=["grey", "grey and alpha", "rgb", "rgba"])
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
    stored = levels(GREY, 16)[::-1].astype(">u2").tobytes()
    for depth in (1, 2):
        head = struct.pack(">hBBHHHHii", 474, 0, depth, 2, WIDTH, HEIGHT, 1, 0, 65535).ljust(512, b"\0")
        (tmp_path / "a.sgi").write_bytes(head + (stored if depth == 2 else stored[::2]))
        check(tmp_path / "a.sgi", GREY, 8, 1e-9)
        assert bool(read_picture(tmp_path / "a.sgi")[1]) == (depth == 2)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("unit", [GREY, GREY_ALPHA, RGB, RGBA], ids=["grey", "grey and alpha", "rgb", "rgba"])
def test_what_is_written_reads_back_the_same(tmp_path, unit, bits):
    image = levels(unit, bits)
    for suffix in (".png",) if unit is GREY_ALPHA and bits == 16 else (".png", ".tif"):
        write_image(tmp_path / f"a{suffix}", image)
        found, notes = read_picture(tmp_path / f"a{suffix}")
        assert found.dtype == image.dtype
        assert np.array_equal(found, image)
        assert notes == ()


def test_8_bit_files_need_pillow_alone(tmp_path, monkeypatch):
    def missing(module, *_):
        raise AssertionError(f"{module} was asked for")

    monkeypatch.setattr("coinr.signals.decoding.optional", missing)
    monkeypatch.setattr("coinr.signals.tiff.optional", missing)
    monkeypatch.setattr("coinr.signals.colors.optional", missing)
    for kind in ("grey", "rgb", "0 is white", "associated alpha", "planes", "cmyk", "LZW", "tiles", "turned left"):
        TIFF[kind](tmp_path / "a.tif", 8)
        read_image(tmp_path / "a.tif")
    for suffix in (".png", ".bmp", ".ppm", ".webp", ".jpg"):
        write_image(tmp_path / f"a{suffix}", levels(RGB, 8))
        read_image(tmp_path / f"a{suffix}")


CUT = {
    "png": lambda path: write_image(path, _noise(8)),
    "wide.png": lambda path: write_image(path, _noise(16)),
    "jpg": lambda path: write_image(path, _noise(8)),
    "webp": lambda path: write_image(path, _noise(8)),
    "bmp": lambda path: write_image(path, _noise(8)),
    "tif": lambda path: write_image(path, _noise(8)),
    "wide.tif": lambda path: write_image(path, _noise(16)),
    "big.tif": lambda path: tifffile.imwrite(path, _noise(16), photometric="rgb", bigtiff=True, byteorder=">"),
    "gif": lambda path: Image.fromarray(_noise(8)).save(path),
    "jp2": lambda path: Image.fromarray(_noise(8)).save(path),
    "wide.jp2": lambda path: path.write_bytes(jpeg_2000(_noise(16) / 65535, 16)),
    "j2k": lambda path: path.write_bytes(jpeg_2000(_noise(16) / 65535, 16, "j2k")),
    "ppm": lambda path: write_image(path, _noise(8)),
    "wide.ppm": lambda path: write_pnm(path, _noise(16) / 65535, 65535),
    "pam": lambda path: write_pnm(path, np.dstack([_noise(8) / 255] * 2)[..., :4], 255),
}


def _noise(bits):
    rng = np.random.default_rng(1)
    return rng.integers(0, 2**bits, (24, 20, 3), dtype=np.uint8 if bits == 8 else np.uint16)


@pytest.mark.parametrize("kind", CUT)
def test_truncated_files_are_called_so(tmp_path, kind):
    whole = tmp_path / f"whole.{kind}"
    CUT[kind](whole)
    read_image(whole)
    data, part = whole.read_bytes(), tmp_path / f"part.{kind}"
    for share in (0.1, 0.5, 0.9):
        part.write_bytes(data[: int(share * len(data))])
        with pytest.raises(InputError, match=rf"part\.{kind}: damaged: the file is truncated"):
            read_image(part)


def test_directories_beyond_all_files_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", levels(RGB, 16), photometric="rgb", bigtiff=True)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    data[8:16] = b"\xff" * 8
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.tif: damaged: the file is truncated"):
        read_image(tmp_path / "a.tif")


def test_tiff_files_of_very_many_channels_are_refused_before_they_are_read(tmp_path):
    stored = np.dstack([levels(GREY, 16)] * 9)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig="contig")
    with pytest.raises(InputError, match=r"a\.tif: TIFF pictures have up to 8 channels, this one has 9"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("kind", ["rgb", "planes", "tiles", "planes, tiles"])
@pytest.mark.parametrize("bits", [8, 16])
def test_pictures_with_missing_parts_are_refused(tmp_path, kind, bits):
    path = tmp_path / "a.tif"
    TIFF[kind](path, bits)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        tag = file.pages[0].tags["ImageLength"]
    # a height of many more strips or tiles than the file has
    data[tag.valueoffset : tag.valueoffset + 2] = (600).to_bytes(2, "little")
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.tif: damaged TIFF file: it does not say where all \d+ parts"):
        read_image(path)


@pytest.mark.parametrize("bits", [8, 16])
def test_pages_that_lead_in_a_circle_end(tmp_path, bits):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for _ in range(2):
            file.write(levels(RGB, bits), photometric="rgb", metadata=None)
    with tifffile.TiffFile(path) as file:
        first, second = file.pages[0].offset, file.pages[1].offset
        count = len(file.pages[1].tags)
    data = bytearray(path.read_bytes())
    data[second + 2 + 12 * count : second + 6 + 12 * count] = first.to_bytes(4, "little")
    path.write_bytes(data)
    if bits == 8:
        check(path, RGB, 8, 1e-9)
        return
    with pytest.raises(InputError, match=r"a\.tif: damaged TIFF file: its pages lead in a circle"):
        read_image(path)


def test_damaged_files_are_not_called_truncated(tmp_path):
    write_image(tmp_path / "a.png", levels(RGB, 16))
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[60] ^= 255
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.png: damaged or unsupported image"):
        read_image(tmp_path / "a.png")
    for text in (b"BMW is no bitmap", b"II is two", b"MM\0 hello", b"hello", b"P7 332\n"):
        (tmp_path / "b").write_bytes(text)
        with pytest.raises(InputError, match="b: not an image that can be read"):
            read_image(tmp_path / "b")
    (tmp_path / "c.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"c\.png: the file is empty"):
        read_image(tmp_path / "c.png")


def test_libraries_say_nothing_on_stderr(tmp_path, capfd):
    write_png(tmp_path / "a.png", levels(RGB, 16), greyscale=False, bitdepth=16, interlace=True)
    decode_picture((tmp_path / "a.png").read_bytes())
    tifffile.imwrite(tmp_path / "a.tif", levels(RGB, 16), photometric="rgb")
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[:-5])
    with pytest.raises(InputError):
        read_image(tmp_path / "a.tif")
    assert capfd.readouterr() == ("", "")
