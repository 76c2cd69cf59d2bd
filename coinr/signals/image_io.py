"""Picture files in and out."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from coinr.contents import read_bytes
from coinr.errors import CoinrError, InputError
from coinr.files import write_atomic
from coinr.signals.image import Picture, check_image
from coinr.signals.optional import optional

#: How Pillow is asked to write each suffix; all but JPEG are lossless.
_WRITERS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {"optimize": True}),
    ".tif": ("TIFF", {"compression": "tiff_lzw"}),
    ".tiff": ("TIFF", {"compression": "tiff_lzw"}),
    ".bmp": ("BMP", {}),
    ".ppm": ("PPM", {}),
    ".pgm": ("PPM", {}),
    ".webp": ("WEBP", {"lossless": True, "exact": True}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
}

#: Suffixes that :func:`write_image` knows.
IMAGE_SUFFIXES = tuple(_WRITERS)

#: Those that hold 16 bits a channel, and those that hold alpha.
_WIDE, _ALPHA = (".png", ".tif", ".tiff"), (".png", ".tif", ".tiff", ".webp")


def read_image(path: str | os.PathLike[str]) -> Picture:
    """Return the picture in the file ``path``, turned upright as its EXIF orientation says.

    Grey pictures come back as [H, W], all others as RGB [H, W, 3]; uint8, or uint16 where a channel has 16 bits. Of an
    animation the first frame is taken. Alpha is a last channel more, dropped where it is opaque everywhere.

    Raises
    ------
    InputError
        If the file is damaged, no picture, or of 32-bit samples.
    DependencyError
        If the library that reads 16-bit colours is not installed.
    OSError
        If the file cannot be opened.
    """
    data = read_bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata and of pictures above 89 megapixels
            with Image.open(io.BytesIO(data)) as file:
                file.load()
                return _visible(_to_array(file, data))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except CoinrError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{path}: not an image that can be read") from None
    except Exception as error:  # damaged files make the parsers raise nearly anything
        raise InputError(f"{path}: damaged or unsupported image ({error})") from error


def _to_array(file: Image.Image, data: bytes) -> Picture:
    if file.mode in ("F", "I"):
        raise InputError(f"images of {file.mode!r} (32-bit) samples are not supported")
    if file.mode.startswith("I;16"):
        return np.asarray(ImageOps.exif_transpose(file)).astype(np.uint16)
    # of 16-bit colours Pillow keeps 8 bits
    wide_png = file.format == "PNG" and data[24] == 16
    wide_tiff = file.format == "TIFF" and 16 in file.tag_v2.get(258, ())  # type: ignore[attr-defined]
    if wide_png or wide_tiff:
        if file.getexif().get(0x0112, 1) != 1:
            raise InputError(
                "16-bit colours with an EXIF orientation are not supported; turn the picture upright first"
            )
        return _wide_png(data) if wide_png else check_image(optional("tifffile").imread(io.BytesIO(data)))
    file = ImageOps.exif_transpose(file)
    if file.has_transparency_data:
        return np.array(file.convert("LA" if file.mode in ("L", "LA") else "RGBA"))
    return np.array(file.convert("L" if file.mode in ("1", "L") else "RGB"))


def _wide_png(data: bytes) -> Picture:
    width, height, rows, info = optional("png").Reader(bytes=data).asDirect()
    return np.vstack([np.asarray(row, np.uint16) for row in rows]).reshape(height, width, info["planes"])


def _visible(image: Picture) -> Picture:
    """Without an alpha channel that is opaque everywhere."""
    if image.ndim == 2 or image.shape[2] == 3 or image[..., -1].min() < np.iinfo(image.dtype).max:
        return image
    return np.ascontiguousarray(image[..., 0] if image.shape[2] == 2 else image[..., :3])


def check_image_output(path: str | os.PathLike[str], channels: int, bits: int) -> None:
    """Refuse a name whose format cannot hold pictures of this kind.

    Raises
    ------
    InputError
        If the suffix is not one of :data:`IMAGE_SUFFIXES`, or its format lacks colours, alpha or 16 bits.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _WRITERS:
        raise InputError(f"{path}: the suffix must be one of {' '.join(IMAGE_SUFFIXES)}")
    if suffix == ".pgm" and channels != 1:
        raise InputError(f"{path}: .pgm holds grey images only; use .ppm")
    if channels in (2, 4) and suffix not in _ALPHA:
        raise InputError(f"{path}: {suffix} has no alpha channel; use {' '.join(_ALPHA)}")
    if channels == 2 and suffix == ".webp":
        raise InputError(f"{path}: .webp has no grey with alpha; use {' '.join(_WIDE)}")
    if bits == 16 and channels == 2 and suffix != ".png":
        raise InputError(f"{path}: 16-bit grey with alpha is written as .png only")
    if bits == 16 and suffix not in _WIDE:
        raise InputError(f"{path}: {suffix} has no 16-bit channels; use {' '.join(_WIDE)}")


def write_image(path: str | os.PathLike[str], image: Picture) -> None:
    """Write the uint8 or uint16 picture ``image`` to ``path``, in the format its suffix names, all or nothing.

    Raises
    ------
    InputError
        If the suffix is not one of :data:`IMAGE_SUFFIXES` or its format cannot hold the picture, or ``image`` is not a
        uint8 or uint16 picture.
    DependencyError
        If the library that writes 16-bit colours is not installed.
    OSError
        If the file cannot be written.
    """
    image = check_image(image)
    if image.dtype not in (np.uint8, np.uint16):
        raise InputError(f"only uint8 and uint16 images are written, got {image.dtype}")
    channels = 1 if image.ndim == 2 else image.shape[2]
    check_image_output(path, channels, 16 if image.dtype == np.uint16 else 8)
    suffix = Path(path).suffix.lower()
    buffer = io.BytesIO()
    if image.dtype == np.uint16 and channels > 1:
        _write_wide(buffer, image, suffix)
    else:
        kind, options = _WRITERS[suffix]
        try:
            Image.fromarray(image).save(buffer, kind, **options)
        except (ValueError, OSError) as error:  # a side longer than JPEG or WebP can hold
            raise InputError(f"{path}: {kind} cannot hold this image ({error})") from error
    write_atomic(path, buffer.getvalue())


def _write_wide(buffer: io.BytesIO, image: Picture, suffix: str) -> None:
    """16-bit colours, which Pillow cannot write."""
    height, width, channels = image.shape
    if suffix == ".png":
        writer = optional("png").Writer(width, height, greyscale=channels == 2, alpha=channels in (2, 4), bitdepth=16)
        writer.write(buffer, image.reshape(height, width * channels))
    else:
        extra = ["unassalpha"] if channels == 4 else None
        optional("tifffile").imwrite(buffer, image, photometric="rgb", extrasamples=extra, planarconfig="contig")
