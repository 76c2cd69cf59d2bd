"""The commands that make and show pictures."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coinr.cli_common import (
    COINR_FILE,
    check_output,
    codec_arguments,
    codec_options,
    echo_json,
    examples,
    json_option,
    try_codec,
)

if TYPE_CHECKING:
    from coinr.image_file import ImageFile


class _Numbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers between separators, such as 400x600."""

    def __init__(self, form: str, separator: str) -> None:
        self.name = form
        self._separator = separator
        self._count = len(form.split(separator))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        parts = value.lower().split(self._separator.lower())
        if len(parts) != self._count or not all(re.fullmatch(r"[0-9]{1,10}", part.strip()) for part in parts):
            self.fail(f"{value!r} is not {self.name} in whole numbers of pixels", param, ctx)
        return tuple(int(part) for part in parts)


@click.command(
    no_args_is_help=True,
    epilog=examples(
        "coinr encode photo.png -o photo.coinr",
        "coinr encode photo.jpg -o photo.coinr --width 128 --steps 20000",
        "coinr encode photo.png -o photo.coinr --profile uniform -O bits=10 --json",
    ),
)
@click.argument("image", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The .coinr file to write.")
@click.option("--width", type=click.IntRange(1, 4096), default=64, show_default=True, help="Neurons per layer.")
@click.option(
    "--hidden-layers", type=click.IntRange(0, 64), default=3, show_default=True, help="Layers of width x width."
)
@click.option("--steps", type=click.IntRange(1), default=8000, show_default=True, help="Training steps.")
@click.option("--batch", type=click.IntRange(1), default=4096, show_default=True, help="Pixels per step.")
@click.option(
    "--learning-rate", type=click.FloatRange(0, min_open=True), default=2e-3, show_default=True, help="At the start."
)
@click.option("--time-budget", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="End the fit by then.")
@click.option("--device", metavar="NAME", help="Where to fit: cpu, cuda, cuda:1.  [default: a GPU if there is one]")
@codec_options
@json_option
def encode(
    image: Path,
    output: Path,
    width: int,
    hidden_layers: int,
    steps: int,
    batch: int,
    learning_rate: float,
    time_budget: float | None,
    device: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Fit a SIREN to the picture IMAGE and store it as a coinr file.

    RGB and grey pictures of 8 bits; 16-bit grey is rounded to 8. More width, layers and steps give a better picture;
    width and layers also a larger file.
    """
    check_output(output, (COINR_FILE,))
    arguments = codec_arguments(options)
    from coinr.files import write_atomic
    from coinr.fit import fit_image
    from coinr.image_file import open_image, pack_image
    from coinr.images import psnr, read_image

    try_codec(arguments)
    picture = read_image(image)
    height, columns = picture.shape[:2]
    fit = fit_image(
        picture,
        width=width,
        hidden_layers=hidden_layers,
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        seed=options["seed"],
        device=device,
        threads=options["threads"],
        time_budget=time_budget,
    )
    begin = time.perf_counter()
    blob = pack_image(fit.network, height, columns, **arguments)
    seconds = time.perf_counter() - begin
    decoded = psnr(picture, open_image(blob).render())
    write_atomic(output, blob)
    result = {
        "file": str(output),
        "bytes": len(blob),
        "bits_per_pixel": 8 * len(blob) / (height * columns),
        "height": height,
        "width": columns,
        "channels": 1 if picture.ndim == 2 else 3,
        "psnr": decoded,
        "psnr_before_coding": fit.psnr,
        "fit_seconds": fit.seconds,
        "encode_seconds": seconds,
    }
    if as_json:
        echo_json(result)
    else:
        click.echo(
            f"{output}: {len(blob)} bytes, {result['bits_per_pixel']:.3f} bits per pixel, "
            f"{decoded:.2f} dB ({fit.psnr:.2f} dB before coding)"
        )


@click.command(
    no_args_is_help=True,
    epilog=examples(
        "coinr decode photo.coinr -o photo.png",
        "coinr decode photo.coinr -o big.png --scale 2",
        "coinr decode photo.coinr -o part.png --size 4000x6000 --crop 1000,500,800,600",
    ),
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The picture file to write.")
@click.option(
    "--scale", type=click.FloatRange(0, min_open=True), help="Size relative to the original, such as 2 or 0.5."
)
@click.option("--size", type=_Numbers("HxW", "x"), help="Height and width in pixels, such as 800x1200.")
@click.option(
    "--crop",
    type=_Numbers("X,Y,W,H", ","),
    help="Only this part, in pixels of the output size: left, top, width, height.",
)
@click.option("--device", metavar="NAME", help="Where to render: cpu, cuda.  [default: cpu]")
@json_option
def decode(
    file: Path,
    output: Path,
    scale: float | None,
    size: tuple[int, int] | None,
    crop: tuple[int, int, int, int] | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Render the picture in FILE at any size, to .png, .tif, .bmp, .ppm, .webp (lossless) or .jpg."""
    if scale is not None and size is not None:
        raise click.UsageError("give --scale or --size, not both")
    from coinr.image_file import open_image
    from coinr.images import IMAGE_SUFFIXES, to_device, write_image

    check_output(output, IMAGE_SUFFIXES)
    picture = open_image(file.read_bytes())
    if device is not None:
        to_device(picture.network, device)
    height, width = size or _scaled(picture, scale or 1.0)
    image = picture.render(height, width, crop=crop)
    write_image(output, image)
    if as_json:
        echo_json({"file": str(output), "height": image.shape[0], "width": image.shape[1], "of": [height, width]})


def _scaled(picture: ImageFile, scale: float) -> tuple[int, int]:
    if not math.isfinite(scale) or scale > 2**31:
        raise click.UsageError(f"--scale {scale} is out of range")
    return max(1, round(picture.height * scale)), max(1, round(picture.width * scale))
