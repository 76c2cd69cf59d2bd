"""Pictures with color profiles come out in sRGB, with a note; broken profiles are noted and change nothing."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image, ImageCms

import coinr
from coinr.cli import cli
from coinr.errors import DependencyError, InputError
from coinr.signals.image import decoding
from coinr.signals.image.files import read_picture

from .picture_files import ALPHA, CMYK, CMYK_SHOWN, GRAY, GRAY_ALPHA, RGB, RGBA, chunk, levels, write_png

#: White, then red, green and blue, of Adobe RGB; x, y, Y of each.
ADOBE = {"whitepoint": (0.3127, 0.329, 1), "primaries": (0.64, 0.33, 1, 0.21, 0.71, 1, 0.15, 0.06, 1), "gamma": 2.2}


@pytest.fixture(scope="module")
def srgb():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def adobe():
    return imagecodecs.cms_profile("rgb", **ADOBE)


@pytest.fixture(scope="module")
def gray():
    return imagecodecs.cms_profile("gray", gamma=1.0)


@pytest.fixture(scope="module")
def inks():
    """A CMYK profile of one table of 2^4 colors, in which each ink alone and all mixtures of them are neutral."""
    corners = np.stack(np.meshgrid(*[[0, 1]] * 4, indexing="ij"), -1).reshape(16, 4)
    lightness = 255 * (1 - corners @ (0.2, 0.2, 0.2, 0.4))
    table = np.dstack((lightness, np.full(16, 128), np.full(16, 128)))[0].round().astype(np.uint8)
    line = bytes(range(256))
    identity = struct.pack(">9i", *(65536 * (k % 4 == 0) for k in range(9)))
    tag = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + line * 4 + table.tobytes() + line * 3
    text = b"text" + bytes(4) + b"none\0"
    named = b"desc" + bytes(4) + struct.pack(">I", 6) + b"inks!\0" + bytes(78)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"A2B0": tag, b"cprt": text, b"desc": named, b"wtpt": white}
    body, entries, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        entries += name + struct.pack(">II", at + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"test", 0x02100000, b"prtr", b"CMYK", b"Lab ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + entries + body


def _encode(linear):
    """The curve of sRGB."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)


def _adobe_shown():
    """The colors in Adobe RGB as sRGB, by the definitions of both."""

    def to_xyz(x, y):
        points = np.array([x, y, 1 - np.add(x, y)])
        white = np.array([0.3127, 0.329, 0.3583]) / 0.329
        return points * np.linalg.solve(points, white)

    adobe = to_xyz(np.array([0.64, 0.21, 0.15]), np.array([0.33, 0.71, 0.06]))
    own = to_xyz(np.array([0.64, 0.3, 0.15]), np.array([0.33, 0.6, 0.06]))
    linear = RGB**2.2 @ (np.linalg.inv(own) @ adobe).T
    return _encode(linear.clip(0, 1))


def save(path, unit, bits, profile):
    """Write a picture with a profile as PNG or TIFF, without coinr."""
    if path.suffix == ".tif":
        kind = {1: "minisblack", 2: "minisblack", 3: "rgb", 4: "separated" if unit is CMYK else "rgb"}
        channels = np.atleast_3d(unit).shape[2]
        extra = ["unassalpha"] if channels in (2, 4) and unit is not CMYK else None
        options = {"photometric": kind[channels], "extrasamples": extra, "planarconfig": "contig"}
        tifffile.imwrite(path, levels(unit, bits), iccprofile=profile, metadata=None, **options)
    else:
        channels = np.atleast_3d(unit).shape[2]
        said = chunk(b"iCCP", b"a profile\0\0" + zlib.compress(profile))
        options = {"greyscale": channels < 3, "alpha": channels in (2, 4), "bitdepth": bits}
        write_png(path, levels(unit, bits), said, **options)


def seen(path):
    image, notes = read_picture(path)
    return image / np.iinfo(image.dtype).max, notes


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("bits", [8, 16])
def test_colours_are_converted_by_their_profile(tmp_path, adobe, suffix, bits):
    path = tmp_path / f"a{suffix}"
    save(path, RGB, bits, adobe)
    unit, notes = seen(path)
    assert np.abs(unit - _adobe_shown()).max() < (1.5 / 255 if bits == 8 else 1e-4)
    assert notes == ("the colours are converted to sRGB from the profile 'RGB built-in'",)
    save(path, RGBA, bits, adobe)
    with_alpha, notes = seen(path)
    assert np.array_equal(with_alpha[..., :3], unit), "alpha is no colour"
    assert np.array_equal(with_alpha[..., 3], ALPHA)


@pytest.mark.parametrize("bits", [8, 16])
def test_grey_stays_grey(tmp_path, gray, bits):
    expected = _encode(GRAY)
    for suffix in (".png", ".tif"):
        save(tmp_path / f"a{suffix}", GRAY, bits, gray)
        unit, notes = seen(tmp_path / f"a{suffix}")
        assert unit.shape == GRAY.shape
        assert np.abs(unit - expected).max() < (1 / 255 if bits == 8 else 1e-4)
        assert "converted to sRGB" in notes[0]
    save(tmp_path / "b.png", GRAY_ALPHA, bits, gray)
    assert seen(tmp_path / "b.png")[0].shape == GRAY_ALPHA.shape


