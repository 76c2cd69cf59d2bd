import io
import math
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from coinr.errors import InputError
from coinr.networks import Siren
from coinr.runtime.devices import to_device
from coinr.signals import sampling
from coinr.signals.grid_signal import grid_coordinates
from coinr.signals.image.files import read_image, write_image
from coinr.signals.image.picture import check_image
from coinr.signals.image.rendering import render_image
from coinr.signals.metrics import psnr
from coinr.signals.sheets import contact_sheet, error_map

RGB = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
GRAY = RGB[..., 0].copy()


class Ramp(torch.nn.Module):
    """Shows y in the first channel and x in the second: values that tell where a pixel lies."""

    def forward(self, x):
        return torch.stack((x[:, 0], x[:, 1], torch.zeros(len(x))), dim=-1)


@pytest.fixture
def network():
    return Siren(2, 3, 16, 1, omega=5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".tif", ".bmp", ".ppm", ".webp"])
def test_lossless_formats_round_trip(tmp_path, suffix):
    write_image(tmp_path / f"a{suffix}", RGB)
    assert np.array_equal(read_image(tmp_path / f"a{suffix}"), RGB)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".pgm"])
def test_grey_stays_grey(tmp_path, suffix):
    write_image(tmp_path / f"a{suffix}", GRAY)
    back = read_image(tmp_path / f"a{suffix}")
    assert back.dtype == np.uint8
    assert np.array_equal(back, GRAY)


def test_jpeg_is_close(tmp_path):
    smooth = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8)
    write_image(tmp_path / "a.jpg", smooth)
    assert psnr(smooth, read_image(tmp_path / "a.jpg")) > 40


def _save(path, mode, array, **options):
    Image.fromarray(array).convert(mode).save(path, **options)
    return path


def test_other_pillow_modes_become_grey_or_rgb(tmp_path):
    palette = _save(tmp_path / "p.png", "P", RGB)
    assert read_image(palette).shape == (7, 5, 3)
    bilevel = _save(tmp_path / "1.png", "1", np.where(GRAY > 128, 255, 0).astype(np.uint8))
    assert np.array_equal(read_image(bilevel), np.where(GRAY > 128, 255, 0))
    cmyk = _save(tmp_path / "c.tif", "CMYK", RGB)
    assert read_image(cmyk).shape == (7, 5, 3)
    opaque = _save(tmp_path / "a.png", "RGBA", RGB)
    assert np.array_equal(read_image(opaque), RGB)
    gray_opaque = _save(tmp_path / "la.png", "LA", GRAY)
    assert np.array_equal(read_image(gray_opaque), GRAY)


@pytest.mark.parametrize(
    ("suffix", "shape"),
    [(".png", (7, 5)), (".png", (7, 5, 2)), (".png", (7, 5, 3)), (".png", (7, 5, 4)),
     (".tif", (7, 5)), (".tif", (7, 5, 3)), (".tif", (7, 5, 4))],
)  # fmt: skip
def test_sixteen_bits_are_kept(tmp_path, generator, suffix, shape):
    wide = generator.integers(0, 2**16, shape, dtype=np.uint16)
    write_image(tmp_path / f"a{suffix}", wide)
    back = read_image(tmp_path / f"a{suffix}")
    assert back.dtype == np.uint16
    assert np.array_equal(back, wide)


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right by a quarter
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), np.rot90(RGB, -1))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_alpha_is_kept_where_it_is_seen(tmp_path, suffix):
    rgba = np.dstack((RGB, np.full((7, 5), 255, np.uint8)))
    rgba[3, 3, 3] = 0
    write_image(tmp_path / f"a{suffix}", rgba)
    assert np.array_equal(read_image(tmp_path / f"a{suffix}"), rgba)
    if suffix == ".webp":
        return
    write_image(tmp_path / f"la{suffix}", rgba[..., 2:])
    assert np.array_equal(read_image(tmp_path / f"la{suffix}"), rgba[..., 2:])


