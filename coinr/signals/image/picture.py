"""Pictures as arrays: which pixels stand where, and what their values mean.

A picture is a NumPy array [H, W] (gray), [H, W, 2] (gray and alpha), [H, W, 3] (RGB) or [H, W, 4] (RGB and alpha),
uint8, uint16 or floating in [0, 1] (up to rounding).

The picture fills the square [-1, 1]² whatever its aspect ratio, and a pixel stands for its *center*: pixel (r, c) of
H × W pixels lies at (y, x) = ((2r + 1)/H - 1, (2c + 1)/W - 1). Sampling the same network at any other H × W therefore
shows the same picture, neither shifted nor stretched: the four pixels that replace one at twice the size surround its
center. Networks see (y, x) and give values in [-1, 1], where v stands for (v + 1)/2 of full scale.

Alpha is straight in arrays and files. Networks show colors already multiplied by it, and errors are measured
so: the color of an invisible pixel does not count.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.errors import InputError
from coinr.inputs.arrays import in_unit_range, to_array

Picture = NDArray[Any]

#: Pictures with their captions.
Panels = list[tuple[str, Picture]]

#: Largest picture that is rendered at once, in pixels; a crop of a larger one is allowed.
MAX_PIXELS = 2**28


def check_image(image: Any) -> Picture:
    """Return ``image`` as a C-contiguous picture array, or say what is wrong with it.

    Raises
    ------
    InputError
        If it is not [H, W] or [H, W, C] with at least one pixel and C of 1 .. 4, is neither uint8, uint16 nor
        floating, or is floating and holds NaN or values outside [0, 1].
    """
    array = to_array(image, "the image")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (2, 3, 4)):
        raise InputError(f"an image has shape [H, W] or [H, W, 2 .. 4], got {list(array.shape)}")
    if array.size == 0:
        raise InputError(f"an image has at least one pixel, got shape {list(array.shape)}")
    if array.dtype not in (np.uint8, np.uint16):
        if not np.issubdtype(array.dtype, np.floating):
            raise InputError(f"an image is uint8, uint16 or floating in [0, 1], got {array.dtype}")
        return in_unit_range(array, "the image")
    return array


def unit_image(image: Picture) -> NDArray[np.float64]:
    """Return a picture in [0, 1], its colors multiplied by alpha where there is one."""
    array = check_image(image)
    unit: NDArray[np.float64] = array.astype(np.float64)
    if array.dtype in (np.uint8, np.uint16):
        unit /= np.iinfo(array.dtype).max
    if array.ndim == 3 and array.shape[2] in (2, 4):
        unit[..., :-1] *= unit[..., -1:]
    return unit


def describe_image(height: int, width: int, channels: int, bits: int) -> str:
    """Return size and channels in a few words."""
    return f"image {height} x {width}, {channels} channel{'s' * (channels != 1)} of {bits} bits"
