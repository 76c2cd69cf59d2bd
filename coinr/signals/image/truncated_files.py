"""Whether a file that cannot be read ends too early."""

from __future__ import annotations

import struct

#: First bytes of TIFF files, those of more than 4 GB too.
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

#: Parts of the messages of libraries that mean the same.
_WORDS = ("truncated", "not enough", "too small", "incomplete")


def is_truncated(data: bytes, error: Exception | None = None) -> bool:
    """Return whether a picture or sound that could not be read ends before its own header says it does.

    Parameters
    ----------
    data : bytes
        The file: PNG, JPEG, GIF, TIFF, BMP, one of chunks as WAV and AIFF, or of boxes as JPEG 2000 and AVIF. Other
        formats are recognized by ``error`` alone.
    error : Exception, optional
        What the library that reads it raised.
    """
    if error is not None and any(word in str(error).lower() for word in _WORDS):
        return True
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data
    if data.startswith(b"\xff\xd8\xff"):
        return not data.rstrip(b"\0").endswith(b"\xff\xd9")
    if data.startswith(b"\xff\x4f\xff\x51"):
        return not data.endswith(b"\xff\xd9")
    if data.startswith(b"GIF8"):
        return not data.endswith(b";")
    try:
        return _end(data) > len(data)
    except (struct.error, OverflowError):  # the header is cut, or leads beyond what any file holds
        return True


def _end(data: bytes) -> int:
    """Return where the file ends by its header; 0 if that does not say."""
    if data.startswith(b"RIFF"):
        return 8 + int(struct.unpack_from("<I", data, 4)[0])
    if data.startswith(b"FORM"):
        return 8 + int(struct.unpack_from(">I", data, 4)[0])
    if data.startswith(b"BM") and data[6:10] == bytes(4):
        return int(struct.unpack_from("<I", data, 2)[0])
    if data.startswith(TIFF_MAGIC):
        return _end_of_directory(data)
    if data[4:8] in (b"ftyp", b"jP  "):
        return _end_of_boxes(data)
    return 0


def _end_of_directory(data: bytes) -> int:
    """Return where the first directory of a TIFF file ends."""
    order = "<" if data.startswith(b"II") else ">"
    large = struct.unpack_from(order + "H", data, 2)[0] == 43
    (start,) = struct.unpack_from(order + ("Q" if large else "I"), data, 8 if large else 4)
    (count,) = struct.unpack_from(order + ("Q" if large else "H"), data, start)
    return int(start + (16 + 20 * count if large else 6 + 12 * count))


def _end_of_boxes(data: bytes) -> int:
    """Return where the last of a file's boxes ends. Sizes of 0 and 1 have other meanings and end the search."""
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        if size < 8:
            break
        at += size
    return at
