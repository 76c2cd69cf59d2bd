"""The command that renders a signal in its natural format."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from coinr.cli.many_run import many_options, pop_many, run_into, run_options
from coinr.cli.options import (
    Numbers,
    echo_json,
    examples,
    json_option,
    quiet_option,
    show_command_progress,
    threads_option,
)
from coinr.cli.outputs import (
    check_distinct,
    check_output,
    check_output_folder,
    echo_written,
    output_beside,
    output_option,
)
from coinr.cli.start_options import read_start, start_option
from coinr.errors import InputError

if TYPE_CHECKING:
    from coinr.networks import Network
    from coinr.signal_files.audio import AudioFile
    from coinr.signal_files.image import ImageFile
    from coinr.signal_files.scene import SceneFile
    from coinr.signal_files.shape import ShapeFile
    from coinr.signal_files.signal_file import SignalFile
    from coinr.starts.start import Start

_Options = Mapping[str, Any]

#: Views in a folder, and pictures of a turntable, if their number is not given; pictures a second.
_VIEWS, _FRAMES, _RATE = 8, 48, 16

#: Suffixes of outputs that are not named, by kind.
_SUFFIXES = {"image": ".png", "audio": ".wav", "shape": ".ply", "scene": ".png"}


@click.command(
    no_args_is_help=True,
    epilog=examples(
        "coinr decode photo.coinr                             writes photo.png, unless there is one",
        "coinr decode photo.coinr -o copy.png",
        "coinr decode photo.coinr -o big.png --scale 2",
        "coinr decode photo.coinr -o part.png --size 4000x6000 --crop 500,1000,600,800",
        "coinr decode song.coinr -o song.wav --rate 48000",
        "coinr decode statue.coinr -o statue.ply --grid 256",
        "coinr decode volume.coinr -o volume.npy",
        "coinr decode lego.coinr -o views --views 12          a folder of pictures",
        "coinr decode lego.coinr -o lego.gif --turntable 60   or .mp4",
        "coinr decode lego.coinr -o depth.png --depth",
        "coinr decode photo.coinr -o photo.png --start photos.start.coinr",
        "coinr decode photo.coinr copy.coinr -o pictures --to png",
    ),
)
@click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@output_option("The file or folder", "FILE with .png, .wav or .ply; .gif with --turntable", folder=True)
@click.option("--to", metavar="SUFFIX", help="Into a folder: the format, such as png or wav.  [default: none]")
@click.option(
    "--scale",
    type=click.FloatRange(0, min_open=True),
    help="Image, scene: size relative to the original, such as 2 or 0.5.  [default: 1]",
)
@click.option(
    "--size", type=Numbers("HxW", "x"), help="Image, scene: height and width in pixels.  [default: the original's]"
)
@click.option(
    "--crop",
    type=Numbers("Y,X,H,W", ","),
    help="Image: only this part, in pixels of the whole at its output size: top, left, height, width.  [default: all]",
)
@click.option(
    "--rate", type=click.IntRange(1), metavar="HZ", help="Audio: samples a second.  [default: the original's]"
)
@click.option("--grid", type=click.IntRange(1), help="Shape: voxels along the longest side.  [default: the original's]")
@click.option("--views", type=click.IntRange(1, 10_000), help=f"Scene: pictures in a folder.  [default: {_VIEWS}]")
@click.option(
    "--turntable",
    type=click.IntRange(2, 10_000),
    metavar="FRAMES",
    help=f"Scene: pictures in a .gif or .mp4.  [default: {_FRAMES}]",
)
@click.option("--depth", is_flag=True, help="Scene: depths in place of colours, bright is far in a .png of 16 bits.")
@click.option("--device", metavar="NAME", help="Where to render: cpu, cuda.  [default: cpu]")
@start_option
@many_options
@threads_option
@json_option
@quiet_option
def decode(
    files: tuple[Path, ...],
    output: Path | None,
    to: str | None,
    device: str | None,
    start_file: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Render the signal in FILE in the format that the suffix of the output names.

    \b
    image   .png .tif .bmp .ppm .webp (lossless) or .jpg
    audio   .wav or .flac, 16 bits a sample
    shape   .npy (voxels), .npz (packed voxels), or .ply .obj .stl .off .glb (surface)
    scene   .png (one view), a folder of views, or .gif .mp4 (a turntable)

    With --to, several FILEs are decoded into a folder given with -o, in a process a core. One that fails does not stop
    the others. In the folder, manifest.jsonl and failures.jsonl say what was made and what failed, and the same command
    goes on where it was ended.
    """  # noqa: D301 - \b tells click to keep the lines
    if options["scale"] is not None and options["size"] is not None:
        raise click.UsageError("give --scale or --size, not both")
    many = pop_many(options)
    show_command_progress()
    if to is not None or many or len(files) > 1:
        if output is None or to is None:
            raise click.UsageError("several files need a folder and a format: -o FOLDER --to png")
        task = _Decode(f".{to.removeprefix('.')}", device, start_file, options)
        run_into(task, files, output, run_options(many, files, None), as_json)
        return
    [file] = files
    opened = _open(file, device, read_start(start_file))
    render = _renderer(opened, options)
    if not (named := output is not None):
        output = output_beside(file, ".gif" if options["turntable"] else _SUFFIXES[opened.kind])
    check_distinct(output, file)
    result = render(opened, output, options)
    if as_json:
        echo_json({"file": str(output), **result})
    elif not named:
        echo_written(output)


