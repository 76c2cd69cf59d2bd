"""Scene files in: a folder of posed pictures, or arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coinr.errors import InputError
from coinr.files.reading import name_in_errors
from coinr.progress import steps
from coinr.signals.image.files import read_picture
from coinr.signals.image.picture import Picture
from coinr.signals.scene.signal import SceneSignal
from coinr.signals.scene.transforms import Camera, Transforms, camera_of, check_straight, notes_on_size, read_transforms

#: What a frame's name may lack.
_SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".webp", ".PNG", ".JPG", ".JPEG")

#: Arrays of fewer values are looked at for a distortion of the camera.
_FEW = 64

#: By how much, relatively, the cameras of two files may differ.
_ALIKE = 1e-3


@dataclass(frozen=True)
class _Views:
    """Pictures [V, H, W, 3 or 4], poses float64 [V, 4, 4] and what the file says of all of them."""

    pictures: NDArray[np.uint8]
    poses: NDArray[np.float64]
    camera: Camera


def is_scene_folder(path: Path) -> bool:
    """Return whether a folder holds ``transforms.json``, or ``transforms_train.json`` as NeRF's Blender scenes do."""
    return (path / "transforms.json").is_file() or (path / "transforms_train.json").is_file()


def read_scene_folder(
    path: Path, samples: tuple[int, int], near: float | None = None, far: float | None = None
) -> SceneSignal:
    """Return the scene in a folder, or of one JSON file like ``transforms.json``.

    Views to train on come from ``transforms_train.json``, test views from ``transforms_test.json``, else from
    ``transforms_val.json``. A single file may split them by ``train_filenames`` and ``test_filenames``, else
    ``val_filenames``.

    Parameters
    ----------
    path : Path
        The folder or file.
    samples : (int, int)
        As for :class:`~coinr.SceneSignal`.
    near, far : float, optional
        Range of depths, in place of what the file says.

    Raises
    ------
    InputError
        If a file is missing, damaged or truncated, says what is not supported, or as
        :class:`~coinr.SceneSignal`.
    """
    with name_in_errors(path):
        main, test_file, notes = _files(path)
        transforms = _read_transforms(main)
        views, test_views, more = _read_views(main, transforms)
        if test_file is not None:
            other = _read_transforms(test_file)
            test_views, _, others = _read_views(test_file, other)
            more += others + [f"{test_file.name}: {note}" for note in other.notes]
            if {other.near, other.far} - {None, transforms.near, transforms.far}:
                more.append(f"near and far of {test_file.name} are not used")
            if not _alike(views.camera, test_views.camera):
                raise InputError(
                    f"{main.name} and {test_file.name} differ in their camera: {views.camera}, {test_views.camera}"
                )
        scene = SceneSignal(
            views.pictures,
            views.poses,
            views.camera.focal,
            transforms.near if near is None else near,
            transforms.far if far is None else far,
            None if test_views is None else test_views.pictures,
            None if test_views is None else test_views.poses,
            samples,
            views.camera.focal_y,
            views.camera.center,
        )
    scene.notes = (*notes, *transforms.notes, *more)
    return scene


def _files(path: Path) -> tuple[Path, Path | None, list[str]]:
    """Return the file of the views to train on, that of the test views if there is one, and notes on others."""
    if not path.is_dir():
        return path, None, []
    main = path / "transforms_train.json"
    if not main.is_file():
        return path / "transforms.json", None, []
    others = [path / f"transforms{name}.json" for name in ("_test", "_val", "")]
    there = [other for other in others if other.is_file()]
    test_file = there[0] if there and there[0] is not others[2] else None
    return main, test_file, [f"{other.name} is not used" for other in there if other is not test_file]


def _read_transforms(path: Path) -> Transforms:
    try:
        return read_transforms(path)
    except InputError as error:
        words = str(error).removeprefix(f"{path}: ")  # the folder comes before it
        raise InputError(f"{path.name}: {words}") from None


def _read_views(path: Path, transforms: Transforms) -> tuple[_Views, _Views | None, list[str]]:
    """Return the training and test views of a file, and notes."""
    places = [_find(path.parent, name) for name in transforms.names]
    notes = []
    if moved := [name for name, (_, elsewhere) in zip(transforms.names, places, strict=True) if elsewhere]:
        notes.append(
            f"{len(moved)} pictures are not where {path.name} says, as {moved[0]}; those in the folder are taken"
        )
    train, test_views, more = _sides(path, transforms, [place for place, _ in places])
    chosen = [*train, *test_views]
    frames = [_read_frame(places[chosen[k]][0]) for k in steps(range(len(chosen)), "views")]
    more += [f"{count} pictures: {note}" for note, count in Counter(n for _, own in frames for n in own).items()]
    stacked = _stack([picture for picture, _ in frames], [transforms.names[k] for k in chosen])
    try:
        camera = camera_of(transforms.numbers, *stacked.shape[1:3])
        more += notes_on_size(transforms.numbers, *stacked.shape[1:3])
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from None
    count = len(train)
    first = _Views(stacked[:count], transforms.poses[train], camera)
    return first, _Views(stacked[count:], transforms.poses[test_views], camera) if test_views else None, notes + more


