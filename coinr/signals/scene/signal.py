"""Scenes as signals: posed pictures that a radiance field shall show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from coinr.errors import InputError
from coinr.inputs.arguments import checked
from coinr.inputs.arrays import to_array
from coinr.networks.precision import single_network
from coinr.progress import show_progress, steps
from coinr.runtime.ambient import independent
from coinr.signals.arrays import as_number
from coinr.signals.cameras import focus_of, orbit_of
from coinr.signals.sampling import device_of
from coinr.signals.scene.lens import Lens
from coinr.signals.scene.views import Views, check_views, render

#: Points that pass through a network at once.
_POINTS = 16384

#: The most depths that either network is evaluated at along a ray.
_DEPTHS = 4096

#: By how much of a side the camera's axis may pass off the middle; real lenses need less, cropped pictures more.
_OFF = 0.05

#: The least step of float32 where the cameras are, as a part of the range of depths.
_COARSE = 1e-4

#: Without test views of their own, every so many are held out.
_HELD_EVERY = 8


class SceneSignal(Views):
    """Posed pictures of a scene; the score is the PSNR over all pixels of views that training does not see.

    Parameters
    ----------
    images : array
        [V, H, W, 3] or [V, H, W, 4] with straight alpha, which is laid over white; uint8 or floating in [0, 1].
    poses : array
        [V, 4, 4] or [V, 3, 4], see :mod:`coinr.signals.cameras`.
    focal : float
        Focal length in pixels, across.
    near, far : float, optional
        Range of depths; half the least and 1 1/2 times the greatest distance of a camera from what all look at, if
        absent. Cameras that do not look at one place, as of a panorama, need both.
    test_images, test_poses : array, optional
        Views that the score is computed on; every eighth of the others if absent.
    samples : (int, int)
        Depths that the coarse and the fine network are evaluated at along a ray.
    focal_y : float, optional
        Focal length in pixels, down; as across if absent.
    center : (float, float), optional
        The point of a picture that the camera's axis passes, in pixels from its left and upper side; the middle if
        absent. It may be off the middle by 5 % of a side.

    Raises
    ------
    InputError
        As :func:`check_views`; or if fewer than two views are left to train on, the two sets differ in size, a
        number is out of range, or the cameras are too far from the origin for float32.
    """

    @independent
    @checked
    def __init__(
        self,
        images: Any,
        poses: Any,
        focal: float,
        near: float | None = None,
        far: float | None = None,
        test_images: Any = None,
        test_poses: Any = None,
        samples: tuple[int, int] = (32, 32),
        focal_y: float | None = None,
        center: tuple[float, float] | None = None,
    ) -> None:
        pictures, matrices = check_views(images, poses)
        if test_images is None:
            is_test = np.arange(len(pictures)) % _HELD_EVERY == 0
            test_pictures, test_matrices = pictures[is_test], matrices[is_test]
            pictures, matrices = pictures[~is_test], matrices[~is_test]
        else:
            test_pictures, test_matrices = check_views(test_images, test_poses)
        if test_poses is not None and test_images is None:
            raise InputError("test_poses are of test_images, which are not given")
        if len(pictures) < 2:
            raise InputError(f"a scene needs two views or more besides those held back, got {len(pictures)}")
        if test_pictures.shape[1:] != pictures.shape[1:]:
            sizes = list(pictures.shape[1:3]), list(test_pictures.shape[1:3])
            raise InputError(f"all views have one size, got {sizes[0]} and, held back, {sizes[1]}")
        if near is None or far is None:
            defaults = _depths(matrices)
            near, far = (a if a is not None else b for a, b in zip((near, far), defaults, strict=True))
        near, far = as_number("near", near, 0), as_number("far", far, 0)
        if not near < far:
            raise InputError(f"near must be below far, got {near!r} and {far!r}")
        furthest = float(np.abs(matrices[:, :3, 3]).max())
        if np.spacing(np.float32(furthest)) > _COARSE * (far - near):
            raise InputError(
                f"the cameras are {furthest:g} away from the origin, where float32 is too coarse for depths of "
                f"{near:g} to {far:g}; move the scene to the origin"
            )
        across = as_number("focal", focal, 1e-30)
        down = across if focal_y is None else as_number("focal_y", focal_y, 1e-30)
        height, width = pictures.shape[1:3]
        shift = _shift(height, width, center)
        lens = Lens(height, width, across, near, far, *_counts(samples), down / across, shift)
        super().__init__(pictures, matrices, lens)
        self._test_views = Views(test_pictures, test_matrices, lens)

    @property
    def eval_split(self) -> Views:
        """Return the test views, which training does not see."""
        return self._test_views

    def describe(self) -> str:
        """Return number and size of the views, and how many are held out."""
        return f"{super().describe()}, {len(self._test_views.images)} more held back"


@independent
def _depths(poses: NDArray[np.float32]) -> tuple[float, float]:
    """Return near and far of cameras that look at one place; InputError if they do not."""
    center, facing = focus_of(poses)
    if not facing:
        raise InputError(
            "the cameras do not look at one place, so near and far depths cannot be set; "
            "give both near and far (transforms.json may have them)"
        )
    distances = np.linalg.norm(poses[:, :3, 3] - np.asarray(orbit_of(poses).center, np.float32), axis=1)
    return float(f"{distances.min() / 2:.3g}"), float(f"{distances.max() * 1.5:.3g}")


def _counts(samples: Any) -> tuple[int, int]:
    """Return two numbers of depths along a ray."""
    counts = to_array(samples, "samples")
    if counts.shape != (2,) or counts.dtype.kind not in "iu" or not (2 <= counts[0] <= _DEPTHS >= counts[1] >= 0):
        raise InputError(f"samples along a ray are 2 .. {_DEPTHS} and 0 .. {_DEPTHS}, got {samples!r:.80}")
    return int(counts[0]), int(counts[1])


def _shift(height: int, width: int, center: Any) -> tuple[float, float]:
    """Return by how many pixels the camera's axis is off the middle of pictures."""
    point = to_array((width / 2, height / 2) if center is None else center, "center")
    if point.shape != (2,) or point.dtype.kind not in "fiu":
        raise InputError(f"center is two numbers, got {center!r:.80}")
    x, y = map(float, point)
    if not (abs(x - width / 2) <= _OFF * width and abs(y - height / 2) <= _OFF * height):
        raise InputError(
            f"the camera's axis passes the pictures at ({x:g}, {y:g}); within {_OFF:.0%} of a side of their middle, "
            f"({width / 2:g}, {height / 2:g}), is supported: crop them so (cx, cy)"
        )
    return x - width / 2, y - height / 2