def _png(width, height):
    """A PNG whose header claims a size that its data does not have."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def _truncated_png():
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()[:4000]


def _corrupt_png():
    data = bytearray(_truncated_png())
    data[20] ^= 1
    return bytes(data)


@pytest.mark.parametrize(
    "data", [b"", b"hello", _truncated_png(), _corrupt_png(), _png(10**5, 10**5), _png(0, 4)],
    ids=["empty", "text", "truncated", "corrupt", "bomb", "no pixels"],
)  # fmt: skip
def test_files_that_are_no_picture_are_refused(tmp_path, data):
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.png: "):
        read_image(path)


def test_float_tiff_is_refused(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match="32-bit"):
        read_image(tmp_path / "a.tif")


def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path):
    for name, image, message in [
        ("a.gif", RGB, "suffix"),
        ("a", RGB, "suffix"),
        ("a.png", RGB / 255.0, "uint8"),
        ("a.pgm", RGB, "grey"),
        ("a.jpg", RGB.astype(np.uint16), "16-bit"),
        ("a.webp", RGB.astype(np.uint16), "16-bit"),
        ("a.jpg", np.dstack((RGB, GRAY)), "alpha"),
        ("a.bmp", np.dstack((RGB, GRAY)), "alpha"),
        ("a.webp", np.dstack((GRAY, GRAY)), "grey with alpha"),
        ("a.tif", np.dstack((GRAY, GRAY)).astype(np.uint16), "as .png only"),
        ("a.jpg", np.zeros((1, 70000), np.uint8), "cannot hold"),
        ("a.webp", np.zeros((1, 20000, 3), np.uint8), "cannot hold"),
    ]:
        with pytest.raises(InputError, match=message):
            write_image(tmp_path / name, image)
    with pytest.raises(OSError, match="No such file"):
        write_image(tmp_path / "missing" / "a.png", RGB)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 5), np.uint8), "shape"),
        (np.zeros((4, 4, 1), np.uint8), "shape"),
        (np.zeros((4,), np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "at least one pixel"),
        (np.zeros((4, 4), np.int32), "int32"),
        (np.zeros((4, 4), np.complex64), "complex64"),
        (np.full((4, 4), np.nan), "NaN"),
        (np.full((4, 4), 1.5), "1.5"),
        (np.full((4, 4), -0.5), "-0.5"),
        ([["a", "b"]], "<U1"),
    ],
)
def test_arrays_that_are_no_picture_are_refused(image, message):
    with pytest.raises(InputError, match=message):
        check_image(image)


def test_coordinates_are_pixel_centres_of_the_square():
    xy = grid_coordinates(torch.arange(8), (2, 4))
    assert xy.dtype == torch.float32
    assert xy.tolist() == [[y, x] for y in (-0.5, 0.5) for x in (-0.75, -0.25, 0.25, 0.75)]


def test_coordinates_stay_exact_in_huge_pictures():
    size = 2**31 - 1
    last = grid_coordinates(torch.tensor([size * size - 1, size * size // 2]), (size, size))
    assert last.tolist() == [[1.0, 1.0], [0.0, 0.0]]


def test_rendering_at_twice_the_size_does_not_shift_the_picture():
    small = render_image(Ramp(), 40, 60).astype(int)
    big = render_image(Ramp(), 80, 120).astype(int)
    averaged = big.reshape(40, 2, 60, 2, 3).mean(axis=(1, 3))
    # a linear ramp: the mean of the four pixels at a place is the pixel there, up to 8-bit rounding
    assert np.abs(averaged - small).max() <= 1
    assert np.abs((averaged - small).mean(axis=(0, 1))).max() < 0.1


def test_rendered_values_and_rounding():
    image = render_image(Ramp(), 7, 11)
    assert image[:, 0, 0].tolist() == np.rint((2 * np.arange(7) + 1) / 7 * 127.5).tolist()
    assert image[0, :, 1].tolist() == np.rint((2 * np.arange(11) + 1) / 11 * 127.5).tolist()
    assert (image[..., 2] == 128).all()


def test_values_outside_the_range_are_clipped():
    class Wide(torch.nn.Module):
        def forward(self, x):
            return x[:, :1] * 10

    assert render_image(Wide(), 2, 1).tolist() == [[0], [255]]


def _assert_same_picture(a, b):
    # the rounding of a matrix product may depend on its number of rows
    assert np.abs(a.astype(int) - b).max() <= 1
    assert (a != b).mean() < 0.01


def test_a_crop_equals_that_part_of_the_whole(network):
    whole = render_image(network, 90, 130)
    y, x, h, w = 11, 37, 79, 93
    _assert_same_picture(render_image(network, 90, 130, crop=(y, x, h, w)), whole[y : y + h, x : x + w])
    for corner in ((89, 129), (0, 0), (0, 129), (89, 0)):
        pixel = render_image(network, 90, 130, crop=(*corner, 1, 1))
        assert np.abs(pixel.astype(int) - whole[corner]).max() <= 1


def test_chunks_do_not_show(network, monkeypatch):
    whole = render_image(network, 40, 30)
    monkeypatch.setattr(sampling, "CHUNK", 100)
    _assert_same_picture(render_image(network, 40, 30), whole)


def test_a_small_part_of_a_huge_picture_can_be_seen(network):
    part = render_image(network, 2**30, 2**30, crop=(2**29, 2**29, 2, 3))
    center = render_image(network, 1, 1)
    assert part.shape == (2, 3, 3)
    assert np.abs(part.astype(int) - center).max() <= 1


@pytest.mark.parametrize(
    ("size", "crop", "message"),
    [
        ((0, 5), None, "height and width"),
        ((5, 2**31), None, "height and width"),
        ((2**20, 2**20), None, "crops"),
        ((5, 7), (0, 0, 5, 8), "crop"),
        ((5, 7), (0, 3, 5, 5), "crop"),
        ((5, 7), (-1, 0, 2, 2), "crop"),
        ((5, 7), (0, 0, 2, 0), "crop"),
    ],
)
def test_sizes_and_crops_out_of_range_are_refused(network, size, crop, message):
    with pytest.raises(InputError, match=message):
        render_image(network, *size, crop=crop)


def test_networks_that_show_no_picture_are_refused():
    with pytest.raises(InputError, match=r"got \[6, 5\]"):
        render_image(Siren(2, 5, 4, 0), 2, 3)
    broken = Siren(2, 1, 4, 0)
    torch.nn.init.constant_(broken.layers[0].weight, 3e38)
    with pytest.raises(InputError, match="not finite"):
        render_image(broken, 2, 3)


def test_an_unusable_device_is_refused(network):
    for device in ("no such device", "mps" if not torch.backends.mps.is_available() else "xpu"):
        with pytest.raises(InputError, match="cannot be used"):
            to_device(network, device)


def test_psnr_agrees_with_scikit_image():
    other = np.random.default_rng(1).integers(0, 256, RGB.shape, dtype=np.uint8)
    assert psnr(RGB, other) == pytest.approx(peak_signal_noise_ratio(RGB, other), abs=1e-9)
    assert psnr(RGB / 255, other) == pytest.approx(psnr(RGB, other), abs=1e-9)
    assert psnr(GRAY, np.zeros_like(GRAY)) == pytest.approx(
        10 * math.log10(255**2 / np.mean(GRAY.astype(float) ** 2)), abs=1e-9
    )
    assert psnr(RGB, RGB) == math.inf
    with pytest.raises(InputError, match="one shape"):
        psnr(RGB, GRAY)


def test_error_map_is_the_scaled_absolute_difference():
    a, b = np.full((2, 2, 3), 100, np.uint8), np.full((2, 2, 3), 100, np.uint8)
    b[0, 0] = (103, 97, 100)
    b[1, 1] = 255
    assert error_map(a, b, gain=10).tolist() == [[20, 0], [0, 255]]
    with pytest.raises(InputError, match="one shape"):
        error_map(a, a[:1])


def test_contact_sheet_shows_every_panel_under_its_caption():
    panels = [("one", np.full((60, 80, 3), 10, np.uint8)), ("two", np.full((60, 80), 200, np.uint8)),
              ("three", np.full((30, 40), 0.5))]  # fmt: skip
    sheet = contact_sheet(panels, columns=2)
    values, counts = np.unique(sheet.reshape(-1, 3), axis=0, return_counts=True)
    found = {tuple(v): c for v, c in zip(values.tolist(), counts.tolist(), strict=True)}
    assert found[10, 10, 10] >= 60 * 80
    assert found[200, 200, 200] >= 60 * 80
    assert found[128, 128, 128] >= 30 * 40
    ink = (sheet.max(axis=-1) < 150) & ~np.isin(sheet[..., 0], (10, 128))
    assert ink.sum() > 50, "captions"
    assert sheet.shape[1] > 2 * 80
    with pytest.raises(InputError):
        contact_sheet([])


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (200, 3)])
def test_captions_of_small_pictures_are_whole_and_apart(shape):
    captions = ["original", "the same, rendered three times finer", "error, 8 times"]
    panels = [(caption, np.full(shape, 255, np.uint8)) for caption in captions]
    line = 22  # at the smallest size of letters

    def ink(sheet):
        return int((255 - sheet[:line].astype(int)).sum())

    sheet = contact_sheet(panels, columns=3)
    assert ink(sheet) == sum(ink(contact_sheet([panel])) for panel in panels)
    # wide enough that nothing is cut: white beside the last letters
    for panel in panels:
        assert (contact_sheet([panel])[:, -3:] == 255).all()
