"""Scene files in: a folder of posed pictures, or arrays."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.errors import InputError
from coinr.signals.image import Picture
from coinr.signals.image_io import read_image
from coinr.signals.sampling import steps
from coinr.signals.scene import SceneSignal

#: What a frame's name may lack.
_SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".webp")

#: Lens distortion that pinhole cameras do not have.
_DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")


def is_scene_folder(path: Path) -> bool:
    """Whether a folder holds ``transforms.json``, or ``transforms_train.json`` as NeRF's Blender scenes do."""
    return (path / "transforms.json").is_file() or (path / "transforms_train.json").is_file()


def read_scene_folder(path: Path, samples: tuple[int, int]) -> SceneSignal:
    """Return the scene in a folder with ``transforms.json``, or ``transforms_train.json`` and ``transforms_test.json``.

    Raises
    ------
    InputError
        If a file is missing or damaged, cameras differ or are distorted, or as :class:`~coinr.signals.SceneSignal`.
    """
    train, test = path / "transforms_train.json", path / "transforms_test.json"
    try:
        if not train.is_file():
            images, poses, focal, planes = _read_transforms(path / "transforms.json")
            return SceneSignal(images, poses, focal, *planes, samples=samples)
        images, poses, focal, planes = _read_transforms(train)
        if not test.is_file():
            return SceneSignal(images, poses, focal, *planes, samples=samples)
        held_images, held_poses, held_focal, _ = _read_transforms(test)
        if not math.isclose(focal, held_focal, rel_tol=1e-3):
            raise InputError(f"the views differ in focal length: {focal:g} and, held back, {held_focal:g} pixels")
        return SceneSignal(images, poses, focal, *planes, held_images, held_poses, samples)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _read_transforms(path: Path) -> tuple[NDArray[Any], NDArray[Any], float, tuple[float | None, float | None]]:
    """Pictures, poses, focal length in pixels, and near and far if the file has them."""
    try:
        stored = json.loads(path.read_text())
        frames = [(frame["file_path"], np.asarray(frame["transform_matrix"], np.float64)) for frame in stored["frames"]]
        if not frames:
            raise InputError(f"{path.name} names no frames")
        pictures = [_read_frame(path.parent / frames[k][0]) for k in steps(range(len(frames)), "views")]
        height, width = pictures[0].shape[:2]
        _check_pinhole(stored, width)
        if "fl_x" in stored:
            focal = float(stored["fl_x"]) * width / float(stored.get("w", width))
        else:
            focal = width / 2 / math.tan(float(stored["camera_angle_x"]) / 2)
        planes = tuple(None if stored.get(name) is None else float(stored[name]) for name in ("near", "far"))
        if len({pose.shape for _, pose in frames}) > 1:
            raise InputError(f"the poses in {path.name} differ in shape")
        return _stack(pictures), np.stack([pose for _, pose in frames]), focal, (planes[0], planes[1])
    except KeyError as error:
        raise InputError(f"{path.name} lacks {error.args[0]!r}") from None
    except (TypeError, ValueError, AttributeError, RecursionError, ZeroDivisionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path.name} is damaged or of another kind ({error})") from error


def _check_pinhole(stored: Mapping[str, Any], width: int) -> None:
    bent = [name for name in _DISTORTION if abs(float(stored.get(name) or 0)) > 1e-6]
    if bent:
        raise InputError(f"the camera is distorted ({', '.join(bent)}); undistort the pictures first")
    across = float(stored.get("w", width))
    if abs(float(stored.get("cx", across / 2)) - across / 2) > 0.01 * across:
        raise InputError("the camera's axis does not pass through the middle of the pictures (cx)")


def _read_frame(path: Path) -> Picture:
    for suffix in _SUFFIXES:
        candidate = path.with_name(path.name + suffix)
        if candidate.is_file():
            picture = read_image(candidate)
            if picture.dtype == np.uint16:
                picture = ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)
            if picture.ndim == 2:
                picture = picture[..., None]
            return picture[..., [0, 0, 0, *range(1, picture.shape[2])]] if picture.shape[2] < 3 else picture
    raise InputError(f"there is no picture {path.name}")


def _stack(pictures: list[Picture]) -> NDArray[np.uint8]:
    """One array [V, H, W, 3 or 4]; pictures without alpha are opaque."""
    if any(picture.shape[2] == 4 for picture in pictures):
        pictures = [np.dstack((p, np.full(p.shape[:2], 255, np.uint8))) if p.shape[2] == 3 else p for p in pictures]
    if len({picture.shape for picture in pictures}) > 1:
        raise InputError("the pictures differ in size")
    return np.stack(pictures)


def scene_of_arrays(arrays: Mapping[str, NDArray[Any]], samples: tuple[int, int]) -> SceneSignal:
    """The scene in named arrays: images, poses, focal; if there, near, far, test_images, test_poses.

    Raises
    ------
    InputError
        If one is missing, or as :class:`~coinr.signals.SceneSignal`.
    """
    if missing := {"poses", "focal"} - set(arrays):
        raise InputError(f"a scene has arrays images, poses and focal; {', '.join(sorted(missing))} missing")
    numbers: dict[str, float | None] = {}
    for name in ("focal", "near", "far"):
        value = arrays.get(name)
        if value is not None and (value.size != 1 or not np.issubdtype(value.dtype, np.number)):
            raise InputError(f"{name} is one number, got {value.dtype} {list(value.shape)}")
        numbers[name] = None if value is None else float(value.reshape(()))
    focal, near, far = numbers.values()
    assert focal is not None
    held = arrays.get("test_images"), arrays.get("test_poses")
    return SceneSignal(arrays["images"], arrays["poses"], focal, near, far, *held, samples)