def _renderer(opened: SignalFile, options: _Options) -> Callable[[Any, Path, _Options], dict[str, Any]]:
    """Return what renders a signal; raise click.UsageError if an option is not for its kind."""
    given = {name for name, value in options.items() if value not in (None, False)}
    render, allowed = _RENDERERS[opened.kind]
    if others := sorted(given - set(allowed)):
        raise click.UsageError(f"--{others[0]} is not for a file of kind {opened.kind}")
    return render


@dataclass
class _Decode:
    """Render the signal in one of many files."""

    suffix: str
    device: str | None
    start: Path | None
    options: dict[str, Any]

    def settings(self) -> dict[str, Any]:
        """Return all that decides an output; the start by its hash."""
        start = read_start(self.start)
        decided = {"suffix": self.suffix, "device": self.device, "start": None if start is None else start.hash}
        return {"task": "decode", **decided, **self.options}

    def prepare(self) -> None:
        """Import what every file needs."""
        import coinr.signal_files.reading  # noqa: F401

    def __call__(self, source: Path, output: Path) -> dict[str, Any]:
        """Render one file."""
        opened = _open(source, self.device, read_start(self.start))
        try:
            result = _renderer(opened, self.options)(opened, output, self.options)
        except click.UsageError as error:
            raise InputError(error.message) from error
        return {"score": None, **result}


def _open(file: Path, device: str | None, start: Start | None) -> SignalFile:
    """Return the signal in a file; its network is one of torch where a device is named."""
    from coinr.signal_files.reading import open_rendering

    if device is None:
        return open_rendering(file, start)
    from coinr.runtime.devices import to_device
    from coinr.signal_files.api import open_file

    opened = open_file(file, start=start)
    to_device(cast("Network", opened.network), device)
    return opened


def _image(file: ImageFile, output: Path, options: _Options) -> dict[str, Any]:
    from coinr.signals.image.files import IMAGE_SUFFIXES, check_image_output, write_image

    check_output(output, IMAGE_SUFFIXES)
    check_image_output(output, file.network.out_features, file.bits)
    size = _size(file.height, file.width, options)
    image = file.render(*size, crop=options["crop"])
    write_image(output, image)
    return {"height": image.shape[0], "width": image.shape[1], "of": list(size)}


def _size(height: int, width: int, options: _Options) -> tuple[int, int]:
    if options["size"] is not None:
        return options["size"][0], options["size"][1]
    scale = options["scale"] or 1.0
    if not math.isfinite(scale) or scale > 2**31:
        raise click.UsageError(f"--scale {scale} is out of range")
    return max(1, round(height * scale)), max(1, round(width * scale))


def _audio(file: AudioFile, output: Path, options: _Options) -> dict[str, Any]:
    from coinr.signals.audio.files import AUDIO_SUFFIXES, write_audio

    check_output(output, AUDIO_SUFFIXES)
    rate = options["rate"] or file.rate
    sound = file.render(rate)
    write_audio(output, sound, rate)
    return {"samples": len(sound), "rate": rate, "channels": 1 if sound.ndim == 1 else sound.shape[1]}


def _shape(file: ShapeFile, output: Path, options: _Options) -> dict[str, Any]:
    from coinr.signals.arrays import VOLUME_SUFFIXES, write_volume
    from coinr.signals.shape.meshes import MESH_SUFFIXES, write_mesh

    check_output(output, (*VOLUME_SUFFIXES, *MESH_SUFFIXES))
    if output.suffix.lower() in MESH_SUFFIXES:
        mesh = file.mesh(options["grid"])
        write_mesh(output, mesh)
        return {"vertices": len(mesh.vertices), "triangles": len(mesh.faces)}
    volume = file.render(options["grid"])
    write_volume(output, volume)
    return {"shape": list(volume.shape), "dtype": str(volume.dtype)}


def _scene(file: SceneFile, output: Path, options: _Options) -> dict[str, Any]:
    from coinr.signals.scene.movies import MOVIE_SUFFIXES, check_movie, write_movie, write_views

    suffix, size = output.suffix.lower(), _size(file.lens.height, file.lens.width, options)
    if options["views"] and suffix:
        raise click.UsageError("--views needs a folder as output")
    if options["turntable"] and suffix not in MOVIE_SUFFIXES:
        raise click.UsageError(f"--turntable needs an output that ends in {' or '.join(MOVIE_SUFFIXES)}")
    if suffix:
        check_output(output, (".png", *MOVIE_SUFFIXES))
    else:
        check_output_folder(output)
    if suffix in MOVIE_SUFFIXES:
        check_movie(output)
    count = 1 if suffix == ".png" else options["views"] or options["turntable"] or (_FRAMES if suffix else _VIEWS)
    colors, depths = file.render([k * 360 / count for k in range(count)], size)
    if suffix in MOVIE_SUFFIXES:
        write_movie(output, file.color_depths(depths) if options["depth"] else colors, _RATE)
    else:
        write_views(output, file.quantize_depths(depths) if options["depth"] else colors)
    return {"height": size[0], "width": size[1], "views": count}


_RENDERERS: Mapping[str, tuple[Callable[[Any, Path, _Options], dict[str, Any]], tuple[str, ...]]] = {
    "image": (_image, ("scale", "size", "crop")),
    "audio": (_audio, ("rate",)),
    "shape": (_shape, ("grid",)),
    "scene": (_scene, ("scale", "size", "views", "turntable", "depth")),
}
