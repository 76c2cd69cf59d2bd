"""Pictures from known places, and the rays through their pixels."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from coinr.errors import InputError
from coinr.inputs.arguments import checked
from coinr.inputs.arrays import in_unit_range, to_array
from coinr.networks import Nerf, Rays, render_rays
from coinr.signals.cameras import Orbit, orbit_of, pixel_rays
from coinr.signals.scene.lens import Lens
from coinr.signals.signal import Recipe, Signal

#: By how much a pose may be off a turn and a move: digits that files leave out.
_RIGID = 0.01


def check_views(images: Any, poses: Any) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return pictures over white, uint8 [V, H, W, 3], and poses, float32 [V, 4, 4], or say what is wrong with them.

    Raises
    ------
    InputError
        If pictures are not [V, H, W, 3 or 4], uint8 or floating in [0, 1], with at least one pixel, or poses are not
        [V, 4, 4] or [V, 3, 4], one for each picture: finite turns and moves, neither scaled nor mirrored.
    """
    pictures, matrices = to_array(images, "images"), to_array(poses, "poses")
    if pictures.ndim != 4 or pictures.shape[3] not in (3, 4) or pictures.size == 0:
        raise InputError(f"views have shape [V, H, W, 3] or [V, H, W, 4], got {list(pictures.shape)}")
    if matrices.ndim != 3 or matrices.shape[1:] not in ((4, 4), (3, 4)) or len(matrices) != len(pictures):
        raise InputError(f"{len(pictures)} views need poses [{len(pictures)}, 4, 4], got {list(matrices.shape)}")
    if matrices.dtype.kind not in "fiu" or not np.isfinite(matrices).all():
        raise InputError("poses must be finite numbers")
    if pictures.dtype != np.uint8:
        if not np.issubdtype(pictures.dtype, np.floating):
            raise InputError(f"views are uint8 or floating in [0, 1], got {pictures.dtype}")
        pictures = in_unit_range(pictures, "a picture")
    _check_rigid(matrices)
    whole = np.zeros((len(matrices), 4, 4), np.float32)
    whole[:, :3], whole[:, 3, 3] = matrices[:, :3], 1
    return np.stack([_over_white(picture) for picture in pictures]), whole


def _check_rigid(matrices: NDArray[Any]) -> None:
    """Raise InputError unless matrices [V, 3 or 4, 4] turn and move, and do nothing else."""
    turns = matrices[:, :3, :3].astype(np.float64)
    scaled = np.abs(turns.transpose(0, 2, 1) @ turns - np.eye(3)).max(axis=(1, 2)) > _RIGID
    mirrored = np.linalg.det(turns) < 0
    last = matrices[:, 3:] - np.array([0.0, 0.0, 0.0, 1.0])
    other = np.abs(last).max(axis=(1, 2), initial=0) > _RIGID
    far = np.abs(matrices[:, :3, 3]).max(axis=1) >= 1e30
    for faults, what in (
        (scaled, "has axes that are not of length 1 and at right angles"),
        (mirrored, "is mirrored"),
        (other, "has a last row that is not 0 0 0 1"),
        (far, "lies out of range"),
    ):
        if faults.any():
            raise InputError(f"pose {int(faults.argmax())} {what}; a pose turns and moves a camera")


def _over_white(picture: NDArray[Any]) -> NDArray[np.uint8]:
    unit = picture.astype(np.float32) / (255 if picture.dtype == np.uint8 else 1)
    if unit.shape[2] == 4:
        unit = unit[..., :3] * unit[..., 3:] + (1 - unit[..., 3:])
    return np.rint(unit * 255).astype(np.uint8)


