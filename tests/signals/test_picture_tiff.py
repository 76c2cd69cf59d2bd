"""TIFF files show what other programs show, with 16 bits as with 8."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from coinr.errors import InputError
from coinr.signals.image.files import read_image, read_picture

from .picture_files import GRAY, RGB, RGBA, TIFF, check, levels, write_bare_tiff

LEFT_OUT = "channels that are neither colour nor alpha are left out"


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", TIFF)
def test_tiff_files_show_what_they_mean(tmp_path, kind, bits):
    shown = TIFF[kind](tmp_path / "a.tif", bits)
    # unmultiplied colors and CMYK of 8 bits are rounded twice
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
@pytest.mark.parametrize("unit", [GRAY, RGB], ids=["grey", "rgb"])
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
    stored = levels(GRAY, bits)
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored.astype(bool) if bits == 1 else stored,
        photometric="minisblack",
        bitspersample=bits,
    )
    check(tmp_path / "a.tif", stored / (2**bits - 1), 8, 1e-9)


def test_palettes_of_tiff(tmp_path):
    table = (np.arange(3 * 256).reshape(3, 256) * 85).astype(np.uint16)
    index = levels(GRAY, 8)
    shown = np.moveaxis(table[:, index], 0, -1) / 65535
    tifffile.imwrite(tmp_path / "a.tif", index, photometric="palette", colormap=table)
    check(tmp_path / "a.tif", shown, 8, 1.5 / 255)
    tifffile.imwrite(tmp_path / "a.tif", index, photometric="palette", colormap=table // 257)
    check(tmp_path / "a.tif", shown, 16, 1.5 / 255)
    wide = np.arange(3 * 65536).reshape(3, 65536).astype(np.uint16)
    tifffile.imwrite(tmp_path / "b.tif", levels(GRAY, 16), photometric="palette", colormap=wide)
    check(tmp_path / "b.tif", np.moveaxis(wide[:, levels(GRAY, 16)], 0, -1) / 65535, 16, 1e-9)


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
    # CIE 1976 values of D50 of sRGB gray 50 %, and of sRGB red and blue; from the definition, not from a library
    lab = np.array([[[53.585, 0, 0], [54.29, 80.81, 69.89], [29.57, 68.30, -112.03]]])
    expected = np.array([[[128, 128, 128], [255, 0, 0], [0, 0, 255]]]) / 255
    unit, full = 2 ** (bits - 8), 2**bits - 1
    signed = np.rint(lab[..., 1:] * unit).astype(int)
    if kind == "cielab":
        stored = np.dstack((np.rint(lab[..., 0] * full / 100), signed % 2**bits))
    else:
        stored = np.dstack((np.rint(lab[..., 0] * 255 * unit / 100), signed + 128 * unit))
    stored = np.clip(stored, 0, full).astype(np.uint8 if bits == 8 else np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric=kind, planarconfig="contig")
    check(tmp_path / "a.tif", expected, bits, 0.03)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (RGB.astype(np.float32), r"32-bit samples \(float32\)"),
        (GRAY.astype(np.float64), r"64-bit samples \(float64\)"),
        (RGB.astype(np.float16), r"16-bit samples \(float16\)"),
        ((GRAY * 100).astype(np.int8), r"8-bit samples \(int8\)"),
        ((RGB * 100).astype(np.int8), r"8-bit samples \(int8\)"),
        ((RGB * 100).astype(np.int16), r"16-bit samples \(int16\)"),
        ((GRAY * 100).astype(np.int16), r"16-bit samples \(int16\)"),
        ((GRAY * 1e9).astype(np.uint32), r"32-bit samples \(uint32\)"),
        (GRAY.astype(np.complex64), "complex64"),
    ],
)
def test_other_samples_are_refused_by_name(tmp_path, stored, message):
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb" if stored.ndim == 3 else "minisblack")
    with pytest.raises(InputError, match=rf"a\.tif: .*{message}"):
        read_image(tmp_path / "a.tif")


def test_colours_that_are_not_known_are_refused_by_name(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, levels(GRAY, 16), photometric="cfa")
    with pytest.raises(InputError, match="kind CFA"):
        read_image(path)
    tifffile.imwrite(
        path, levels(np.dstack((RGB, GRAY)), 16), photometric="separated", extratags=[(332, 3, 1, 2, True)]
    )
    with pytest.raises(InputError, match="inks"):
        read_image(path)
    tifffile.imwrite(path, levels(RGB, 16), photometric="ycbcr")
    with pytest.raises(InputError, match="YCbCr"):
        read_image(path)