@pytest.mark.parametrize("bits", [8, 16])
def test_grey_with_a_profile_of_colours(tmp_path, adobe, srgb, bits):
    save(tmp_path / "a.png", GRAY, bits, adobe)
    unit, notes = seen(tmp_path / "a.png")
    assert np.abs(unit - _encode(GRAY**2.2)).max() < (1.5 / 255 if bits == 8 else 1e-4)
    assert len(notes) == 1
    save(tmp_path / "a.png", GRAY, bits, srgb)
    unit, notes = seen(tmp_path / "a.png")
    assert np.array_equal(unit, GRAY)
    assert notes == ()


@pytest.mark.parametrize("bits", [8, 16])
def test_cmyk_is_converted_by_its_profile(tmp_path, inks, bits):
    save(tmp_path / "a.tif", CMYK, bits, inks)
    unit, notes = seen(tmp_path / "a.tif")
    lightness = 100 * (1 - CMYK @ (0.2, 0.2, 0.2, 0.4))
    luminance = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness / 903.3)
    assert np.abs(unit - _encode(luminance)[..., None]).max() < 0.01
    assert notes == ("the colours are converted to sRGB from the profile 'inks!'",)


def test_cmyk_in_jpeg(tmp_path, inks):
    image = Image.fromarray(np.full((16, 16, 4), (0, 128, 255, 51), np.uint8), "CMYK")
    image.save(tmp_path / "a.jpg", quality=100, subsampling=0)
    unit, notes = seen(tmp_path / "a.jpg")
    assert np.abs(unit - np.array([0.8, 0.4, 0])).max() < 0.02
    assert notes == ("CMYK without a colour profile is converted by the plain formula",)
    image.save(tmp_path / "a.jpg", quality=100, subsampling=0, icc_profile=inks)
    unit, notes = seen(tmp_path / "a.jpg")
    assert np.ptp(unit, axis=2).max() < 0.01
    assert len(notes) == 1


@pytest.mark.parametrize("bits", [8, 16])
def test_a_profile_of_srgb_changes_nothing(tmp_path, srgb, bits):
    save(tmp_path / "a.png", RGB, bits, srgb)
    unit, notes = seen(tmp_path / "a.png")
    assert np.array_equal(unit, RGB)
    assert notes == ()


def test_16_bits_are_converted_with_16_bits(tmp_path, adobe):
    ramp = np.linspace(0.4, 0.41, 54).reshape(6, 9)
    save(tmp_path / "a.tif", np.dstack([ramp] * 3), 16, adobe)
    image = coinr.read_image(tmp_path / "a.tif")
    assert len(np.unique(image[..., 0])) == 54


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("damage", ["nonsense", "cut", "another space"])
def test_a_broken_profile_is_noted_and_not_fatal(tmp_path, adobe, gray, inks, bits, damage):
    profile = {"nonsense": b"nonsense" * 30, "cut": adobe[:140], "another space": gray}[damage]
    save(tmp_path / "a.png", RGB, bits, profile)
    unit, notes = seen(tmp_path / "a.png")
    assert np.array_equal(unit, RGB)
    assert len(notes) == 1
    assert notes[0].startswith("the colour profile cannot be used (")
    assert notes[0].endswith("the colours are taken as sRGB")
    save(tmp_path / "a.tif", CMYK, bits, adobe)
    unit, notes = seen(tmp_path / "a.tif")
    assert np.abs(unit - CMYK_SHOWN).max() < 0.01
    assert notes[0].endswith("CMYK is converted by the plain formula")


@pytest.mark.parametrize("bits", [8, 16])
def test_a_profile_that_is_empty_or_cut_within_a_png_is_noted(tmp_path, adobe, bits):
    for packed in (zlib.compress(b""), zlib.compress(adobe)[:40]):
        said = chunk(b"iCCP", b"a profile\0\0" + packed)
        write_png(tmp_path / "a.png", levels(RGB, bits), said, greyscale=False, bitdepth=bits)
        unit, notes = seen(tmp_path / "a.png")
        assert np.array_equal(unit, RGB)
        taken = "the colour profile cannot be used (it is empty or damaged): the colours are taken as sRGB"
        assert notes == (taken,)


@pytest.mark.parametrize("bits", [8, 16])
def test_profiles_of_jpeg_2000(tmp_path, adobe, bits):
    data = imagecodecs.jpeg2k_encode(levels(RGB, bits), level=0, codecformat="jp2", reversible=True)
    color, header = data.index(b"colr") - 4, data.index(b"jp2h") - 4
    (size,) = struct.unpack_from(">I", data, header)
    box = struct.pack(">I", len(adobe) + 11) + b"colr\2\0\0" + adobe
    size = struct.pack(">I", size - 15 + len(box))
    (tmp_path / "a.jp2").write_bytes(data[:header] + size + data[header + 4 : color] + box + data[color + 15 :])
    unit, notes = seen(tmp_path / "a.jp2")
    assert np.abs(unit - _adobe_shown()).max() < (1.5 / 255 if bits == 8 else 1e-4)
    assert notes == ("the colours are converted to sRGB from the profile 'RGB built-in'",)


