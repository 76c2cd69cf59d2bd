"""Picture files as samples with their meaning, each read by the library that reads it right.

Pillow reads 8 bits. It keeps 8 of 16 in color, and some TIFF kinds it shows wrong or not at all: those are read by
tifffile, 16-bit PNG by imagecodecs (libpng), deep JPEG 2000 by its OpenJPEG and 16-bit PNM by netpbmfile.
"""

from __future__ import annotations

import io
import logging
import re
import struct
import warnings
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL import TiffImagePlugin as TIFF

from coinr.errors import InputError
from coinr.files.reading import TRUNCATED
from coinr.runtime.optional import import_optional
from coinr.signals.image.colors import profile_of_chunks
from coinr.signals.image.jpeg2000 import color_profile, deep_samples
from coinr.signals.image.picture import MAX_PIXELS
from coinr.signals.image.rasters import Raster, first_of, to_full_scale
from coinr.signals.image.tiff import LEFT_OUT, read_tiff
from coinr.signals.image.truncated_files import TIFF_MAGIC, is_truncated

#: What Pillow may open: pictures of pixels. Others would run programs (EPS), or are no pictures (HDF5).
FORMATS = (
    "PNG JPEG TIFF WEBP GIF BMP DIB PPM JPEG2000 AVIF TGA ICO ICNS PCX SGI PSD QOI DDS XBM XPM".split()  # noqa: SIM905
)

#: Tags of TIFF: what page this is, bits of each channel, compression, how many channels there are, whether each is
#: stored alone, and pixels for each value of chroma.
_SUBFILE_TYPE, _BITS, _COMPRESSION, _CHANNELS, _PLANES, _SUBSAMPLING = 254, 258, 259, 277, 284, 530

#: What channels beyond colors are: 1 is alpha that the colors are multiplied by.
_EXTRA = 338

#: Formats of samples that are unsigned or not given, and the colors of a palette.
_SAMPLE_FORMAT, _UNSIGNED, _PALETTE = 339, {1, 4}, 320

#: A compression that Pillow's own libtiff may lack.
_WEBP = 50001

_ORIENTATION = 0x0112
_PAM = b"P7\n"

#: Kinds of PAM and their channels, and a line that gives none, which the reader does not take.
_TUPLE_TYPES = dict(BLACKANDWHITE=1, BLACKANDWHITE_ALPHA=2, GRAYSCALE=1, GRAYSCALE_ALPHA=2, RGB=3, RGB_ALPHA=4)
_EMPTY_TYPE = re.compile(rb"^TUPLTYPE[ \t]*\n", re.MULTILINE)

#: Code points of color primaries and transfer curves that viewers show as sRGB: its own, BT.709 or none given.
_PRIMARIES, _TRANSFERS = (1, 2), (1, 2, 6, 13)

for _name in ("tifffile", "imagecodecs"):
    # they print odd tags on stderr unless someone has set up logging
    logging.getLogger(_name).addHandler(logging.NullHandler())


