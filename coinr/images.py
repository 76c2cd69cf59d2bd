"""Pictures: reading, writing, sampling from a network, comparing.

A picture is a NumPy array [H, W, 3] (RGB) or [H, W] (grey), uint8 in 0..255 or floating in [0, 1].

The picture fills the square [-1, 1]² whatever its aspect ratio, and a pixel stands for its *centre*: pixel (r, c) of
H × W pixels lies at (y, x) = ((2r + 1)/H - 1, (2c + 1)/W - 1). Sampling the same network at any other H × W therefore
shows the same picture, neither shifted nor stretched: the four pixels that replace one at twice the size surround its
centre. Networks see (y, x) and give values in [-1, 1], where v stands for (v + 1)/2 of full scale.
"""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError
from torch import Tensor, nn

from coinr.errors import InputError
from coinr.files import write_atomic

Picture = NDArray[Any]

#: Largest picture that is rendered at once, in pixels; a crop of a larger one is allowed.
MAX_PIXELS = 2**28

#: Pixels that pass through a network at once: a few MB of activations at width 256.
_CHUNK = 8192

#: How Pillow is asked to write each suffix; all but JPEG are lossless.
_WRITERS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {"optimize": True}),
    ".tif": ("TIFF", {"compression": "tiff_lzw"}),
    ".tiff": ("TIFF", {"compression": "tiff_lzw"}),
    ".bmp": ("BMP", {}),
    ".ppm": ("PPM", {}),
    ".pgm": ("PPM", {}),
    ".webp": ("WEBP", {"lossless": True}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
}

#: Suffixes that :func:`write_image` knows.
IMAGE_SUFFIXES = tuple(_WRITERS)


def check_image(image: Any) -> Picture:
    """Return ``image`` as a C-contiguous picture array, or say what is wrong with it.

    Raises
    ------
    InputError
        If it is not [H, W] or [H, W, 3] with at least one pixel, is neither uint8 nor floating, or is floating and
        holds NaN or values outside [0, 1].
    """
    array = np.asarray(image)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise InputError(f"an image has shape [H, W] or [H, W, 3], got {list(array.shape)}")
    if array.size == 0:
        raise InputError(f"an image has at least one pixel, got shape {list(array.shape)}")
    if array.dtype != np.uint8:
        if not np.issubdtype(array.dtype, np.floating):
            raise InputError(f"an image is uint8 or floating in [0, 1], got {array.dtype}")
        if not np.isfinite(array).all():
            raise InputError("the image holds NaN or infinite values")
        if array.min() < 0 or array.max() > 1:
            raise InputError(f"a floating image lies in [0, 1], got {array.min():g} to {array.max():g}")
    return np.ascontiguousarray(array)


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Return the uint8 picture in the file ``path``, turned upright as its EXIF orientation says.

    Grey pictures come back as [H, W], all others as RGB [H, W, 3]. 16-bit grey is rounded to 8 bits; of an animation
    the first frame is taken; an alpha channel is dropped where it is opaque everywhere.

    Raises
    ------
    InputError
        If Pillow cannot read the file, or parts of the picture are transparent.
    OSError
        If the file cannot be opened.
    """
    data = Path(path).read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata and of pictures above 89 megapixels
            with Image.open(io.BytesIO(data)) as file:
                file.load()
                return _to_array(ImageOps.exif_transpose(file))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except UnidentifiedImageError:
        raise InputError(f"{path}: not an image that can be read") from None
    except Exception as error:  # damaged files make Pillow's parsers raise nearly anything
        raise InputError(f"{path}: damaged or unsupported image ({error})") from error


def _to_array(file: Image.Image) -> NDArray[np.uint8]:
    if file.mode in ("F", "I"):
        raise InputError(f"images of {file.mode!r} (32-bit) samples are not supported")
    if file.mode.startswith("I;16"):
        wide = np.asarray(file).astype(np.uint32)
        return ((wide + 128) // 257).astype(np.uint8)
    if file.has_transparency_data:
        rgba = np.asarray(file.convert("RGBA"))
        if rgba[..., 3].min() < 255:
            raise InputError("the image is transparent in parts; flatten it first")
        return np.ascontiguousarray(rgba[..., 0] if file.mode == "LA" else rgba[..., :3])
    return np.array(file.convert("L" if file.mode in ("1", "L") else "RGB"))


def write_image(path: str | os.PathLike[str], image: Picture) -> None:
    """Write the uint8 picture ``image`` to ``path``, in the format its suffix names, all or nothing.

    Raises
    ------
    InputError
        If the suffix is not one of :data:`IMAGE_SUFFIXES`, or ``image`` is not a uint8 picture.
    OSError
        If the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _WRITERS:
        raise InputError(f"{path}: the suffix must be one of {' '.join(IMAGE_SUFFIXES)}")
    image = check_image(image)
    if image.dtype != np.uint8:
        raise InputError(f"only uint8 images are written, got {image.dtype}")
    if suffix == ".pgm" and image.ndim == 3:
        raise InputError(f"{path}: .pgm holds grey images only; use .ppm")
    kind, options = _WRITERS[suffix]
    buffer = io.BytesIO()
    try:
        Image.fromarray(image).save(buffer, kind, **options)
    except (ValueError, OSError) as error:  # a side longer than JPEG or WebP can hold
        raise InputError(f"{path}: {kind} cannot hold this image ({error})") from error
    write_atomic(path, buffer.getvalue())


