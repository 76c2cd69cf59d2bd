"""The commands that show how good a file is, in numbers and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from coinr.cli.options import (
    echo_json,
    echo_notes,
    examples,
    json_option,
    quiet_option,
    show_command_progress,
    threads_option,
)
from coinr.cli.outputs import check_output, echo_written, output_beside, output_option
from coinr.cli.start_options import read_start, start_option
from coinr.progress import finish

_file = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
_device = click.option("--device", metavar="NAME", help="Where to render: cpu, cuda.  [default: cpu]")


@click.command(
    no_args_is_help=True,
    epilog=examples(
        "coinr compare photo.png photo.coinr",
        "coinr compare photo.png photo.coinr -o difference.png",
        "coinr compare lego/ lego.coinr -o views.png --json",
    ),
)
@click.argument("original", type=click.Path(exists=True, path_type=Path))
@_file
@output_option("A picture of both", "none")
@_device
@start_option
@threads_option
@json_option
@quiet_option
def compare(
    original: Path, file: Path, output: Path | None, device: str | None, start_file: Path | None, as_json: bool
) -> None:
    """Compare the signal in FILE with the ORIGINAL that it was made from.

    \b
    image   PSNR in dB, SSIM, MS-SSIM
    audio   SNR in dB
    shape   IoU, Chamfer distance in lengths of the longest side
    scene   PSNR in dB, mean and by view, and SSIM, of views that the fit did not see
    """  # noqa: D301 - \b tells click to keep the lines
    from coinr.signal_files.api import open_file
    from coinr.signal_files.scene import SceneFile
    from coinr.signal_files.shape import ShapeFile
    from coinr.signals.image.files import IMAGE_SUFFIXES, write_image
    from coinr.signals.open_signal import open_signal
    from coinr.signals.sheets import contact_sheet

    if output is not None:
        check_output(output, IMAGE_SUFFIXES, original, file)
    show_command_progress()
    opened = open_file(file, start=read_start(start_file))
    _move(opened, device)
    near, far = (opened.lens.near, opened.lens.far) if isinstance(opened, SceneFile) else (None, None)
    grid = max(opened.box.grid) if isinstance(opened, ShapeFile) else 2
    signal = open_signal(original, grid=grid, near=near, far=far)
    echo_notes(original, signal.notes)
    restored = opened.restore(signal)
    metrics = opened.metrics(signal, restored)
    size = file.stat().st_size
    remarks = opened.remarks(restored)
    echo_notes(file, remarks)
    if output is not None:
        write_image(output, contact_sheet(*opened.panels(restored, signal)))
    if as_json:
        notes = [*signal.notes, *remarks]
        described = {"file": str(file), "kind": opened.kind, "bytes": size, "notes": notes}
        echo_json({**described, **opened.rates(size), **metrics})
        return
    finish()
    click.echo(f"{file}: {opened.describe()}, {size} bytes")
    for name, value in metrics.items():
        click.echo(f"{name.replace('_', ' '):<14} {_text(name, value)}")


def _text(name: str, value: Any) -> str:
    if value is None:
        return "not defined: a shape without a surface" if name == "chamfer" else "not defined for this size"
    return " ".join(f"{item:.2f}" for item in value) if isinstance(value, list) else f"{value:.4f}"


@click.command(
    no_args_is_help=True,
    epilog=examples(
        "coinr preview photo.coinr                            writes photo.sheet.png",
        "coinr preview photo.coinr -o sheet.png",
        "coinr preview lego.coinr -o sheet.png --device cuda",
    ),
)
@_file
@output_option("The picture", "FILE with .sheet.png")
@_device
@start_option
@threads_option
@json_option
@quiet_option
def preview(file: Path, output: Path | None, device: str | None, start_file: Path | None, as_json: bool) -> None:
    """Show the signal in FILE, of whatever kind, on one contact sheet."""
    from coinr.signal_files.api import open_file
    from coinr.signals.image.files import IMAGE_SUFFIXES, write_image
    from coinr.signals.sheets import contact_sheet

    named, output = output is not None, output or output_beside(file, ".sheet.png")
    check_output(output, IMAGE_SUFFIXES, file)
    show_command_progress()
    opened = open_file(file, start=read_start(start_file))
    _move(opened, device)
    restored = opened.restore()
    remarks = opened.remarks(restored)
    echo_notes(file, remarks)
    sheet = contact_sheet(*opened.panels(restored))
    write_image(output, sheet)
    if as_json:
        size = {"height": sheet.shape[0], "width": sheet.shape[1]}
        echo_json({"file": str(output), "kind": opened.kind, **size, "notes": list(remarks)})
    elif not named:
        echo_written(output)


def _move(opened: Any, device: str | None) -> None:
    from coinr.runtime.devices import to_device

    if device is not None:
        to_device(opened.network, device)
