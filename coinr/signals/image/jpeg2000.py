"""JPEG 2000 pictures: their color spaces, which Pillow does not report, and samples of more than 8 bits.

Of more than 8 bits Pillow makes 8, and white may come out black: OpenJPEG through imagecodecs reads those.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from coinr.errors import InputError
from coinr.runtime.optional import import_optional
from coinr.signals.image.rasters import to_full_scale

#: Markers that begin a stream, and one of its sizes.
STREAM = b"\xff\x4f\xff\x51"

#: Numbers of colors that are known: those of two levels, CMYK, sRGB, gray, and YCbCr of sRGB.
_BILEVEL, _CMYK, _SRGB, _GRAY, _YCC = (0, 15), 12, 16, 17, 18

#: What a channel is: alpha that the colors are multiplied by.
_PREMULTIPLIED = 2


def color_profile(data: bytes) -> bytes | None:
    """Return the ICC profile of the colors, None if the file names them otherwise.

    Raises
    ------
    InputError
        If they are of a kind that is not known, or multiplied by alpha.
    """
    boxes = _header(data)
    channels = boxes.get(b"cdef", b"\0\0")[2:]
    if any(kind == _PREMULTIPLIED for _, kind, _ in struct.iter_unpack(">HHH", channels[: len(channels) // 6 * 6])):
        raise InputError("JPEG 2000 pictures with premultiplied alpha are not supported")
    color = boxes.get(b"colr", b"")
    if color[:1] in (b"\2", b"\3"):
        return color[3:]
    kind = _kind(color)
    if kind not in (None, *_BILEVEL, _CMYK, _SRGB, _GRAY, _YCC):
        raise InputError(f"JPEG 2000 pictures of colours of kind {kind} are not supported")
    return None


def deep_samples(data: bytes) -> NDArray[np.uint16] | None:
    """Return samples [H, W, C] of full scale if the file has more than 8 bits a channel, None if it has not.

    Raises
    ------
    InputError
        If they are of more than 16 bits, or stored in a way that is not supported.
    DependencyError
        If the library that reads them is not installed.
    """
    at = data.find(STREAM)
    if at < 0 or len(data) < at + 42:
        return None
    (count,) = struct.unpack_from(">H", data, at + 40)
    sizes = set(data[at + 42 : at + 42 + 3 * count : 3])
    bits = max((size & 127) + 1 for size in sizes)
    if bits <= 8:
        return None
    boxes = _header(data)
    if len(sizes) > 1 or bits > 16 or max(sizes) > 127 or b"pclr" in boxes or _kind(boxes.get(b"colr", b"")) == _YCC:
        raise InputError(
            "JPEG 2000 pictures of more than 8 bits are read if they are grey, RGB or CMYK, of up to 16 bits, the "
            f"same in all channels, unsigned, without a palette; this one has {count} channels of up to {bits} bits"
        )
    samples: NDArray[np.uint16] = import_optional("imagecodecs").jpeg2k_decode(data[at:])  # without the box of colors
    return to_full_scale(samples if samples.ndim == 3 else samples[..., None], 2**bits - 1, np.dtype(np.uint16))


def _kind(color: bytes) -> int | None:
    """Return the number of the color space in a box of colors; None if it has none."""
    return int(struct.unpack_from(">I", color, 3)[0]) if color[:1] == b"\1" and len(color) >= 7 else None


def _header(data: bytes) -> dict[bytes, bytes]:
    """Return the boxes in the header of a file, the first of each kind; none of a stream without a file around it."""
    if data.startswith(STREAM):
        return {}
    boxes: dict[bytes, bytes] = {}
    for kind, body in _boxes(next((body for kind, body in _boxes(data) if kind == b"jp2h"), b"")):
        boxes.setdefault(kind, body)
    return boxes


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of each box; one of no size goes to the end."""
    at = 0
    while at + 8 <= len(data):
        size, head = int(struct.unpack_from(">I", data, at)[0]), 8
        if size == 1 and at + 16 <= len(data):
            size, head = int(struct.unpack_from(">Q", data, at + 8)[0]), 16
        end = at + size if size else len(data)
        yield data[at + 4 : at + 8], data[at + head : end]
        at = max(end, at + head)
