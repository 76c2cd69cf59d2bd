"""What picture files hold, before it is an upright picture in sRGB."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.signals.image.colors import to_srgb
from coinr.signals.image.picture import Picture

#: What turns a picture upright, by its EXIF orientation.
_UPRIGHT: Mapping[int, Callable[[Picture], Picture]] = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: np.rot90(image),
}


@dataclass(frozen=True)
class Raster:
    """The samples of a picture file, and what they mean.

    Attributes
    ----------
    samples : ndarray
        uint8 or uint16 [H, W, C], of full scale, C = 1 gray, 3 RGB, 4 CMYK (full scale is full ink), and one channel
        more with alpha.
    alpha : bool
        Whether the last channel is alpha, straight.
    profile : bytes or None
        The ICC profile of the colors.
    orientation : int
        As EXIF has it; 1 is upright.
    notes : tuple of str
        What reading left out.
    """

    samples: NDArray[Any]
    alpha: bool = False
    profile: bytes | None = None
    orientation: int = 1
    notes: tuple[str, ...] = ()

    def picture(self) -> tuple[Picture, tuple[str, ...]]:
        """Return the picture upright and in sRGB, without an alpha that is opaque everywhere, and all notes."""
        colors, alpha = (
            (self.samples[..., :-1], self.samples[..., -1:]) if self.alpha else (self.samples, self.samples[..., :0])
        )
        colors, note = to_srgb(colors, self.profile)
        if alpha.size and alpha.min() == np.iinfo(alpha.dtype).max:
            alpha = alpha[..., :0]
        image = np.concatenate((colors, alpha), axis=2)
        if self.orientation in _UPRIGHT:
            image = _UPRIGHT[self.orientation](image)
        image = image[..., 0] if image.shape[2] == 1 else image
        return np.ascontiguousarray(image), self.notes + ((note,) if note else ())


def to_full_scale(values: NDArray[Any], full: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return whole numbers 0 .. ``full`` as uint8 or uint16 of full scale."""
    top = np.iinfo(dtype).max
    whole: NDArray[Any] = values if full == top else np.rint(values * (top / full))
    return whole.astype(dtype)


def unpremultiply(samples: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Return colors [H, W, C] that were stored multiplied by ``alpha`` [H, W, 1], both of full scale, straight."""
    full = np.iinfo(samples.dtype).max
    ratio: NDArray[np.float64] = samples * (full / np.maximum(alpha, 1))
    whole: NDArray[Any] = np.rint(ratio.clip(0, full))
    return whole.astype(samples.dtype)


def first_of(frames: int) -> tuple[str, ...]:
    """Return the note on a file of several pictures, of which the first is read."""
    return (f"the first of {frames} frames is taken",) if frames > 1 else ()