def decode_picture(data: bytes) -> Raster:
    """Return the picture in the bytes of a file, the first frame of an animation.

    Raises
    ------
    InputError
        If the bytes are no picture, are damaged, or of a kind that is not supported.
    DependencyError
        If a library that reads such pictures is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata and of pictures above 89 megapixels
        if data.startswith(_PAM):
            return _pnm(data)
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as file:
                return _decode(file, data)
        except UnidentifiedImageError:
            if data.startswith(TIFF_MAGIC):
                return read_tiff(data)
            if is_truncated(data):
                raise InputError(TRUNCATED) from None
            raise InputError("not an image that can be read") from None


def begins_as_picture(stream: BinaryIO) -> bool:
    """Return whether :func:`decode_picture` knows what the stream holds, damaged or not."""
    head = stream.read(4)
    if head.startswith((*TIFF_MAGIC, _PAM)):
        return True
    stream.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            Image.open(stream, formats=FORMATS).close()
        except UnidentifiedImageError:
            return False
        except Exception:  # known, and its header is damaged; the reader says how
            return True
    return True


def _decode(file: Image.Image, data: bytes) -> Raster:
    _check_code_points(file, data)
    if file.format == "TIFF":
        if not _pillow_reads_tiff(file):
            return read_tiff(data)
        _check_parts(file.tag_v2)  # type: ignore[attr-defined]
    if file.format == "PNG" and data[24] == 16:
        samples = import_optional("imagecodecs").png_decode(data)
        samples = samples[..., None] if samples.ndim == 2 else samples
        return _raster(file, samples, alpha=samples.shape[2] in (2, 4))
    if file.format == "PPM" and _is_wide_pnm(file):
        return _pnm(data)
    if file.format == "JPEG2000":
        if (profile := color_profile(data)) is not None:
            file.info["icc_profile"] = profile
        if (deep := deep_samples(data)) is not None:
            return _raster(file, deep, alpha=deep.shape[2] == 2 or file.mode == "RGBA")
    file.load()
    if file.mode in ("1", "L") and "transparency" in file.info:
        return _raster(file, _key_to_alpha(file, data[24] if file.format == "PNG" else 8), alpha=True)
    raster = _with_pillow(file)
    return replace(raster, notes=_lost_bits(file, data) + raster.notes)


def _pillow_reads_tiff(file: Any) -> bool:
    """Return whether Pillow reads a TIFF file right: up to 8 bits, known colors, a picture on the first page."""
    tags = file.tag_v2
    return (
        all(bits <= 8 for bits in tags.get(_BITS, (1,)))
        and not tags.get(_SUBFILE_TYPE, 0) & 1
        and tags.get(_COMPRESSION) != _WEBP
        and set(tags.get(_SAMPLE_FORMAT, (1,))) <= _UNSIGNED
        and max(tags.get(_PALETTE, (256,))) > 255  # Pillow takes tables of 8 bits for nearly black
        and not (tags.get(_PLANES) == 2 and 1 in tags.get(_EXTRA, ()))
        and (
            file.mode in ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "CMYK")
            or (file.mode == "YCbCr" and tags.get(_SUBSAMPLING) == (1, 1))
        )
    )


def _check_parts(tags: Any) -> None:
    """Raise InputError if a TIFF file lacks the places of some strips or tiles, which Pillow would leave black."""
    width, height = tags[TIFF.IMAGEWIDTH], tags[TIFF.IMAGELENGTH]
    planes = tags.get(_CHANNELS, 1) if tags.get(_PLANES, 1) == 2 else 1
    if TIFF.TILEOFFSETS in tags:
        parts = -(-width // tags[TIFF.TILEWIDTH]) * -(-height // tags[TIFF.TILELENGTH]) * planes
    else:
        parts = -(-height // max(1, tags.get(TIFF.ROWSPERSTRIP, height))) * planes
    places = tags.get(TIFF.TILEOFFSETS if TIFF.TILEOFFSETS in tags else TIFF.STRIPOFFSETS, ())
    if (len(places) if isinstance(places, tuple) else 1) < parts:
        raise InputError(f"damaged TIFF file: it does not say where all {parts} parts of the picture are")


def _check_code_points(file: Image.Image, data: bytes) -> None:
    """Raise InputError for PNG and AVIF colors that are not sRGB by their code points, without a profile."""
    if file.info.get("icc_profile") and file.format != "PNG":
        return
    if file.format == "PNG" and (at := data.find(b"cICP", 0, data.find(b"IDAT"))) > 0:
        points = tuple(data[at + 4 : at + 6])
        if data[at + 7 : at + 8] == b"\0":
            raise InputError("PNG pictures of video levels (cICP of narrow range) are not supported")
    elif file.format == "AVIF" and (at := data.find(b"colrnclx")) > 0:
        points = struct.unpack(">HH", data[at + 8 : at + 12])
    else:
        return
    if points[0] not in _PRIMARIES or points[1] not in _TRANSFERS:
        raise InputError(
            f"colours of the code points {points[0]} and {points[1]} (HDR or a wide gamut) are not supported"
        )


def _is_wide_pnm(file: Any) -> bool:
    """Return whether the largest value of a PGM or PPM file, which Pillow passes to its decoder, is above 255."""
    arguments = file.tile[0].args
    return file.mode == "I" or (isinstance(arguments, tuple) and isinstance(arguments[-1], int) and arguments[-1] > 255)


def _with_pillow(file: Image.Image) -> Raster:
    """Return the samples that Pillow read."""
    if file.mode.startswith(("F", "I")):
        raise InputError(f"{file.format} images of {file.mode!r} (32-bit) samples are not supported")
    if file.mode == "CMYK":
        return _raster(file, np.asarray(file))
    if file.mode in ("La", "LA"):
        return _raster(file, np.asarray(file.convert("LA")), alpha=True)
    if file.mode == "RGBa" or file.has_transparency_data:
        return _raster(file, np.asarray(file.convert("RGBA")), alpha=True)
    return _raster(file, np.asarray(file.convert("L" if file.mode in ("1", "L") else "RGB")))


def _lost_bits(file: Image.Image, data: bytes) -> tuple[str, ...]:
    """Return a note on samples of more than 8 bits that Pillow reads with 8."""
    at = data.find(b"av1C") if file.format == "AVIF" else -1
    deep = (at >= 0 and bool(data[at + 6] & 64)) or (file.format == "SGI" and data[3] == 2)
    return ("samples of more than 8 bits are read with 8 bits",) if deep else ()


def _key_to_alpha(file: Image.Image, bits: int) -> NDArray[np.uint8]:
    """Return gray and alpha [H, W, 2] of a gray picture of ``bits`` in which one level is transparent."""
    gray, key = np.asarray(file.convert("L")), file.info["transparency"]
    if bits in (2, 4) and key < 2**bits:
        key *= 255 // (2**bits - 1)  # Pillow scales the levels to 0 .. 255, and not the key
    return np.dstack((gray, np.where(gray == key, 0, 255).astype(np.uint8)))


def _raster(file: Any, samples: NDArray[Any], *, alpha: bool = False) -> Raster:
    """Return samples [H, W] or [H, W, C] with profile, orientation and notes from Pillow."""
    samples = samples if samples.ndim == 3 else samples[..., None]
    profile, notes = file.info.get("icc_profile"), first_of(_frames(file))
    if file.format == "TIFF" and file.tag_v2.get(_CHANNELS, 1) > samples.shape[2]:
        notes += (LEFT_OUT,)
    if not profile and file.format == "PNG" and (profile := profile_of_chunks(file.info)):
        notes += ("the file says by gAMA and cHRM what its colours are",)
    if not profile and "icc_profile" in file.info:
        profile = b""  # there is one, which Pillow cannot read
    orientation = file.getexif().get(_ORIENTATION, 1)
    return Raster(samples, alpha, profile, orientation, notes)


def _frames(file: Any) -> int:
    """Count the pictures in the file. Layers, and thumbnails of other pictures, do not count."""
    count: int = getattr(file, "n_frames", 1)
    if file.format == "PSD" or count == 1:
        return 1
    if file.format != "TIFF":
        return count
    thumbnails = 0
    for k in range(count):
        file.seek(k)
        thumbnails += file.tag_v2.get(_SUBFILE_TYPE, 0) & 1
    return count - thumbnails


def _pnm(data: bytes) -> Raster:
    """Read a PGM, PPM or PAM picture of any greatest value."""
    header, end, rest = data.partition(b"ENDHDR")
    if end and data.startswith(_PAM):
        data = _EMPTY_TYPE.sub(b"", header) + end + rest
    with import_optional("netpbmfile").NetpbmFile(io.BytesIO(data)) as file:
        kind = _tuple_type(file.tupltype, file.depth)
        if file.maxval > 65535:
            raise InputError(f"the greatest value of a picture is at most 65535, got {file.maxval}")
        if file.width * file.height > MAX_PIXELS:
            raise InputError(f"pictures have up to {MAX_PIXELS} pixels, got {file.height} x {file.width}")
        binary = file.magicnumber not in ("P2", "P3")
        if binary and file.dataoffset + file.width * file.height * file.depth * file.dtype.itemsize > len(data):
            raise InputError(TRUNCATED)
        samples = file.asarray()
        samples = samples[0] if file.frames > 1 else samples
        if samples.max() > file.maxval:
            raise InputError(f"the picture holds {samples.max()}, above its greatest value {file.maxval}")
        dtype = np.dtype(np.uint8 if file.maxval <= 255 else np.uint16)
        samples = to_full_scale(samples.reshape(file.height, file.width, file.depth), file.maxval, dtype)
        return Raster(samples, kind.endswith("_ALPHA"), notes=first_of(file.frames))


def _tuple_type(declared: str, depth: int) -> str:
    """Return the kind of a picture by its TUPLTYPE, or else by its channels; InputError if there is none."""
    if declared in _TUPLE_TYPES and _TUPLE_TYPES[declared] == depth:
        return declared
    if declared in _TUPLE_TYPES:
        raise InputError(f"a PAM picture of TUPLTYPE {declared} has DEPTH {_TUPLE_TYPES[declared]}, got {depth}")
    by_depth = {channels: kind for kind, channels in _TUPLE_TYPES.items()}
    if declared:
        raise InputError(f"PAM pictures of kind {declared} are not supported, only {', '.join(_TUPLE_TYPES)}")
    if depth not in by_depth:
        raise InputError(f"a PAM picture without TUPLTYPE has DEPTH 1 .. 4, got {depth}")
    return by_depth[depth]