class Views(Signal):
    """The pixels of posed pictures, without test views."""

    kind = "scene"
    metric = "PSNR"
    unit = "dB"
    recipe = Recipe("nerf", width=64, hidden_layers=4, steps=6000, budget_steps=6000, batch=320, learning_rate=2e-3)

    @checked
    def __init__(self, images: NDArray[np.uint8], poses: NDArray[np.float32], lens: Lens) -> None:
        self.images, self.poses, self.lens = images, poses, lens
        self.in_features, self.out_features = 6, 3
        self.count = images.size // 3
        self.points = lens.coarse + (lens.coarse + lens.fine if lens.fine else 0)
        if not lens.fine:
            self.recipe = replace(self.recipe, options={"nerf": {"fine": False}})
        self._values = torch.from_numpy(images).reshape(-1, 3)
        self._poses = torch.from_numpy(poses)

    def describe(self) -> str:
        """Return number and size of the views."""
        return f"scene of {len(self.images)} views {self.lens.height} x {self.lens.width}"

    @property
    def default_bits(self) -> int:
        """Return a quarter of 8 bits for each channel of the pictures that are fitted."""
        return 8 * self.images.size // 4

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return rays ``[N, 6]`` (origin, direction) and colors in [0, 1] ``[N, 3]`` of pixels, view by view."""
        lens = self.lens
        pixels = indices % (lens.height * lens.width)
        poses = self._poses[indices // (lens.height * lens.width)]
        rows, columns = pixels // lens.width, pixels % lens.width
        rays = pixel_rays(poses, rows, columns, lens.height, lens.width, lens.focal, lens.stretch, lens.shift)
        return rays, self._values[indices].to(torch.float32) / 255

    def predict(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Return colors ``[N, 3]`` over white of the fine network along rays, at depths that are always the same."""
        return render(network, inputs, self.lens).fine

    def squared_error(self, network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the squared error of coarse and fine colors, at depths jittered by a generator that the rays seed.

        A batch has the same error each time, and every batch has other depths.

        Raises
        ------
        InputError
            If the network has a fine part that no depths are left for.
        """
        if not self.lens.fine and isinstance(network, Nerf) and network.fine is not None:
            raise InputError("without fine samples along a ray the fine network of a Nerf cannot be trained")
        seed = int(inputs.view(torch.int32).sum(dtype=torch.int64)) % 2**63
        shown = render(network, inputs, self.lens, torch.Generator(inputs.device).manual_seed(seed))
        error = (shown.fine - targets).square().sum()
        return error + (shown.coarse - targets).square().sum() if self.lens.fine else error

    def partial_score(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of squared errors of colors in [0, 1], and the number of values."""
        error = (predicted.double().clamp(0, 1) - targets.double()).square().sum()
        return torch.stack((error, torch.full_like(error, targets.numel())))

    def score(self, total: Tensor) -> float:
        """Return the PSNR in dB, -inf if it is not a number."""
        error = float(total[0] / total[1])
        if not math.isfinite(error):
            return -math.inf
        return math.inf if error == 0 else -10 * math.log10(error)

    def meta(self) -> dict[str, Any]:
        """Return ``{"scene": [H, W, focal, near, far, coarse, fine, radius, elevation, ...]}``; center and up follow.

        The last are those of an :class:`~coinr.signals.cameras.Orbit`; defaults at the end are left out. Where
        pixels are not square, or the axis does not pass the middle, ``"lens": [focal_y, cx, cy]`` comes with it, in
        pixels.
        """
        lens, orbit = self.lens, orbit_of(self.poses)
        numbers: list[float] = [lens.height, lens.width, float(f"{lens.focal:.6g}"), lens.near, lens.far]
        numbers += [lens.coarse, lens.fine, orbit.radius, orbit.elevation, *orbit.center, orbit.up]
        defaults = [*Orbit(0, 0).center, Orbit(0, 0).up]
        while len(numbers) > 9 and numbers[-1] == defaults[len(numbers) - 10]:
            numbers.pop()
        return {"scene": _short(numbers)} | _lens_meta(lens)


def _lens_meta(lens: Lens) -> dict[str, Any]:
    """Return what else a lens needs that is not simple."""
    middle = lens.width / 2, lens.height / 2
    center = [m + s for m, s in zip(middle, lens.shift, strict=True)]
    numbers = [float(f"{v:.6g}") for v in (lens.focal * lens.stretch, *center)]
    defaults = [float(f"{v:.6g}") for v in (lens.focal, *middle)]
    while numbers and numbers[-1] == defaults[len(numbers) - 1]:
        numbers.pop()
    return {"lens": _short(numbers)} if numbers else {}


def _short(numbers: list[float]) -> list[float]:
    """Return whole numbers without a point, which takes bytes."""
    return [int(v) if float(v).is_integer() else v for v in numbers]


def render(network: nn.Module, rays: Tensor, lens: Lens, generator: torch.Generator | None = None) -> Rays:
    """Render rays [N, 6]; InputError unless the network is a Nerf."""
    if not isinstance(network, Nerf):
        raise InputError(f"a scene is shown by a Nerf, got {type(network).__name__}")
    return render_rays(network, rays, lens.near, lens.far, lens.coarse, lens.fine, generator)