@independent
@show_progress("render")
@torch.no_grad()
def render_views(
    network: nn.Module, poses: Sequence[NDArray[np.float32]], lens: Lens
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return pictures, uint8 [V, H, W, 3], and depths, float32 [V, H, W], as cameras see them; far where nothing is.

    Parameters
    ----------
    network : nn.Module
        A :class:`~coinr.networks.Nerf`; it runs on its own device.
    poses : sequence of ndarray
        float32 [4, 4], at least one.
    lens : Lens
        Size and optics.

    Raises
    ------
    InputError
        If the network is no Nerf, or gives values that are not finite.
    """
    views = Views(np.zeros((len(poses), lens.height, lens.width, 3), np.uint8), to_array(poses, "the poses"), lens)
    network = single_network(network)
    views = views.to(device_of(network))
    colors, depths = np.empty((views.count, 3), np.uint8), np.empty(views.count, np.float32)
    chunk = max(1, _POINTS // views.points)
    for start in steps(range(0, views.count, chunk), "views"):
        some = slice(start, min(start + chunk, views.count))
        rays, _ = views.batch(torch.arange(some.start, some.stop, device=views._poses.device))
        shown = render(network, rays, lens)
        if not torch.isfinite(shown.fine).all():
            raise InputError("the network gives values that are not finite")
        colors[some] = (shown.fine.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
        depths[some] = shown.depth.float().cpu().numpy()
    return colors.reshape(views.images.shape), depths.reshape(views.images.shape[:3])
