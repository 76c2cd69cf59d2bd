"""``transforms.json`` of Blender's scripts, nerfstudio and instant-ngp: what is used of it, refused, or noted.

Cameras look along their -z with y up, and matrices are camera-to-world, as in all three.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from coinr.errors import InputError
from coinr.files.reading import read_bytes

#: Numbers of the camera, of all frames or of each.
_CAMERA = ("fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x", "camera_angle_y", "x_fov", "y_fov")

#: Camera models that are pinholes once their distortion is zero.
_PINHOLES = ("PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV", "PERSPECTIVE")

#: Coefficients of lens distortion, which must be zero.
_BENT = re.compile(
    r"[kp][0-9]|ftheta_p[0-9]|distortion(_(params|parameters|coefficients|coeffs))?|dist_coeffs?"
    r"|(radial|tangential|lens|fov)_distortion|rolling_shutter"
)

#: What changes the rays or the pixels that are meant, and why it is refused unless it is false or empty.
_REFUSED = {
    "is_fisheye": "fisheye lenses are not supported",
    "fisheye_crop_radius": "fisheye lenses are not supported",
    "latlong": "panoramic pictures are not supported",
    "equirectangular": "panoramic pictures are not supported",
    "mask_path": "masked pixels cannot be left out; lay the pictures over white instead",
    "white_transparent": "transparent colours are not supported; give the pictures alpha",
    "black_transparent": "transparent colours are not supported; give the pictures alpha",
    "fix_premult": "premultiplied alpha is not supported; give the pictures straight alpha",
    "envmap": "scenes are shown over white, not over an environment",
    "sharpen": "pictures are not sharpened",
    "from_na": "poses in the convention of NeuS2 are not supported",
    "normal_mts_args": "poses in the convention of Mitsuba are not supported",
    "transform_matrix_start": "cameras that move within a frame are not supported",
    "transform_matrix_end": "cameras that move within a frame are not supported",
    "intrinsic_matrix": "give fl_x, fl_y, cx and cy",
}

#: What only describes, or is about things that coinr does in its own way.
_DESCRIPTIVE = (
    *("aabb", "aabb_scale", "render_aabb", "scale", "offset", "up", "importance_sampling", "n_extra_learnable_dims"),
    *("applied_transform", "applied_scale", "orientation_override", "auto_scale_poses_override", "ply_file_path"),
    *("sharpness", "blur_score", "rotation", "colmap_im_id", "camera_id", "img_id", "timestamp"),
)

#: By how much, relatively, numbers may differ between frames that are taken for one camera's.
_ALIKE = 1e-3

#: By how much, relatively, two keys may differ that give the same focal length.
_AGREE = 1e-2


@dataclass(frozen=True)
class Camera:
    """A pinhole in pixels of the pictures: focal lengths across and down, and the point that the axis passes."""

    focal: float
    focal_y: float
    center: tuple[float, float]


@dataclass(frozen=True)
class Transforms:
    """What a file says.

    Attributes
    ----------
    names : list of str
        The picture of each frame, as the file writes it.
    poses : ndarray
        float64 [V, 4, 4].
    numbers : dict
        Those of the camera that the file has.
    near, far : float or None
        Range of depths.
    splits : dict
        Names of pictures for ``"train"``, ``"val"`` and ``"test"``, where the file has such lists.
    notes : tuple of str
        What is not used.
    """

    names: list[str]
    poses: NDArray[np.float64]
    numbers: dict[str, float]
    near: float | None
    far: float | None
    splits: dict[str, list[str]]
    notes: tuple[str, ...]


def read_transforms(path: Path) -> Transforms:
    """Return what ``transforms.json`` says.

    Raises
    ------
    InputError
        If the file is damaged or truncated, lacks something, or says what is not supported; the message names it.
    OSError
        If it cannot be opened.
    """
    stored = _parse(read_bytes(path))
    frames = stored.get("frames")
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise InputError("it is damaged or of another kind: 'frames' is no list of objects")
    if not frames:
        raise InputError("it names no frames")
    for where in (stored, *frames):
        _refuse(where)
    names = [_name(frame, k) for k, frame in enumerate(frames)]
    poses = np.stack([_pose(frame, names[k]) for k, frame in enumerate(frames)])
    numbers, uneven = {}, []
    for key in _CAMERA:
        value, even = _one_number(stored, frames, key)
        if value is not None:
            numbers[key] = value
        uneven += [] if even else [key]
    notes = [f"frames differ a little in {', '.join(uneven)}: the middle is taken"] if uneven else []
    splits = {name: _split(stored, name) for name in ("train", "val", "test") if stored.get(f"{name}_filenames")}
    near, far = (_number(stored, key) for key in ("near", "far"))
    return Transforms(names, poses, numbers, near, far, splits, (*notes, *_unused(stored, frames)))


def _parse(data: bytes) -> dict[str, Any]:
    """Return the JSON object in a file of UTF-8 or UTF-16, with or without a byte order mark."""
    try:
        stored = json.loads(data, object_pairs_hook=_unique, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        cut = not error.doc[error.pos :].strip() or error.msg.startswith("Unterminated")
        raise InputError(f"it is damaged{' (truncated)' if cut else ''}: {error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"it is damaged, or no UTF-8 ({error})") from None
    except InputError:
        raise
    except ValueError as error:  # whole numbers of thousands of digits
        raise InputError(f"it is damaged: {error}") from None
    except RecursionError:
        raise InputError("it is damaged: its JSON is nested too deeply") from None
    if not isinstance(stored, dict):
        raise InputError("it is of another kind: its JSON is no object")
    return stored


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise InputError(f"it has {next(key for key in keys if keys.count(key) > 1)!r} twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise InputError(f"it holds {text}, which is no number")


def _refuse(where: Mapping[str, Any]) -> None:
    """Raise InputError if the file, or a frame of it, says what is not supported."""
    model = where.get("camera_model")
    if model is not None and str(model).upper() not in _PINHOLES:
        raise InputError(f"camera_model {model!r} is not supported, only {', '.join(_PINHOLES)}")
    check_straight(where)
    for key, reason in _REFUSED.items():
        if where.get(key):
            raise InputError(f"{key}: {reason}")


def check_straight(where: Mapping[str, Any]) -> None:
    """Raise InputError if numbers, or lists of them, say by their names that the camera is distorted."""
    bent = [key for key, value in where.items() if _BENT.fullmatch(key) and not _zero(value)]
    if bent:
        raise InputError(f"the camera is distorted ({', '.join(bent)}); undistort the pictures first")


def _zero(value: Any) -> bool:
    """Return whether a coefficient, or a list of them, is as good as zero."""
    values = value if isinstance(value, list) else [value]
    return all(v is None or (isinstance(v, (int, float)) and abs(v) <= 1e-6) for v in values)


def _name(frame: Mapping[str, Any], k: int) -> str:
    name = frame.get("file_path")
    if not isinstance(name, str) or not name or "\0" in name:
        raise InputError(f"frame {k} lacks 'file_path'" if name is None else f"frame {k} has a file_path of {name!r}")
    return name


def _pose(frame: Mapping[str, Any], name: str) -> NDArray[np.float64]:
    """Return the matrix of a frame, float64 [4, 4]."""
    if frame.get("transform_matrix") is None:
        raise InputError(f"frame {name} lacks 'transform_matrix'")
    try:
        matrix = np.asarray(frame["transform_matrix"], np.float64)
    except (TypeError, ValueError, OverflowError):
        matrix = np.empty(0)
    if matrix.shape not in ((4, 4), (3, 4)):
        raise InputError(f"frame {name} has a transform_matrix that is no 4 x 4 or 3 x 4 of numbers")
    whole = np.eye(4)
    whole[: len(matrix)] = matrix
    return whole


def _number(where: Mapping[str, Any], key: str) -> float | None:
    value = where.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e30:
        raise InputError(f"it is damaged: {key} is a number, got {value!r}")
    return float(value)


def _one_number(stored: Mapping[str, Any], frames: list[dict[str, Any]], key: str) -> tuple[float | None, bool]:
    """Return the number that a key has for all frames, and whether all have the same to the last digit."""
    common, own = _number(stored, key), [_number(frame, key) for frame in frames]
    if common is None and None in own and any(value is not None for value in own):
        raise InputError(f"frame {frames[own.index(None)]['file_path']} lacks {key!r}, which others have")
    values = [value for value in (common, *own) if value is not None]
    if not values:
        return None, True
    low, high = min(values), max(values)
    if high - low > _ALIKE * max(abs(low), abs(high)):
        raise InputError(f"the frames differ in {key}, from {low:g} to {high:g}; all must be of one camera")
    return float(np.median(values)), low == high


def _split(stored: Mapping[str, Any], name: str) -> list[str]:
    names = stored[f"{name}_filenames"]
    if not isinstance(names, list) or not all(isinstance(item, str) for item in names):
        raise InputError(f"{name}_filenames is a list of names, got {str(names)[:60]}")
    return names


def _unused(stored: Mapping[str, Any], frames: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return notes on keys that are not used; InputError for frames at several times, or fewer than there are."""
    times = {str(frame["time"]) for frame in frames if "time" in frame}
    if len(times) > 1:
        raise InputError(f"the frames have {len(times)} values of time; scenes that move are not supported")
    count = stored.get("n_frames")
    if count is not None and count != len(frames):
        raise InputError(f"n_frames is {count!r}, but there are {len(frames)} frames")
    known = {*_CAMERA, *_REFUSED, *_DESCRIPTIVE, "camera_model", "time", "n_frames"}
    top = {*known, "frames", "near", "far", "train_filenames", "val_filenames", "test_filenames"}
    left = [key for key in stored if key not in top and not _BENT.fullmatch(key)]
    own = {key: None for frame in frames for key in frame if key not in known and not _BENT.fullmatch(key)}
    of_frames = [key for key in own if key not in ("file_path", "transform_matrix")]
    notes = [f"not used: {', '.join(left)}"] if left else []
    return (*notes, *([f"not used of frames: {', '.join(of_frames)}"] if of_frames else []))


