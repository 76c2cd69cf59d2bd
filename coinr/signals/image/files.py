"""Picture files in and out."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from coinr.errors import CoinrError, InputError
from coinr.files.reading import TRUNCATED, name_in_errors, read_bytes
from coinr.files.writing import write_atomic
from coinr.inputs.arguments import checked
from coinr.runtime.ambient import independent
from coinr.runtime.optional import import_optional
from coinr.signals.image.decoding import begins_as_picture, decode_picture
from coinr.signals.image.picture import Picture, check_image
from coinr.signals.image.truncated_files import is_truncated

#: Format and options of Pillow for each suffix; all but JPEG are lossless.
_WRITERS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),  # more effort takes seven times as long for 1 to 4 % of the bytes
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


@independent
@checked
def read_image(path: str | os.PathLike[str]) -> Picture:
    """Return the picture in the file ``path``, upright as its EXIF orientation says and in sRGB.

    Gray pictures come back as [H, W], all others as RGB [H, W, 3]; uint8, or uint16 where a channel has more than 8
    bits. Alpha is a last channel more, straight, dropped where it is opaque everywhere. Colors with an ICC profile are
    converted to sRGB. Of an animation, or of several pages, the first is taken.

    Raises
    ------
    InputError
        If the file is damaged, no picture, or of samples that are not unsigned integers of up to 16 bits.
    DependencyError
        If the library that reads pictures of more than 8 bits is not installed.
    OSError
        If the file cannot be opened.
    """
    return read_picture(path)[0]


def read_picture(path: str | os.PathLike[str]) -> tuple[Picture, tuple[str, ...]]:
    """Return the picture as :func:`read_image` does, and notes on what was converted or left out."""
    data = read_bytes(path)
    with name_in_errors(path):
        try:
            return decode_picture(data).picture()
        except (CoinrError, MemoryError):
            raise
        except Exception as error:  # damaged files make the parsers raise nearly anything
            what = TRUNCATED if is_truncated(data, error) else "damaged or unsupported image"
            raise InputError(f"{what} ({error})") from error


def is_picture(path: str | os.PathLike[str]) -> bool:
    """Return whether the content of a file begins as that of a picture, damaged or not."""
    with Path(path).open("rb") as stream:
        return begins_as_picture(stream)


def check_image_output(path: str | os.PathLike[str], channels: int, bits: int) -> None:
    """Refuse a name whose format cannot hold pictures of this kind.

    Raises
    ------
    InputError
        If the suffix is not one of :data:`IMAGE_SUFFIXES`, or its format lacks colors, alpha or 16 bits.
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


@independent
@checked
def write_image(path: str | os.PathLike[str], image: Picture) -> None:
    """Write the uint8 or uint16 picture ``image`` to ``path``, in the format its suffix names, all or nothing.

    Raises
    ------
    InputError
        If the suffix is not one of :data:`IMAGE_SUFFIXES` or its format cannot hold the picture, or ``image`` is not a
        uint8 or uint16 picture.
    DependencyError
        If the library that writes 16-bit colors is not installed.
    OSError
        If the file cannot be written.
    """
    write_atomic(path, encode_image(path, image))


def encode_image(path: str | os.PathLike[str], image: Picture) -> bytes:
    """Return what :func:`write_image` writes to ``path``; arguments and errors as there."""
    image = check_image(image)
    if image.dtype not in (np.uint8, np.uint16):
        raise InputError(f"only uint8 and uint16 images are written, got {image.dtype}")
    channels = 1 if image.ndim == 2 else image.shape[2]
    suffix = Path(path).suffix.lower()
    check_image_output(path, channels, 16 if image.dtype == np.uint16 else 8)
    buffer = io.BytesIO()
    if image.dtype == np.uint16 and channels > 1:
        _write_wide(buffer, image, suffix)
    else:
        kind, options = _WRITERS[suffix]
        try:
            Image.fromarray(image).save(buffer, kind, **options)
        except (ValueError, OSError) as error:  # a side longer than JPEG or WebP can hold
            raise InputError(f"{path}: {kind} cannot hold this image ({error})") from error
    return buffer.getvalue()


def _write_wide(buffer: io.BytesIO, image: Picture, suffix: str) -> None:
    """Write 16-bit colors, which Pillow cannot write."""
    if suffix == ".png":
        buffer.write(import_optional("imagecodecs").png_encode(image, level=9))
    else:
        extra = ["unassalpha"] if image.shape[2] == 4 else None
        import_optional("tifffile").imwrite(buffer, image, photometric="rgb", extrasamples=extra, planarconfig="contig")