def test_names_of_profiles_cannot_write_to_the_terminal(tmp_path, inks):
    save(tmp_path / "a.tif", CMYK, 8, inks.replace(b"inks!", b"i\x1b[2J"))
    assert "\x1b" not in read_picture(tmp_path / "a.tif")[1][0]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("unit", [GRAY, RGB], ids=["grey", "rgb"])
def test_gamma_of_png(tmp_path, unit, bits):
    def write(*chunks):
        write_png(tmp_path / "a.png", levels(unit, bits), b"".join(chunks), greyscale=unit is GRAY, bitdepth=bits)
        return seen(tmp_path / "a.png")

    linear = chunk(b"gAMA", struct.pack(">I", 100000))
    shown, notes = write(linear)
    assert np.abs(shown - _encode(unit)).max() < (1.5 / 255 if bits == 8 else 1e-4)
    assert notes[0] == "the file says by gAMA and cHRM what its colours are"
    usual = chunk(b"gAMA", struct.pack(">I", 45455))
    points = chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))
    for chunks in ((usual,), (points,), (usual, points), (linear, chunk(b"sRGB", b"\0"))):
        shown, notes = write(*chunks)
        assert np.array_equal(shown, unit)
        assert notes == ()


def test_primaries_of_png(tmp_path):
    gamma = chunk(b"gAMA", struct.pack(">I", 45455))
    points = chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000))
    write_png(tmp_path / "a.png", levels(RGB, 8), gamma + points, greyscale=False, bitdepth=8)
    assert np.abs(seen(tmp_path / "a.png")[0] - _adobe_shown()).max() < 1.5 / 255


def test_colours_of_code_points_are_refused_by_name(tmp_path):
    for points, allowed in (
        (bytes([1, 13, 0, 1]), True),
        (bytes([9, 16, 0, 1]), False),
        (bytes([12, 13, 0, 1]), False),
    ):
        write_png(tmp_path / "a.png", levels(RGB, 8), chunk(b"cICP", points), greyscale=False, bitdepth=8)
        if allowed:
            assert np.array_equal(seen(tmp_path / "a.png")[0], RGB)
            continue
        with pytest.raises(InputError, match=rf"a\.png: colours of the code points {points[0]} and {points[1]}"):
            read_picture(tmp_path / "a.png")
    write_png(tmp_path / "a.png", levels(RGB, 8), chunk(b"cICP", bytes([1, 13, 0, 0])), greyscale=False, bitdepth=8)
    with pytest.raises(InputError, match=r"a\.png: PNG pictures of video levels"):
        read_picture(tmp_path / "a.png")


def test_code_points_of_avif(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(levels(RGB, 8)).save(buffer, "AVIF")
    data = buffer.getvalue()
    at = data.index(b"colrnclx") + 8
    (tmp_path / "a.avif").write_bytes(data)
    read_picture(tmp_path / "a.avif")
    (tmp_path / "a.avif").write_bytes(data[:at] + struct.pack(">HH", 9, 16) + data[at + 4 :])
    with pytest.raises(InputError, match=r"a\.avif: colours of the code points 9 and 16"):
        read_picture(tmp_path / "a.avif")


def test_missing_libraries_are_named(tmp_path, adobe, monkeypatch):
    """16-bit colors need imagecodecs, 8-bit ones do not."""

    def missing(module):
        raise DependencyError(f"this needs {module}")

    save(tmp_path / "wide.png", RGB, 16, adobe)
    raster = decoding.decode_picture((tmp_path / "wide.png").read_bytes())
    monkeypatch.setattr("coinr.signals.image.colors.import_optional", missing)
    with pytest.raises(DependencyError, match="imagecodecs"):
        raster.picture()
    save(tmp_path / "narrow.png", RGB, 8, adobe)
    assert len(read_picture(tmp_path / "narrow.png")[1]) == 1


def test_encode_tells_of_the_conversion_and_info_of_srgb(tmp_path, adobe):
    save(tmp_path / "a.png", RGB, 8, adobe)
    quick = ["--width", "8", "--hidden-layers", "1", "--steps", "2", "--profile", "uniform"]
    result = CliRunner().invoke(cli, ["encode", str(tmp_path / "a.png"), "-o", str(tmp_path / "a.coinr"), *quick])
    assert result.exit_code == 0, result.stderr
    assert result.stderr.startswith(f"coinr: note: {tmp_path / 'a.png'}: the colours are converted to sRGB from")
    printed = CliRunner().invoke(cli, ["info", str(tmp_path / "a.coinr")])
    assert "\ncolours: sRGB\n" in printed.stdout
