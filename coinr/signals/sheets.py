"""Pictures made of pictures: what differs, and several on one sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from coinr.errors import InputError
from coinr.signals.image.picture import Picture, check_image, unit_image


def opaque(image: Picture) -> NDArray[np.uint8]:
    """Return a picture as uint8 gray [H, W] or RGB [H, W, 3], over white where it has alpha."""
    unit = unit_image(image)
    if unit.ndim == 3 and unit.shape[2] in (2, 4):
        unit = unit[..., :-1] + (1 - unit[..., -1:])
        unit = unit[..., 0] if unit.shape[2] == 1 else unit
    shown: NDArray[np.uint8] = np.rint(unit * 255).astype(np.uint8)
    return shown


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


def enlarge(image: NDArray[np.uint8], least: int) -> NDArray[np.uint8]:
    """Return a small picture with its pixels drawn as squares, its longer side then at least ``least`` pixels."""
    times = -(-least // max(image.shape[:2]))
    return image.repeat(times, axis=0).repeat(times, axis=1) if times > 1 else image


def contact_sheet(panels: Sequence[tuple[str, Picture]], columns: int = 2) -> NDArray[np.uint8]:
    """Return one uint8 [H, W, 3] picture of several, each under its caption, in rows of ``columns``.

    Raises
    ------
    InputError
        If there is no panel.
    """
    if not panels or columns < 1:
        raise InputError("a contact sheet needs at least one panel and one column")
    images = [opaque(check_image(image)) for _, image in panels]
    cell_h, cell_w = max(i.shape[0] for i in images), max(i.shape[1] for i in images)
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    size = max(11, cell_w // 34)
    font = ImageFont.load_default(size)
    # pictures may be narrower than what is written over them
    cell_w = max(cell_w, *(math.ceil(font.getlength(caption)) for caption, _ in panels))
    margin, line = size // 2, 2 * size
    sheet = Image.new("RGB", (columns * (cell_w + margin) + margin, rows * (cell_h + line + margin) + margin), "white")
    draw = ImageDraw.Draw(sheet)
    for k, (image, (caption, _)) in enumerate(zip(images, panels, strict=True)):
        left = margin + (k % columns) * (cell_w + margin)
        top = margin + (k // columns) * (cell_h + line + margin)
        draw.text((left, top + size // 3), caption, "black", font)
        sheet.paste(Image.fromarray(image).convert("RGB"), (left, top + line))
    return np.asarray(sheet)