def _sides(path: Path, transforms: Transforms, places: list[Path]) -> tuple[list[int], list[int], list[str]]:
    """Return the numbers of the frames to train on and of the test frames, and notes, as the lists of a file say."""
    numbers = {place: k for k, place in enumerate(places)}
    sides: dict[str, list[int]] = {}
    for side, names in transforms.splits.items():
        found = [_find(path.parent, name)[0] for name in names]
        if strange := [name for name, place in zip(names, found, strict=True) if place not in numbers]:
            raise InputError(f"{path.name}: {side}_filenames has {strange[0]}, which is no frame")
        sides[side] = sorted({numbers[place] for place in found})
    test_views = sides.get("test") or sides.get("val") or []
    others = {*sides.get("test", []), *sides.get("val", [])}
    train = sides.get("train") or [k for k in range(len(places)) if k not in others]
    notes = []
    if both := set(train) & set(test_views):
        notes.append(f"{len(both)} of {len(places)} views are both trained and evaluated on, as {path.name} says")
    if left := len(places) - len({*train, *test_views}):
        notes.append(f"{left} of {len(places)} views are not used, as the lists in {path.name} say")
    return train, test_views, notes


def _alike(camera: Camera, other: Camera) -> bool:
    values, others = (np.array([c.focal, c.focal_y, *c.center]) for c in (camera, other))
    return bool(np.allclose(values, others, rtol=_ALIKE, atol=0))


def _find(folder: Path, name: str) -> tuple[Path, bool]:
    """Return the picture that a file in ``folder`` names, and whether it is another than the name says.

    Names may have backslashes and lack a suffix. Of absolute ones that lead nowhere, the last parts are looked for.
    """
    plain = name.replace("\\", "/")
    tries = [(name, False), (plain, False)]
    if PureWindowsPath(name).drive or plain.startswith("/"):
        parts = PurePosixPath(plain).parts[1:]
        tries += [("/".join(parts[k:]), True) for k in range(len(parts))]
    for tried, elsewhere in tries:
        for suffix in _SUFFIXES:
            candidate = folder / (tried + suffix)
            if candidate.is_file():
                return candidate, elsewhere
    raise InputError(f"there is no picture {name}")


def _read_frame(path: Path) -> tuple[Picture, tuple[str, ...]]:
    """Return a picture of 8 bits with three or four channels, and notes on it."""
    picture, notes = read_picture(path)
    if picture.dtype == np.uint16:
        picture = ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if picture.ndim == 2:
        picture = picture[..., None]
    if picture.shape[2] < 3:
        picture = picture[..., [0, 0, 0, *range(1, picture.shape[2])]]
    return picture, notes


def _stack(pictures: list[Picture], names: list[str]) -> NDArray[np.uint8]:
    """Return one array [V, H, W, 3 or 4]; pictures without alpha are opaque."""
    if any(picture.shape[2] == 4 for picture in pictures):
        pictures = [np.dstack((p, np.full(p.shape[:2], 255, np.uint8))) if p.shape[2] == 3 else p for p in pictures]
    for picture, name in zip(pictures, names, strict=True):
        if picture.shape != pictures[0].shape:
            (h, w), (y, x) = pictures[0].shape[:2], picture.shape[:2]
            raise InputError(f"the pictures differ in size: {names[0]} has {w} x {h} pixels, {name} {x} x {y}")
    return np.stack(pictures)


def scene_of_arrays(
    arrays: Mapping[str, NDArray[Any]], samples: tuple[int, int], near: float | None = None, far: float | None = None
) -> SceneSignal:
    """Return the scene in named arrays: images, poses and focal.

    There may be focal_y, centre, near, far, test_images and test_poses besides.

    Raises
    ------
    InputError
        If one is missing, or as :class:`~coinr.SceneSignal`.
    """
    if missing := {"poses", "focal"} - set(arrays):
        raise InputError(f"a scene has arrays images, poses and focal; {', '.join(sorted(missing))} missing")
    for name in ("focal", "near", "far", "focal_y"):
        value = arrays.get(name)
        if value is not None and (value.size != 1 or not np.issubdtype(value.dtype, np.number)):
            raise InputError(f"{name} is one number, got {value.dtype} {list(value.shape)}")
    check_straight({name: array.ravel().tolist() for name, array in arrays.items() if array.size < _FEW})
    given: dict[str, Any] = dict(arrays)
    center = given.get("centre")
    scene = SceneSignal(
        given["images"],
        given["poses"],
        given["focal"],
        given.get("near") if near is None else near,
        given.get("far") if far is None else far,
        given.get("test_images"),
        given.get("test_poses"),
        samples,
        given.get("focal_y"),
        None if center is None else center.reshape(-1),
    )
    used = {"images", "poses", "focal", "near", "far", "focal_y", "centre", "test_images", "test_poses"}
    if left := [name for name in arrays if name not in used]:
        scene.notes = (f"not used: {', '.join(left)}",)
    return scene
