"""Picture files of many kinds beside what they show, written by other libraries than those that coinr reads with."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import png
import tifffile
from numpy.typing import NDArray

from coinr.signals.image.files import read_image

Unit = NDArray[np.float64]

HEIGHT, WIDTH = 6, 9
_ROW, _COLUMN = np.mgrid[0:HEIGHT, 0:WIDTH]

#: What all files show: colors, gray, and alpha that is zero nowhere, in [0, 1]; whole levels of 8 bits.
RGB: Unit = np.stack([_COLUMN * 28, _ROW * 40, (_ROW + _COLUMN) * 16], -1) / 255
GRAY: Unit = (_ROW * 20 + _COLUMN * 14) / 255
ALPHA: Unit = (_COLUMN + 7) / 15
RGBA: Unit = np.dstack((RGB, ALPHA))
GRAY_ALPHA: Unit = np.dstack((GRAY, ALPHA))
CMYK: Unit = np.dstack((1 - RGB, GRAY / 2))
CMYK_SHOWN: Unit = RGB * (1 - GRAY[..., None] / 2)


def levels(unit: Unit, bits: int) -> NDArray[Any]:
    """Values in [0, 1] as whole numbers of ``bits``."""
    return np.rint(unit * (2**bits - 1)).astype(np.uint8 if bits <= 8 else np.uint16)


def multiplied(unit: Unit) -> Unit:
    """Colors multiplied by the alpha that is the last channel."""
    return np.dstack((unit[..., :-1] * unit[..., -1:], unit[..., -1]))


def _tiff(unit: Unit, shown: Unit, **options: Any) -> Callable[[Path, int], Unit]:
    def write(path: Path, bits: int) -> Unit:
        stored = levels(unit, bits)
        if options.get("planarconfig") == "separate":
            stored = np.ascontiguousarray(np.moveaxis(stored, -1, -3))
        tifffile.imwrite(path, stored, metadata=None, **options)
        return shown

    return write


def _upright(orientation: int, turn: Callable[[Unit], Unit]) -> Callable[[Path, int], Unit]:
    tag = [(274, 3, 1, orientation, True)]
    return _tiff(np.ascontiguousarray(turn(RGB)), RGB, photometric="rgb", extratags=tag)


#: Writers of TIFF files at 8 and 16 bits, which give back what is to be seen.
TIFF: dict[str, Callable[[Path, int], Unit]] = {
    "grey": _tiff(GRAY, GRAY, photometric="minisblack"),
    "0 is white": _tiff(1 - GRAY, GRAY, photometric="miniswhite"),
    "rgb": _tiff(RGB, RGB, photometric="rgb"),
    "straight alpha": _tiff(RGBA, RGBA, photometric="rgb", extrasamples=["unassalpha"]),
    "associated alpha": _tiff(multiplied(RGBA), RGBA, photometric="rgb", extrasamples=["assocalpha"]),
    "grey, straight alpha": _tiff(
        GRAY_ALPHA, GRAY_ALPHA, photometric="minisblack", extrasamples=["unassalpha"], planarconfig="contig"
    ),
    "grey, associated alpha": _tiff(
        multiplied(GRAY_ALPHA), GRAY_ALPHA, photometric="minisblack", extrasamples=["assocalpha"], planarconfig="contig"
    ),
    "an extra channel": _tiff(RGBA, RGB, photometric="rgb", extrasamples=["unspecified"]),
    "grey, an extra channel": _tiff(
        GRAY_ALPHA, GRAY, photometric="minisblack", extrasamples=["unspecified"], planarconfig="contig"
    ),
    "an extra channel, alpha": _tiff(
        np.dstack((RGB, GRAY, ALPHA)), RGBA, photometric="rgb", extrasamples=["unspecified", "unassalpha"]
    ),
    "alpha, an extra channel": _tiff(
        np.dstack((RGBA, GRAY)), RGBA, photometric="rgb", extrasamples=["unassalpha", "unspecified"]
    ),
    "planes": _tiff(RGB, RGB, photometric="rgb", planarconfig="separate"),
    "planes, alpha": _tiff(RGBA, RGBA, photometric="rgb", planarconfig="separate", extrasamples=["unassalpha"]),
    "planes, associated alpha": _tiff(
        multiplied(RGBA), RGBA, photometric="rgb", planarconfig="separate", extrasamples=["assocalpha"]
    ),
    "planes, tiles": _tiff(RGB, RGB, photometric="rgb", planarconfig="separate", tile=(16, 16)),
    "tiles": _tiff(RGB, RGB, photometric="rgb", tile=(16, 16)),
    "cmyk": _tiff(CMYK, CMYK_SHOWN, photometric="separated"),
    "cmyk, planes": _tiff(CMYK, CMYK_SHOWN, photometric="separated", planarconfig="separate"),
    "cmyk, alpha": _tiff(
        np.dstack((CMYK, ALPHA)),
        np.dstack((CMYK_SHOWN, ALPHA)),
        photometric="separated",
        extrasamples=["unassalpha"],
    ),
    "big-endian": _tiff(RGB, RGB, photometric="rgb", byteorder=">"),
    "BigTIFF": _tiff(RGB, RGB, photometric="rgb", bigtiff=True),
    "LZW": _tiff(RGB, RGB, photometric="rgb", compression="lzw", predictor=True),
    "deflate": _tiff(RGB, RGB, photometric="rgb", compression="zlib", predictor=True),
    "deflate, big-endian": _tiff(
        RGB, RGB, photometric="rgb", compression="zlib", predictor=True, byteorder=">"
    ),
    "packbits": _tiff(RGB, RGB, photometric="rgb", compression="packbits"),
    "zstd": _tiff(RGB, RGB, photometric="rgb", compression="zstd"),
    "JPEG 2000": _tiff(RGB, RGB, photometric="rgb", compression="jpeg2000"),
    "mirrored": _upright(2, lambda image: image[:, ::-1]),
    "upside down": _upright(3, lambda image: image[::-1, ::-1]),
    "flipped": _upright(4, lambda image: image[::-1]),
    "transposed": _upright(5, lambda image: image.swapaxes(0, 1)),
    "turned left": _upright(6, lambda image: np.rot90(image)),
    "transposed, upside down": _upright(7, lambda image: image[::-1, ::-1].swapaxes(0, 1)),
    "turned right": _upright(8, lambda image: np.rot90(image, -1)),
}  # fmt: skip


def write_bare_tiff(path: Path, stored: NDArray[Any], photometric: int) -> None:
    """Write whole numbers [H, W, C] as TIFF with the tags alone that every reader needs."""
    height, width, channels = stored.shape
    data = stored.astype("<u2" if stored.dtype == np.uint16 else np.uint8).tobytes()
    shorts = {256: width, 257: height, 259: 1, 262: photometric, 277: channels, 278: height}
    behind = 8 + 2 + 12 * 9 + 4
    bits = struct.pack(f"<{channels}H", *[8 * stored.itemsize] * channels)
    rows = {tag: struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in shorts.items()}
    rows[258] = struct.pack("<HHII", 258, 3, channels, behind)
    rows[273] = struct.pack("<HHII", 273, 4, 1, behind + len(bits))
    rows[279] = struct.pack("<HHII", 279, 4, 1, len(data))
    directory = struct.pack("<H", len(rows)) + b"".join(rows[tag] for tag in sorted(rows)) + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + directory + bits + data)


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def write_png(path: Path, stored: NDArray[Any], chunks: bytes = b"", **options: Any) -> None:
    """Write whole numbers [H, W] or [H, W, C] as pypng does, and further chunks before all others."""
    buffer = io.BytesIO()
    height, width = stored.shape[:2]
    png.Writer(width, height, **options).write(buffer, stored.reshape(height, -1))
    data = buffer.getvalue()
    path.write_bytes(data[:33] + chunks + data[33:])


def write_pnm(path: Path, unit: Unit, full: int, *, text: bool = False) -> None:
    """Write a picture as PGM, PPM or, with alpha, PAM, with ``full`` as its greatest value."""
    height, width, channels = np.atleast_3d(unit).shape
    values = np.rint(unit * full).astype(np.uint8 if full < 256 else ">u2")
    if channels in (2, 4):
        kind = {2: "GRAYSCALE_ALPHA", 4: "RGB_ALPHA"}[channels]
        head = f"P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH {channels}\nMAXVAL {full}\nTUPLTYPE {kind}\nENDHDR\n"
    else:
        magic = {(1, False): 5, (1, True): 2, (3, False): 6, (3, True): 3}[channels, text]
        head = f"P{magic}\n# made for a test\n{width} {height}\n{full}\n"
    body = " ".join(map(str, values.ravel().tolist())).encode() + b"\n" if text else values.tobytes()
    path.write_bytes(head.encode() + body)


def check(path, shown, bits, tolerance):
    """The file is read with ``bits`` a channel and shows that, colors being compared as they are seen."""
    found = read_image(path)
    assert found.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert found.shape == shown.shape
    unit = found / (2**bits - 1)
    if shown.ndim == 3 and shown.shape[2] in (2, 4):
        unit, shown = multiplied(unit), multiplied(shown)
    assert np.abs(unit - shown).max() <= tolerance


def jpeg_2000(unit, bits, kind="jp2"):
    """A JPEG 2000 file without loss."""
    options = {"level": 0, "codecformat": kind, "reversible": True}
    return imagecodecs.jpeg2k_encode(levels(unit, bits), bitspersample=bits, **options)
