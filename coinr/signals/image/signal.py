"""Pictures as signals: which pixels stand where, what a network shows, how near that is.

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

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from coinr.errors import InputError
from coinr.inputs.arguments import checked
from coinr.inputs.arrays import in_unit_range, to_array
from coinr.progress import show_progress
from coinr.runtime.ambient import independent
from coinr.signals.sampling import sample
from coinr.signals.signal import Recipe, Signal

Picture = NDArray[Any]

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


def pixel_coordinates(indices: Tensor, height: int, width: int) -> Tensor:
    """Return float32 [N, 2], the centers (y, x) of the pixels with row-major ``indices`` (int64 [N])."""
    rows = torch.div(indices, width, rounding_mode="floor")
    columns = indices - rows * width
    y = (2 * rows + 1).to(torch.float64) / height - 1
    x = (2 * columns + 1).to(torch.float64) / width - 1
    return torch.stack((y, x), dim=-1).to(torch.float32)


def _levels(values: Tensor, bits: int) -> Tensor:
    """Return whole numbers 0 .. 2^bits - 1, floating [N, C], for a network's values [N, C], with straight alpha."""
    unit = (values + 1) / 2
    if unit.shape[1] in (2, 4):
        alpha = unit[:, -1:].clamp(0, 1)
        unit = torch.cat((unit[:, :-1] / alpha.clamp(min=1e-6), alpha), dim=1)
    full = 2**bits - 1.0
    shown: Tensor = (unit * full).round().clamp(0, full)
    return shown


@independent
@show_progress("render")
@checked
def render_image(
    network: nn.Module,
    height: int,
    width: int,
    *,
    crop: tuple[int, int, int, int] | None = None,
    bits: int = 8,
) -> Picture:
    """Return the picture that ``network`` shows at ``height`` × ``width`` pixels, or a part of it.

    The network runs on its own device, a few thousand pixels at a time: beyond the result, memory does not depend on
    the size.

    Parameters
    ----------
    network : nn.Module
        Maps float32 [N, 2] coordinates to float32 [N, C] values, C = 1 .. 4.
    height, width : int
        Size of the whole picture in pixels.
    crop : (y, x, h, w), optional
        The part to render, in pixels of the ``height`` × ``width`` picture: row and column of its top left pixel, then
        its height and width. It shows what the whole picture has there, up to the rounding of floats.
    bits : int
        8 or 16, of each channel of a pixel.

    Returns
    -------
    ndarray
        uint8 or uint16, [H, W] for one channel and [H, W, C] for more.

    Raises
    ------
    InputError
        If a size is out of range, the crop leaves the picture, or the network gives other than 1 to 4 channels or
        values that are not finite.
    """
    if min(height, width) < 1 or max(height, width) >= 2**31:
        raise InputError(f"height and width must be in 1 .. 2^31 - 1, got {height} x {width}")
    if bits not in (8, 16):
        raise InputError(f"bits must be 8 or 16, got {bits!r}")
    y, x, h, w = crop if crop is not None else (0, 0, height, width)
    if min(x, y) < 0 or min(w, h) < 1 or x + w > width or y + h > height:
        raise InputError(f"the crop y={y}, x={x}, h={h}, w={w} does not lie in {height} x {width} (height x width)")
    if w * h > MAX_PIXELS:
        raise InputError(f"{h} x {w} is more than {MAX_PIXELS} pixels; render crops of it")

    def place(inside: Tensor) -> Tensor:
        rows = torch.div(inside, w, rounding_mode="floor")
        return pixel_coordinates((rows + y) * width + (inside - rows * w) + x, height, width)

    image: Picture | None = None
    for start, values in sample(network, w * h, place, range(1, 5), "image"):
        if image is None:
            image = np.empty((w * h, values.shape[1]), np.uint8 if bits == 8 else np.uint16)
        image[start : start + len(values)] = _levels(values, bits).cpu().numpy()
    assert image is not None
    return image.reshape(h, w) if image.shape[1] == 1 else image.reshape(h, w, -1)


def describe_image(height: int, width: int, channels: int, bits: int) -> str:
    """Return size and channels in a few words."""
    return f"image {height} x {width}, {channels} channel{'s' * (channels != 1)} of {bits} bits"


class ImageSignal(Signal):
    """The pixels of a picture; the score is the PSNR of the picture that is rendered back, rounded as it would be.

    Parameters
    ----------
    image : array
        See :mod:`coinr.signals.image.signal`. Floating pictures are rendered back with 8 bits.

    Attributes
    ----------
    image : ndarray
        The picture.
    height, width, bits : int
        Its size in pixels, and bits of a channel.

    Raises
    ------
    InputError
        As :func:`check_image`.
    """

    kind = "image"
    metric = "PSNR"
    unit = "dB"
    # at 2e-3 Muon can lose the rare colors of a large picture within a few thousand steps, and finds them no more
    recipe = Recipe("siren", width=64, hidden_layers=3, steps=8000, batch=4096, learning_rate=1e-3)

    @independent
    @checked
    def __init__(self, image: Any) -> None:
        self.image = check_image(image)
        self.height, self.width = self.image.shape[:2]
        self.bits = 16 if self.image.dtype == np.uint16 else 8
        self.in_features = 2
        self.out_features = 1 if self.image.ndim == 2 else self.image.shape[2]
        self.count = self.height * self.width
        if self.image.dtype == np.uint8 and self.out_features in (1, 3):
            # a quarter of the memory of floats, which a step makes of its own pixels only
            values = torch.from_numpy(self.image.copy())
        else:
            values = torch.from_numpy((unit_image(self.image) * 2 - 1).astype(np.float32))
        self._values = values.reshape(self.count, self.out_features)

    def describe(self) -> str:
        """Return size and channels."""
        return describe_image(self.height, self.width, self.out_features, self.bits)

    @property
    def default_bits(self) -> int:
        """Return a quarter of 8 or 16 bits for each channel of a pixel."""
        return self.count * self.out_features * self.bits // 4

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return coordinates ``[N, 2]`` and targets in [-1, 1] ``[N, C]`` of the pixels with row-major ``indices``."""
        values = self._values[indices]
        targets = values.to(torch.float32) / 127.5 - 1 if values.dtype == torch.uint8 else values
        return pixel_coordinates(indices, self.height, self.width), targets

    def partial_score(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of squared errors of what is shown, full scale being 1, and the number of values."""
        shown = _levels(predicted.double(), self.bits) / (2**self.bits - 1)
        if self.out_features in (2, 4):
            shown = torch.cat((shown[:, :-1] * shown[:, -1:], shown[:, -1:]), dim=1)
        error = (shown - (targets.double() + 1) / 2).square().sum()
        return torch.stack((error, torch.full_like(error, targets.numel())))

    def score(self, total: Tensor) -> float:
        """Return the PSNR in dB, -inf if it is not a number."""
        error = float(total[0] / total[1])
        if not math.isfinite(error):
            return -math.inf
        return math.inf if error == 0 else -10 * math.log10(error)

    def meta(self) -> dict[str, Any]:
        """Return ``{"image": [H, W]}``, with the bits of a channel as a third number unless they are 8."""
        return {"image": [self.height, self.width] + ([] if self.bits == 8 else [self.bits])}
