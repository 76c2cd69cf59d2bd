"""Draw a photo, its network rendered at twice the size, and the bytes of the file, side by side.

Run ``python -m examples.picture photo.png photo.coinr sheet.jpg``. The README's picture is,
after ``make demo``, ``python -m examples.picture PHOTO demo_out/coffee.search.coinr docs/images/coffee.jpg``, where
PHOTO is scikit-image's coffee cup (by Rachel Michetti, public domain).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import coinr
from coinr.signals.sheets import contact_sheet

HEIGHT = 240


def byte_picture(data: bytes, height: int, width: int) -> NDArray[np.uint8]:
    """Return uint8 [height, width]: each byte a square of gray, row by row, on white."""
    side = int((height * width / len(data)) ** 0.5)
    rows, columns = height // side, width // side
    while rows * columns < len(data):
        side -= 1
        rows, columns = height // side, width // side
    shown = np.full(rows * columns, 255, np.uint8)
    shown[: len(data)] = np.frombuffer(data, np.uint8)
    whole = np.full((height, width), 255, np.uint8)
    squares = shown.reshape(rows, columns).repeat(side, axis=0).repeat(side, axis=1)
    whole[: squares.shape[0], : squares.shape[1]] = squares
    return whole


def middle(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return the middle of a picture."""
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]


def main(arguments: list[str] | None = None) -> None:
    """Draw the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("file", type=Path, help="a coinr file of the photo")
    parser.add_argument("sheet", type=Path, help="the picture to write")
    options = parser.parse_args(arguments)

    photo, data = coinr.read_image(options.photo), options.file.read_bytes()
    file = coinr.open_file(data)
    height, width = photo.shape[:2]
    across = HEIGHT * width // height
    small = np.asarray(Image.fromarray(photo).resize((across, HEIGHT), Image.Resampling.LANCZOS))
    twice = middle(file.render(2 * height, 2 * width), HEIGHT, across)
    psnr = coinr.psnr(photo, file.render())
    panels = [
        (f"photo, {height} x {width}: {options.photo.stat().st_size:,} bytes of {photo_format(options.photo)}", small),
        (f"its network at 2 x, middle: {psnr:.2f} dB", twice),
        (f"the file: {len(data):,} bytes", byte_picture(data, HEIGHT, across)),
    ]
    Image.fromarray(contact_sheet(panels, columns=3)).save(options.sheet, quality=80)


def photo_format(path: Path) -> str:
    """Return the name of a picture's file format, as ``PNG``."""
    with Image.open(path) as image:
        return image.format or "pixels"


if __name__ == "__main__":
    main()