def to_device(network: nn.Module, device: str | torch.device) -> None:
    """Move a network to a device.

    Raises
    ------
    InputError
        If there is no such device here.
    """
    try:
        network.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:  # torch raises either, by the kind of device
        raise InputError(f"device {str(device)!r} cannot be used: {str(error).splitlines()[0]}") from error


def pixel_coordinates(indices: Tensor, height: int, width: int) -> Tensor:
    """Return float32 [N, 2], the centres (y, x) of the pixels with row-major ``indices`` (int64 [N])."""
    rows = torch.div(indices, width, rounding_mode="floor")
    columns = indices - rows * width
    y = (2 * rows + 1).to(torch.float64) / height - 1
    x = (2 * columns + 1).to(torch.float64) / width - 1
    return torch.stack((y, x), dim=-1).to(torch.float32)


def render_image(
    network: nn.Module,
    height: int,
    width: int,
    *,
    crop: tuple[int, int, int, int] | None = None,
) -> NDArray[np.uint8]:
    """Return the picture that ``network`` shows at ``height`` × ``width`` pixels, or a part of it.

    The network runs on its own device, a few thousand pixels at a time: beyond the result, memory does not depend on
    the size.

    Parameters
    ----------
    network : nn.Module
        Maps float32 [N, 2] coordinates to float32 [N, C] values, C = 1 or 3.
    height, width : int
        Size of the whole picture in pixels.
    crop : (x, y, w, h), optional
        The part to render, in pixels of the ``height`` × ``width`` picture: column and row of its top left pixel, then
        its width and height. It shows what the whole picture has there, up to the rounding of floats.

    Returns
    -------
    ndarray
        uint8 [H, W, 3] or [H, W].

    Raises
    ------
    InputError
        If a size is out of range, the crop leaves the picture, or the network gives other than 1 or 3 channels or
        values that are not finite.
    """
    if min(height, width) < 1 or max(height, width) >= 2**31:
        raise InputError(f"height and width must be in 1 .. 2^31 - 1, got {height} x {width}")
    x, y, w, h = crop if crop is not None else (0, 0, width, height)
    if min(x, y) < 0 or min(w, h) < 1 or x + w > width or y + h > height:
        raise InputError(f"the crop x={x}, y={y}, w={w}, h={h} does not lie in {width} x {height} (width x height)")
    if w * h > MAX_PIXELS:
        raise InputError(f"{h} x {w} is more than {MAX_PIXELS} pixels; render crops of it")
    image: NDArray[np.uint8] | None = None
    for start, values in _sample(network, height, width, (x, y, w, h)):
        if image is None:
            image = np.empty((w * h, values.shape[1]), np.uint8)
        image[start : start + len(values)] = values.numpy()
    assert image is not None
    return image.reshape(h, w) if image.shape[1] == 1 else image.reshape(h, w, 3)


@torch.no_grad()
def _sample(
    network: nn.Module, height: int, width: int, crop: tuple[int, int, int, int]
) -> Iterator[tuple[int, Tensor]]:
    """Yield (first pixel of the crop, uint8 [N, C]) chunk by chunk, in row-major order."""
    x, y, w, h = crop
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    for start in range(0, w * h, _CHUNK):
        inside = torch.arange(start, min(start + _CHUNK, w * h), device=device)
        rows = torch.div(inside, w, rounding_mode="floor")
        out = network(pixel_coordinates((rows + y) * width + (inside - rows * w) + x, height, width))
        if out.ndim != 2 or out.shape[0] != len(inside) or out.shape[1] not in (1, 3):
            raise InputError(f"the network must give [N, 1] or [N, 3] for [N, 2], got {list(out.shape)}")
        if not torch.isfinite(out).all():
            raise InputError("the network gives values that are not finite")
        yield start, ((out + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu()


def _unit(image: Picture) -> NDArray[np.float64]:
    array = check_image(image)
    return array / 255.0 if array.dtype == np.uint8 else array.astype(np.float64)


def psnr(image: Picture, other: Picture) -> float:
    """Return the peak signal-to-noise ratio of two pictures in dB: 10 log10(peak² / mean squared error).

    The mean runs over all pixels and channels; equal pictures give infinity.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    a, b = _unit(image), _unit(other)
    if a.shape != b.shape:
        raise InputError(f"images of one shape are needed, got {list(a.shape)} and {list(b.shape)}")
    error = float(np.mean((a - b) ** 2))
    return math.inf if error == 0 else -10 * math.log10(error)


def error_map(image: Picture, other: Picture, gain: float = 8.0) -> NDArray[np.uint8]:
    """Return uint8 [H, W]: ``gain`` times the absolute difference (its mean over the channels), white at full scale.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    a, b = _unit(image), _unit(other)
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
    images = [np.rint(_unit(image) * 255).astype(np.uint8) for _, image in panels]
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
