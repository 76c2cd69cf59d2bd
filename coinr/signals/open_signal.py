"""A file or folder as the signal that it holds."""

from __future__ import annotations

import os
from pathlib import Path

from coinr.errors import InputError
from coinr.files.arrays import NPY, ZIP, read_arrays
from coinr.files.reading import MAGIC, check_head, check_path, name_in_errors
from coinr.inputs.arguments import checked
from coinr.runtime.ambient import independent
from coinr.signals.arrays import VOLUME_SUFFIXES, volume_of_arrays
from coinr.signals.audio.files import is_sound, left_of_sound, read_audio
from coinr.signals.audio.signal import AudioSignal
from coinr.signals.image.files import IMAGE_SUFFIXES, is_picture, read_picture
from coinr.signals.image.signal import ImageSignal
from coinr.signals.scene.files import is_scene_folder, read_scene_folder, scene_of_arrays
from coinr.signals.shape.mesh_bytes import ends_within_line, mesh_kind
from coinr.signals.shape.meshes import read_mesh
from coinr.signals.shape.signal import ShapeSignal
from coinr.signals.signal import Signal

#: Suffixes of sounds, for messages on what no library knows.
_SOUND_SUFFIXES = (
    *(".wav", ".wave", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".caf", ".au", ".snd"),
    *(".w64", ".rf64", ".nist", ".sph", ".voc", ".raw", ".pcm", ".m4a", ".aac", ".wma", ".ape", ".wv"),
)


@independent
@checked
def open_signal(
    path: str | os.PathLike[str],
    *,
    grid: int = 128,
    samples: tuple[int, int] = (32, 32),
    near: float | None = None,
    far: float | None = None,
) -> Signal:
    """Return the signal in a file or folder. Its kind is detected from the content; suffixes only tell meshes apart.

    Parameters
    ----------
    path : path
        A picture (PNG, JPEG, WebP, TIFF, ...), a sound (WAV, FLAC, MP3, ...), a volume or a scene of arrays (``.npy``,
        ``.npz``), a mesh (``.ply``, ``.obj``, ``.stl``, ``.off``, ``.glb``, ``.gltf``), or a folder of posed pictures
        or its ``transforms.json``.
    grid : int
        Voxels along the longest side of a mesh.
    samples : (int, int)
        Depths along a ray of a scene that the coarse and the fine network are evaluated at.
    near, far : float, optional
        Range of depths of a scene, in place of what its files say, or what follows from its cameras.

    Returns
    -------
    Signal
        :class:`~coinr.signals.image.signal.ImageSignal`, :class:`~coinr.signals.audio.signal.AudioSignal`,
        :class:`~coinr.signals.shape.signal.ShapeSignal` or :class:`~coinr.signals.scene.signal.SceneSignal`.

    Raises
    ------
    InputError
        If the content is damaged or no such signal; the message says what is wrong.
    DependencyError
        If a library that reads it is not installed.
    OSError
        If it cannot be opened.
    """
    source = check_path(path)
    with name_in_errors(source):
        signal = _open(source, grid, samples, near, far)
    signal.source = str(source)
    return signal


def _open(source: Path, grid: int, samples: tuple[int, int], near: float | None, far: float | None) -> Signal:
    if source.is_dir():
        if not is_scene_folder(source):
            raise InputError("a folder without transforms.json is no scene")
        return read_scene_folder(source, samples, near, far)
    head = check_head(source)
    suffix = source.suffix.lower()
    if suffix == ".json":
        return read_scene_folder(source, samples, near, far)
    if head.startswith((*ZIP, NPY)):
        return _open_arrays(source, samples, near, far)
    if mesh_kind(head, suffix):
        return _open_mesh(source, grid)
    if is_picture(source):
        return _open_image(source)
    data = source.read_bytes()
    # of what nothing knows, the reader that the suffix promises says what is wrong
    if is_sound(data) or suffix in _SOUND_SUFFIXES:
        signal = AudioSignal(*read_audio(source))
        signal.notes = left_of_sound(data)
        return signal
    if suffix in VOLUME_SUFFIXES:
        return _open_arrays(source, samples, near, far)
    if suffix in IMAGE_SUFFIXES:
        return _open_image(source)
    raise InputError(f"its content is of no kind that can be read{_hint(head)}")


def _hint(head: bytes) -> str:
    """Return a hint on a file that other functions read."""
    if head.startswith(MAGIC):
        return "; it is a coinr file: open_file gives its signal"
    if head[8:9] == b"{":
        return "; it may hold weights, which coinr.save stores"
    return ""


def _open_image(source: Path) -> Signal:
    image, notes = read_picture(source)
    signal = ImageSignal(image)
    signal.notes = notes
    return signal


def _open_mesh(source: Path, grid: int) -> Signal:
    mesh, notes = read_mesh(source)
    try:
        signal = ShapeSignal.of_mesh(mesh, grid)
    except InputError as error:
        hint = "; the file ends within a line and may be truncated" if ends_within_line(source) else ""
        raise InputError(f"{error}{hint}") from None
    signal.notes = (*notes, *signal.notes)
    return signal


def _open_arrays(source: Path, samples: tuple[int, int], near: float | None, far: float | None) -> Signal:
    arrays = read_arrays(source)
    if "images" in arrays:
        return scene_of_arrays(arrays, samples, near, far)
    return ShapeSignal(volume_of_arrays(arrays))
