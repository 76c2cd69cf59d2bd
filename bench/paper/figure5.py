"""Decoded crops side by side (paper, figure 5), with PSNR, bits per pixel and file size in the picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bench.harness import signals
from bench.harness.results import draw_figure
from bench.harness.training import values_of
from bench.paper.codecs import all_rows, decoded
from bench.paper.context import Context, Point
from bench.paper.table import chosen

#: What is shown, of the (3, 64) networks of c1.
SHOWN = ("COIN, fp32 + Brotli", "16-bit + Brotli", "CoINR paper, rule", "INRIC 8 bit", "auto, refined")

# Height and width of a crop.
_CROP = 96


def run(context: Context) -> None:
    """Measure a row of crops for each of the first three pictures; sizes and PSNR are of whole pictures."""
    pictures = context.pictures[:3]
    table = []
    rows, columns = len(pictures), len(SHOWN) + 1
    size = (2.6 * columns, 2.9 * rows)
    with draw_figure(context.out / "figure5.png", rows, columns, figsize=size, squeeze=False) as (figure, grid):
        for axes, picture in zip(grid, context.track(pictures, "picture"), strict=True):
            point = context.siren(picture, 3, 64)
            files = chosen(all_rows(point, context))
            original = signals.halve(_whole(picture, context)) if context.budget.half else _whole(picture, context)
            height, width = original.shape[:2]
            _panel(axes[0], original, "original")
            for axis, codec in zip(axes[1:], SHOWN, strict=True):
                row = files[codec]
                shown = _render(point, decoded(point, codec), height, width)
                bpp = 8 * row.bytes / (height * width)
                _panel(axis, shown, f"{codec}\n{row.quality:.2f} dB, {bpp:.3f} bpp, {row.bytes / 1000:.1f} kB")
                table.append({"picture": picture, "codec": codec, "psnr": row.quality, "bpp": bpp, "bytes": row.bytes})
        figure.tight_layout()
    context.write("figure5", table)


def _whole(picture: str, context: Context) -> NDArray[np.uint8]:
    return signals.pixels_of(picture.removesuffix("-half"), context.data)


def _render(point: Point, state_dict: Mapping[str, Tensor], height: int, width: int) -> NDArray[np.uint8]:
    values = values_of(point.entry.network(), state_dict, point.entry.eval_samples["inputs"]).reshape(height, width, 3)
    return np.rint((values.clamp(-1, 1).numpy() + 1) * 127.5).astype(np.uint8)


def _panel(axis: Any, pixels: NDArray[np.uint8], title: str) -> None:
    top, left = (pixels.shape[0] - _CROP) // 2, (pixels.shape[1] - _CROP) // 2
    axis.imshow(pixels[top : top + _CROP, left : left + _CROP])
    axis.set_title(title, fontsize=7)
    axis.axis("off")
