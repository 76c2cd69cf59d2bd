"""Pictures made of pictures: what differs, and several on one sheet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from coinr.errors import InputError
from coinr.signals.image import Picture, unit_image


def error_map(image: Picture, other: Picture, gain: float = 8.0) -> NDArray[np.uint8]:
    """Return uint8 [H, W]: ``gain`` times the absolute difference (its mean over the channels), white at full scale.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    a, b = unit_image(image), unit_image(other)
    if a.shape != b.shape:
        raise InputError(f"images of one shape are needed, got {list(a.shape)} and {list(b.shape)}")
    error = np.abs(a - b)
    if error.ndim == 3:
        error = error.mean(axis=2)
    scaled: NDArray[np.uint8] = np.clip(np.rint(error * gain * 255), 0, 255).astype(np.uint8)
    return scaled


def contact_sheet(panels: Sequence[tuple[str, Picture]], columns: int = 2) -> NDArray[np.uint8]:
    """Return one uint8 [H, W, 3] picture of several, each under its caption, in rows of ``columns``.

    Raises
    ------
    InputError
        If there is no panel.
    """
    if not panels or columns < 1:
        raise InputError("a contact sheet needs at least one panel and one column")
    images = [np.rint(unit_image(image) * 255).astype(np.uint8) for _, image in panels]
    cell_h, cell_w = max(i.shape[0] for i in images), max(i.shape[1] for i in images)
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    size = max(11, cell_w // 34)
    margin, line = size // 2, 2 * size
    sheet = Image.new("RGB", (columns * (cell_w + margin) + margin, rows * (cell_h + line + margin) + margin), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size)
    for k, (image, (caption, _)) in enumerate(zip(images, panels, strict=True)):
        left = margin + (k % columns) * (cell_w + margin)
        top = margin + (k // columns) * (cell_h + line + margin)
        draw.text((left, top + size // 3), caption, "black", font)
        sheet.paste(Image.fromarray(image).convert("RGB"), (left, top + line))
    return np.asarray(sheet)
