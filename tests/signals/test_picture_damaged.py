"""Picture files that are cut off, damaged or lie are refused by name."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from coinr.errors import InputError
from coinr.signals.image.files import read_image, write_image

from .picture_files import GRAY, RGB, TIFF, check, jpeg_2000, levels, write_pnm

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
    stored = np.dstack([levels(GRAY, 16)] * 9)
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
