"""TIFF pictures that Pillow does not read, or not right: those of more than 8 bits, and rare kinds."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.errors import InputError
from coinr.files.reading import TRUNCATED
from coinr.runtime.optional import import_optional
from coinr.signals.image.colors import lab_to_srgb
from coinr.signals.image.picture import MAX_PIXELS
from coinr.signals.image.rasters import Raster, first_of, to_full_scale, unpremultiply
from coinr.signals.image.truncated_files import is_truncated

#: The note on extra samples.
LEFT_OUT = "channels that are neither colour nor alpha are left out"

#: Tags that tifffile has no attribute for.
_ORIENTATION, _INK_SET, _PROFILE = 274, 332, 34675

#: Color channels of the photometric interpretations that are known.
_COLORS = {
    "MINISWHITE": 1,
    "MINISBLACK": 1,
    "RGB": 3,
    "PALETTE": 1,
    "SEPARATED": 4,
    "YCBCR": 3,
    "CIELAB": 3,
    "ICCLAB": 3,
}

_LAB = ("CIELAB", "ICCLAB")

#: Values of the tag ExtraSamples that are alpha: multiplied into the colors, or not.
_ASSOCIATED, _STRAIGHT = 1, 2

#: Most channels that are read, of which all but colors and alpha are left out.
_CHANNELS = 8

#: A value of the tag Compression, and one of PlanarConfiguration.
_JPEG, _SEPARATE = 7, 2


def read_tiff(data: bytes) -> Raster:
    """Return the first picture of a TIFF file that is no thumbnail or mask.

    Raises
    ------
    InputError
        If its samples are not unsigned integers of up to 16 bits, or its colors are of a kind that is not supported.
    DependencyError
        If the libraries that read it are not installed.
    """
    import_optional("imagecodecs")  # tifffile needs it for most compressions
    with import_optional("tifffile").TiffFile(io.BytesIO(data)) as file:
        pages = [page for page in _pages(file) if not page.is_reduced and not page.is_mask]
        if not pages and is_truncated(data):
            raise InputError(TRUNCATED)
        if not pages:
            raise InputError("the TIFF file holds thumbnails only, as raw photos do")
        page = pages[0]
        _check(page, len(data))
        samples = _in_order(page)
        profile = page.tags.valueof(_PROFILE)
        orientation = page.tags.valueof(_ORIENTATION, 1)
    return _raster(page, samples, profile, int(orientation), first_of(len(pages)))


def _kind(page: Any) -> str:
    """Return the photometric interpretation; its number where tifffile has no name for it."""
    return str(getattr(page.photometric, "name", page.photometric))


def _pages(file: Any) -> list[Any]:
    """Return all pages of a file; InputError if they form a circle, which tifffile follows without end."""
    pages: dict[int, Any] = {}
    for page in file.pages:
        if page.offset in pages:
            raise InputError("damaged TIFF file: its pages lead in a circle")
        pages[page.offset] = page.aspage()
    return list(pages.values())


def _check(page: Any, size: int) -> None:
    """Raise InputError if samples or colors are not supported, or the file of ``size`` bytes ends too early."""
    kind = _kind(page)
    if kind not in _COLORS:
        raise InputError(f"TIFF pictures of kind {kind} are not supported")
    if page.dtype is None or page.dtype.kind not in "bu" or page.dtype.itemsize > 2:
        what = f"{page.bitspersample}-bit samples ({page.dtype or 'of an unknown format'})"
        raise InputError(f"TIFF pictures are read of unsigned samples of up to 16 bits, this one has {what}")
    if kind == "SEPARATED" and page.tags.valueof(_INK_SET, 1) != 1:
        raise InputError("TIFF pictures of inks that are not CMYK are not supported")
    if kind == "YCBCR" and page.compression != _JPEG:
        raise InputError(f"TIFF pictures of YCbCr colours, {page.bitspersample} bits, without JPEG are not supported")
    if kind in _LAB and page.bitspersample not in (8, 16):
        raise InputError(f"TIFF pictures of L*a*b* colours have 8 or 16 bits, this one has {page.bitspersample}")
    if page.imagedepth != 1:
        raise InputError(f"TIFF volumes are not supported, this one has {page.imagedepth} layers")
    if page.samplesperpixel < _COLORS[kind]:
        raise InputError(f"the TIFF picture has {page.samplesperpixel} channels, {kind} needs {_COLORS[kind]}")
    if page.imagewidth * page.imagelength > MAX_PIXELS:
        raise InputError(f"pictures have up to {MAX_PIXELS} pixels, got {page.imagelength} x {page.imagewidth}")
    if page.samplesperpixel > _CHANNELS:
        raise InputError(f"TIFF pictures have up to {_CHANNELS} channels, this one has {page.samplesperpixel}")
    parts = math.prod(page.chunked)
    if min(len(page.dataoffsets), len(page.databytecounts)) < parts:
        raise InputError(f"damaged TIFF file: it does not say where all {parts} parts of the picture are")
    if any(start + count > size for start, count in zip(page.dataoffsets, page.databytecounts, strict=False)):
        raise InputError(TRUNCATED)


def _in_order(page: Any) -> NDArray[Any]:
    """Return samples as stored, [H, W, C]."""
    samples: NDArray[Any] = page.asarray()
    if samples.ndim == 2:
        return samples[..., None]
    return np.moveaxis(samples, 0, -1) if page.planarconfig == _SEPARATE else samples


def _raster(
    page: Any, samples: NDArray[Any], profile: bytes | None, orientation: int, notes: tuple[str, ...]
) -> Raster:
    kind, bits = _kind(page), page.bitspersample
    count, dtype = _COLORS[kind], np.dtype(np.uint8 if bits <= 8 and kind != "PALETTE" else np.uint16)
    extra = tuple(int(value) for value in page.extrasamples)
    if not extra and samples.shape[2] == count + 1:
        extra = (_STRAIGHT,)  # some programs leave the tag out; Pillow takes such a channel for alpha too
    found = [k for k, value in enumerate(extra) if value in (_ASSOCIATED, _STRAIGHT)]
    if samples.shape[2] - count > len(found[:1]):
        notes += (LEFT_OUT,)
    colors = _colors(page, samples[..., :count], dtype)
    if found:
        alpha = to_full_scale(samples[..., count + found[0], None], 2**bits - 1, dtype)
        if extra[found[0]] == _ASSOCIATED:
            colors = unpremultiply(colors, alpha)
        colors = np.concatenate((colors, alpha), 2)
    return Raster(colors, bool(found), None if kind in _LAB else profile, orientation, notes)


def _colors(page: Any, stored: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return gray, RGB or CMYK of full scale, [H, W, C]; L*a*b* is made sRGB."""
    kind, bits = _kind(page), page.bitspersample
    if kind == "PALETTE":
        table: NDArray[np.uint16] = np.asarray(page.colormap)
        if table.max() < 256:  # old programs write 8 of the 16 bits
            table = table * np.uint16(257)
        return np.moveaxis(table[:, stored[..., 0].astype(int)], 0, -1)
    if kind in _LAB:
        return lab_to_srgb(_lab(kind, stored, bits), dtype)
    samples = to_full_scale(stored, 2**bits - 1, dtype)
    return np.iinfo(dtype).max - samples if kind == "MINISWHITE" else samples


def _lab(kind: str, stored: NDArray[Any], bits: int) -> NDArray[np.float64]:
    """Return L in 0 .. 100, a and b in -128 .. 128."""
    unit = 2 ** (bits - 8)
    if kind == "CIELAB":
        signed = stored[..., 1:].view(np.int8 if bits == 8 else np.int16)
        return np.dstack((stored[..., 0] * (100 / (2**bits - 1)), signed / unit))
    return np.dstack((stored[..., 0] * (100 / (255 * unit)), stored[..., 1:] / unit - 128))
