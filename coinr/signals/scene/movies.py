"""Views as picture files, and as moving pictures."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coinr.errors import InputError
from coinr.files.writing import write_atomic, write_folder
from coinr.runtime.optional import import_optional
from coinr.signals.image.files import write_image

_Frames = NDArray[np.uint8]


def write_views(path: Path, pictures: NDArray[Any]) -> None:
    """Write pictures [V, H, W] or [V, H, W, 3] into a new folder as ``view_000.png``, ...; all or none.

    If ``path`` has a suffix, the first is written there.

    Raises
    ------
    InputError
        If the folder holds something already.
    OSError
        If something cannot be written.
    """
    if path.suffix:
        write_image(path, pictures[0])
        return

    def fill(folder: Path) -> None:
        for k, picture in enumerate(pictures):
            write_image(folder / f"view_{k:03d}.png", picture)

    write_folder(path, fill)


def check_movie(path: Path) -> None:
    """Raise DependencyError if the library that writes such a movie is not installed."""
    if path.suffix.lower() == ".mp4":
        import_optional("imageio_ffmpeg", "video")


def write_movie(path: Path, frames: _Frames, rate: int) -> None:
    """Write uint8 [V, H, W, 3] as endless ``.gif`` or ``.mp4`` (H.264), ``rate`` pictures a second; all or nothing.

    Raises
    ------
    InputError
        If the suffix is another.
    DependencyError
        If the library that writes ``.mp4`` is not installed.
    OSError
        If the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in MOVIE_SUFFIXES:
        raise InputError(f"{path}: the suffix must be one of {' '.join(MOVIE_SUFFIXES)}")
    write_atomic(path, _WRITERS[suffix](frames, rate))


def _gif(frames: _Frames, rate: int) -> bytes:
    first, *others = (Image.fromarray(frame) for frame in frames)
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=round(1000 / rate), loop=0)
    return buffer.getvalue()


def _mp4(frames: _Frames, rate: int) -> Callable[[BinaryIO], object]:
    ffmpeg = import_optional("imageio_ffmpeg", "video")

    def write(stream: BinaryIO) -> None:
        # ffmpeg writes to a name of its own and goes back in it; sides must be even
        with tempfile.TemporaryDirectory() as folder:
            name = os.path.join(folder, "film.mp4")
            height, width = (n + n % 2 for n in frames.shape[1:3])
            writer = ffmpeg.write_frames(name, (width, height), fps=rate, quality=8, macro_block_size=2)
            writer.send(None)
            for frame in frames:
                writer.send(np.pad(frame, ((0, height - frame.shape[0]), (0, width - frame.shape[1]), (0, 0)), "edge"))
            writer.close()
            with open(name, "rb") as made:
                shutil.copyfileobj(made, stream)

    return write


_WRITERS: Mapping[str, Callable[[_Frames, int], bytes | Callable[[BinaryIO], object]]] = {".gif": _gif, ".mp4": _mp4}

#: Suffixes that :func:`write_movie` knows.
MOVIE_SUFFIXES = tuple(_WRITERS)
