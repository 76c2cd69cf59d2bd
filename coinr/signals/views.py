"""Pictures from known places, and the rays through their pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from coinr.errors import InputError
from coinr.networks import Nerf, Rays, render_rays
from coinr.signals.base import Recipe, Signal
from coinr.signals.cameras import Orbit, orbit_of, pixel_rays


@dataclass(frozen=True)
class Lens:
    """How rays are cast and marched.

    Attributes
    ----------
    height, width : int
        Pixels of a picture.
    focal : float
        Focal length in pixels.
    near, far : float
        Range of depths.
    coarse, fine : int
        Depths that the two networks are seen at, see :func:`coinr.networks.render_rays`.
    """

    height: int
    width: int
    focal: float
    near: float
    far: float
    coarse: int = 32
    fine: int = 32

    def resized(self, height: int, width: int) -> Lens:
        """The same view in other pixels; across, it shows what it showed."""
        return Lens(height, width, self.focal * width / self.width, self.near, self.far, self.coarse, self.fine)


def check_views(images: Any, poses: Any) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return pictures over white, uint8 [V, H, W, 3], and poses, float32 [V, 4, 4], or say what is wrong with them.

    Raises
    ------
    InputError
        If pictures are not [V, H, W, 3 or 4], uint8 or floating in [0, 1], with at least one pixel, or poses are not
        [V, 4, 4] or [V, 3, 4], finite, one for each picture.
    """
    pictures, matrices = np.asarray(images), np.asarray(poses)
    if pictures.ndim != 4 or pictures.shape[3] not in (3, 4) or pictures.size == 0:
        raise InputError(f"views have shape [V, H, W, 3] or [V, H, W, 4], got {list(pictures.shape)}")
    if matrices.ndim != 3 or matrices.shape[1:] not in ((4, 4), (3, 4)) or len(matrices) != len(pictures):
        raise InputError(f"{len(pictures)} views need poses [{len(pictures)}, 4, 4], got {list(matrices.shape)}")
    if not np.issubdtype(matrices.dtype, np.number) or not np.isfinite(matrices).all():
        raise InputError("poses must be finite numbers")
    if pictures.dtype != np.uint8:
        if not np.issubdtype(pictures.dtype, np.floating):
            raise InputError(f"views are uint8 or floating in [0, 1], got {pictures.dtype}")
        if not (np.isfinite(pictures).all() and pictures.min() >= 0 and pictures.max() <= 1):
            raise InputError("floating views lie in [0, 1]")
    whole = np.zeros((len(matrices), 4, 4), np.float32)
    whole[:, :3], whole[:, 3, 3] = matrices[:, :3], 1
    return np.stack([_over_white(picture) for picture in pictures]), whole


def _over_white(picture: NDArray[Any]) -> NDArray[np.uint8]:
    unit = picture.astype(np.float32) / (255 if picture.dtype == np.uint8 else 1)
    if unit.shape[2] == 4:
        unit = unit[..., :3] * unit[..., 3:] + (1 - unit[..., 3:])
    return np.rint(unit * 255).astype(np.uint8)


class Views(Signal):
    """The pixels of posed pictures, without any that are held back."""

    kind = "scene"
    metric = "PSNR"
    unit = "dB"
    recipe = Recipe("nerf", width=64, hidden_layers=4, steps=6000, batch=320, learning_rate=2e-3)

    def __init__(self, images: NDArray[np.uint8], poses: NDArray[np.float32], lens: Lens) -> None:
        self.images, self.poses, self.lens = images, poses, lens
        self.in_features, self.out_features = 6, 3
        self.count = images.size // 3
        self.points = lens.coarse + (lens.coarse + lens.fine if lens.fine else 0)
        if not lens.fine:
            self.recipe = replace(self.recipe, options={"nerf": {"fine": False}})
        self._values = torch.from_numpy(images).reshape(-1, 3)
        self._poses = torch.from_numpy(poses)

    def to(self, device: torch.device) -> Views:
        """The views with their samples on a device."""
        moved = Views(self.images, self.poses, self.lens)
        moved._values, moved._poses = self._values.to(device), self._poses.to(device)
        return moved

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Rays ``[N, 6]`` (origin, direction) and colours in [0, 1] ``[N, 3]`` of pixels, view by view."""
        lens = self.lens
        pixels = indices % (lens.height * lens.width)
        poses = self._poses[indices // (lens.height * lens.width)]
        rays = pixel_rays(poses, pixels // lens.width, pixels % lens.width, lens.height, lens.width, lens.focal)
        return rays, self._values[indices].to(torch.float32) / 255

    def predict(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Colours ``[N, 3]`` over white that the fine network gives along rays, at depths that are the same always."""
        return render(network, inputs, self.lens).fine

    def squared_error(self, network: nn.Module, inputs: Tensor, wanted: Tensor) -> Tensor:
        """That of the coarse and of the fine colours, at depths jittered by a generator that the rays seed.

        So a batch has the same error each time, and depths are others in every batch.

        Raises
        ------
        InputError
            If the network has a fine part that no depths are left for.
        """
        if not self.lens.fine and isinstance(network, Nerf) and network.fine is not None:
            raise InputError("without fine samples along a ray the fine network of a Nerf cannot be trained")
        seed = int(inputs.view(torch.int32).sum(dtype=torch.int64)) % 2**63
        shown = render(network, inputs, self.lens, torch.Generator(inputs.device).manual_seed(seed))
        error = (shown.fine - wanted).square().sum()
        return error + (shown.coarse - wanted).square().sum() if self.lens.fine else error

    def tally(self, predicted: Tensor, wanted: Tensor) -> Tensor:
        """Sum of squared errors of colours in [0, 1], and number of values."""
        error = (predicted.double().clamp(0, 1) - wanted.double()).square().sum()
        return torch.stack((error, torch.full_like(error, wanted.numel())))

    def score(self, tally: Tensor) -> float:
        """PSNR in dB, -inf if it is not a number."""
        error = float(tally[0] / tally[1])
        if not math.isfinite(error):
            return -math.inf
        return math.inf if error == 0 else -10 * math.log10(error)

    def meta(self) -> dict[str, Any]:
        """``{"scene": [H, W, focal, near, far, coarse, fine, radius, elevation, ...]}``, then centre and axis up.

        The last are those of an :class:`~coinr.signals.cameras.Orbit`; defaults at the end are left out.
        """
        lens, orbit = self.lens, orbit_of(self.poses)
        numbers: list[float] = [lens.height, lens.width, float(f"{lens.focal:.6g}"), lens.near, lens.far]
        numbers += [lens.coarse, lens.fine, orbit.radius, orbit.elevation, *orbit.centre, orbit.up]
        defaults = [*Orbit(0, 0).centre, Orbit(0, 0).up]
        while len(numbers) > 9 and numbers[-1] == defaults[len(numbers) - 10]:
            numbers.pop()
        return {"scene": [int(v) if float(v).is_integer() else v for v in numbers]}


def render(network: nn.Module, rays: Tensor, lens: Lens, generator: torch.Generator | None = None) -> Rays:
    """What a network shows along rays [N, 6]; InputError unless it is a Nerf."""
    if not isinstance(network, Nerf):
        raise InputError(f"a scene is shown by a Nerf, got {type(network).__name__}")
    return render_rays(network, rays, lens.near, lens.far, lens.coarse, lens.fine, generator)
