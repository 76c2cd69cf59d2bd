"""The picture that a network shows."""

from __future__ import annotations

from typing import Any

import numpy as np

from coinr.errors import InputError
from coinr.inputs.arguments import checked
from coinr.networks.description import ArrayNetwork
from coinr.progress import show_progress
from coinr.runtime.ambient import independent
from coinr.runtime.loaded import Module
from coinr.signals.grids import sample_grid
from coinr.signals.image.picture import MAX_PIXELS, Picture


def levels(values: Any, bits: int) -> Any:
    """Return whole numbers 0 .. 2^bits - 1 for a network's values [N, C], with straight alpha.

    Both are floating arrays, or tensors of torch.
    """
    unit = (values + 1) / 2
    if unit.shape[1] in (2, 4):
        alpha = unit[:, -1:].clip(0, 1)
        unit[:, :-1] /= alpha.clip(1e-6, None)
        unit[:, -1:] = alpha
    full = 2**bits - 1.0
    return (unit * full).round().clip(0, full)


@independent
@show_progress("render")
@checked
def render_image(
    network: Module | ArrayNetwork,
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
    network : nn.Module or ArrayNetwork
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

    axes = [
        ((2 * np.arange(first, first + size) + 1) / whole - 1).astype(np.float32)
        for first, size, whole in ((y, h, height), (x, w, width))
    ]
    image: Picture | None = None
    for start, values in sample_grid(network, axes, range(1, 5), "image"):
        if image is None:
            image = np.empty((w * h, values.shape[1]), np.uint8 if bits == 8 else np.uint16)
        image[start : start + len(values)] = levels(values, bits)
    assert image is not None
    return image.reshape(h, w) if image.shape[1] == 1 else image.reshape(h, w, -1)