def camera_of(numbers: Mapping[str, float], height: int, width: int) -> Camera:
    """Return the camera that numbers describe, in pixels of pictures of ``height`` x ``width``.

    Where ``w`` and ``h`` are another size of the same shape, up to a pixel, lengths in pixels are scaled to the
    pictures, across by width / w and down by height / h.

    Raises
    ------
    InputError
        If there is no focal length, numbers are out of range or contradict each other, or the pictures have another
        shape than ``w`` and ``h``.
    """
    for key in ("w", "h", "fl_x", "fl_y"):
        if not numbers.get(key, 1) > 0:
            raise InputError(f"{key} must be positive, got {numbers[key]:g}")
    across, down = _declared_size(numbers, height, width)
    if abs(width * down - height * across) > max(across, down):
        raise InputError(f"the pictures have {width} x {height} pixels, w and h are {across:g} x {down:g}")
    x, y = _focal(numbers, "x", width, width / across), _focal(numbers, "y", height, height / down)
    x, y = x or y, y or x
    if x is None or y is None:
        raise InputError("it lacks a focal length: 'fl_x' or 'camera_angle_x'")
    center = numbers.get("cx", across / 2) * width / across, numbers.get("cy", down / 2) * height / down
    return Camera(x, y, center)


def notes_on_size(numbers: Mapping[str, float], height: int, width: int) -> list[str]:
    """Return a note where ``w`` and ``h`` are neither the size of pictures nor a whole number of times it, or part."""
    across, down = _declared_size(numbers, height, width)
    times = max(across / width, width / across)
    whole, bigger = round(times), across > width
    off = [a - whole * b if bigger else whole * a - b for a, b in ((across, width), (down, height))]
    if all(abs(pixels) < 1 for pixels in off):
        return []
    return [
        f"the pictures have {width} x {height} pixels, w and h are {across:g} x {down:g}: the camera is scaled to them"
    ]


