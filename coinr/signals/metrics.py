"""How near a signal that came back is to the one that was given."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from coinr.errors import InputError
from coinr.inputs.arguments import checked
from coinr.runtime.ambient import independent
from coinr.runtime.optional import import_optional
from coinr.signals.image.picture import Picture, unit_image

#: Least side of a picture for SSIM, whose window has 11 pixels, and for five scales of it.
_SSIM_SIDE, _MS_SSIM_SIDE = 11, 161


def _pair(image: Picture, other: Picture) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = unit_image(image), unit_image(other)
    if a.shape != b.shape:
        raise InputError(f"images of one shape are needed, got {list(a.shape)} and {list(b.shape)}")
    return a, b


@independent
@checked
def psnr(image: Picture, other: Picture) -> float:
    """Return the peak signal-to-noise ratio of two pictures in dB: 10 log10(peak² / mean squared error).

    The mean runs over all pixels and channels; equal pictures give infinity. Where there is alpha, colors are
    multiplied by it first.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    a, b = _pair(image, other)
    error = float(np.mean((a - b) ** 2))
    return math.inf if error == 0 else -10 * math.log10(error)


@independent
def ssim(image: Picture, other: Picture) -> float | None:
    """Return the structural similarity of two pictures (Wang et al. 2004), the mean over channels; None if too small.

    By scikit-image, with the paper's Gaussian window of 11 x 11 pixels.

    Raises
    ------
    InputError
        If the shapes differ.
    DependencyError
        If scikit-image is not installed.
    """
    a, b = _pair(image, other)
    if min(a.shape[:2]) < _SSIM_SIDE:
        return None
    value = import_optional("skimage.metrics").structural_similarity(
        a,
        b,
        data_range=1.0,
        channel_axis=2 if a.ndim == 3 else None,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(value)


@independent
def ms_ssim(image: Picture, other: Picture) -> float | None:
    """Return the multi-scale structural similarity of two pictures (Wang et al. 2003); None below 161 pixels a side.

    By pytorch-msssim, with five scales and the paper's weights.

    Raises
    ------
    InputError
        If the shapes differ.
    DependencyError
        If pytorch-msssim is not installed.
    """
    a, b = _pair(image, other)
    if min(a.shape[:2]) < _MS_SSIM_SIDE:
        return None
    tensors = (torch.from_numpy(x.reshape(1, *x.shape[:2], -1)).permute(0, 3, 1, 2) for x in (a, b))
    return float(import_optional("pytorch_msssim").ms_ssim(*tensors, data_range=1.0))


def image_metrics(image: Picture, other: Picture) -> dict[str, float | None]:
    """Return ``psnr`` in dB, ``ssim`` and ``ms_ssim``."""
    return {"psnr": psnr(image, other), "ssim": ssim(image, other), "ms_ssim": ms_ssim(image, other)}


@independent
def snr(samples: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the signal-to-noise ratio in dB of ``other`` as a copy of ``samples``, over all channels.

    Raises
    ------
    InputError
        If the shapes differ, or ``samples`` are all zero.
    """
    a, b = np.asarray(samples, np.float64), np.asarray(other, np.float64)
    if a.shape != b.shape:
        raise InputError(f"sounds of one shape are needed, got {list(a.shape)} and {list(b.shape)}")
    power, noise = float(np.sum(a**2)), float(np.sum((a - b) ** 2))
    if power == 0:
        raise InputError("silence has no signal-to-noise ratio")
    return math.inf if noise == 0 else 10 * math.log10(power / noise)


def iou(volume: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Return the intersection over union of two occupancies; 1 if both are empty.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    if volume.shape != other.shape:
        raise InputError(f"volumes of one shape are needed, got {list(volume.shape)} and {list(other.shape)}")
    either = int(np.count_nonzero(volume | other))
    return int(np.count_nonzero(volume & other)) / either if either else 1.0


@independent
def chamfer(mesh: Any, other: Any, points: int = 50_000) -> float:
    """Return the Chamfer distance of two surfaces, in lengths of the longest side of ``mesh``.

    The mean distance of ``points`` random points on one surface from the nearest of as many on the other, averaged over
    both directions. Points of one surface sampled twice are some distance apart, too: equal surfaces do not give 0.

    Parameters
    ----------
    mesh, other : trimesh.Trimesh
        The surfaces.
    points : int
        Points on each; their choice is the same every time.

    Raises
    ------
    DependencyError
        If trimesh or SciPy is not installed.
    """
    tree = import_optional("scipy.spatial").cKDTree
    sample = import_optional("trimesh").sample.sample_surface
    a, b = (np.asarray(sample(surface, points, seed=k)[0]) for k, surface in enumerate((mesh, other)))
    there, back = tree(b).query(a)[0].mean(), tree(a).query(b)[0].mean()
    return float((there + back) / 2 / np.ptp(np.asarray(mesh.bounds), axis=0).max())
