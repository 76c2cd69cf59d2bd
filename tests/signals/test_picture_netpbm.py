"""PGM, PPM and PAM files: any greatest value, alpha, kinds, and what is refused."""

import numpy as np
import pytest

from coinr.errors import InputError
from coinr.signals.image.files import read_image, read_picture

from .picture_files import GRAY, GRAY_ALPHA, RGB, RGBA, check, levels, write_pnm


@pytest.mark.parametrize("full", [1, 100, 255, 256, 1023, 4095, 65535])
@pytest.mark.parametrize("unit", [GRAY, RGB], ids=["pgm", "ppm"])
@pytest.mark.parametrize("text", [False, True])
def test_pnm_files_of_any_greatest_value(tmp_path, unit, full, text):
    write_pnm(tmp_path / "a.pnm", unit, full, text=text)
    bits = 8 if full < 256 else 16
    check(tmp_path / "a.pnm", np.rint(unit * full) / full, bits, 0.5 / (2**bits - 1) + 1e-9)


@pytest.mark.parametrize("full", [1, 255, 1023])
@pytest.mark.parametrize("unit", [GRAY_ALPHA, RGBA], ids=["grey", "rgb"])
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


def write_pam(path, unit, declared):
    """Write a PAM of 8 bits with a line ``declared`` in its header."""
    height, width = unit.shape[:2]
    stored = levels(unit, 8).reshape(height, width, -1)
    head = f"P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH {stored.shape[2]}\nMAXVAL 255\n{declared}ENDHDR\n"
    path.write_bytes(head.encode() + stored.tobytes())


@pytest.mark.parametrize("declared", ["", "TUPLTYPE \n", "TUPLTYPE\n"], ids=["no line", "an empty line", "a bare line"])
@pytest.mark.parametrize("unit", [GRAY, GRAY_ALPHA, RGB, RGBA], ids=["grey", "grey and alpha", "rgb", "rgba"])
def test_pam_without_a_kind_is_read_by_its_depth(tmp_path, unit, declared):
    write_pam(tmp_path / "a.pam", unit, declared)
    check(tmp_path / "a.pam", np.rint(unit * 255) / 255, 8, 1 / 255)


@pytest.mark.parametrize(
    ("unit", "declared", "message"),
    [
        (np.dstack((RGB, GRAY_ALPHA)), "", "without TUPLTYPE has DEPTH 1 .. 4, got 5"),
        (RGB, "TUPLTYPE GRAYSCALE\n", "TUPLTYPE GRAYSCALE has DEPTH 1, got 3"),
        (GRAY, "TUPLTYPE RGB_ALPHA\n", "TUPLTYPE RGB_ALPHA has DEPTH 4, got 1"),
        (RGB, "TUPLTYPE RGB_ALPHA\n", "TUPLTYPE RGB_ALPHA has DEPTH 4, got 3"),
        (RGB, "TUPLTYPE YCbCr\n", "kind YCbCr are not supported, only BLACKANDWHITE, .*, RGB_ALPHA"),
    ],
)
def test_pam_of_other_kinds_or_depths_is_refused_by_name(tmp_path, unit, declared, message):
    write_pam(tmp_path / "a.pam", unit, declared)
    with pytest.raises(InputError, match=rf"a\.pam: .*{message}"):
        read_image(tmp_path / "a.pam")