def _declared_size(numbers: Mapping[str, float], height: int, width: int) -> tuple[float, float]:
    """Return w and h; one that is missing is in proportion to the other."""
    across = numbers.get("w", width * numbers.get("h", height) / height)
    return across, numbers.get("h", height * across / width)


def _focal(numbers: Mapping[str, float], axis: str, size: int, scale: float) -> float | None:
    """Return the focal length along an axis in pixels, from whichever key there is."""
    lengths: dict[str, float] = {}
    if f"fl_{axis}" in numbers:
        lengths[f"fl_{axis}"] = numbers[f"fl_{axis}"] * scale
    for key, unit in ((f"camera_angle_{axis}", 1.0), (f"{axis}_fov", math.pi / 180)):
        if key in numbers:
            angle = numbers[key] * unit
            if not 0 < angle < math.pi:
                raise InputError(f"{key} is an angle between 0 and {math.pi / unit:.5g}, got {numbers[key]:g}")
            lengths[key] = size / 2 / math.tan(angle / 2)
    if not lengths:
        return None
    if max(lengths.values()) > min(lengths.values()) * (1 + _AGREE):
        words = " and ".join(f"{value:.6g} pixels by {key}" for key, value in lengths.items())
        raise InputError(f"the focal length is {words}; they contradict each other")
    return next(iter(lengths.values()))
